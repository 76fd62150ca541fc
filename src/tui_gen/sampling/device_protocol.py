"""Sampling on a device: the matrix of parameters that goes there, and the matrix of results that comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_gen.sampling.params import Floats, Mask, SamplingParams, Tokens, Weights

COLUMNS = 6
"""Of control, float64[batch, 6]: token to read, uniform number, temperature, top_k, top_p, min_p."""
FACTS = 3
"""Of report, float32[batch, 3 + 2 * top]: token, sum of all weights, 0 for finite logits; then ids, weights."""
TOP = 20
"""Likeliest tokens that a report names."""
QUICK_TOP_K = 256
"""A top_k up to which the likeliest tokens are found without sorting all."""
_LARGEST_ID = 2**24
"""Whole numbers up to here are exact in float32."""
_TINY = float(np.finfo(np.float32).tiny)
_BELOW_ONE = 1 - 2.0**-52
"""A factor with which no uniform number times a sum reaches that sum."""
_KEEP_ALL = 2.0
"""As top_p: no sum of probabilities reaches it."""


def can_report(vocab_size: int) -> bool:
    """Whether a report can name every token."""
    return vocab_size <= _LARGEST_ID


def report_shape(batch: int, vocab_size: int) -> tuple[int, int]:
    """Of a report."""
    return batch, FACTS + 2 * min(TOP, vocab_size)


class DeviceParams(NamedTuple):
    """Sampling parameters in the layout of the device's sampling graph."""

    columns: Floats
    """[batch, 4]"""
    greedy: Mask
    """[batch]: where the likeliest token is to be taken."""
    has_filters: bool
    """Whether more is asked for than a temperature."""
    needs_sort: bool
    """Whether a sampler for a top_k of at most `QUICK_TOP_K` does not do."""

    @classmethod
    def from_rows(cls, rows: Floats) -> DeviceParams:
        """rows: float64[batch, 4], temperature, top_k, top_p and min_p of each sample."""
        temperature, top_k, top_p, min_p = rows.T
        ks = np.where(top_k == 0, _LARGEST_ID, top_k)
        thresholds = np.where(top_p < 1, np.maximum(top_p, _TINY), _KEEP_ALL)
        columns = np.stack([np.maximum(temperature, _TINY), ks, thresholds, min_p], axis=1)
        has_filters = bool((top_k > 0).any() or (top_p < 1).any() or (min_p > 0).any())
        return cls(columns, temperature == 0, has_filters, not bool(((top_k > 0) & (top_k <= QUICK_TOP_K)).all()))

    def split(self, sizes: Sequence[int]) -> list[DeviceParams]:
        """Those of the parts of a batch, of so many samples each."""
        if len(sizes) == 1:
            return [self]
        borders = np.cumsum(sizes)[:-1]
        pairs = zip(np.split(self.columns, borders), np.split(self.greedy, borders), strict=True)
        return [self._replace(columns=columns, greedy=greedy) for columns, greedy in pairs]


class StepInput:
    """The control matrix of a step, float64[batch, 6], in memory of its own."""

    def __init__(self, batch: int) -> None:
        self.matrix = np.zeros((batch, COLUMNS))
        self.matrix[:, 2:] = DeviceParams.from_rows(SamplingParams().row()).columns
        self._params: DeviceParams | None = None

    def read(self, tokens: Tokens) -> NDArray[np.float64]:
        """Fills in the tokens and returns the control matrix, for a step that samples nothing."""
        self.matrix[:, 0] = tokens
        return self.matrix

    def sample(self, tokens: Tokens, uniform: Floats, params: DeviceParams) -> NDArray[np.float64]:
        """For a step and what is sampled after it. uniform: float64[batch] in [0, 1)."""
        if params is not self._params:
            self.matrix[:, 2:], self._params = params.columns, params
        self.matrix[:, 0] = tokens
        # At temperature 0 all but the likeliest weigh nothing, and 0 draws the first of these.
        self.matrix[:, 1] = np.where(params.greedy, 0.0, uniform * _BELOW_ONE)
        return self.matrix


class SampleReport:
    """What a device reports of a step that it sampled. raw: float32[batch, 3 + 2 * top], as it came back."""

    __slots__ = ("finite", "raw", "tokens")

    def __init__(self, raw: NDArray[np.float32]) -> None:
        self.raw = raw
        self.finite = not raw[:, 2].any()
        """Whether the model's logits can be sampled from."""
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
