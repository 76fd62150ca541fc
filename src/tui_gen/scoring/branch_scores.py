"""Scores of each token of a branch, computed in the background as the branch grows; of them, its surprisal."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import copy
from itertools import groupby
from operator import itemgetter
from typing import Literal, NamedTuple

import numpy as np

from tui_gen.card import ImageSpec
from tui_gen.generation.branch import Branch, GrowableArray
from tui_gen.generation.protocol import CHUNK
from tui_gen.images.codec import ImageCodec
from tui_gen.images.picture import first_pixel
from tui_gen.sampling.params import Floats, Mask, Tokens
from tui_gen.sampling.step import non_finite
from tui_gen.scoring.score import Scorer, Totals, to_bits
from tui_gen.text.codec import Codec, TextCodec

Origin = Literal["drawn", "chosen", "given"]
"""How a token came to its place: drawn by the model, chosen by a person, given by the prompt."""
Part = Literal["made", "given", "all"]
"""Tokens that the model has made; the others, which a prompt or a person has given; both."""


class Peak(NamedTuple):
    """One of the most surprising tokens."""

    position: int
    """In the branch."""
    token: int
    bits: float
    origin: Origin


class BranchScores(ABC):
    """A number in bits for each token of a branch, computed while it grows, all samples at once, each token once.

    `update` is for a worker thread; everything else may be asked at any time and is of what was read until then.
    """

    def __init__(self, branch: Branch, image: ImageSpec | None) -> None:
        """image: what the branch's model draws, if it does."""
        self.branch, self.image = branch, image
        self._bits = GrowableArray(branch.samples, np.float64)
        # Models of pictures predict nothing that stands before the picture.
        self._first = first_pixel(branch.start.prompt, image) if image else 1
        self._reading = threading.Lock()

    def __len__(self) -> int:
        """Tokens of each sample that were read; the branch's first one, which nothing predicts, is not among them."""
        return len(self._bits)

    @property
    def behind(self) -> int:
        """Tokens of each sample that are still to be read."""
        return len(self.branch) - 1 - len(self)

    @property
    def bits(self) -> Floats:
        """Of the tokens at positions 1, 2, ..., float64[positions - 1, samples]; not to be changed.

        NaN after the end of a sample.
        """
        return self._bits.rows

    def update(self, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Reads what the branch has now. stopped: asked every 128 tokens or so; a later call goes on from there.

        Returns whether all of that was read. Raises TuiGenError where the model fails. Of two threads that call it,
        one waits.
        """
        with self._reading:
            end = len(self.branch)
            while len(self) + 1 < end and not stopped():
                first = len(self) + 1
                self._read(first, min(end, first + max(1, CHUNK // self.branch.samples)))
            return len(self) + 1 >= end

    @abstractmethod
    def _read(self, first: int, end: int) -> None:
        """Reads the tokens at positions from `first` to before `end`. Whatever fails, all is then as it was."""

    def _mask(self, sample: int, part: Part, count: int) -> Mask:
        """Which of the first tokens that were read belong to a part, bool[count]. More may be read meanwhile."""
        read = slice(1, count + 1)
        live, given = self.branch.live[read, sample], self.branch.given[read, sample]
        mask: Mask = live & {"made": ~given, "given": given, "all": live}[part]
        mask[: self._first - 1] = False
        return mask


class BranchSurprisal(BranchScores):
    """The surprise at each token: infinite for what the model never predicts, a picture's condition for one."""

    def __init__(self, branch: Branch, codec: Codec) -> None:
        """codec: of the branch's model."""
        super().__init__(branch, codec.image if isinstance(codec, ImageCodec) else None)
        self.unit = codec.unit
        self._scorer = Scorer(branch.model, _columns(branch.tokens[:1]))
        self._characters = _Characters(codec, branch.samples) if isinstance(codec, TextCodec) else None

    def totals(self, sample: int, part: Part = "made") -> Totals:
        """Tokens, bits and perplexity of a sample, and its characters or pixels; what begins a picture is left out."""
        bits = self.bits[:, sample]
        mask = self._mask(sample, part, len(bits))
        tokens = int(mask.sum())
        units = self._characters.total(sample, part) if self._characters else self._pixels(tokens)
        return Totals("pixel" if self.image else "character", units, tokens, float(bits[mask].sum()))

    def top(self, sample: int, count: int = 10) -> list[Peak]:
        """The most surprising tokens of a sample, those that were given too; of equals, the earlier first."""
        bits = self.bits[:, sample]
        bits = np.where(self._mask(sample, "all", len(bits)), bits, np.nan)
        positions = [at + 1 for at in _greatest(bits, count)]
        return [
            Peak(at, int(self.branch.tokens[at, sample]), float(bits[at - 1]), self._origin(at, sample))
            for at in positions
        ]

    def pixels(self) -> Floats:
        """Bits per pixel, of all its channels together, float64[samples, pixels]; NaN where it is not known yet.

        Only for a model that draws.
        """
        assert self.image
        area, channels, samples = self.image.height * self.image.width, self.image.channels, self.branch.samples
        rows = self.bits[self._first - 1 :]
        whole = min(len(rows) // channels, area)
        bits = np.full((samples, area), np.nan)
        bits[:, :whole] = rows[: whole * channels].reshape(whole, channels, samples).sum(axis=1).T
        return bits

    def _read(self, first: int, end: int) -> None:
        part = slice(first, end)
        live, scorer = self.branch.live[part], copy(self._scorer)
        tokens = np.where(live, self.branch.tokens[part], 0)
        bits = np.where(live, to_bits(scorer.feed(_columns(tokens))).T, np.nan)
        _check(bits, live, first)
        if self._characters:
            self._characters.count(tokens, self.branch.given[part], live)
        self._scorer = scorer
        self._bits.extend(bits)  # last, for it is what others look at

    def _pixels(self, tokens: int) -> int:
        assert self.image
        return round(tokens / self.image.channels)

    def _origin(self, position: int, sample: int) -> Origin:
        if self.branch.is_chosen(position, sample):
            return "chosen"
        return "given" if self.branch.given[position, sample] else "drawn"


class _Characters:
    """Counts what the tokens of each sample write."""

    def __init__(self, codec: TextCodec, samples: int) -> None:
        self._readers = [codec.reader() for _ in range(samples)]
        self._counts = [[0, 0] for _ in range(samples)]

    def total(self, sample: int, part: Part) -> int:
        """How many characters so far."""
        made, given = self._counts[sample]
        return {"made": made, "given": given, "all": made + given}[part]

    def count(self, tokens: Tokens, given: Mask, live: Mask) -> None:
        """Counts those of the next tokens [positions, samples]."""
        for sample, reader in enumerate(self._readers):
            mine = live[:, sample]
            pairs = zip(given[mine, sample].tolist(), tokens[mine, sample].tolist(), strict=True)
            for stands, run in groupby(pairs, key=itemgetter(0)):
                self._counts[sample][stands] += len(reader.read_all([token for _, token in run]))


def _columns(tokens: Tokens) -> Tokens:
    """[positions, samples] as a model reads them: int64[samples, positions]."""
    return np.ascontiguousarray(tokens.T, dtype=np.int64)


def _check(bits: Floats, live: Mask, first: int) -> None:
    faults = np.flatnonzero((np.isnan(bits) & live).any(axis=1))
    if len(faults):
        raise non_finite(first + int(faults[0]))


def _greatest(values: Floats, count: int) -> list[int]:
    """Where the greatest of some values are, the first of equals first; NaN is none of them."""
    finite = np.flatnonzero(~np.isnan(values))
    if len(finite) > count:  # more are not sorted than have to be
        border = np.partition(values[finite], -count)[-count]
        finite = finite[values[finite] >= border]
    order = np.argsort(-values[finite], kind="stable")
    positions: list[int] = finite[order[:count]].tolist()
    return positions
