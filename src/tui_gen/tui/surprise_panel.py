"""The surprise of a sample: its totals, what the marks in the output mean, and the most surprising tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui_gen.branch_surprise import BranchSurprise
from tui_gen.scrub import scrub
from tui_gen.surprise import BANDS
from tui_gen.tui.looks import part_style
from tui_gen.tui.surprise_layout import Content, Drawn, draw, planned
from tui_gen.tui.surprise_legend import Look
from tui_gen.tui.surprise_lines import Row, rows, totals_lines
from tui_gen.tui.window import Window
from tui_gen.tui.wrap import Wrapped

_PARTS = ("faint", *(f"band-{number}" for number in range(len(BANDS) + 1)))


class SurprisePanel(Widget, can_focus=True):
    """With the focus, a token of the list can be selected; enter or a click chooses it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"surprise-panel--{part}" for part in _PARTS}
    DEFAULT_CSS = """
    SurprisePanel {
        height: 1fr;
        border-top: solid $foreground 20%;
        border-title-color: $text-muted;
        &:focus {
            border-top: solid $accent;
            border-title-color: $accent;
            border-title-style: bold;
        }
        & > .surprise-panel--faint { color: $text-muted; }
        & > .surprise-panel--band-0 { color: $text-muted; }
        & > .surprise-panel--band-2 { text-style: bold; }
        & > .surprise-panel--band-3 { text-style: bold underline; }
        & > .surprise-panel--band-4 { text-style: bold reverse; }
    }
    """
    BORDER_TITLE = "surprise"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "select(-1)", show=False),
        Binding("down", "select(1)", show=False),
        Binding("home", "select_end(-1)", show=False),
        Binding("end", "select_end(1)", show=False),
        Binding("enter", "choose", show=False),
    ]

    @dataclass
    class Chosen(Message):
        """A person wants to see the token at this position of the branch."""

        position: int

    def __init__(self) -> None:
        super().__init__()
        self._about: tuple[int, int, int] | None = None
        self._content: Content | None = None
        self._waiting = ""
        self._window = Window()
        self._ink, self._drawn = Style(), Drawn()

    def show(self, surprise: BranchSurprise, sample: int, name_of: Callable[[int], str], head: int) -> None:
        """Shows what was read of a sample; costs little when nothing was read since.

        name_of: the text of a token id. head: the first position after the prompt.
        """
        about = (len(surprise), sample, head)
        if self._content and self._content.surprise is surprise and about == self._about:
            return
        kept = self._selected and self._selected.peak[:2]
        totals = totals_lines(surprise.totals(sample), surprise.totals(sample, "given"), surprise.unit)
        self._content = Content(surprise, totals, rows(surprise, surprise.top(sample), name_of, head))
        self._about, self._waiting = about, ""
        self._select(next((at for at, row in enumerate(self._rows) if row.peak[:2] == kept), 0))
        self.refresh()

    def waiting(self, text: str) -> None:
        """Shows why there is nothing to show yet."""
        if self._content or text != self._waiting:
            self._content, self._waiting = None, text
            self.refresh()

    def clear(self) -> None:
        """Shows nothing."""
        self.waiting("")

    def on_resize(self) -> None:
        """The selection stays in sight."""
        self._select(self._window.selected)

    def on_click(self, event: events.Click) -> None:
        """Chooses the token that was hit."""
        at = event.get_content_offset(self)
        if at is not None and at.y in self._drawn.numbers:
            self._select(self._drawn.numbers[at.y])
            self.action_choose()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Where there is no list, keys mean what they mean elsewhere."""
        return bool(self._rows) or action not in {"select", "select_end", "choose"}

    def action_select(self, by: int) -> None:
        """Selects another token."""
        self._select(self._window.selected + by)

    def action_select_end(self, direction: int) -> None:
        """Selects the first or the last token."""
        self._select(len(self._rows) if direction > 0 else 0)

    def action_choose(self) -> None:
        """Chooses the selected token."""
        if self._selected:
            self.post_message(self.Chosen(self._selected.peak.position))

    def render_lines(self, crop: Region) -> list[Strip]:
        """Asks once for what all lines are drawn in, and works out all of them: they share the room."""
        faint, *bands = (part_style(self, f"surprise-panel--{name}") for name in _PARTS)
        self._ink = self.rich_style
        self._drawn = self._draw(Look(self._ink, faint, bands))
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """A line as it was worked out."""
        line = self._drawn.lines[y] if y < len(self._drawn.lines) else []
        return Strip(line).adjust_cell_length(self.size.width, self._ink)

    def _draw(self, look: Look) -> Drawn:
        if self._content:
            return draw(self._content, size=self.size, look=look, window=self._window, focused=self.has_focus)
        wrapped = Wrapped(max(1, self.size.width - 2))
        wrapped.append(scrub(self._waiting))
        return Drawn([[Segment(f" {line.text}", look.faint)] for line in wrapped.lines])

    @property
    def _rows(self) -> Sequence[Row]:
        return self._content.rows if self._content else ()

    @property
    def _selected(self) -> Row | None:
        return self._rows[self._window.selected] if self._rows else None

    def _select(self, number: int) -> None:
        if self._content and self._rows:
            room = planned(self._content, self.size.height).tokens
            self._window.select(number, count=len(self._rows), room=room)
            self.refresh()
