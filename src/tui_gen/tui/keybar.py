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
        """The line."""
        line = Text(no_wrap=True)
        for key, meaning in self._pairs:
            if line.cell_len + cell_len(key) + cell_len(meaning) + 1 > self.size.width:
                break
            line.append(f"{key} ", self.get_component_rich_style("key-bar--key", partial=True)).append(f"{meaning}  ")
        return line
