"""The distribution at one position, before and after the knobs, as bars; any of its entries can be chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui_gen.errors import TuiGenError
from tui_gen.images.codec import ImageCodec
from tui_gen.sampling.params import FREE, SamplingParams
from tui_gen.sampling.step import Step
from tui_gen.terminal_text import scrub, scrub_line
from tui_gen.text.codec import TextCodec
from tui_gen.tui.widgets.candidates import (
    MARKS,
    Columns,
    Entry,
    Look,
    Position,
    Shares,
    heading_count,
    headings,
    label,
    longest_label,
    others,
)
from tui_gen.tui.widgets.cells import Window, part_style
from tui_gen.tui.widgets.text_view import WrappedText

_FRAME = 4
"""Cells beside the title in its line: a space and a piece of the line on both sides."""
_ROOM_FOR_OTHERS = 8
"""Lines for entries from which on the last one counts those that are not shown."""


class NextToken(Widget, can_focus=True):
    """The likeliest tokens of one position of one sample; a mark shows which one stands there.

    With the focus, all tokens can be scrolled through, and enter or a click chooses one.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"next-token--bar", "next-token--drawn", "next-token--faint"}
    DEFAULT_CSS = """
    NextToken {
        height: 1fr;
        border-top: solid $foreground 20%;
        border-title-color: $text-muted;
        &:focus {
            border-top: solid $accent;
            border-title-color: $text-accent;
            border-title-style: bold;
        }
        & > .next-token--bar { color: $accent; }
        & > .next-token--drawn { color: $text; text-style: bold; }
        & > .next-token--faint { color: $text-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "select(-1)", show=False),
        Binding("down", "select(1)", show=False),
        Binding("pageup", "select_page(-1)", show=False),
        Binding("pagedown", "select_page(1)", show=False),
        Binding("home", "select_end(-1)", show=False),
        Binding("end", "select_end(1)", show=False),
        Binding("enter", "choose", show=False),
    ]

    @dataclass
    class Chosen(Message):
        """A person wants this token at the position that is shown."""

        token: int

    def __init__(self) -> None:
        super().__init__()
        self._codec: TextCodec | ImageCodec | None = None
        self._showing: tuple[Step, str, int, int, bool] | None = None
        self._title, self._fault = "", ""
        self._position: Position | None = None
        self._knobs: SamplingParams | None = None
        self._now: Shares | None = None
        self._window, self._look, self._drawn = Window(), Look(), Drawn()
        self._pressed = FREE

    @property
    def title(self) -> str:
        """What the position is that is shown."""
        return self._title

    def clear(self, codec: TextCodec | ImageCodec) -> None:
        """Shows nothing until a step comes; codec names the tokens."""
        self._codec, self._showing, self._position, self._fault = codec, None, None, ""
        self._knobs = self._now = None
        self._title = f"next {codec.unit}"
        self._show_title()
        self.refresh()

    def show_step(self, step: Step, *, title: str, place: int, sample: int = 0, chosen: bool = False) -> None:
        """Shows the distribution of a sample at this step, whose token may be -1: nothing is drawn yet.

        title: what the position is; of parts between commas, the first are left out where there is no room.
        place: which token after the prompt it is, from 0 on. chosen: whether a person chose its token.
        """
        showing = (step, title, place, sample, chosen)
        if showing == self._showing:
            return
        position, fault, before = None, "", self._position
        try:
            position = Position(step, place=place, sample=sample, chosen=chosen)
        except TuiGenError as problem:
            fault = str(problem)
        self._showing, self._title, self._position, self._fault, self._now = showing, title, position, fault, None
        if not (before and position and position.is_like(before)):
            self._start_selection()
        self._show_title()
        self.refresh()

    def show_knobs(self, params: SamplingParams) -> None:
        """Shows at once what the knobs make of the logits; params: those that count for this sample.

        Raises TuiGenError that names a knob which is out of its range.
        """
        if params != self._knobs:
            self._knobs, self._now = params.checked(), None
            self.refresh()

    def on_resize(self) -> None:
        """The title may fit now; the selection stays in sight."""
        self._show_title()
        self._select(self._window.selected)

    def on_focus(self) -> None:
        """The selection starts at the token that stands there, if it is among the first."""
        self._start_selection()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Notes what is pressed now: with the focus that comes along, other entries may appear."""
        offset = event.get_content_offset(self)
        self._pressed = self._drawn.tokens.get(offset.y, FREE) if offset is not None else FREE

    def on_click(self) -> None:
        """Chooses the token that was pressed."""
        if self._position and self._pressed != FREE:
            self._select(self._position.order.rank(self._pressed))
            self.post_message(self.Chosen(self._pressed))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Down the list, where a person is at it."""
        self._scroll(event, 1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Up the list."""
        self._scroll(event, -1)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Where nothing is shown, keys mean what they mean elsewhere."""
        return self._position is not None or action not in {"select", "select_page", "select_end", "choose"}

    def action_select(self, by: int) -> None:
        """Selects another entry."""
        self._select(self._window.selected + by)

    def action_select_page(self, by: int) -> None:
        """Selects an entry a page further."""
        self._select(self._window.selected + by * self._page)

    def action_select_end(self, direction: int) -> None:
        """Selects the first or the last entry."""
        self._select(len(self._position.order) if self._position and direction > 0 else 0)

    def action_choose(self) -> None:
        """Chooses the selected entry."""
        if self._position:
            self.post_message(self.Chosen(self._position.order.at(self._window.selected)))

    def render_lines(self, crop: Region) -> list[Strip]:
        """Asks once for what all lines are drawn in, and works out all of them: they depend on each other."""
        parts = [part_style(self, f"next-token--{name}") for name in ("bar", "drawn", "faint")]
        self._look = Look(self.rich_style, *parts)
        self._drawn = self._draw()
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """A line as it was worked out."""
        line = self._drawn.lines[y] if y < len(self._drawn.lines) else []
        return Strip(line).adjust_cell_length(self.size.width, self._look.ink)

    def _draw(self) -> Drawn:
        if not (self._position and self._codec):
            return told(self._fault, self.size, self._look)
        if self._now is None:
            self._now = self._position.now(self._knobs)
        window = self._window if self.has_focus else None
        return draw(self._position, self._now, self._codec, size=self.size, look=self._look, window=window)

    def _start_selection(self) -> None:
        position, self._window = self._position, Window()
        rank = position.order.rank(position.token) if position and position.token != FREE else 0
        self._select(rank if rank < self._page else 0)

    def _select(self, rank: int) -> None:
        if self._position:
            self._window.select(rank, count=len(self._position.order), room=self._page)
            self.refresh()

    @property
    def _page(self) -> int:
        return page(self._position, self.size.height) if self._position else 1

    def _scroll(self, event: events.MouseEvent, by: int) -> None:
        if self.has_focus:
            event.stop()
            self._select(self._window.selected + by)

    def _show_title(self) -> None:
        """Without its first parts, where it is too long; setting it draws the panel, so only where it changes."""
        parts = self._title.split(", ")
        while len(parts) > 1 and cell_len(", ".join(parts)) > self.size.width - _FRAME:
            del parts[0]
        shown = Content(f" {scrub_line(', '.join(parts))} ")
        if shown.markup != self.border_title:
            self.border_title = shown


@dataclass(frozen=True)
class Drawn:
    """The lines of the panel, from the top."""

    lines: Sequence[list[Segment]] = ()
    tokens: dict[int, int] = field(default_factory=dict)
    """By line."""


def draw(
    position: Position,
    now: Shares,
    codec: TextCodec | ImageCodec,
    *,
    size: Size,
    look: Look,
    window: Window | None = None,
) -> Drawn:
    """The likeliest entries, or where a person is at the list, the part of it that is in the window."""
    order, raw = position.order, position.raw
    columns = Columns(size.width, longest_label(codec, len(order)))
    room = _room(size.height)
    counts_others = not window and len(order) > room >= _ROOM_FOR_OTHERS
    tokens = _in_sight(position, window.top if window else 0, room - counts_others)
    note = f" rank {window.selected + 1:,}" if window else f"{MARKS[position.made]} {position.made}"
    noun = "token" if codec.unit == "token" else "value"  # of a pixel, or of one of its channels
    lines = headings(now, raw, noun, note=note, columns=columns, height=size.height, style=look.faint)
    by_line = dict(enumerate(tokens, start=len(lines)))
    selected = order.at(window.selected) if window else FREE
    lines += [columns.row(_entry(token, position, now, codec, selected), look) for token in tokens]
    if counts_others:
        lines.append(others(tokens, len(order), now, raw, columns=columns, style=look.faint))
    return Drawn(lines, by_line)


def page(position: Position, height: int) -> int:
    """How many entries of the list are in sight at least; a line is left to the token that stands there."""
    room = _room(height)
    return max(1, room if len(position.order) <= room else room - 1)


def told(text: str, size: Size, look: Look) -> Drawn:
    """A text in place of the entries."""
    wrapped = WrappedText(size.width - 2)
    wrapped.append(scrub(text))
    return Drawn([[Segment(f" {line.text}", look.faint)] for line in wrapped.lines])


def _room(height: int) -> int:
    return height - heading_count(height)


def _in_sight(position: Position, top: int, room: int) -> list[int]:
    """A part of the list; the token that stands there is shown below it, if it is not in it."""
    tokens = position.order.part(top, top + max(0, room))
    if position.token == FREE or position.token in tokens:
        return tokens
    return [*tokens[: max(0, room - 1)], position.token]


def _entry(token: int, position: Position, now: Shares, codec: TextCodec | ImageCodec, selected: int) -> Entry:
    share = now.of(token)
    return Entry(
        text=label(codec, token),
        now=share,
        raw=position.raw.of(token),
        filled=share / now.highest,
        colour=codec.token_colour(token, position.place),
        made=position.made if token == position.token else "",
        selected=token == selected,
    )
