"""The first line of the screen: which model, where it runs, how fast."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text
from textual.widget import Widget

from tui_gen.scrub import scrub_line

_SEPARATOR = " · "


class Header(Widget):
    """Name on the left, facts on the right, a rule between them; facts that do not fit are left out whole."""

    def __init__(self) -> None:
        super().__init__()
        self._facts: list[str] = []
        self._speed: list[str] = []

    def show(self, *facts: str) -> None:
        """Shows facts about the model, the most important first; foreign text is made harmless here."""
        self._facts, self._speed = [scrub_line(fact) for fact in facts if fact], []
        self.refresh()

    def show_rate(self, tokens_per_second: float, step_seconds: float) -> None:
        """Shows how fast tokens come, at the pace that is set, and how long the engine takes for a step."""
        rate = f"{tokens_per_second:,.0f} tokens/s"
        self._speed = [rate, f"{1000 * step_seconds:.2f} ms/step"] if tokens_per_second else []
        self.refresh()

    def render(self) -> Text:
        """The line."""
        room = self.size.width - len("tui-gen") - 4
        facts, speed = list(self._facts), list(self._speed)
        while cell_len(_SEPARATOR.join(facts + speed)) > room and len(facts + speed) > 1:
            (speed if len(speed) > 1 else facts if len(facts) > 1 else speed).pop()
        right = _SEPARATOR.join(facts + speed)
        return Text(f"tui-gen {'─' * max(1, room + 2 - cell_len(right))} {right}", no_wrap=True)
