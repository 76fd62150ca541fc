"""What several widgets are made of: bars, cut labels, wrapped sentences, and lists that survive any size."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.style import Style
from textual.content import Content
from textual.widget import Widget
from textual.widgets import OptionList

_EIGHTHS, EIGHTHS_UP = " ▏▎▍▌▋▊▉█", " ▁▂▃▄▅▆▇█"


def bar(share: float, cells: int) -> str:
    """A bar that fills a share (0 to 1) of so many cells, to an eighth of a cell.

    It is full for 1 alone, and empty for what is less than half an eighth of a cell.
    """
    full, rest = divmod(_marks(share, 8 * cells), 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(cells)


def column(share: float, cells: int) -> str:
    """A bar that stands in so many cells, from its top to its foot; the rest is as of `bar`."""
    full, rest = divmod(_marks(share, 8 * cells), 8)
    return ((EIGHTHS_UP[rest] if rest else "") + "█" * full).rjust(cells)


def gauge(share: float, cells: int) -> str:
    """A thin line with a mark at a share (0 to 1) of its length; at its end for 1 alone."""
    at = _marks(share, cells - 1)
    return "━" * at + "●" + "─" * (cells - 1 - at)


def _marks(share: float, count: int) -> int:
    """How many of the marks of a scale a share (0 to 1) comes to; all for 1 alone."""
    return count if share >= 1 else max(0, min(count - 1, round(share * count)))


def fit(text: str, cells: int) -> str:
    """The text in exactly so many cells, at least one; a cut is marked."""
    cells = max(1, cells)
    return set_cell_size(text, cells) if cell_len(text) <= cells else set_cell_size(text, cells - 1) + "…"


def wrap(text: str, cells: int) -> list[str]:
    """A short text in lines of so many cells, at least one; for one that grows, see `WrappedText`."""
    return [line.plain for line in Content(text).wrap(max(1, cells))]


def part_style(widget: Widget, name: str) -> Style:
    """The style of a component class; the widget's own as long as it has none.

    A widget may be drawn once before it is styled, and once more while it goes away.
    """
    return widget.get_component_rich_style(name, default=widget.rich_style)


@dataclass
class Window:
    """The part of a list that is in sight, and its selected entry; entries are counted from 0 on."""

    selected: int = 0
    _top: int = 0

    def select(self, number: int, *, count: int) -> None:
        """Selects an entry of `count`, or the nearest there is."""
        self.selected = max(0, min(count - 1, number))

    def rows(self, *, count: int, room: int) -> range:
        """The entries in sight where `room` of `count` are, the selected one among them.

        To be asked with the size that counts while drawing: after a change of the size, a widget is drawn before any
        handler has run.
        """
        room, selected = max(0, room), max(0, min(count - 1, self.selected))
        self._top = max(selected - max(1, room) + 1, min(self._top, selected, max(0, count - room)))
        return range(self._top, min(self._top + room, count))


class SteadyOptionList(OptionList):
    """An option list whose page keys mean nothing while it has no room; they raise a KeyError in Textual's own."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether a key means something now."""
        return bool(self.scrollable_content_region) or action not in {"page_up", "page_down"}
