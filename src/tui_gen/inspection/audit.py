"""Audits the causality of an image model, and measures its receptive field, by perturbing what it reads."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tui_gen.card import ImageSpec, ModelCard
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.inspection.receptive_field import ReceptiveField, field_of
from tui_gen.runtime.model import Model, RunState
from tui_gen.sampling.params import Logits, Mask, Tokens

TRIALS = 3
"""Random images; a change that moves anything in any of them counts, so that units at rest in one hide nothing."""
BLOCK = 28
"""Pixels that are changed together at first; only those of blocks that matter are changed one by one."""
MAX_ROWS = 64
MAX_STATE_BYTES = 2**26
"""Of all rows of a batch together."""
TOLERANCE = 1e-5
"""Of the range of the logits, or of 1 if they keep within less; rounding may move them so far."""
NOISE_MARGIN = 10
"""A pixel matters if it moves logits by so many times the rounding that was found where nothing may move them."""
_OUTER = [0, 3]
"""Of four rows."""


@dataclass(frozen=True, eq=False)
class Audit:
    """Of a model that passed; with the receptive field of one pixel."""

    field: ReceptiveField
    """What moves that pixel's logits. Every pixel before it was changed, by itself or together with neighbours."""
    worst: float
    """The largest movement of a logit that nothing may move."""
    tolerance: float
    """Up to where such a movement is rounding."""
    by_taps: ReceptiveField | None = None
    """What it can see by the taps of its layers; None where the card does not tell them."""

    @property
    def checked(self) -> str:
        """What was made sure of, for people."""
        return f"changed {self.field.earlier.sum():,} pixels, and nothing moved that must not"

    @property
    def difference(self) -> str:
        """What measured and taps say of each other, for people."""
        if not self.by_taps:
            return "the card does not tell which places the layers look at"
        at_rest, beyond = self.by_taps.sees & ~self.field.sees, self.field.sees & ~self.by_taps.sees
        if beyond.any():
            return f"the taps of the layers leave out {beyond.sum():,} of them: the card does not tell all their links"
        if at_rest.any():
            return f"the taps of the layers reach {at_rest.sum():,} more, which moved nothing: weights there are near 0"
        return "the taps of the layers say the same"

    @property
    def summary(self) -> str:
        """`checked` and the field in one line."""
        return f"{self.checked}; {self.field.summary}"


def audit(model: Model, card: ModelCard, *, seed: int = 0, seconds: float = 60.0) -> Audit:
    """Makes sure that samples do not influence each other and that no pixel moves logits at or before it.

    Also finds what a pixel in the middle of a row sees: of the last row, or of a higher one if about so many seconds
    are enough only for that. Raises TuiGenError that says where a logit moves that must not.
    """
    if card.image is None:
        raise UsageError(f"the audit is for models that draw; {card.name} writes text")
    rng, rows = np.random.default_rng(seed), _rows(model)
    target = _target(card.image, _seconds_per_row(model, card, rows), seconds)
    perturbations = [Perturbation(model, card, target, rng, rows=rows) for _ in range(TRIALS)]
    for perturbation in perturbations:
        perturbation.check_neighbours()
    blocks = _moving(perturbations, [np.arange(at, min(at + BLOCK, target)) for at in range(0, target, BLOCK)])
    visible = _moving(perturbations, [np.array([pixel]) for block in blocks for pixel in block])
    sees = np.zeros((card.image.height, card.image.width), dtype=bool)
    sees.flat[[pixel[0] for pixel in visible]] = True
    worst = max(perturbation.worst for perturbation in perturbations)
    tolerance = max(perturbation.tolerance for perturbation in perturbations)
    field = ReceptiveField(*divmod(target, card.image.width), sees)
    return Audit(field, worst, tolerance, field_of(card.image, target))


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


def _moving(perturbations: Sequence[Perturbation], groups: Sequence[Tokens]) -> list[Tokens]:
    """The groups of pixels, in raster order, that matter to the target in any of the images."""
    moves = np.zeros(len(groups), dtype=bool)
    for perturbation in perturbations:
        rest = np.flatnonzero(~moves).tolist()
        moves[rest] = perturbation.moves([groups[index] for index in rest])
    return [group for group, matters in zip(groups, moves, strict=True) if matters]


