"""How far models lie from the first one, position by position: a line of bars for each, and its sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from rich.cells import cell_len
from rich.segment import Segment
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from tui_gen.sampling.params import Floats
from tui_gen.tui.widgets.cells import EIGHTHS_UP, fit, part_style

_LONGEST_NAME = 22
_LEAST_SCALE = -3
"""A full bar never stands for less than an eighth of a bit."""
_NUMBER = 10
"""Cells of a column of numbers."""


@dataclass(frozen=True)
class StripRow:
    """A model, and how it reads what the first one made."""

    name: str
    """Harmless to a terminal."""
    bits: Floats | None
    """float64[positions] of what was made, NaN where it is not known; None where the model's tokens are others."""
    total: float
    """Of those bits."""
    per_character: float = math.nan
    note: str = ""
    """In the place of the bars, while there are none."""


class DivergenceStrip(Widget):
    """A title, and a line for each model; the bars in sight are those around the cursor, or the newest."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"divergence-strip--bars", "divergence-strip--cursor"}
    DEFAULT_CSS = """
    DivergenceStrip {
        height: auto;
        padding: 0 1;
        color: $text-muted;
        border-top: solid $foreground 20%;
    }
    DivergenceStrip > .divergence-strip--bars {
        color: $text-accent;
    }
    DivergenceStrip > .divergence-strip--cursor {
        color: $text-accent;
        text-style: bold reverse;
    }
    """

    def __init__(self, first: str, rows: int) -> None:
        """first: the name of the model that the others are compared with. rows: how many lines there will be."""
        super().__init__()
        self._first, self._count = first, rows
        self._rows: Sequence[StripRow] = ()
        self._at: int | None = None
        self._place = ""

    def show(self, rows: Sequence[StripRow], at: int | None, place: str) -> None:
        """Shows what is known now. at: the number, from 0 on, of the position that `place` names; None for none."""
        self._rows, self._at, self._place = rows, at, place
        self.refresh()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The title and the lines, whether their numbers are known yet or not."""
        return 1 + self._count

    def render_line(self, y: int) -> Strip:
        """The title, or one of the lines."""
        segments = self._title() if y == 0 else self._line(self._rows[y - 1]) if y <= len(self._rows) else []
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)

    @property
    def _has_characters(self) -> bool:
        return any(not math.isnan(row.per_character) for row in self._rows)

    @property
    def _scale(self) -> float:
        """What a full bar stands for: a power of two that is passed by one position in twenty at most."""
        known = [row.bits[~np.isnan(row.bits)] for row in self._rows if row.bits is not None]
        bits = np.concatenate([*known, [0.0]])
        most = float(np.quantile(bits, 0.95))
        return 2.0 ** max(_LEAST_SCALE, math.ceil(math.log2(most)) if most > 0 else _LEAST_SCALE)

    @property
    def _has_bars(self) -> bool:
        return any(row.bits is not None for row in self._rows)

    def _title(self) -> list[Segment]:
        headings = [f"{self._place:>{_NUMBER}}", f"{'in all':>{_NUMBER}}"] if self._has_bars else []
        headings += [f"{'a character':>{_NUMBER + 3}}"] if self._has_characters else []
        numbers = "".join(headings)
        room = self.size.width - cell_len(numbers)
        long = f"divergence from {self._first}, in bits; █ from {self._scale:g} on"
        titles = [long, f"bits from {self._first}; █ {self._scale:g}"]
        if not self._has_bars:
            titles = [f"the text of {self._first} as each reads it, in bits", "in bits"]
        title = next((title for title in titles if cell_len(title) < room), titles[-1])
        return [Segment(fit(title, room) + numbers, self.rich_style)]

    def _line(self, row: StripRow) -> list[Segment]:
        values = [self._value(row), row.total] if self._has_bars else []
        numbers = "".join(f"{_number(value):>{_NUMBER}}" for value in values)
        numbers += f"{_number(row.per_character):>{_NUMBER + 3}}" if self._has_characters else ""
        name_width = min(_LONGEST_NAME, max(cell_len(each.name) for each in self._rows))
        room = max(1, self.size.width - name_width - 1 - len(numbers))
        note = [Segment(fit(row.note, room), self.rich_style)]
        bars = note if row.bits is None or not len(row.bits) else self._bars(row.bits, room)
        return [Segment(fit(row.name, name_width) + " ", self.rich_style), *bars, Segment(numbers, self.rich_style)]

    def _value(self, row: StripRow) -> float:
        inside = row.bits is not None and self._at is not None and self._at < len(row.bits)
        return float(row.bits[self._at]) if inside and row.bits is not None else math.nan

    def _bars(self, bits: Floats, room: int) -> list[Segment]:
        at = len(bits) - 1 if self._at is None else min(self._at, len(bits) - 1)
        start = max(0, min(at - room // 2, len(bits) - room))
        part, scale = bits[start : start + room], self._scale
        levels = np.nan_to_num(np.clip(np.floor(part / scale * 8 + 0.5), 0, 8)).astype(int)
        line = "".join(EIGHTHS_UP[level] for level in levels).ljust(room)
        at -= start
        style, cursor = (part_style(self, f"divergence-strip--{name}") for name in ("bars", "cursor"))
        if self._at is None or not 0 <= at < len(part):
            return [Segment(line, style)]
        return [Segment(line[:at], style), Segment(line[at], cursor), Segment(line[at + 1 :], style)]


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:,.2f}"
