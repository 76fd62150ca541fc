"""The strip of surprisal: a column for every token of a sample, as high as it has bits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui_gen.sampling.params import Floats
from tui_gen.tui.widgets.cells import column, part_style
from tui_gen.tui.widgets.surprisal_rows import first_that_fits

_FRAME = 4
"""Cells beside the title: a space and a piece of the line on both sides."""
_GUTTER = 4
"""Cells left of the columns: the scale."""
_SCALE_OF_FEW, _SCALE_OF_MANY = 8, 16
"""Bits that fill a column, for vocabularies of characters or pixels, and of words."""
_FEW = 256
_ABOVE = "▲"
"""The top of a column that would be higher."""
_LABEL_EVERY = 10


@dataclass(frozen=True)
class TokenBits:
    """What a strip shows: the surprisal of the tokens of a sample."""

    bits: Floats
    """float64[tokens]; NaN where nothing is known."""
    unit: str
    """What a column is."""
    given: int
    """How many at the beginning stand in the prompt; the column after them is number 1."""
    cursor: int | None
    """The column that a person stands on."""
    choices: int
    """Tokens of the vocabulary."""
    average: float | None = None
    """Bits of those that the model made, on average."""
    sample: str = ""
    """Which of several samples it is; empty for the only one."""
    note: str = ""
    """What a person waits for."""

    @property
    def scale(self) -> int:
        """Bits that fill a column: the same for all runs of a model."""
        return _SCALE_OF_FEW if self.choices <= _FEW else _SCALE_OF_MANY

    def number(self, index: int) -> int:
        """The number of a column as people count: 1 for the first after the prompt."""
        return index - self.given + 1

    def titles(self) -> list[str]:
        """The unit, the token at the cursor, and the average; the longest wording first."""
        average = [] if self.average is None else [f"{self.average:.2f} on average"]
        facts, note = [*self._at_cursor(), *average], [self.note] if self.note else []
        unit, sample = self.unit, f" of {self.sample}" if self.sample else ""
        wordings = ([f"surprise of each {unit}{sample}, in bits", *facts, *note], [f"bits a {unit}{sample}", *facts])
        return [" · ".join(parts) for parts in (*wordings, [f"bits a {unit}", *facts[:1]])]

    def _at_cursor(self) -> list[str]:
        if self.cursor is None or self.cursor >= len(self.bits) or math.isnan(self.bits[self.cursor]):
            return []
        number = self.number(self.cursor)
        place = f"{self.unit} {number:,}" if number >= 1 else f"prompt {self.unit} {self.cursor + 1:,}"
        return [f"{place}: {self.bits[self.cursor]:.1f}"]


class SurprisalStrip(Widget):
    """The newest tokens, or those around the cursor, on a scale that stays the same; a click goes to one."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "surprisal-strip--faint",
        "surprisal-strip--bar",
        "surprisal-strip--given",
        "surprisal-strip--cursor",
    }
    DEFAULT_CSS = """
    SurprisalStrip {
        height: 6;
        padding: 0 1;
        background: $background;
        & > .surprisal-strip--faint { color: $text-muted; }
        & > .surprisal-strip--bar { color: $accent; }
        & > .surprisal-strip--given { color: $foreground 40%; }
        & > .surprisal-strip--cursor { color: $text; text-style: bold; }
    }
    """

    @dataclass
    class Clicked(Message):
        """A person has clicked on a column; from 0 on."""

        number: int

    def __init__(self) -> None:
        super().__init__()
        self._shown: TokenBits | None = None
        self._ink = self._faint = self._bar = self._given = self._cursor = Style()

    def show(self, shown: TokenBits | None) -> None:
        """Shows the surprisal of another sample, or of more tokens; None for nothing. Draws only what is new."""
        before, self._shown = self._shown, shown
        if shown and before and self._grows(before, shown):
            known, count = len(before.bits), len(shown.bits)
            if before.titles() != shown.titles():
                self.refresh(Region(0, 0, self.size.width, 1))
            if count > known:
                self.refresh(Region(_GUTTER + known - self._start(shown), 1, count - known, self.size.height - 1))
        elif shown is not before:
            self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Says which column was hit."""
        at = event.get_content_offset(self)
        if at is not None and self._shown and at.y > 0:
            number = at.x - _GUTTER + self._start(self._shown)
            if at.x >= _GUTTER and number < len(self._shown.bits):
                self.post_message(self.Clicked(number))

    def render_lines(self, crop: Region) -> list[Strip]:
        """Asks once for the styles of all lines."""
        names = ("faint", "bar", "given", "cursor")
        parts = (part_style(self, f"surprisal-strip--{name}") for name in names)
        self._ink, (self._faint, self._bar, self._given, self._cursor) = self.rich_style, parts
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """The title, a part of the columns, or the numbers below them."""
        shown, width = self._shown, self.size.width
        if y == 0:
            title = first_that_fits(shown.titles(), width - _FRAME) if shown else "surprise"
            return Strip([Segment(f"─ {title} ".ljust(width, "─"), self._faint)]).crop(0, width)
        segments = self._line(shown, y - 1) if shown and len(shown.bits) else []
        return Strip(segments).adjust_cell_length(width, self._ink)

    @property
    def _rows(self) -> int:
        """Lines of the columns."""
        return max(1, self.size.height - 2)

    @property
    def _room(self) -> int:
        """Columns that have room."""
        return max(1, self.size.width - _GUTTER)

    def _start(self, shown: TokenBits) -> int:
        """The first column in sight. It moves by a quarter of the width, so that a new token rarely draws all anew."""
        focus = len(shown.bits) - 1 if shown.cursor is None else min(shown.cursor, len(shown.bits))
        step = max(1, self._room // 4)
        return max(0, math.ceil((focus + 1 - self._room) / step) * step)

    def _grows(self, before: TokenBits, shown: TokenBits) -> bool:
        """Whether all columns that are in sight stay what they are."""
        known = len(before.bits)
        return (
            self._start(before) == self._start(shown)
            and (before.cursor, before.given) == (shown.cursor, shown.given)
            and before.scale == shown.scale
            and known <= len(shown.bits)
            and np.array_equal(before.bits, shown.bits[:known], equal_nan=True)
        )

    def _line(self, shown: TokenBits, row: int) -> list[Segment]:
        start = self._start(shown)
        numbers = range(start, min(start + self._room, len(shown.bits)))
        if row >= self._rows:
            return [Segment(self._axis(shown, numbers), self._faint)]
        label = shown.scale * (self._rows - row) / self._rows
        cells = [Segment(self._cell(shown, number, row), self._style(shown, number)) for number in numbers]
        return [Segment(f"{label:>{_GUTTER - 1}g} ", self._faint), *Strip(cells).simplify()]

    def _cell(self, shown: TokenBits, number: int, row: int) -> str:
        bits = shown.bits[number]
        if math.isnan(bits):
            return " "
        if bits > shown.scale and row == 0:
            return _ABOVE
        return column(bits / shown.scale, self._rows)[row]

    def _style(self, shown: TokenBits, number: int) -> Style:
        if number == shown.cursor:
            return self._cursor
        return self._given if number < shown.given else self._bar

    def _axis(self, shown: TokenBits, numbers: range) -> str:
        """The number of every tenth token below its column, and a mark below the cursor."""
        line = [" "] * (len(numbers) + _GUTTER)
        for index in numbers:
            number, at = shown.number(index), index - numbers.start
            label = "▲" if index == shown.cursor else f"╵{number}"
            is_labelled = number > 0 and number % _LABEL_EVERY == 0
            if index == shown.cursor or (is_labelled and shown.cursor not in range(index, index + len(label))):
                line[at : at + len(label)] = label
        return " " * _GUTTER + "".join(line)
