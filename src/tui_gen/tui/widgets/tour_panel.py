"""What a tour says at a stop: in a column beside the screen, or in a few lines of it where it is narrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from rich.cells import cell_len
from rich.text import Text
from textual.containers import VerticalScroll
from textual.widgets import Static

from tui_gen.tui.bindings import Pair
from tui_gen.tui.layout import TourPlace
from tui_gen.tui.widgets.cells import part_style, wrap

Part = Literal["title", "text", "try", "keys"]
_AROUND = 2
"""Columns of the padding."""


class TourPanel(VerticalScroll, can_focus=False):
    """Number and title of the stop, what is to be seen, what to try, and the keys."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"tour-panel--title", "tour-panel--try", "tour-panel--keys"}
    DEFAULT_CSS = """
    TourPanel {
        height: auto;
        padding: 0 1;
        background: $surface;
        color: $text;
        scrollbar-size-vertical: 1;
        & > Static { height: auto; }
        & > .tour-panel--title { color: $text-accent; text-style: bold; }
        & > .tour-panel--try { color: $text-success; }
        & > .tour-panel--keys { color: $text-muted; }
        &.-column {
            dock: right;
            height: 100%;
            padding: 0 1;
            border-left: vkey $accent;
        }
    }
    """

    def __init__(self, keys: Sequence[Pair]) -> None:
        """keys: with what they do."""
        super().__init__()
        self._keys = "  ".join(f"{key} {meaning}" for key, meaning in keys if key)
        self._title = self._text = self._attempt = ""
        self._place = TourPlace()
        self._page = Static(markup=False)

    def compose(self) -> Iterator[Static]:
        """One text."""
        yield self._page

    def on_mount(self) -> None:
        """Its colours are known now."""
        self.take_place(self._place)

    def show(self, title: str, text: str, attempt: str) -> None:
        """Shows a stop; all of it is harmless text."""
        self._title, self._text, self._attempt = title, text, attempt
        self.scroll_home(animate=False)
        self.take_place(self._place)

    def take_place(self, place: TourPlace) -> None:
        """Stands there."""
        self._place = place
        self.set_class(place.columns > 0, "-column")
        self.styles.width, self.styles.height = place.columns or "100%", "100%" if place.columns else place.lines
        if self.is_attached:
            columns = place.columns - 1 if place.columns else self.screen.size.width
            self._page.update(Text("\n").join(self._drawn(*line) for line in self._lines(columns)))

    def lines_at(self, columns: int) -> int:
        """How many lines it takes below a screen of this width."""
        return sum(1 for _ in self._lines(columns, below=True))

    def _lines(self, columns: int, *, below: bool | None = None) -> Iterator[tuple[str, Part]]:
        """The lines, and what each is."""
        width = columns - _AROUND
        if below if below is not None else not self._place.columns:
            gap = width - cell_len(self._title) - cell_len(self._keys)
            yield self._title + " " * gap + self._keys if gap > 1 else self._title, "title"
            yield from ((line, "text") for line in wrap(self._text, width))
            yield from ((line, "try") for line in wrap(self._attempt, width) if line)
            if gap < 2:
                yield self._keys, "keys"
            return
        parts: Sequence[tuple[str, Part]] = (
            (self._title, "title"),
            (self._text, "text"),
            (self._attempt, "try"),
            (self._keys, "keys"),
        )
        for text, part in parts:
            yield from ((line, part) for line in [*wrap(text, width - 1), ""])

    def _drawn(self, line: str, part: Part) -> Text:
        if part == "text":
            return Text(line)
        style, keys = part_style(self, f"tour-panel--{part}"), part_style(self, "tour-panel--keys")
        if part == "title" and line.endswith(self._keys):
            return Text.assemble((line.removesuffix(self._keys), style), (self._keys, keys))
        return Text(line, style)
