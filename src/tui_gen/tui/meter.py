"""How far a run is, and how fast."""

from __future__ import annotations

import time
from collections import deque

from tui_gen.stretch import Stretch
from tui_gen.tui.player import Ending

_WINDOW_SECONDS = 1.0
_RESULTS: dict[Ending, str] = {
    "ended": "the model ended at",
    "length": "complete:",
    "stopped": "stopped at",
    "failed": "failed at",
}


class Meter:
    """Counts the sampled tokens of a run, from its making on. goal: how many positions it will make at most,
    each a `unit`.
    """

    def __init__(self, goal: int, unit: str = "token") -> None:
        self.goal, self._unit, self._total = goal, unit, 0
        self._began = self._last = time.monotonic()
        self._recent: deque[tuple[float, int]] = deque()
        self.step_seconds = 0.0
        """What model and sampling took for a step, all samples together, in the newest frame."""

    def count(self, made: Stretch) -> None:
        """Counts steps that have just come; given tokens do not count."""
        self._last, tokens = time.monotonic(), int((made.live & ~made.given).sum())
        self._total += tokens
        self._recent.append((self._last, tokens))
        while self._last - self._recent[0][0] > _WINDOW_SECONDS:
            self._recent.popleft()
        self.step_seconds = made.seconds / len(made)

    def rate(self) -> float:
        """Tokens of all samples a second, over the last second or since the run began."""
        span = min(_WINDOW_SECONDS, self._last - self._began)
        return sum(tokens for _, tokens in self._recent) / span if span > 0 else 0.0

    def average_rate(self) -> float:
        """The same over the whole run."""
        span = self._last - self._began
        return self._total / span if span > 0 else 0.0

    def progress(self, made: int, *, paused: bool) -> str:
        """For a run under way; of several samples, what each has."""
        return f"{'paused at' if paused else self._unit} {made:,} of {self.goal:,}"

    def result(self, ending: Ending, made: int) -> str:
        """For a run that is over."""
        return f"{_RESULTS[ending]} {made:,}"
