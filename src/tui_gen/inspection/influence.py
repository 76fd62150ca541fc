"""Influence: what a prediction rests on, measured by exchanging earlier tokens and reading again.

It works for every model that keeps the contract, and is measured, not derived: no gradient is taken.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tui_gen.card import ImageSpec, ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch
from tui_gen.generation.protocol import State, StepModel, state_after
from tui_gen.images.picture import first_pixel
from tui_gen.inspection.receptive_field import taps_field
from tui_gen.sampling.params import Floats, Logits, Mask, Tokens, log_softmax

_ROWS = 64
"""Changed copies of a text that are read in one batch."""
_STATE_BYTES = 2**26
"""Of all rows of a batch together."""
_SECONDS = 4.0
"""Of all rows of a batch, one by one; so many at once take a fraction of it."""
_EVERY = 32
"""Positions between states that are kept of the text as it is."""
_PIECE = 64
"""Tokens that are read before somebody is asked whether to go on."""
_BLOCKS = 64
"""Into which a picture is divided at first, at most."""
_MOST = 0.9
_NOTHING = 1e-6
"""Bits below which a block moves nothing but by rounding."""


@dataclass(frozen=True, eq=False)
class Exchange:
    """Tokens at some positions that are exchanged together, and what that did to the prediction."""

    positions: Tokens
    bits: float
    """Kullback-Leibler divergence of the distribution after the exchange from the one before it, in bits."""


class Influence:
    """Of the tokens before a position on the prediction there."""

    def __init__(self, model: StepModel, tokens: Tokens, vocab_size: int, *, start: State | None = None) -> None:
        """tokens: int64[n], n >= 2: all that the prediction is made from. vocab_size: ids below it may be exchanged;
        others, such as conditions and what begins a picture, stay. start: the state before them, of a single row,
        where they are not the first. Raises TuiGenError where the model fails.
        """
        if len(tokens) < 2:
            raise TuiGenError("a prediction after a single token rests on nothing else")
        self.tokens = tokens
        self._model = model
        self._states: dict[int, State] = {}
        began = time.perf_counter()
        logits = self._read(start or model.start(1))
        seconds = time.perf_counter() - began
        self._others = _likeliest_others(logits[:-1], tokens[1:])
        """[n - 1]: what stands in place of each token from the second on while it is exchanged."""
        self._logprobs = log_softmax(logits[-1:])[0]
        self.exchangeable = np.flatnonzero(tokens[1:] < vocab_size) + 1
        """Positions of the tokens that can be exchanged, in order."""
        rows = min(_ROWS, _STATE_BYTES // max(1, self._states[0].nbytes), int(_SECONDS / seconds))
        self._most_rows = max(1, rows)

    @classmethod
    def on_branch(cls, branch: Branch, first: int, past: int, sample: int, vocab_size: int) -> Influence:
        """Of the tokens at positions from first on, on what follows them; whatever is done to the branch's state."""
        tokens = branch.tokens[first:past, sample].astype(np.int64)
        [start] = branch.states(first, first)
        return cls(branch.model, tokens, vocab_size, start=start.rows([sample]))

    def replace(self, positions: Tokens, token: int) -> None:
        """From now on this token, not the likeliest other one, takes the place of those at some positions."""
        self._others[positions - 1] = token

    def measure(self, groups: Sequence[Tokens]) -> Iterator[list[Exchange]]:
        """Exchanges the positions of each group together, the groups that reach back least first, some at a time.

        In between it yields nothing now and then, so that one may stop.
        """
        order = sorted(groups, key=lambda group: -int(group.min()))
        for first in range(0, len(order), self._most_rows):
            yield from self._exchanges(order[first : first + self._most_rows])

    def _exchanges(self, groups: Sequence[Tokens]) -> Iterator[list[Exchange]]:
        start = max(at for at in self._states if at <= min(int(group.min()) for group in groups))
        rows = np.repeat(self.tokens[None, start:], len(groups), axis=0)
        for row, group in zip(rows, groups, strict=True):
            row[group - start] = self._others[group - 1]
        state = self._states[start].rows([0] * len(groups))
        for at in range(0, rows.shape[1] - 1, _PIECE):
            state = state_after(self._model, rows[:, at : min(at + _PIECE, rows.shape[1] - 1)], state)
            yield []
        logits, _ = self._model.step(rows[:, -1], state)
        changed = log_softmax(logits)
        bits = (np.exp(self._logprobs) * (self._logprobs - changed)).sum(axis=1) / np.log(2)
        yield [Exchange(*pair) for pair in zip(groups, np.maximum(bits, 0).tolist(), strict=True)]

    def _read(self, state: State) -> Logits:
        """Logits after every token, [n, vocab]; keeps states on the way."""
        rows = []
        for index, token in enumerate(self.tokens):
            if index % _EVERY == 0:
                self._states[index] = state
            logits, state = self._model.step(np.array([token]), state)
            rows.append(logits[0])
        return np.stack(rows)


def _likeliest_others(logits: Logits, tokens: Tokens) -> Tokens:
    """The likeliest token of each row [n, vocab] but for the one that stands there."""
    others = logits.copy()
    inside = tokens < others.shape[1]
    others[np.flatnonzero(inside), tokens[inside]] = -np.inf
    result: Tokens = others.argmax(axis=1)
    return result


class Block(NamedTuple):
    """A square of a picture, its first row and column, and the pixels along its side; some may lie beyond the edge."""

    row: int
    column: int
    side: int

    @property
    def place(self) -> tuple[slice, slice]:
        """In an array of pixels."""
        return slice(self.row, self.row + self.side), slice(self.column, self.column + self.side)

    @property
    def quarters(self) -> list[Block]:
        half = self.side // 2
        return [Block(self.row + down, self.column + right, half) for down in (0, half) for right in (0, half)]


