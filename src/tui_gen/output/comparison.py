"""Several models in one output: texts under the models' names, pictures beside each other, JSON lines with a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from tui_gen.generation.describe import place
from tui_gen.generation.pacing import frames
from tui_gen.images.encode import FileWriter, row_writer
from tui_gen.images.picture import Picture
from tui_gen.output.writers import Annotate, StepWriter, closing
from tui_gen.sampling.params import Floats, Tokens
from tui_gen.sampling.step import Step
from tui_gen.scoring.comparison import ModelComparison
from tui_gen.scoring.score import Totals
from tui_gen.terminal_text import counted, scrub_line

_LINES = "jsonl", "samples"
"""Formats of JSON lines."""


class ComparisonWriter:
    """Writes what the models of a comparison make, one model after the other; pictures when all are drawn."""

    def __init__(
        self,
        comparison: ModelComparison,
        names: Sequence[str],
        writer: Callable[[int, Annotate], StepWriter],
        *,
        form: str | None,
        file: BinaryIO,
        given: Sequence[Tokens | None],
    ) -> None:
        """names: of the models, which stand above texts; empty for none.

        writer: opens the usual writer, to the same file, for what one of them makes, by its number.
        given: of each model, the levels of a picture that is completed.
        """
        self._comparison, self._file, self._writer = comparison, file, writer
        self._names, self._form = [scrub_line(name) for name in names], form
        self._pictures = [] if form in _LINES else _pictures(comparison, given)
        self._whole: Picture | None = None
        if self._pictures:
            self._whole = Picture(self._pictures[0].image, sum(map(len, self._pictures)))
            self._whole.group = len(self._pictures)
            self._image_writer = _image_writer(self._whole, file, form, self._names * len(self._pictures[0]))

    def write(
        self,
        columns: Iterable[Iterator[Step]],
        note: Callable[[int, Sequence[Step]], None] = lambda number, steps: None,
    ) -> None:
        """Writes the steps of all models, of a run that is interrupted as far as it came.

        note: told of each frame's steps, and whose they are by its number, before they are written.
        """
        try:
            for number, steps in enumerate(columns):
                with closing(self._column(number)) as writer:
                    for bundle in frames(steps, writer.bundle):
                        note(number, bundle)
                        writer.write(bundle)
        finally:
            self._write_pictures()

    def _column(self, number: int) -> StepWriter:
        """The writer for what a model makes."""
        if self._pictures:
            return _PictureTaker(self._pictures[number])
        if self._form in _LINES:
            name, figures = self._names[number], _Figures(self._comparison, self._names if number == 0 else [])
            return self._writer(number, lambda row: {"model": name, **row, **figures(row)})
        if self._names:
            self._file.write(f"--- {self._names[number]} ---\n".encode("utf-8", "replace"))
        return self._writer(number, dict)

    def _write_pictures(self) -> None:
        """All beside each other."""
        if self._whole:
            pixels = np.stack([picture.rgb for picture in self._pictures], axis=1)
            self._whole.rgb[:] = pixels.reshape(self._whole.rgb.shape)
            self._whole.drawn = max(picture.drawn for picture in self._pictures)
            self._whole.given = self._pictures[0].given
            self._image_writer.close()


class _Figures:
    """The divergence of the others, at a token or of a whole sample, for a row of the first model."""

    def __init__(self, comparison: ModelComparison, names: Sequence[str]) -> None:
        """names: of the models whose divergence is wanted."""
        self._comparison = comparison
        pairs = zip(names, comparison.divergences, strict=False)
        self._divergences = {name: divergence for name, divergence in pairs if divergence is not None}
        self._read, self._bits = -1, dict[int, dict[str, Floats]]()

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        if not self._divergences:
            return {}
        self._comparison.update()
        sample, read = row["sample"], min(map(len, self._divergences.values()))
        if read != self._read:
            self._read, self._bits = read, {}
        if sample not in self._bits:
            self._bits[sample] = {name: divergence.of(sample) for name, divergence in self._divergences.items()}
        at = row.get("index")
        bits = {name: each.sum() if at is None else each[at] for name, each in self._bits[sample].items()}
        return {"divergence": {name: round(float(value), 6) for name, value in bits.items()}}


class _PictureTaker:
    """Draws, and writes nothing."""

    bundle = list[Step]

    def __init__(self, picture: Picture) -> None:
        self._picture = picture

    def write(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self._picture.add(step)

    def close(self) -> None:
        """Nothing is left."""


def comparison_lines(comparison: ModelComparison, names: Sequence[str]) -> Iterator[str]:
    """What the comparison comes to, in a line for each model but the first, and of texts of several vocabularies for
    that one too. What was made must have been read, see `ModelComparison.update`.
    """
    for number, name in enumerate(names):
        facts = [_reading(comparison, number, names[0])] if comparison.readings[number] else []
        if number:
            facts += [_divergence(comparison, number, names[0]), _differences(comparison, number, names[0])]
        if facts:
            yield f"{name}: {' · '.join(facts)}"


def _divergence(comparison: ModelComparison, number: int, first: str) -> str:
    divergence = comparison.divergences[number]
    if divergence is None:
        return f"no KL divergence, for {comparison.vocabulary_differences[number]}"
    samples = range(divergence.branch.samples)
    bits, tokens = sum(map(divergence.total, samples)), sum(map(divergence.count, samples))
    each = f", {bits / tokens:.3g} a token" if tokens else ""
    total = f"{bits:,.1f}" if bits >= 1000 else f"{bits:.4g}"
    return f"KL divergence from {first} {total} bits over {counted(tokens, 'token')}{each}"


def _reading(comparison: ModelComparison, number: int, first: str) -> str:
    """Bits per character of all samples together, of what the model can read."""
    reading = comparison.readings[number]
    assert reading
    samples = range(reading.branch.samples)
    totals = [reading.totals(sample) for sample in samples]
    whose = f"{first}'s text" if number else "its own text"
    whole = Totals("character", sum(each.units for each in totals), bits=sum(each.bits for each in totals))
    facts = [
        f"{whole.bits_per_unit:.3f} bits a character of {whose}, {counted(whole.units, 'character')}"
        if whole.units
        else f"nothing is read of {whose}"
    ]
    facts += [f"{counted(reading.unknown, 'word')} read as unknown"] if reading.unknown else []
    faults = [reading.fault(sample) for sample in samples if reading.fault(sample)]
    return ", ".join([*facts, *faults[:1]])


def _differences(comparison: ModelComparison, number: int, first: str) -> str:
    samples = range(comparison.columns[0].branch.samples)
    if image := comparison.columns[0].model.card.image:
        differ = sum(int(comparison.pixel_differences(number, sample).sum()) for sample in samples)
        return f"{differ:,} of {len(samples) * image.height * image.width:,} pixels differ"
    positions = [comparison.first_difference(number, sample) for sample in samples]
    differing = [position for position in positions if position is not None]
    if len(samples) > 1:
        return f"{len(differing):,} of {len(samples):,} texts differ"
    if not differing:
        return f"the same text as {first}"
    if comparison.vocabulary_differences[number]:
        return f"differs from character {differing[0] + 1:,} on"
    column = comparison.columns[0]
    return f"differs from {place(column.branch, differing[0], column.model.codec)} on"


def _image_writer(picture: Picture, file: BinaryIO, form: str | None, captions: Sequence[str]) -> StepWriter:
    if form in ("png", "gif"):
        return FileWriter(picture, file, form)
    return row_writer(picture, file, form, captions)


def _pictures(comparison: ModelComparison, given: Sequence[Tokens | None]) -> list[Picture]:
    """Empty ones but for what is given; none for texts."""
    pictures = []
    for column, levels in zip(comparison.columns, given, strict=True):
        if column.model.card.image:
            picture = Picture(column.model.card.image, column.branch.samples)
            if levels is not None:
                picture.preset(levels)
            pictures.append(picture)
    return pictures
