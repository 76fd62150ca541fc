"""What goes to a device that samples by itself, and what comes back: one small matrix each way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_gen.sampling.params import Floats, Mask, Tokens, Weights

COLUMNS = 6
"""Of control, float64[batch, 6]: token to read, uniform number, temperature, top_k, top_p, min_p."""
FACTS = 3
"""Of report, float32[batch, 3 + 2 * top]: token, sum of all weights, 0 for finite logits; then ids, weights."""
TOP = 20
"""Likeliest tokens that a report names."""
NARROW = 256
"""A top_k up to which tokens are found quickly."""
_LARGEST_ID = 2**24
"""Whole numbers up to here are exact in float32."""
_TINY = float(np.finfo(np.float32).tiny)
_BELOW_ONE = 1 - 2.0**-52
"""A factor with which no uniform number times a sum reaches that sum."""
_KEEP_ALL = 2.0
"""As top_p: no sum of probabilities reaches it."""


class SampleReport:
    """What sampling says of a step. raw: float32[batch, 3 + 2 * top], as it came back."""

    __slots__ = ("finite", "raw", "tokens")

    def __init__(self, raw: NDArray[np.float32]) -> None:
        self.raw = raw
        self.finite = not raw[:, 2].any()
        """Whether the model gave numbers that can be sampled from."""
        self.tokens: Tokens = raw[:, 0].astype(np.int64) if self.finite else np.zeros(len(raw), dtype=np.int64)
        """[batch]"""

    @property
    def total(self) -> Weights:
        """[batch]: the sum of the weights of all tokens; the likeliest weighs 1."""
        return self.raw[:, 1]

    @property
    def top(self) -> Tokens:
        """[batch, at most 20]: the likeliest tokens by the model's logits, likeliest first."""
        return self.raw[:, FACTS : self._middle].astype(np.int64)

    @property
    def weights(self) -> Weights:
        """[batch, at most 20]: what these were drawn by, after all knobs."""
        return self.raw[:, self._middle :]

    @property
    def _middle(self) -> int:
        return (self.raw.shape[1] + FACTS) // 2


class DeviceParams(NamedTuple):
    """Knobs as they are sent."""

    columns: Floats
    """[batch, 4]"""
    cold: Mask
    """[batch]: where the likeliest token is to be taken."""
    filtered: bool
    """Whether more is asked for than a temperature."""
    sorts: bool
    """Whether a sampler for a top_k of at most `NARROW` does not do."""

    @classmethod
    def at(cls, knobs: Floats) -> DeviceParams:
        """knobs: float64[batch, 4], temperature, top_k, top_p and min_p of each sample."""
        temperature, top_k, top_p, min_p = knobs.T
        kept = np.where(top_k == 0, _LARGEST_ID, top_k)
        reached = np.where(top_p < 1, np.maximum(top_p, _TINY), _KEEP_ALL)
        columns = np.stack([np.maximum(temperature, _TINY), kept, reached, min_p], axis=1)
        filtered = bool((top_k > 0).any() or (top_p < 1).any() or (min_p > 0).any())
        return cls(columns, temperature == 0, filtered, not bool(((top_k > 0) & (top_k <= NARROW)).all()))

    def split(self, sizes: Sequence[int]) -> list[DeviceParams]:
        """Of samples one after another, so many each."""
        if len(sizes) == 1:
            return [self]
        borders = np.cumsum(sizes)[:-1]
        pairs = zip(np.split(self.columns, borders), np.split(self.cold, borders), strict=True)
        return [self._replace(columns=columns, cold=cold) for columns, cold in pairs]


class StepInput:
    """What is sent for a step: float64[batch, 6], in memory of its own."""

    def __init__(self, batch: int) -> None:
        self.sent = np.zeros((batch, COLUMNS))
        self.sent[:, 2:] = DeviceParams.at(np.tile([1.0, 0.0, 1.0, 0.0], (batch, 1))).columns
        self._aim: DeviceParams | None = None

    def read(self, tokens: Tokens) -> NDArray[np.float64]:
        """For a step where nothing has to be drawn."""
        self.sent[:, 0] = tokens
        return self.sent

    def draw(self, tokens: Tokens, uniform: Floats, aim: DeviceParams) -> NDArray[np.float64]:
        """For a step and what is drawn after it. uniform: float64[batch] in [0, 1)."""
        if aim is not self._aim:
            self.sent[:, 2:], self._aim = aim.columns, aim
        self.sent[:, 0] = tokens
        # At temperature 0 all but the likeliest weigh nothing, and 0 draws the first of these.
        self.sent[:, 1] = np.where(aim.cold, 0.0, uniform * _BELOW_ONE)
        return self.sent


def report_shape(batch: int, vocab_size: int) -> tuple[int, int]:
    """Of what comes back."""
    return batch, FACTS + 2 * min(TOP, vocab_size)


def is_possible(vocab_size: int) -> bool:
    """Whether a report can name every token."""
    return vocab_size <= _LARGEST_ID
