"""The last line of the screen: what the keys do now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.widget import Widget

from tui_gen.tui.context import Context
from tui_gen.tui.footer import Pair, pairs_now


class KeyBar(Widget):
    """Pairs of key and meaning, as many whole ones as fit."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-bar--key"}

    def __init__(self) -> None:
        super().__init__()
        self._pairs: Sequence[Pair] = ()

    def show(self, now: Context) -> None:
        """Shows what the keys do in a context."""
        pairs = pairs_now(now)
        if pairs != self._pairs:
            self._pairs = pairs
            self.refresh()

    def render(self) -> Text:
        """The line; where not all fit, those before the last two go first."""
        shown = list(self._pairs)
        while len(shown) > 2 and sum(cell_len(key + meaning) + 3 for key, meaning in shown) - 2 > self.size.width:
            shown.pop(-3)
        line = Text(no_wrap=True)
        for key, meaning in shown:
            line.append(f"{key} ", self.get_component_rich_style("key-bar--key", partial=True, default=Style())).append(
                f"{meaning}  "
            )
        return line
