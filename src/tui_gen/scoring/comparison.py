"""Models compared: up to three branches from the same prompt with the same random numbers, and where they differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch
from tui_gen.generation.describe import pixel_differences, pixels_of
from tui_gen.images.picture import UNDRAWN, Pixels
from tui_gen.sampling.params import FREE, Mask
from tui_gen.scoring.divergence import Divergence, TextReading, vocabulary_difference
from tui_gen.scoring.score import CodedModel
from tui_gen.text.codec import TextCodec

MOST = 3
"""Models that can be compared at once."""


@dataclass(frozen=True, eq=False)
class ModelBranch:
    """A model and its branch."""

    model: CodedModel
    branch: Branch


def check_comparable(models: Sequence[CodedModel]) -> None:
    """Raises TuiGenError for more than three models, and for two of which nothing can be compared."""
    if len(models) > MOST:
        raise TuiGenError(f"at most {MOST} models are compared at once, not {len(models)}")
    for one, other in combinations(models, 2):
        if one.card.kind != other.card.kind:
            raise TuiGenError(f"{vocabulary_difference(one, other)}; models of one kind can be compared")
        sizes = [f"{image.width}x{image.height}" for model in (one, other) if (image := model.card.image)]
        if len(set(sizes)) > 1:
            names = f"{one.card.name} draws {sizes[0]} pixels and {other.card.name} {sizes[1]}"
            raise TuiGenError(f"{names}; pictures of one size can be compared")


class ModelComparison:
    """Branches of several models, of which the first is what the others are compared with. They may still grow.

    `update` is for a worker thread; everything else may be asked at any time.
    """

    def __init__(self, *columns: ModelBranch) -> None:
        """Raises TuiGenError for models that cannot be compared."""
        check_comparable([column.model for column in columns])
        self.columns = columns
        self.vocabulary_differences = [vocabulary_difference(columns[0].model, column.model) for column in columns]
        """Why a column's model has other tokens than the first; empty for those that have the same."""
        first = columns[0]
        self.divergences: list[Divergence | None] = [
            None if column is first or reason else Divergence(first.branch, first.model.codec, column.model.model)
            for column, reason in zip(columns, self.vocabulary_differences, strict=True)
        ]
        """Of each column, how far its model is from the first; None of the first and of another vocabulary."""
        self.readings: list[TextReading | None] = [None] * len(columns)
        """Of each column, the first one's text as its model reads it; None unless a text has several vocabularies."""
        if isinstance(first.model.codec, TextCodec) and any(self.vocabulary_differences):
            self.readings = [TextReading(first.branch, first.model.codec, column.model) for column in columns]

    def update(self, stopped: Callable[[], bool] = lambda: False, *, final: bool = False) -> bool:
        """Reads what the first branch has now, as all models read it; returns whether all of that was read.

        stopped: asked every few tokens; a later call goes on from there. final: nothing will follow, see `TextReading`.
        Raises TuiGenError where a model fails.
        """
        divergences = [divergence.update(stopped) for divergence in self.divergences if divergence is not None]
        readings = [reading.update(stopped, final=final) for reading in self.readings if reading is not None]
        return all(divergences + readings)

    def first_difference(self, column: int, sample: int) -> int | None:
        """Where a column first differs from the first one, as far as both have come; None where it does not.

        A position in the branches if the vocabulary is the same; else, counted from 0, the character of a text after
        its prompt, or the pixel of a picture.
        """
        one, other = self.columns[0], self.columns[column]
        if self.vocabulary_differences[column]:
            return (self._first_pixel if one.model.card.image else self._first_character)(column, sample)
        common = min(len(one.branch), len(other.branch))
        rows = [
            np.where(branch.live[:common, sample], branch.tokens[:common, sample], FREE)
            for branch in (one.branch, other.branch)
        ]
        differ = np.flatnonzero(rows[0] != rows[1])
        return int(differ[0]) if len(differ) else None

    def pixel_differences(self, column: int, sample: int) -> Mask:
        """bool[height, width]: where a picture has another colour than the first one, of what both have drawn."""
        both = np.concatenate([_pixels(each, sample) for each in (self.columns[0], self.columns[column])])
        differ: Mask = pixel_differences(both) & (both != UNDRAWN).all(axis=(0, 3))
        return differ

    def prompt_length(self, column: int, sample: int) -> int:
        """Characters that a text begins with before the model has made any, its own frame of the prompt included."""
        return len(_prompt_text(self.columns[column], sample))

    def _first_pixel(self, column: int, sample: int) -> int | None:
        differ = np.flatnonzero(self.pixel_differences(column, sample))
        return int(differ[0]) if len(differ) else None

    def _first_character(self, column: int, sample: int) -> int | None:
        one, other = (_made_text(each, sample) for each in (self.columns[0], self.columns[column]))
        place = next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
        if place is not None or len(one) == len(other):
            return place
        shorter = self.columns[0 if len(one) < len(other) else column].branch
        return min(len(one), len(other)) if shorter.has_ended(sample) else None


def _pixels(column: ModelBranch, sample: int) -> Pixels:
    """[1, height, width, 3]: what is drawn."""
    assert column.model.card.image
    return pixels_of(column.branch, column.model.card.image, sample)


def _text(column: ModelBranch, sample: int, end: int | None = None) -> str:
    """With its prompt. end: the position before which it ends."""
    assert isinstance(column.model.codec, TextCodec)
    tokens = column.branch.tokens[1:end][column.branch.live[1:end, sample], sample]
    return column.model.codec.reader().read_all(tokens.tolist())


def _prompt_text(column: ModelBranch, sample: int) -> str:
    return _text(column, sample, column.branch.head)


def _made_text(column: ModelBranch, sample: int) -> str:
    """What follows the prompt."""
    return _text(column, sample)[len(_prompt_text(column, sample)) :]
