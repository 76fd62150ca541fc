"""What stands in the lines of the distribution's panel: headings, entries, and which token is in which line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.segment import Segment
from textual.geometry import Size

from tui_gen.codec import ImageCodec, TextCodec
from tui_gen.generate import FREE
from tui_gen.scrub import scrub
from tui_gen.tui.entries import MARKS, Columns, Entry, Look, label, longest_label
from tui_gen.tui.entropy import heading_count, headings, others
from tui_gen.tui.ranking import Position, Shares
from tui_gen.tui.window import Window
from tui_gen.tui.wrap import Wrapped

_ROOM_FOR_OTHERS = 8
"""Lines for entries from which on the last one counts those that are not shown."""


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
    wrapped = Wrapped(size.width - 2)
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
