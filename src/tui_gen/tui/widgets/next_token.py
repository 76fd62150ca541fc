"""The panel of the next token: its distribution before and after the knobs, as bars; any token can be chosen."""

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
    Distribution,
    Probabilities,
    RowStyles,
    TokenRow,
    heading_count,
    headings,
    label,
    longest_label,
    others,
)
from tui_gen.tui.widgets.cells import Window, part_style, wrap

_FRAME = 4
"""Cells beside the title in its line: a space and a piece of the line on both sides."""
_ROOM_FOR_OTHERS = 8
"""Lines for tokens from which on the last one counts those that are not in sight."""
_LEAST_OTHERS = 3
"""So many tokens that are hardly possible are summed up, fewer are shown."""


class NextToken(Widget, can_focus=True):
    """The likeliest tokens of one position of one sample; a mark shows which one stands there.

    With the focus, all tokens can be scrolled through, and enter or a click chooses one.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"next-token--bar", "next-token--token", "next-token--faint"}
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
        & > .next-token--token { color: $text; text-style: bold; }
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
        self._source: tuple[Step, str, int, int, bool] | None = None
        self._title, self._fault = "", ""
        self._distribution: Distribution | None = None
        self._params: SamplingParams | None = None
        self._now: Probabilities | None = None
        self._window, self._styles, self._panel_lines = Window(), RowStyles(), PanelLines()
        self._token_under_mouse = FREE

    @property
    def title(self) -> str:
        """What the position is that is shown."""
        return self._title

    def clear(self, codec: TextCodec | ImageCodec) -> None:
        """Shows nothing until a step comes; codec names the tokens."""
        self._codec, self._source, self._distribution, self._fault = codec, None, None, ""
        self._params = self._now = None
        self._title = f"next {codec.unit}"
        self._show_title()
        self.refresh()

    def show_step(self, step: Step, *, title: str, place: int, sample: int = 0, chosen: bool = False) -> None:
        """Shows the distribution of a sample at this step, whose token may be -1: nothing is drawn yet.

        title: what the position is; of parts between commas, the first are left out where there is no room.
        place: which token after the prompt it is, from 0 on. chosen: whether a person chose its token.
        """
        source = (step, title, place, sample, chosen)
        if source == self._source:
            return
        distribution, fault, before = None, "", self._distribution
        try:
            distribution = Distribution(step, place=place, sample=sample, chosen=chosen)
        except TuiGenError as problem:
            fault = str(problem)
        self._source, self._title, self._distribution, self._fault = source, title, distribution, fault
        self._now = None
        if not (before and distribution and distribution.is_like(before)):
            self._start_selection()
        self._show_title()
        self.refresh()

    def show_knobs(self, params: SamplingParams) -> None:
        """Shows at once what the knobs make of the logits; params: those that count for this sample.

        Raises TuiGenError that names a knob which is out of its range.
        """
        if params != self._params:
            self._params, self._now = params.checked(), None
            self.refresh()

    def on_resize(self) -> None:
        """The title may fit now."""
        self._show_title()

    def on_focus(self) -> None:
        """The selection starts at the token that stands there, if it is among the first."""
        self._start_selection()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Notes the token that is pressed now: with the focus that comes along, others may stand there."""
        offset = event.get_content_offset(self)
        self._token_under_mouse = self._panel_lines.tokens.get(offset.y, FREE) if offset is not None else FREE

    def on_click(self) -> None:
        """Chooses the token that was pressed."""
        if self._distribution and self._token_under_mouse != FREE:
            self._select(self._distribution.ranking.rank(self._token_under_mouse))
            self.post_message(self.Chosen(self._token_under_mouse))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Down the list, where a person is at it."""
        self._scroll(event, 1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Up the list."""
        self._scroll(event, -1)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Where nothing is shown, keys mean what they mean elsewhere."""
        return self._distribution is not None or action not in {"select", "select_page", "select_end", "choose"}

    def action_select(self, by: int) -> None:
        """Selects another token."""
        self._select(self._window.selected + by)

    def action_select_page(self, by: int) -> None:
        """Selects a token a page further."""
        self._select(self._window.selected + by * self._page)

    def action_select_end(self, direction: int) -> None:
        """Selects the first or the last token."""
        self._select(len(self._distribution.ranking) if self._distribution and direction > 0 else 0)

    def action_choose(self) -> None:
        """Chooses the selected token."""
        if self._distribution:
            self.post_message(self.Chosen(self._distribution.ranking.at(self._window.selected)))

    def render_lines(self, crop: Region) -> list[Strip]:
        """Asks once for the styles of all lines, and works out all of them: they depend on each other."""
        parts = [part_style(self, f"next-token--{name}") for name in ("bar", "token", "faint")]
        self._styles = RowStyles(self.rich_style, *parts)
        self._panel_lines = self._lay_out()
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """A line as it was worked out."""
        lines = self._panel_lines.lines
        return Strip(lines[y] if y < len(lines) else []).adjust_cell_length(self.size.width, self._styles.ink)

    def _lay_out(self) -> PanelLines:
        if not (self._distribution and self._codec):
            lines = wrap(scrub(self._fault), self.size.width - 2)
            return PanelLines([[Segment(f" {line}", self._styles.faint)] for line in lines])
        if self._now is None:
            self._now = self._distribution.after(self._params)
        window = self._window if self.has_focus else None
        return panel_lines(
            self._distribution, self._now, self._codec, size=self.size, styles=self._styles, window=window
        )

    def _start_selection(self) -> None:
        distribution, self._window = self._distribution, Window()
        if distribution and distribution.token != FREE:
            rank = distribution.ranking.rank(distribution.token)
            self._select(rank if rank < self._page else 0)
        self.refresh()

    def _select(self, rank: int) -> None:
        if self._distribution:
            self._window.select(rank, count=len(self._distribution.ranking))
            self.refresh()

    @property
    def _page(self) -> int:
        return page(len(self._distribution.ranking), self.size.height) if self._distribution else 1

    def _scroll(self, event: events.MouseEvent, by: int) -> None:
        if self.has_focus:
            event.stop()
            self._select(self._window.selected + by)

    def _show_title(self) -> None:
        """Without its first parts, where it is too long; setting it draws the panel, so only where it changes."""
        parts = self._title.split(", ")
        while len(parts) > 1 and cell_len(", ".join(parts)) > self.size.width - _FRAME:
            del parts[0]
        title = Content(f" {scrub_line(', '.join(parts))} ")
        if title.markup != self.border_title:
            self.border_title = title


@dataclass(frozen=True)
class PanelLines:
    """The lines of the panel, from the top."""

    lines: Sequence[list[Segment]] = ()
    tokens: dict[int, int] = field(default_factory=dict)
    """By line."""


def panel_lines(
    distribution: Distribution,
    now: Probabilities,
    codec: TextCodec | ImageCodec,
    *,
    size: Size,
    styles: RowStyles,
    window: Window | None = None,
) -> PanelLines:
    """The likeliest tokens, or where a person is at the list, the part of it that is in the window."""
    ranking, raw, origin = distribution.ranking, distribution.raw, distribution.origin
    columns = Columns(size.width, longest_label(codec, len(ranking)))
    room = size.height - heading_count(size.height)
    # No knob changes the order, so that what is likely in either column stands at the beginning.
    count = len(ranking) if window else likely_count(max(now.visible, raw.visible), len(ranking))
    counts_others = not window and (count < min(room, len(ranking)) or len(ranking) > room >= _ROOM_FOR_OTHERS)
    top = window.rows(count=len(ranking), room=page(len(ranking), size.height)).start if window else 0
    tokens = _tokens_in_sight(distribution, top, count, room - counts_others)
    note = f" rank {window.selected + 1:,}" if window else f"{MARKS[origin]} {origin}"
    noun = "token" if codec.unit == "token" else "value"  # of a pixel, or of one of its channels
    lines = headings(now, raw, noun, note=note, columns=columns, height=size.height, style=styles.faint)
    by_line = dict(enumerate(tokens, start=len(lines)))
    cursor = ranking.at(window.selected) if window else FREE
    lines += [columns.segments(_token_row(token, distribution, now, codec, cursor), styles) for token in tokens]
    if counts_others:
        lines.append(others(tokens, len(ranking), now, raw, columns=columns, style=styles.faint))
    return PanelLines(lines, by_line)


def page(count: int, height: int) -> int:
    """How many of `count` tokens are in sight at least; a line is left to the token that stands there."""
    room = height - heading_count(height)
    return max(1, room if count <= room else room - 1)


def likely_count(visible: int, count: int) -> int:
    """How many of `count` tokens have a line; visible: how many of them are likelier than the least of percentages."""
    return max(1, visible) if count - visible >= _LEAST_OTHERS else count


def _tokens_in_sight(distribution: Distribution, top: int, count: int, room: int) -> list[int]:
    """So many of the list, if they have room; the token that stands there is shown below, if it is not among them."""
    tokens = distribution.ranking.part(top, top + max(0, min(count, room)))
    if distribution.token == FREE or distribution.token in tokens:
        return tokens
    return [*tokens[: max(0, room - 1)], distribution.token]


def _token_row(
    token: int, distribution: Distribution, now: Probabilities, codec: TextCodec | ImageCodec, cursor: int
) -> TokenRow:
    return TokenRow(
        text=label(codec, token),
        now=now.of(token),
        raw=distribution.raw.of(token),
        colour=codec.token_colour(token, distribution.place),
        origin=distribution.origin if token == distribution.token else "",
        has_cursor=token == cursor,
    )