class Perturbation:
    """One random image up to a target pixel (a number in raster order), whose earlier pixels are changed to see which
    logits move. A batch has 2 to `rows` rows.

    Places are positions in the sequence that a model reads: the prompt, with one condition at random, then the image.
    """

    def __init__(self, model: Model, card: ModelCard, target: int, rng: np.random.Generator, *, rows: int) -> None:
        assert card.image
        self._model, self._image, self._rng, self._rows = model, card.image, rng, rows
        condition = rng.permutation(np.array(card.image.conditions, dtype=np.int64))[:1]
        prompt = np.array([card.bos, *condition, *card.image.warm_up])
        values = rng.integers(card.image.levels, size=(target + 1) * card.image.channels)
        self._first, self._target = len(prompt), target
        self._tokens = np.concatenate([prompt, values[:-1]])  # what comes after the target's logits is never read
        self._range = 1.0
        self.worst = 0.0
        """The largest movement so far of a logit that nothing may move."""

    @property
    def tolerance(self) -> float:
        """Up to where a movement is rounding."""
        return TOLERANCE * self._range

    def check_neighbours(self) -> None:
        """Raises TuiGenError if the outer two of four samples notice that the inner two change."""
        begin = self._place(int(self._rng.integers(self._target // 2 + 1)))
        same = np.repeat(self._tokens[None], 4, axis=0)
        other = same.copy()
        other[1:3, begin:] = self._rng.integers(self._image.levels, size=other[1:3, begin:].shape)
        state = other_state = self._model.start(4)
        for place in range(len(self._tokens)):
            logits, state = self._step(same[:, place], state)
            other_logits, other_state = self._step(other[:, place], other_state)
            distance = _distance(other_logits[_OUTER], logits[_OUTER])
            self._check(distance, place + 1, [begin] * 2, "only the samples beside it differ, from {} on")

    def moves(self, groups: Sequence[Tokens]) -> Mask:
        """Whether changing all pixels of a group moves the target's logits; for groups in raster order.

        Raises TuiGenError if it moves logits that come before.
        """
        masks, state, read = [np.zeros(0, dtype=bool)], self._model.start(1), 0
        for at in range(0, len(groups), self._rows - 1):
            some = groups[at : at + self._rows - 1]
            begin = self._place(int(some[0][0]))  # until there all rows are alike, so one is enough
            for token in self._tokens[read:begin]:
                _, state = self._step(np.array([token]), state)
            masks.append(self._compare(some, state, begin))
            read = begin
        return np.concatenate(masks)

    def _compare(self, groups: Sequence[Tokens], state: RunState, begin: int) -> Mask:
        """The same for one batch. state: of one row, before it reads the token at `begin`."""
        rows, firsts = self._perturb(groups), np.array([self._place(int(group[0])) for group in groups])
        state = state.rows([0] * len(rows))
        farthest = np.zeros(len(groups), dtype=np.float32)
        for place in range(begin, len(self._tokens)):
            logits, state = self._step(rows[:, place], state)
            distance, still = _distance(logits[1:], logits[:1]), firsts > place
            self._check(distance[still], place + 1, firsts[still].tolist(), "nothing before {} differs")
            if place + 1 >= self._place(self._target):
                farthest = np.maximum(farthest, distance)
        moves: Mask = farthest > NOISE_MARGIN * self.worst
        return moves

    def _perturb(self, groups: Sequence[Tokens]) -> Tokens:
        """The sequence, then once more per group, with other levels in all channels of the group's pixels."""
        channels, levels = self._image.channels, self._image.levels
        rows = np.repeat(self._tokens[None], 1 + len(groups), axis=0)
        for row, group in zip(rows[1:], groups, strict=True):
            places = (self._first + group[:, None] * channels + np.arange(channels)).ravel()
            row[places] = (row[places] + self._rng.integers(1, levels, size=len(places))) % levels
        return rows

    def _step(self, tokens: Tokens, state: RunState) -> tuple[Logits, RunState]:
        logits, state = self._model.step(np.ascontiguousarray(tokens), state)
        if not np.isfinite(logits).all():
            raise TuiGenError("the model's logits are not finite: its weights are damaged or it overflows")
        self._range = max(self._range, float(np.ptp(logits)))
        return logits, state

    def _check(self, distance: NDArray[np.float32], place: int, changed: Sequence[int], differs: str) -> None:
        """Raises TuiGenError if the logits at `place` moved. changed: per row, the first place that differs."""
        if not len(distance):
            return
        row = int(distance.argmax())
        self.worst = max(self.worst, float(distance[row]))
        if distance[row] > self.tolerance:
            raise TuiGenError(
                f"samples of a batch influence each other: the logits at {self._name(place)} move by "
                f"{distance[row]:.2g} although {differs.format(self._name(changed[row]))}; export the model again "
                "without what mixes samples, such as batch normalisation in training or int8 scales of a whole batch"
            )

    def _place(self, pixel: int) -> int:
        """Of its first token."""
        return self._first + pixel * self._image.channels

    def _name(self, place: int) -> str:
        row, column, _ = self._image.place(max(0, place - self._first))
        return f"row {row}, column {column}"


def _distance(logits: Logits, others: Logits) -> NDArray[np.float32]:
    """How far the logits of each row are from the others' at most."""
    distances: NDArray[np.float32] = np.abs(logits - others).max(axis=1)
    return distances
