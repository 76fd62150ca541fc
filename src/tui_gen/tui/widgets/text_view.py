"""The view of a text: one sample, wrapped, following its end, with a cursor that can stand on any token."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, NamedTuple

import numpy as np
from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui_gen.sampling.params import Floats, Mask, Tokens
from tui_gen.scoring.score import band
from tui_gen.text.codec import TextReader
from tui_gen.text.transcript import Transcript
from tui_gen.tui.widgets.cells import part_style

CURSOR = "▌"
MEASURE = 90
"""Cells of a line, at most: longer ones are hard to read."""
_CACHED_LINES = 512
_THUMB_STEPS = 8
"""A scroll bar is drawn in eighths of a cell."""
_PARTS = (
    "given",
    "chosen",
    "match",
    "differs",
    "cursor",
    "at-cursor",
    *(f"band-{number}" for number in range(5)),
)
_CHARACTERS_A_CELL = 4
"""How many may share a cell, such as a letter and its accents; what is beyond is not looked at for a line."""


class TextView(ScrollView, can_focus=True):
    """The tokens of one sample; the prompt stands out from what the model wrote, and so does what a person chose."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"text-view--{part}" for part in _PARTS}

    @dataclass
    class Clicked(Message):
        """A person has clicked on a token: its sample, and its number from 0 on."""

        sample: int
        number: int

    def __init__(self, reader: Callable[[], TextReader], sample: int = 0, title: str = "") -> None:
        super().__init__()
        if title:
            self.border_title = title
            self.add_class("-several")
        self.sample = sample
        self._script, self._body = Transcript(reader), WrappedText(80)
        self._given_end, self._choices = 0, set[int]()
        self._bits: Floats | None = None
        self._pattern: re.Pattern[str] | None = None
        self._matches: list[tuple[int, int]] = []
        self._differences: Mask = np.zeros(0, dtype=bool)
        self._cursor: int | None = None
        self._ink, self._style_key, self._part_styles = Style(), (Style(), 0, 0, False), dict[str, Style]()
        self._strips: LRUCache[int, Strip] = LRUCache(_CACHED_LINES)
        self._writing, self._follow, self._thumb = True, True, -1

    @property
    def text(self) -> str:
        """What is shown, without line breaks of the wrapping."""
        return self._body.text

    @property
    def count(self) -> int:
        """Tokens that are shown."""
        return len(self._script)

    def show_tokens(self, tokens: Tokens, given: Mask, live: Mask) -> None:
        """Writes the tokens [steps, samples] of this page's sample."""
        mine, before = live[:, self.sample], (self.count, self._script.length)
        text = self._script.append(tokens[mine, self.sample].tolist())
        if self._given_end == before[1]:  # nothing but the prompt so far
            self._given_end = self._end_of_given(before[0], given[mine, self.sample])
        self._fit_width()
        self._changed_from(self._body.append(text))
        if self._pattern:
            self.mark(self._pattern)

    def choose(self, numbers: Iterable[int]) -> None:
        """Marks tokens that a person chose."""
        self._choices = set(numbers)
        self._redraw()

    def show_bits(self, bits: Floats | None) -> None:
        """Marks each token by its surprise, float[tokens]; None for no marks."""
        self._bits = bits
        self._redraw()

    def mark(self, pattern: re.Pattern[str] | None) -> None:
        """Marks what matches, also in what is still to come; None marks nothing."""
        self._pattern = pattern
        self._matches = [match.span() for match in pattern.finditer(self.text)] if pattern else []
        self._redraw()

    def mark_differences(self, differ: Mask) -> None:
        """Marks tokens, bool[tokens], that differ from those of another text; those behind its end do not."""
        before, self._differences = self._differences, differ
        masks = np.zeros((2, max(len(before), len(differ))), dtype=bool)
        for row, mask in zip(masks, (before, differ), strict=True):
            row[: len(mask)] = mask
        changes = np.flatnonzero(masks[0] != masks[1])
        if len(changes) and changes[0] < self.count:
            first = self._body.line_at(self._letters(int(changes[0]))[0])
            for line in [line for line in self._strips.keys() if line >= first]:  # noqa: SIM118 (it is no dictionary)
                self._strips.discard(line)
            self._changed_from(first)

    def place_of(self, number: int) -> int:
        """Where in the text a token begins; of one that is still to come, the text's end."""
        return self._letters(number)[0] if number < self.count else len(self.text)

    def token_at(self, place: int) -> int:
        """The number of the token that a place in the text belongs to."""
        return self._script.token_at(place)

    def walk_to(self, number: int | None) -> None:
        """Puts the cursor on a token; behind the last one, if there is no such token yet; None takes it away."""
        if number != self._cursor:
            self._cursor, self._follow = number, number is None or number >= self.count
            self._redraw()
            if number is not None:
                self._scroll_to_token(number)

    def end(self) -> None:
        """Takes the mark at the end away."""
        self._writing = False
        self._changed_from(len(self._body.lines) - 1)

    def go_on(self) -> None:
        """Shows the mark at the end of the text again, because more tokens will follow."""
        self._writing = True
        self._changed_from(len(self._body.lines) - 1)

    def on_click(self, event: events.Click) -> None:
        """Says which token was hit."""
        at = event.get_content_offset(self)
        number = len(self._body.lines) if at is None else at.y + self.scroll_offset.y
        if at is not None and self.count and number < len(self._body.lines):
            line = self._body.lines[number]
            self.post_message(self.Clicked(self.sample, self._script.token_at(line.offset_at(at.x))))

    def on_resize(self) -> None:
        """Wraps anew; the cursor stays in sight."""
        if self._fit_width():
            self._changed_from(0)
        if self._cursor is not None:
            self._scroll_to_token(self._cursor)

    def watch_scroll_y(self, old: float, new: float) -> None:
        """Follows the end of the text, unless a person has scrolled away from it."""
        self._follow = self.is_vertical_scroll_end
        self._move_bar()
        if round(old) != round(new):
            self.refresh(self.size.region)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Asks once for what all lines are drawn in: it is computed each time. Lines that are full are kept."""
        style_key = (self.rich_style, self.size.width, self._given_end, self.is_mounted)
        if style_key != self._style_key:
            self._style_key, self._ink = style_key, style_key[0]
            # A page that has just come may be drawn once before it has any style.
            self._part_styles = {name: part_style(self, f"text-view--{name}") for name in _PARTS}
            self._strips.clear()
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """One line of the visible part."""
        number = y + self.scroll_offset.y
        if number >= len(self._body.lines):
            return Strip.blank(self.size.width, self._ink)
        if number == len(self._body.lines) - 1:
            return self._strip(number, last=True)
        if number not in self._strips:
            self._strips[number] = self._strip(number)
        return self._strips[number]

    def _strip(self, number: int, *, last: bool = False) -> Strip:
        line = self._body.lines[number]
        cuts = sorted({0, len(line.text), *(at for at in self._cuts(line) if 0 < at < len(line.text))})
        segments = [Segment(line.text[a:b], self._style(line.start + a)) for a, b in pairwise(cuts)]
        if last and (self._writing or self._cursor == self.count):
            segments.append(Segment(CURSOR, self._part_styles["cursor"]))
        return Strip(segments).adjust_cell_length(self.size.width, self._ink)

    def _cuts(self, line: TextLine) -> Iterable[int]:
        """Where in a line the style may change."""
        yield self._given_end - line.start
        yield from (at - line.start for match in self._matches_in(line) for at in match)
        if (self._bits is not None or self._differences.any()) and line.text:
            first, last = (self._script.token_at(line.start + at) for at in (0, len(line.text) - 1))
            yield from (at - line.start for number in range(first, last + 1) for at in self._letters(number))
        for number in (*self._choices, *([] if self._cursor is None else [self._cursor])):
            if number < self.count:
                yield from (at - line.start for at in self._letters(number))

    def _style(self, offset: int) -> Style:
        """Of the character at an offset of the text."""
        if self._is_on(offset, self._cursor):
            return self._part_styles["at-cursor"]
        if self._is_match(offset):
            return self._part_styles["match"]
        if self._bits is not None:
            number = self._script.token_at(offset)
            has_bits = number < len(self._bits) and self._is_on(offset, number)
            return self._part_styles[f"band-{band(self._bits[number])}"] if has_bits else self._ink
        if any(self._is_on(offset, number) for number in self._choices):
            return self._part_styles["chosen"]
        if len(self._differences) and self._is_different(offset):
            return self._part_styles["differs"]
        return self._part_styles["given"] if offset < self._given_end else self._ink

    def _matches_in(self, line: TextLine) -> list[tuple[int, int]]:
        """Those of which a part stands in a line."""
        first = bisect_right(self._matches, line.start, key=lambda match: match[1])
        past = bisect_left(self._matches, line.start + len(line.text), key=lambda match: match[0])
        return self._matches[first:past]

    def _is_match(self, offset: int) -> bool:
        at = bisect_right(self._matches, offset, key=lambda match: match[0]) - 1
        return at >= 0 and offset < self._matches[at][1]

    def _is_different(self, offset: int) -> bool:
        number = self._script.token_at(offset)
        return number < len(self._differences) and bool(self._differences[number]) and self._is_on(offset, number)

    def _is_on(self, offset: int, number: int | None) -> bool:
        if number is None or number >= self.count:
            return False
        start, end = self._letters(number)
        return start <= offset < end

    def _letters(self, number: int) -> tuple[int, int]:
        """The part of the text that a cursor covers: a token without the space before it; at least a character."""
        start, end = self._script.span(number)
        text = self._script.written(number)
        start += len(text) - len(text.lstrip(" \n")) if text.strip() else 0
        return start, max(end, start + 1)

    def _end_of_given(self, first: int, given: Mask) -> int:
        """Where the text of the given tokens ends that stand before the first sampled one."""
        if given.all():
            return self._script.length
        count = first + int(given.argmin())
        return self._script.span(count - 1)[1] if count else 0

    def _scroll_to_token(self, number: int) -> None:
        if number >= self.count:
            self.scroll_end(animate=False, immediate=True, force=True, x_axis=False)
        else:
            line = self._body.line_at(self._letters(number)[0])
            self.scroll_to_region(Region(0, line, 1, 1), animate=False, immediate=True, force=True, x_axis=False)

    def _redraw(self) -> None:
        self._strips.clear()
        self.refresh()

    def _fit_width(self) -> bool:
        """Wraps the text anew if the room is not what it was wrapped for; one column is left to the cursor."""
        room = max(1, min(MEASURE, self.scrollable_content_region.width - 1))
        if self._body.width == room:
            return False
        self._body = self._body.rewrap(room)
        self._redraw()
        return True

    def _changed_from(self, first: int) -> None:
        """Lines from this one on are new: only they are painted again, and their end is scrolled to."""
        count_differs = len(self._body.lines) != self.virtual_size.height
        self._take_size(Size(self._body.width, len(self._body.lines)))
        if count_differs and self._follow:
            self.scroll_end(animate=False, immediate=True, force=True, x_axis=False)
        self.refresh_lines(first, len(self._body.lines) - first + 1)

    def _take_size(self, size: Size) -> None:
        """The whole screen is laid out anew only where the scroll bar comes or goes; a text grows all the time."""
        fits = size.height <= self.container_size.height
        if size.width != self.virtual_size.width or fits == self.show_vertical_scrollbar:
            self.virtual_size, self._thumb = size, -1
        else:
            self.set_reactive(TextView.virtual_size, size)
            self._move_bar()

    def _move_bar(self) -> None:
        """Drawing the bar is dear: at the end of the text, only when its thumb would look different."""
        if not self.show_vertical_scrollbar:
            return
        bar, height = self.vertical_scrollbar, self.container_size.height
        thumb = _THUMB_STEPS * height**2 // self.virtual_size.height
        if not self._follow or thumb != self._thumb:
            self._thumb = thumb if self._follow else -1
            bar.window_virtual_size, bar.position = self.virtual_size.height, self.scroll_y


class TextLine(NamedTuple):
    """A line on the screen, and where in the text it begins."""

    start: int
    text: str

    def offset_at(self, cell: int) -> int:
        """Where in the text the character in a cell stands; past the line's end, its last one."""
        head = chop_cells(self.text, cell + 1)[:1]
        return self.start + max(0, len("".join(head)) - 1)


