"""How the rows of a distribution are drawn: columns, marks, bars, percentages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style

from tui_gen.card import Colour
from tui_gen.codec import ImageCodec, TextCodec
from tui_gen.errors import TuiGenError
from tui_gen.raster import hexadecimal
from tui_gen.scrub import scrub_line
from tui_gen.tui.bars import bar, fit
from tui_gen.tui.ranking import Made

MARKS: dict[Made, str] = {"": " ", "drawn": "▸", "chosen": "*", "given": "="}
"""What stands before the token of the position."""
_PLAIN = Style()
CURSOR = ">"
"""What stands before the entry that is selected."""
_SWATCH = "██ "
_PERCENT = 7
"""Cells of a percentage and the space before it."""
_BEFORE = 2
"""Cells of mark and cursor."""
_LONGEST_LABEL = 12
_LONGEST_TEXT = 200
"""Characters of a token that are looked at."""


@dataclass(frozen=True)
class Look:
    """What the parts of a row are drawn in."""

    ink: Style = _PLAIN
    bar: Style = _PLAIN
    drawn: Style = _PLAIN
    faint: Style = _PLAIN


@dataclass(frozen=True)
class Entry:
    """A row: a token and its probabilities."""

    text: str
    now: float
    """After the knobs; 0 for a token that they have cut."""
    raw: float
    """The model's own."""
    filled: float
    """How much of the bar is filled, 0 to 1."""
    colour: Colour | None = None
    """Of a pixel's value."""
    made: Made = ""
    """How it came to stand at the position, if it does."""
    selected: bool = False


@dataclass(frozen=True)
class Columns:
    """How the cells of a row are shared out. label: cells of the longest label; more than it needs goes to the bar."""

    width: int
    longest: int = _LONGEST_LABEL

    @property
    def label(self) -> int:
        """Cells of the label."""
        return max(1, min(self.longest, self._free - 1 - max(2, self._free // 4)))

    @property
    def bar(self) -> int:
        """Cells of the bar."""
        return max(0, self._free - 1 - self.label)

    @property
    def _free(self) -> int:
        spare = 1 if self.width > 30 else 0  # a margin, where there is room for one
        return self.width - _BEFORE - 2 * _PERCENT - spare

    def heading(self, text: str, now: str, raw: str, style: Style) -> list[Segment]:
        """A row that is no entry: a text, and something in the columns of the percentages."""
        return [Segment(f"{fit(text, max(1, self._free + _BEFORE))}{now:>{_PERCENT}}{raw:>{_PERCENT}}", style)]

    def first_that_fits(self, texts: Sequence[str], *, whole: bool = False) -> str:
        """The first of some texts that a heading has room for, or the last; whole: without anything in its columns."""
        room = self.width if whole else self._free + _BEFORE
        return next((text for text in texts if len(text) <= room), texts[-1])

    def row(self, entry: Entry, look: Look) -> list[Segment]:
        """An entry."""
        style = look.faint if entry.now == 0 else look.drawn if entry.made else look.ink
        if entry.selected:
            style = look.ink + Style(reverse=True)
        filled = bar(entry.filled, self.bar) if self.bar else ""
        return [
            Segment(MARKS[entry.made] + (CURSOR if entry.selected else " "), style),
            *self._label(entry, style, look.ink),
            Segment(" ", style),
            Segment(filled, style if entry.selected else look.bar),
            Segment(f"{percent(entry.now) if entry.now else 'cut':>{_PERCENT}}{percent(entry.raw):>{_PERCENT}}", style),
        ]

    def _label(self, entry: Entry, style: Style, ink: Style) -> list[Segment]:
        if entry.colour is None:
            return [Segment(fit(entry.text, self.label), style)]
        swatch = ink + Style(color=hexadecimal(entry.colour))
        return [Segment(_SWATCH, swatch), Segment(fit(entry.text, max(1, self.label - len(_SWATCH))), style)]


def label(codec: TextCodec | ImageCodec, token: int) -> str:
    """A token's text in one line, made harmless; a space is shown by its sign."""
    try:
        text = codec.token_text(token)
    except TuiGenError:  # a tokenizer that fails; generating tells why
        text = f"token {token}"
    return scrub_line(text[:_LONGEST_TEXT]).replace(" ", "␣")


def longest_label(codec: TextCodec | ImageCodec, vocab: int) -> int:
    """Cells that labels can take; those of pixel values are as long as the highest number."""
    shows_colours = codec.token_colour(0, 0) is not None
    return len(f"{_SWATCH}{vocab - 1}") if shows_colours else _LONGEST_LABEL


def percent(share: float) -> str:
    """At most six cells; what is possible never looks impossible, nor what is uncertain certain."""
    if share < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= share < 1 else f"{100 * share:.1f}%"
