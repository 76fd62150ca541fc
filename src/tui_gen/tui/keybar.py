"""The last line of the screen: what the keys do now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.widget import Widget


class KeyBar(Widget):
    """Pairs of key and meaning, as many whole ones as fit."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-bar--key"}

    def __init__(self) -> None:
        super().__init__()
        self._pairs: Sequence[tuple[str, str]] = ()

    def show(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Shows these, the most useful first."""
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
            line.append(f"{key} ", self.get_component_rich_style("key-bar--key", partial=True)).append(f"{meaning}  ")
        return line
