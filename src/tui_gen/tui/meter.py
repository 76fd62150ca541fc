"""How far a run is, and how fast."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from tui_gen.generate import Step
from tui_gen.tui.player import Ending

_WINDOW_SECONDS = 1.0
_RESULTS: dict[Ending, str] = {"ended": "ended", "length": "finished", "stopped": "stopped", "failed": "failed"}


class Meter:
    """Counts the sampled tokens of a run. goal: how many positions it will make at most."""

    def __init__(self, goal: int) -> None:
        self._goal, self._made, self._total, self._began = goal, 0, 0, 0.0
        self._recent: deque[tuple[float, int]] = deque()

    def count(self, steps: Sequence[Step]) -> None:
        """Counts steps that have just come; given tokens do not count."""
        sampled = [step for step in steps if not step.given.all()]
        now, tokens = time.monotonic(), sum(int(step.live.sum()) for step in sampled)
        self._began = self._began or now
        self._made, self._total = self._made + len(sampled), self._total + tokens
        self._recent.append((now, tokens))
        while now - self._recent[0][0] > _WINDOW_SECONDS:
            self._recent.popleft()

    def rate(self) -> float:
        """Tokens of all samples a second, over the last second or since the first token."""
        span = self._recent[-1][0] - self._recent[0][0] if self._recent else 0.0
        return sum(tokens for _, tokens in list(self._recent)[1:]) / span if span > 0 else 0.0

    def average_rate(self) -> float:
        """The same over the whole run."""
        span = self._recent[-1][0] - self._began if self._recent else 0.0
        return self._total / span if span > 0 else 0.0

    def progress(self) -> str:
        """For a run under way."""
        return f"token {self._made:,} of {self._goal:,}"

    def result(self, ending: Ending) -> str:
        """For a run that is over."""
        return f"{_RESULTS[ending]}: {self._made:,} tokens"
