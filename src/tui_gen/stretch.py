"""Consecutive steps of a run in little memory: what was made, how, and a few states from which to go back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_gen.sampling import Mask, SamplingParams, Tokens
from tui_gen.step import Step

STATE_BYTES_PER_TOKEN = 1024
"""How much of the kept states may fall on each token."""
LEAST_SPACING = 16


def spacing(state_bytes: int) -> int:
    """Every how many tokens a state of so many bytes, of one sample, is kept."""
    return max(LEAST_SPACING, -(-state_bytes // STATE_BYTES_PER_TOKEN))


class Stretch:
    """Collects steps one by one; afterwards has them as arrays over positions. Keeps the newest step as a whole."""

    def __init__(self, every: int) -> None:
        """every: positions between states that are kept."""
        self._every, self._due = every, 0
        self._tokens, self._given, self._live = list[Tokens](), list[Mask](), list[Mask]()
        self.newest: Step | None = None
        """The last step."""
        self.telling: Step | None = None
        """The last step in which the first sample still ran."""
        self.states: dict[int, Any] = {}
        """States before the tokens at some positions."""
        self.turns: list[tuple[int, SamplingParams]] = []
        """Positions from which on other knobs counted; the first position is one of them."""
        self.seconds = 0.0
        """What model and sampling took."""
        self.sampled = 0
        """Steps whose token was sampled for some sample."""

    def append(self, step: Step) -> None:
        """Takes the next step."""
        self._tokens.append(step.tokens)
        self._given.append(step.given)
        self._live.append(step.live)
        if step.index >= self._due and not callable(step.kept):
            self.states[step.index], self._due = _kept(step.state), step.index + self._every
        if self.newest is None or step.params is not self.newest.params:
            self.turns.append((step.index, step.params))
        if step.live[0]:
            self.telling = step
        self.seconds += step.seconds
        self.sampled += step.sampled
        self.newest = step

    def settle(self) -> None:
        """Fetches what a screen asks of the newest steps while the device that sampled them has it at hand."""
        for step in (self.newest, self.telling):
            if step and step.report:
                _ = step.logits

    def __len__(self) -> int:
        """Steps."""
        return len(self._tokens)

    @property
    def first(self) -> int:
        """Position of the first step."""
        return self.newest.index - len(self) + 1 if self.newest else 0

    @property
    def tokens(self) -> Tokens:
        """What was made, int64[steps, samples]."""
        return np.array(self._tokens)

    @property
    def given(self) -> Mask:
        """bool[steps, samples]: whether the token stood in the prompt."""
        return np.array(self._given)

    @property
    def live(self) -> Mask:
        """bool[steps, samples]: whether the sample still ran."""
        return np.array(self._live)


def _kept(state: Any) -> Any:
    return state.compact() if hasattr(state, "compact") else state


class Grown:
    """An array [rows, samples] that grows at its end without being copied each time."""

    def __init__(self, samples: int, kind: type[np.generic]) -> None:
        self._kept: NDArray[Any] = np.zeros((64, samples), dtype=kind)
        self._count = 0

    def extend(self, rows: NDArray[Any]) -> None:
        """Adds rows [n, samples]."""
        end = self._count + len(rows)
        if end > len(self._kept):
            larger = np.zeros((2 * end, self._kept.shape[1]), dtype=self._kept.dtype)
            larger[: self._count] = self._kept[: self._count]
            self._kept = larger
        self._kept[self._count : end] = rows
        self._count = end

    def __len__(self) -> int:
        """Rows."""
        return self._count

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Row by row."""
        return iter(self.rows)

    @property
    def rows(self) -> NDArray[Any]:
        """All rows, not to be changed."""
        return self._kept[: self._count]
