"""The entries of one position in the order of their probability, and what the knobs make of them."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Literal

import numpy as np

from tui_gen.generate import FREE
from tui_gen.sampling import Logits, SamplingParams, Tokens, Weights
from tui_gen.step import Step

Made = Literal["", "drawn", "chosen", "given"]
"""How a token came to its place: drawn by the model, chosen by a person, given by the prompt; or there is none yet."""

_SORTED_AT_ONCE = 256
"""Looking further down a list than this sorts all of it."""


class Position:
    """One position of one sample, as a step tells of it."""

    def __init__(self, step: Step, *, place: int, sample: int = 0, chosen: bool = False) -> None:
        """place: which token after the prompt it is, from 0 on. chosen: whether a person chose its token.

        Raises TuiGenError for logits that are asked for only now and that the model cannot give.
        """
        self._step, self._sample, self.place = step, sample, place
        self._logits: Logits = step.logits[sample]
        token = int(step.tokens[sample])
        self.token = token if 0 <= token < len(self._logits) else FREE
        """What stands there; `FREE` where nothing does yet, or something that the model never predicts."""
        self.made: Made = "" if self.token == FREE else "chosen" if chosen else _made(step, sample)
        """How it came there."""

    def is_like(self, other: Position) -> bool:
        """Whether it is the same position, said by the same logits, though perhaps computed anew."""
        here, there = (self._step.index, self._sample), (other._step.index, other._sample)
        return here == there and np.array_equal(self._logits, other._logits)

    @cached_property
    def order(self) -> Order:
        """All entries, the likeliest first."""
        return Order(self._logits)

    @cached_property
    def raw(self) -> Shares:
        """The model's own probabilities: temperature 1, nothing cut."""
        return Shares(np.exp(self._logits - self._logits.max()))

    def now(self, knobs: SamplingParams | None) -> Shares:
        """The probabilities after these knobs; without any, after those that counted for the step."""
        if knobs is None or knobs == self._step.params:
            return Shares(_possible(self._step.weights[self._sample], self._step.params))
        return Shares(_possible(knobs.weights(self._logits[None])[0], knobs))


def _possible(made: Weights, knobs: SamplingParams) -> Weights:
    """Without a knob that cuts, what is 0 is only too small to be written."""
    cuts = knobs.temperature == 0 or knobs.top_k or knobs.top_p < 1 or knobs.min_p or type(knobs) is not SamplingParams
    return made if cuts else np.maximum(made, np.finfo(np.float32).tiny)


class Shares:
    """Weights [vocab] as probabilities that sum to 1."""

    def __init__(self, made: Weights) -> None:
        self._made, self._total = made, float(made.sum(dtype=np.float64))

    def of(self, token: int) -> float:
        """The probability of a token; 0 exactly if it cannot be drawn."""
        return float(self._made[token]) / self._total

    @cached_property
    def possible(self) -> int:
        """How many tokens can be drawn at all."""
        return int(np.count_nonzero(self._made))

    @cached_property
    def highest(self) -> float:
        """The probability of the likeliest token."""
        return float(self._made.max()) / self._total

    @cached_property
    def bits(self) -> float:
        """Entropy."""
        logs = np.log2(np.maximum(self._made, np.finfo(np.float32).tiny))
        return max(0.0, math.log2(self._total) - float(np.dot(self._made, logs)) / self._total)

    @property
    def equals(self) -> float:
        """Among how many equally likely tokens a choice would be as open: the effective vocabulary, 2^entropy."""
        return 2.0**self.bits


class Order:
    """Tokens by their logits, the highest first, lower ids first among equals; as few are sorted as are looked at.

    No knob changes the order: the temperature keeps it, and the filters cut from its end.
    """

    def __init__(self, logits: Logits) -> None:
        self._logits, self._sorted = logits, np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._logits)

    def part(self, first: int, past: int) -> list[int]:
        """The tokens of these ranks, from 0 on; fewer where the list ends."""
        past = min(past, len(self))
        if past > len(self._sorted):
            self._sorted = _highest(self._logits, past if past <= _SORTED_AT_ONCE else len(self))
        ranked: list[int] = self._sorted[first:past].tolist()
        return ranked

    def at(self, rank: int) -> int:
        """The token of a rank."""
        [token] = self.part(rank, rank + 1)
        return token

    def rank(self, token: int) -> int:
        """Where a token stands, from 0 on."""
        own = self._logits[token]
        return int(np.count_nonzero(self._logits > own) + np.count_nonzero(self._logits[:token] == own))


def _made(step: Step, sample: int) -> Made:
    return "given" if step.given[sample] else "drawn"


def _highest(logits: Logits, count: int) -> Tokens:
    if count >= len(logits):
        return np.argsort(-logits, kind="stable")
    border = np.partition(logits, -count)[-count]
    above = np.flatnonzero(logits > border)
    above = above[np.argsort(-logits[above], kind="stable")]
    return np.concatenate([above, np.flatnonzero(logits == border)[: count - len(above)]])
