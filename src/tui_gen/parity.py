"""Whether two ways to run a model give the same: token by token, and where they part, how near the choice was."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tui_gen.drawing import Drawer, Turn
from tui_gen.model import Model
from tui_gen.sampling import Floats, Logits, SamplingParams, Tokens, probabilities

NEAR = 1e-4
"""A probability by which a random number may miss the border between two tokens for the choice to be a near-tie."""


@dataclass(frozen=True)
class Flip:
    """A position where, after the same tokens and by the same random number, one model draws another token."""

    index: int
    tokens: tuple[int, int]
    probabilities: tuple[tuple[float, float], tuple[float, float]]
    """Of both tokens, by the one model and by the other."""
    distance: float
    """Of the random number from the border between the tokens; of a greedy choice, between the probabilities."""

    @property
    def is_near_tie(self) -> bool:
        """Whether rounding decided."""
        return self.distance < NEAR

    def __str__(self) -> str:
        one, other = ("/".join(f"{share:.7f}" for share in pair) for pair in self.probabilities)
        return f"token {self.index}: {self.tokens[0]} or {self.tokens[1]}, {one} by the one and {other} by the other"


@dataclass
class Comparison:
    """What a comparison found."""

    tokens: int = 0
    largest: float = 0.0
    """The largest difference between two logits."""
    flips: list[Flip] = field(default_factory=list)


def compare(one: Model, other: Model, *, tokens: int, params: SamplingParams, seed: int = 0) -> Comparison:
    """Runs both over the same tokens, those that `one` draws; pictures are begun again when they are full."""
    found, noise = Comparison(), params.noise(seed, 1)
    everyone = np.ones(1, dtype=bool)
    area = one.card.image.area if one.card.image else tokens
    drawers = Drawer(one), Drawer(other)
    for index in range(tokens):
        if index % area == 0:
            token, states = np.array([one.card.bos]), [one.start(1), other.start(1)]
        uniform = noise.draw(everyone)
        turns = [
            drawer.draw(index + 1, token, state, uniform, params) for drawer, state in zip(drawers, states, strict=True)
        ]
        _note(found, index + 1, turns, uniform, params)
        token, states = turns[0].tokens, [turn.state for turn in turns]
    return found


def _note(found: Comparison, index: int, turns: list[Turn], uniform: Floats, params: SamplingParams) -> None:
    logits = [_logits(turn) for turn in turns]
    found.tokens += 1
    found.largest = max(found.largest, float(np.abs(logits[0] - logits[1]).max()))
    drawn = (int(turns[0].tokens[0]), int(turns[1].tokens[0]))
    if drawn[0] != drawn[1]:
        shares = [probabilities(said, params if params.temperature else SamplingParams())[0] for said in logits]
        of_both = [(float(row[drawn[0]]), float(row[drawn[1]])) for row in shares]
        plain = probabilities(logits[0], SamplingParams())[0]
        distance = abs(float(plain[drawn[0]] - plain[drawn[1]]))
        if params.temperature and all(of_both[0]):  # else the greater one is taken, or kept by a filter
            distance = _distance(shares[0], drawn, float(uniform[0]))
        found.flips.append(Flip(index, drawn, (of_both[0], of_both[1]), distance))


def _distance(shares: Floats, drawn: tuple[int, int], uniform: float) -> float:
    borders = shares.cumsum()[min(drawn) : max(drawn)]
    return float(np.abs(borders - uniform).min())


def _logits(turn: Turn) -> Logits:
    return turn.said() if callable(turn.said) else turn.said


def greedy(model: Model, *, tokens: int) -> Tokens:
    """The likeliest tokens one after another, int64[tokens]; they may go on past an end token or a full picture."""
    made, token, state, drawer = [], np.array([model.card.bos]), model.start(1), Drawer(model)
    for index in range(tokens):
        turn = drawer.draw(index + 1, token, state, np.zeros(1), SamplingParams(0))
        token, state = turn.tokens, turn.state
        made.append(token)
    return np.concatenate(made)
