"""How surprised a model is by what it reads: bits per token, their bands, their totals, and the greatest of them."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tui_gen.sampling import Floats, Tokens
from tui_gen.scoring import score
from tui_gen.stepper import Stepper

BANDS = (1.0, 3.0, 6.0, 10.0)
"""Bits at which the next band of surprise begins: a probability of 1 in 2, in 8, in 64, in 1024."""
TAIL = 40
"""Characters of the text before a token that are kept, at most, to show where it stands."""


@dataclass(frozen=True, slots=True)
class Surprise:
    """A token that was there already, and what the model thought of it."""

    index: int
    """Position among the tokens that were scored, from 0."""
    token: int
    """Its id."""
    text: str
    """What it stands for in the text, with the white space before it; empty for a token of a picture."""
    bits: float
    """Binary logarithm of 1 / probability, at temperature 1 and with nothing cut."""

    @property
    def logprob(self) -> float:
        """Natural logarithm of its probability."""
        return 0.0 - self.bits * math.log(2)  # subtracted, for a certain token has 0 and not -0


def bits(model: Stepper, tokens: Tokens) -> Floats:
    """Surprise at each token but the first, given those before it, in bits: float[samples, n - 1].

    tokens: int64[samples, n]; a text begins with the model's start token. Infinite for a token that the model never
    predicts. Raises TuiGenError for token ids that it cannot read.
    """
    return in_bits(score(model, tokens))


def in_bits(logprobs: Floats) -> Floats:
    """Natural logarithms of probabilities to bits of surprise, of any shape."""
    found: Floats = 0.0 - logprobs.astype(np.float64) / math.log(2)
    return found


def band(bits: float) -> int:
    """0 for a token that the model expected to 4 for one that it found all but impossible; `BANDS` are the borders."""
    return bisect_right(BANDS, bits)


@dataclass
class Totals:
    """Of all tokens so far."""

    unit: str
    """What is counted besides tokens: `character` or `pixel`."""
    units: int = 0
    """How many of them."""
    tokens: int = 0
    bits: float = 0.0

    def add(self, surprises: Iterable[Surprise]) -> None:
        """Counts these tokens too."""
        for surprise in surprises:
            self.tokens += 1
            self.bits += surprise.bits

    @property
    def perplexity(self) -> float:
        """Per token: among how many equally likely tokens a choice would be as hard. NaN for none, or infinite."""
        return _power_of_two(self.bits / self.tokens) if self.tokens else math.nan

    @property
    def bits_per_unit(self) -> float:
        """NaN for none."""
        return self.bits / self.units if self.units else math.nan


def _power_of_two(exponent: float) -> float:
    return math.inf if exponent >= 1024 else 2.0**exponent


@dataclass(frozen=True, slots=True)
class Place:
    """A surprising token, and the text that stands right before it."""

    surprise: Surprise
    before: str


class Greatest:
    """Keeps the most surprising tokens of any number, with a few words before each."""

    def __init__(self, count: int = 10) -> None:
        self._count, self._heap, self._tail = count, list[tuple[float, int, Place]](), ""

    def add(self, surprise: Surprise) -> None:
        """Takes the next token."""
        entry = (surprise.bits, -surprise.index, Place(surprise, self._tail))
        if len(self._heap) < self._count:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)
        self._tail = (self._tail + surprise.text[-TAIL:])[-TAIL:]

    def ranked(self) -> list[Place]:
        """The most surprising first; of equals, the earlier."""
        return [place for _, _, place in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]
