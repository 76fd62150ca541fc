"""The random numbers of a run: one stream a sample, one number a sampled token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tui_gen.errors import TuiGenError
from tui_gen.sampling.params import Floats, Mask, Tokens

_AHEAD = 64
"""Random numbers of a sample that are made at once."""


class Noise:
    """Uniform numbers for the samples of a run: one independent stream per sample, so that sample 3 of a run of 8
    equals sample 3 of a run of 4, and exactly one number per sampled token.
    """

    def __init__(
        self,
        seed: int | Sequence[int],
        samples: int,
        draws: Tokens | None = None,
        *,
        numbers: Sequence[int] | None = None,
        shared: bool = False,
    ) -> None:
        """seed: of the run; or of each sample, which then equals the only one of a run with that seed. draws:
        int64[samples], how many random numbers each sample has taken before; 0, if nothing is said. numbers: which
        samples of the seed these are; the first ones, if nothing is said. shared: every sample reads the first one's
        stream, each at a place of its own. Raises TuiGenError for a negative seed or number.
        """
        seeds = [seed] * samples if isinstance(seed, int) else seed
        first = range(samples) if isinstance(seed, int) else [0] * samples
        which = first if numbers is None else numbers
        streams = list(zip(seeds, [which[0]] * samples if shared else which, strict=True))
        for name, values in (("seed", seeds), ("number of a sample", which)):
            if min(values) < 0:
                raise TuiGenError(f"the {name} must be 0 or more, not {min(values)}")
        counts = [0] * samples if draws is None else draws.tolist()
        self._streams = [_stream(*stream, count) for stream, count in zip(streams, counts, strict=True)]
        self._ahead = np.empty((samples, _AHEAD))
        self._place: int | None = _AHEAD
        """Of the next number in the rows of those that come, as long as all samples draw; from then on None, and each
        row has its own."""
        self._places = np.zeros(samples, dtype=np.int64)
        self._rows = np.arange(samples)

    def uniform(self, mask: Mask) -> Floats:
        """The next number in [0, 1) of every sample of the mask, 0 for the others: float64[samples]."""
        if self._place is None or not mask.item(mask.argmin()):
            return self._uniform_of_some(mask)
        if self._place == _AHEAD:
            self._ahead, self._place = np.stack([stream.random(_AHEAD) for stream in self._streams]), 0
        self._place += 1
        return self._ahead[:, self._place - 1]

    def _uniform_of_some(self, mask: Mask) -> Floats:
        if self._place is not None:
            self._places[:], self._place = self._place, None
        for row in np.flatnonzero(mask & (self._places == _AHEAD)):
            self._ahead[row], self._places[row] = self._streams[row].random(_AHEAD), 0
        numbers = np.where(mask, self._ahead[self._rows, self._places % _AHEAD], 0.0)
        self._places += mask
        return numbers


def _stream(seed: int, sample: int, position: int) -> np.random.Generator:
    bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(sample,)))
    return np.random.Generator(bits.advance(position) if position else bits)
