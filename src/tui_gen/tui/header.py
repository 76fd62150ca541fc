"""The first line of the screen: which model, where it runs, how fast."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text
from textual.widget import Widget

from tui_gen.scrub import scrub_line


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

    def show_rate(self, tokens_per_second: float, step_seconds: float) -> None:
        """Shows how fast tokens come, at the pace that is set, and how long the engine takes for a step."""
        rate = f"{tokens_per_second:,.0f} tokens/s".replace(",", " ")
        self._rate = f"{rate} · {1000 * step_seconds:.2f} ms/step" if tokens_per_second else ""
        self.refresh()

    def render(self) -> Text:
        """The line; what does not fit is cut from the right."""
        right = " · ".join([*self._facts, *([self._rate] if self._rate else [])])
        rule = "─" * max(1, self.size.width - cell_len(right) - len("tui-gen") - 4)
        return Text(f"tui-gen {rule} {right}", no_wrap=True)
