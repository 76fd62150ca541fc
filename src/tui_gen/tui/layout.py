"""The layout of the screen: one table, from the size of the terminal to the parts that are shown and their widths."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeVar

from textual import events
from textual.await_complete import AwaitComplete
from textual.geometry import Offset, Size
from textual.screen import Screen
from textual.widget import Widget

T = TypeVar("T")

Content = Literal["text", "picture", "sweep", "comparison", "two models", "three models"]
"""What stands in the middle; a model's card counts as what the model makes."""

_MOST_COLUMNS, _MOST_CELLS = 1000, 100_000


class Widths(NamedTuple):
    """How the columns of the screen are shared out; the middle gets what is left."""

    least: int
    """Columns of the screen from which on this counts."""
    lists: int
    """Of the lists of models and branches; 0: folded away while they have not the focus."""
    side: int
    """Of the panels and the knobs; 0: likewise."""


class Heights(NamedTuple):
    """How the lines are shared out; the middle gets what the strip leaves."""

    least: int
    """Lines of the screen from which on this counts."""
    strip: int
    """Of the surprisal of every token, below the middle; 0: not there."""
    stacked: bool = False
    """Whether distribution and surprisal stand one above the other; else one takes the place of the other."""
    short: bool = False
    """Whether there is room for some of the knobs only."""


# A text comes first, up to some 90 characters in a line; then the panels, whose bars need 34 columns to be read; then
# the lists, which a key opens. A picture is never drawn smaller for the strip: these heights leave it its whole scale.
_WIDTHS: dict[Content, tuple[Widths, ...]] = {
    "text": (
        Widths(0, 0, 0),
        Widths(70, 0, 34),
        Widths(150, 28, 34),
        Widths(160, 28, 38),
        Widths(180, 34, 52),
        Widths(200, 40, 66),
        Widths(240, 56, 88),
    ),
    "picture": (
        Widths(0, 0, 0),
        Widths(70, 0, 34),
        Widths(100, 20, 34),
        Widths(120, 24, 34),
        Widths(140, 28, 36),
        Widths(200, 34, 44),
        Widths(240, 44, 60),
    ),
    "sweep": (Widths(0, 0, 0), Widths(150, 0, 40), Widths(200, 28, 40), Widths(240, 40, 50)),
    "comparison": (Widths(0, 0, 0), Widths(70, 0, 34), Widths(150, 24, 34), Widths(200, 28, 40), Widths(240, 40, 50)),
    "two models": (Widths(0, 0, 0), Widths(100, 0, 34), Widths(150, 24, 34), Widths(200, 28, 40), Widths(240, 40, 50)),
    "three models": (Widths(0, 0, 0), Widths(150, 0, 34), Widths(200, 0, 40), Widths(240, 28, 50)),
}
_SHORT, _PLAIN = Heights(0, 0, short=True), Heights(20, 0)
_HEIGHTS: dict[Content, tuple[Heights, ...]] = {
    "text": (_SHORT, _PLAIN, Heights(36, 6), Heights(45, 6, stacked=True), Heights(60, 10, stacked=True)),
    "picture": (_SHORT, _PLAIN, Heights(45, 6, stacked=True)),
    "sweep": (_SHORT, _PLAIN, Heights(45, 6, stacked=True)),
    "comparison": (_SHORT, _PLAIN),
    "two models": (_SHORT, _PLAIN),
    "three models": (_SHORT, _PLAIN),
}
_STRIP_COLUMNS = 70
"""Columns of the screen from which on the strip is worth its lines."""
_PICTURE_AND_TOUR = 70
"""Columns of the screen from which on a picture leaves room for what a tour says beside it."""
_TOUR, _WIDE_TOUR = 34, 44
"""Columns of what a tour says at the side, and those where there is more room."""
_LEAST_BESIDE, _NARROW_SIDE = 150, 34
"""Columns of the screen from which on the inside has room beside the middle, and those of the side then."""


@dataclass(frozen=True)
class Layout:
    """The parts of the screen, in columns and lines, as in `Widths` and `Heights`."""

    lists: int = 0
    side: int = 0
    inside: int = 0
    """Of what goes on inside the network; 0: it lies over the others while it has the focus."""
    strip: int = 0
    stacked: bool = False
    short: bool = False


class SteadyScreen(Screen[T]):
    """A screen that outlives what comes too late: a size that the terminal no longer has, a press on what is gone, an
    answer to a question that was answered.
    """

    async def _on_resize(self, event: events.Resize) -> None:
        """Each layout tells the screen of its size anew: two of which it hears while it is busy would follow each other
        for ever, and no key come in between.
        """
        if event.size != self.app.size:
            event.prevent_default()

    def get_widget_and_offset_at(self, x: int, y: int) -> tuple[Widget | None, Offset | None]:
        """Where text is selected: not in what was taken away meanwhile. It has no parent, on which Textual fails."""
        widget, offset = super().get_widget_and_offset_at(x, y)
        return (widget, offset) if widget and widget.parent else (None, None)

    def dismiss(self, result: T | None = None) -> AwaitComplete:
        """Closes this screen; Textual would close whichever is on top."""
        return super().dismiss(result) if self.is_active else AwaitComplete()


def drawn_size(terminal: Size) -> Size:
    """How much of a terminal is drawn: all, unless it is so large that drawing would keep a person waiting."""
    width = min(terminal.width, _MOST_COLUMNS)
    return Size(width, min(terminal.height, _MOST_CELLS // max(1, width)))


def layout(size: Size, content: Content, *, inside: bool = False) -> Layout:
    """What a terminal of this size shows. inside: what goes on inside the network is to stand beside the middle, too;
    it shares the room with the middle, and the lists fold away.
    """
    widths = next(row for row in reversed(_WIDTHS[content]) if size.width >= row.least)
    heights = next(row for row in reversed(_HEIGHTS[content]) if size.height >= row.least)
    strip = heights.strip if size.width >= _STRIP_COLUMNS else 0
    shown = Layout(widths.lists, widths.side, strip=strip, stacked=heights.stacked, short=heights.short)
    if not inside or size.width < _LEAST_BESIDE:
        return shown
    return replace(shown, lists=0, side=_NARROW_SIDE, inside=(size.width - _NARROW_SIDE) // 2)


class TourPlace(NamedTuple):
    """Where a tour has its say: a column of so many cells on the right, else so many lines above the prompt."""

    columns: int = 0
    lines: int = 0


def tour_place(size: Size, content: Content, lines: int, *, inside: bool = False) -> TourPlace:
    """Where it hides nothing of what it explains. lines: what it says, below a screen of this width. inside: what goes
    on inside the network is on the screen; it needs the columns more, as it has to stand beside the middle.

    A picture is square, so that it leaves columns rather than lines.
    """
    columns = _WIDE_TOUR if size.width >= _LEAST_BESIDE + _WIDE_TOUR else _TOUR
    if size.width - columns * inside >= _LEAST_BESIDE:
        return TourPlace(columns=columns)
    if content == "picture" and not inside and size.width >= _PICTURE_AND_TOUR:
        return TourPlace(columns=_TOUR)
    return TourPlace(lines=min(lines, size.height // 3))
