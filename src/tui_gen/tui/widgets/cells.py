"""Small drawings made of characters: bars and cut labels."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.style import Style
from textual.widget import Widget

_EIGHTHS = " ▏▎▍▌▋▊▉█"


def bar(share: float, cells: int) -> str:
    """A bar that fills a share (0 to 1) of so many cells, to an eighth of a cell; never empty for a share above 0."""
    eighths = round(max(0.0, min(1.0, share)) * cells * 8)
    if share > 0:
        eighths = max(1, eighths)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(cells)


def gauge(share: float, cells: int) -> str:
    """A thin line with a mark at a share (0 to 1) of its length."""
    at = min(cells - 1, round(max(0.0, min(1.0, share)) * (cells - 1)))
    return "━" * at + "●" + "─" * (cells - 1 - at)


def fit(text: str, cells: int) -> str:
    """The text in exactly so many cells; a cut is marked."""
    return set_cell_size(text, cells) if cell_len(text) <= cells else set_cell_size(text, cells - 1) + "…"


def part_style(widget: Widget, name: str) -> Style:
    """The style of a component class; the widget's own as long as it has none.

    A widget may be drawn once before it is styled, and once more while it goes away.
    """
    return widget.get_component_rich_style(name, default=widget.rich_style)


@dataclass
class Window:
    """Numbers of entries, from 0 on."""

    selected: int = 0
    top: int = 0
    """The first entry in sight."""

    def select(self, number: int, *, count: int, room: int) -> None:
        """Selects an entry of `count`, or the nearest there is, and brings it in sight where `room` of them are."""
        room = max(1, room)
        self.selected = max(0, min(count - 1, number))
        self.top = max(self.selected - room + 1, min(self.top, self.selected, max(0, count - room)))
