"""The first line of the screen: which model, where it runs, how fast."""

from __future__ import annotations

import time
from collections import deque

from rich.cells import cell_len
from rich.text import Text
from textual.widget import Widget

from tui_gen.scrub import scrub_line

_WINDOW_SECONDS = 1.0


class Rate:
    """Tokens per second over the last second, and over a whole run when it has ended."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()
        self._first = self._total = 0.0

    def add(self, tokens: int) -> None:
        """Counts tokens that have just come."""
        now = time.monotonic()
        if not self._marks:
            self._first = now
        self._total += tokens
        self._marks.append((now, tokens))
        while now - self._marks[0][0] > _WINDOW_SECONDS:
            self._marks.popleft()

    def live(self) -> float:
        """Tokens per second in the last second, or since the first token if that is shorter."""
        if not self._marks:
            return 0.0
        span = self._marks[-1][0] - self._marks[0][0]
        return sum(tokens for _, tokens in list(self._marks)[1:]) / span if span > 0 else 0.0

    def average(self) -> float:
        """Tokens per second of the whole run."""
        span = self._marks[-1][0] - self._first if self._marks else 0.0
        return self._total / span if span > 0 else 0.0


class Header(Widget):
    """Name on the left, facts on the right, a rule between them."""

    def __init__(self) -> None:
        super().__init__()
        self._facts: list[str] = []
        self._rate = ""

    def show(self, *facts: str) -> None:
        """Shows facts about the model; foreign text is made harmless here."""
        self._facts, self._rate = [scrub_line(fact) for fact in facts if fact], ""
        self.refresh()

    def show_rate(self, tokens_per_second: float) -> None:
        """Shows how fast it goes."""
        self._rate = f"{tokens_per_second:,.0f} tokens/s".replace(",", " ") if tokens_per_second else ""
        self.refresh()

    def render(self) -> Text:
        """The line; what does not fit is cut from the right."""
        right = " · ".join([*self._facts, *([self._rate] if self._rate else [])])
        rule = "─" * max(1, self.size.width - cell_len(right) - len("tui-gen") - 4)
        return Text(f"tui-gen {rule} {right}", no_wrap=True)
