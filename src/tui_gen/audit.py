"""What an exported image model really reads: an audit by its step function alone."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tui_gen.card import ImageSpec, ModelCard
from tui_gen.changing import Probe
from tui_gen.errors import UsageError
from tui_gen.model import Model
from tui_gen.sampling import Mask, Tokens

TRIALS = 3
"""Random images; a change that moves anything in any of them counts, so that units at rest in one hide nothing."""
BLOCK = 28
"""Pixels that are changed together at first; only those of blocks that matter are changed one by one."""
MAX_ROWS = 64
MAX_STATE_BYTES = 2**26
"""Of all rows of a batch together."""


@dataclass(frozen=True, eq=False)
class Audit:
    """Of a model that passed; with the receptive field of one pixel. Rows and columns count from 0."""

    row: int
    """Of that pixel. Every pixel before it was changed, by itself or together with neighbours."""
    column: int
    sees: Mask
    """[height, width]: whether a change of this pixel moves the logits of that one."""
    worst: float
    """The largest movement of a logit that nothing may move."""
    tolerance: float
    """Up to where such a movement is rounding."""

    @property
    def checked(self) -> str:
        """What was made sure of, for people."""
        return f"changed {self.earlier.sum():,} pixels, and nothing moved that must not"

    @property
    def field(self) -> str:
        """The size of the receptive field, for people."""
        earlier, seen, blind = (int(mask.sum()) for mask in (self.earlier, self.sees, self.blind_spot))
        return f"row {self.row}, column {self.column} sees {seen:,} of {earlier:,} earlier pixels; blind spot {blind:,}"

    @property
    def summary(self) -> str:
        """Both."""
        return f"{self.checked}; {self.field}"

    @property
    def earlier(self) -> Mask:
        """[height, width]: what is drawn before the pixel."""
        target = self.row * self.sees.shape[1] + self.column
        return (np.arange(self.sees.size) < target).reshape(self.sees.shape)

    @property
    def blind_spot(self) -> Mask:
        """[height, width]: earlier pixels that it does not see, though it sees as far up and as far to a side."""
        rows, columns = np.nonzero(self.sees)
        within = np.zeros_like(self.sees)
        if len(rows):
            reach = int(np.abs(columns - self.column).max())
            within[rows.min() :, max(0, self.column - reach) : self.column + reach + 1] = True
        unseen: NDArray[np.bool_] = within & self.earlier & ~self.sees
        return unseen


def audit(model: Model, card: ModelCard, *, seed: int = 0, seconds: float = 60.0) -> Audit:
    """Makes sure that samples do not influence each other and that no pixel moves logits at or before it.

    Also finds what a pixel in the middle of a row sees: of the last row, or of a higher one if about so many seconds
    are enough only for that. Raises TuiGenError that says where a logit moves that must not.
    """
    if card.image is None:
        raise UsageError(f"the audit is for models that draw; {card.name} writes text")
    rng, rows = np.random.default_rng(seed), _rows(model)
    target = _target(card.image, _seconds_per_row(model, card, rows), seconds)
    probes = [Probe(model, card, target, rng, rows=rows) for _ in range(TRIALS)]
    for probe in probes:
        probe.check_neighbours()
    blocks = _moving(probes, [np.arange(at, min(at + BLOCK, target)) for at in range(0, target, BLOCK)])
    seen = _moving(probes, [np.array([pixel]) for block in blocks for pixel in block])
    sees = np.zeros((card.image.height, card.image.width), dtype=bool)
    sees.flat[[pixel[0] for pixel in seen]] = True
    worst, tolerance = max(probe.worst for probe in probes), max(probe.tolerance for probe in probes)
    return Audit(*divmod(target, card.image.width), sees, worst, tolerance)


def _rows(model: Model) -> int:
    """Rows of a batch that take modest memory."""
    size = model.start(1).nbytes
    return max(2, min(MAX_ROWS, MAX_STATE_BYTES // max(1, size)))


def _seconds_per_row(model: Model, card: ModelCard, rows: int) -> float:
    """What a step takes in such a batch, once it has been run in."""
    tokens, state = np.full(rows, card.bos), model.start(rows)
    model.step(tokens, state)
    began = time.perf_counter()
    model.step(tokens, state)
    return (time.perf_counter() - began) / rows


def _target(image: ImageSpec, seconds_per_row: float, seconds: float) -> int:
    """The pixel in the middle of the last row for which there is time; that grows with the square of its number."""
    affordable = math.sqrt(seconds / (seconds_per_row * image.channels))
    row = min(image.height, max(1, int(affordable / image.width))) - 1
    return row * image.width + image.width // 2


def _moving(probes: Sequence[Probe], groups: Sequence[Tokens]) -> list[Tokens]:
    """The groups of pixels, in raster order, that matter to the target in any of the images."""
    moves = np.zeros(len(groups), dtype=bool)
    for probe in probes:
        left = np.flatnonzero(~moves).tolist()
        moves[left] = probe.moves([groups[index] for index in left])
    return [group for group, found in zip(groups, moves, strict=True) if found]