@dataclass(frozen=True, eq=False)
class PictureInfluence:
    """What the prediction of a value of a picture rests on, as far as it is measured. Arrays are [height, width]."""

    image: ImageSpec
    value: int
    """Which of the picture's tokens is predicted; counted from 0, as of `ImageSpec.place`."""
    reach: Mask
    """Earlier pixels that the layers can see by their taps: all earlier ones where the card does not tell."""
    bits: Floats
    """Of the exchange of the block that a pixel lies in; NaN where nothing is measured, and out of reach."""
    sides: Tokens
    """Pixels along a side of that block; 1 where the pixel itself was exchanged, or its block moved nothing."""
    prompt: float | None = None
    """Bits of the prompt as a whole, which is taken away; None where there is none, or it is not measured yet."""

    def largest(self, count: int) -> list[tuple[Block, float]]:
        """The pixels, or blocks that are not divided yet, that have the most bits."""
        largest = dict[Block, float]()
        for pixel in np.argsort(-self.bits, axis=None, kind="stable").tolist():
            bits, side = float(self.bits.flat[pixel]), int(self.sides.flat[pixel])
            if len(largest) == count or not bits > 0:
                break
            row, column = divmod(pixel, self.bits.shape[1])
            largest[Block(row - row % side, column - column % side, side)] = bits
        return list(largest.items())

    @property
    def carrying(self) -> int:
        """How many pixels, the largest first, carry nine tenths of the bits of all."""
        bits = np.sort(self.bits[self.bits > 0])[::-1]
        return int(np.searchsorted(bits.cumsum(), _MOST * bits.sum())) + 1 if len(bits) else 0

    @property
    def rough(self) -> Mask:
        """Where more is to be measured."""
        unfinished: Mask = self.reach & (np.isnan(self.bits) | (self.sides > 1))
        return unfinished


class PictureExchanges:
    """Exchanges the prompt and the pixels before a value of a picture, by blocks first, then finer.

    All channels of a pixel are exchanged together. A block that moves nothing is divided no further: that its pixels do
    not cancel each other to the last digit is assumed. What the layers cannot see by their taps is not exchanged;
    whether the graph keeps to them is what an audit measures.
    """

    def __init__(self, influence: Influence, card: ModelCard) -> None:
        """influence: on the prediction of the value, of all tokens of the run from the first one on."""
        assert card.image
        tokens, image, self._influence, self._image = influence.tokens, card.image, influence, card.image
        self._first = first_pixel(tokens[None], image)
        self._value = len(tokens) - self._first
        self._prompt = np.flatnonzero(np.isin(tokens[: self._first], image.conditions))
        influence.replace(self._prompt, card.bos)
        self._reach = _reach(image, self._value)
        self._bits = np.full(self._reach.shape, np.nan)
        self._sides = np.zeros(self._reach.shape, dtype=np.int64)
        self._prompt_bits: float | None = None
        self._divisible: list[tuple[float, Block]] = []

    def measure(self) -> Iterator[PictureInfluence]:
        """What is known after each part, the same again now and then, so that one may stop in between."""
        known = self._known()
        yield known
        for part in self._parts():
            known = self._known() if part else known
            yield known

    def _parts(self) -> Iterator[list[Exchange]]:
        yield from self._exchange(_first_blocks(self._reach))
        if len(self._prompt):  # by itself, for it stands farther back than any pixel
            for part in self._influence.measure([self._prompt]):
                self._prompt_bits = part[0].bits if part else None
                yield part
        while self._divisible:
            self._divisible.sort(key=lambda pair: pair[0])
            largest = [self._divisible.pop()[1] for _ in range(min(_ROWS // 4, len(self._divisible)))]
            yield from self._exchange([quarter for block in largest for quarter in block.quarters])

    def _exchange(self, blocks: Sequence[Block]) -> Iterator[list[Exchange]]:
        groups = {int(places[0]): (block, places) for block in blocks if len(places := self._positions(block))}
        for part in self._influence.measure([places for _, places in groups.values()]):
            for exchange in part:
                self._note(exchange.bits, groups[int(exchange.positions[0])][0])
            yield part

    def _note(self, bits: float, block: Block) -> None:
        reach = self._reach[block.place]
        is_divisible = block.side > 1 and bits >= _NOTHING
        self._bits[block.place][reach] = bits
        self._sides[block.place][reach] = block.side if is_divisible else 1
        if is_divisible:
            self._divisible.append((bits, block))

    def _known(self) -> PictureInfluence:
        return PictureInfluence(
            self._image, self._value, self._reach, self._bits.copy(), self._sides.copy(), self._prompt_bits
        )

    def _positions(self, block: Block) -> Tokens:
        """Of all values of its pixels that can matter, in order."""
        rows, columns = np.nonzero(self._reach[block.place])
        pixels = (rows + block.row) * self._image.width + columns + block.column
        values = (pixels[:, None] * self._image.channels + np.arange(self._image.channels)).ravel()
        return self._first + values[values < self._value]


def _reach(image: ImageSpec, value: int) -> Mask:
    """Of a pixel whose first channels are known, itself, too."""
    pixel, channel = divmod(value, image.channels)
    try:
        reach = taps_field(image, pixel)
    except TuiGenError:  # the card does not tell
        reach = (np.arange(image.height * image.width) < pixel).reshape(image.height, image.width)
    reach.flat[pixel] = channel > 0
    return reach


def _first_blocks(reach: Mask) -> list[Block]:
    """Of equal size, as small as possible."""
    height, width = reach.shape
    side = 1
    while -(-height // side) * -(-width // side) > _BLOCKS:
        side *= 2
    return [Block(row, column, side) for row in range(0, height, side) for column in range(0, width, side)]