class WrappedText:
    """A text that grows, in lines of a width in terminal cells; they break at spaces, or inside too long a word."""

    def __init__(self, width: int) -> None:
        self.width = max(1, width)
        self._reach = _CHARACTERS_A_CELL * self.width
        self.lines: list[TextLine] = [TextLine(0, "")]
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        """All of it, as it was appended."""
        return "".join(self._pieces)

    def append(self, text: str) -> int:
        """Adds text; returns the number of the first line that changed."""
        self._pieces.append(text)
        first = len(self.lines) - 1
        open_line = self.lines.pop()
        start = open_line.start
        for number, piece in enumerate((open_line.text + text).split("\n")):
            start += number > 0  # the newline itself
            start = self._wrap(start, piece)
        return first

    def line_at(self, offset: int) -> int:
        """The number of the line that a character stands in."""
        return max(0, bisect_right(self.lines, offset, key=lambda line: line.start) - 1)

    def rewrap(self, width: int) -> WrappedText:
        """The same text at another width."""
        wrapped = WrappedText(width)
        wrapped.append(self.text)
        return wrapped

    def _wrap(self, start: int, piece: str) -> int:
        """Adds the lines of a piece without newlines; returns where it ends."""
        end = start + len(piece)
        while not self._fits(piece):
            head, rest = self._split(piece)
            self.lines.append(TextLine(start, head))
            start, piece = end - len(rest), rest
        self.lines.append(TextLine(start, piece))
        return end

    def _fits(self, piece: str) -> bool:
        return len(piece) <= self._reach and cell_len(piece) <= self.width

    def _split(self, piece: str) -> tuple[str, str]:
        head = chop_cells(piece[: self._reach], self.width)[0] or piece[0]
        if piece[len(head)] == " ":
            return head, piece[len(head) + 1 :]
        space = head.rfind(" ")
        return (head[:space], piece[space + 1 :]) if space > 0 else (head, piece[len(head) :])
