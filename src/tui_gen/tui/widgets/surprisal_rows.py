"""What stands in the lines of the surprise panel: totals in words, and the most surprising tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from tui_gen import terminal_text
from tui_gen.card import ImageSpec
from tui_gen.images.picture import HOTTEST, heat
from tui_gen.images.raster import hexadecimal
from tui_gen.scoring.branch_scores import BranchSurprisal, Origin, Peak
from tui_gen.scoring.score import BANDS, Totals, band
from tui_gen.terminal_text import scrub_line
from tui_gen.tui.widgets.candidates import MARKS, counted
from tui_gen.tui.widgets.cells import fit

_MARKS: dict[Origin, str] = {"drawn": " ", "chosen": MARKS["chosen"], "given": MARKS["given"]}
_BITS = 5
"""Cells of a token's bits."""
_HUGE = 1e7
"""Bits from which on only the first digits are shown."""
Line = list[Segment]
_WORDS = ("expected", "likely", "possible", "surprising", "startling")
"""What the bands are called."""
_HEATS = (0.0, 0.5, 2.0, 5.0, HOTTEST)
"""Bits whose colours the legend of a picture shows."""
BLOCK = "█"


@dataclass(frozen=True)
class Row:
    """One of the most surprising tokens as it is shown."""

    peak: Peak
    text: str
    place: str
    colour: Style | None = None
    """Of its bits, where the picture shows them so."""


def totals_lines(made: Totals, given: Totals, unit: str) -> list[str | Sequence[str]]:
    """The most important first; where there are several wordings, the longest first. unit: what a token is."""
    if not made.tokens:
        return [f"no {unit} is made yet", *_given_line(given, unit)]
    bits, count, choices = _number(made.bits), terminal_text.counted(made.tokens, unit), _choices(made.perplexity)
    lines: list[str | Sequence[str]] = [
        (f"{bits} bits in {count}", f"{bits} bits, {count}", f"{bits} bits"),
        f"{_number(made.bits / made.tokens, 2)} bits a {unit}",
        (f"like {choices} equal choices", f"like {choices} choices"),
    ]
    if unit != made.unit:
        lines.append(f"{_number(made.bits_per_unit, 2)} bits a {made.unit}")
    return [
        *lines,
        f"perplexity {_number(made.perplexity, 2 if made.perplexity < 100 else 0)}",
        *_given_line(given, unit),
    ]


def rows(surprise: BranchSurprisal, peaks: Sequence[Peak], name_of: Callable[[int], str], head: int) -> list[Row]:
    """The tokens with their names, made harmless, and where they stand; head: the first position after the prompt."""
    image, names = surprise.image, [scrub_line(name_of(peak.token)).replace(" ", "␣") for peak in peaks]
    colours = colours_of([peak.bits for peak in peaks]) if image else [None] * len(peaks)
    return [
        Row(peak, name, _place(peak.position - head, peak, image), colour)
        for peak, name, colour in zip(peaks, names, colours, strict=True)
    ]


def heading(image: ImageSpec | None, unit: str, width: int, style: Style) -> Line:
    """The names of the columns."""
    place = "row,column" if image else "number"
    name = "value" if image else unit
    return [Segment(f"  {'bits':>{_BITS}} {fit(name, max(1, width - _BITS - 5 - len(place)))} {place}", style)]


def row_line(row: Row, *, width: int, places: int, selected: bool, look: Look) -> Line:
    """places: cells of the last column."""
    ink = look.ink + Style(reverse=True) if selected else look.ink
    text = fit(row.text, max(1, width - _BITS - places - 5 - 2 * (row.colour is not None))).rstrip()
    style = ink if selected or row.colour else look.bands[band(row.peak.bits)]
    cursor = ">" if selected else " "
    before = [Segment(f"{cursor}{_MARKS[row.peak.origin]}{_brief(row.peak.bits):>{_BITS}} ", ink)]
    if row.colour:
        before += [Segment(BLOCK, look.ink + row.colour), Segment(" ", ink)]
    used = sum(part.cell_length for part in before) + cell_len(text)
    return [*before, Segment(text, style), Segment(row.place.rjust(width - 1 - used), ink)]


def note(rows: Sequence[Row]) -> str:
    """What the marks mean that are there."""
    marks = dict.fromkeys((_MARKS[row.peak.origin], row.peak.origin) for row in rows if row.peak.origin != "drawn")
    return "  ".join(f"{mark} {origin}" for mark, origin in sorted(marks, reverse=True))


def first_that_fits(wordings: str | Sequence[str], cells: int) -> str:
    """The longest wording that has room; the last, cut, where none has."""
    several = [wordings] if isinstance(wordings, str) else wordings
    return fit(next((words for words in several if cell_len(words) <= cells), several[-1]), cells).rstrip()


def _given_line(given: Totals, unit: str) -> list[Sequence[str]]:
    if not given.tokens:
        return []
    said = f"given: {_number(given.bits)} bits"
    return [(f"{said} in {terminal_text.counted(given.tokens, unit)}", f"{said} in {given.tokens:,}", said)]


def _place(number: int, peak: Peak, image: ImageSpec | None) -> str:
    """Where a token stands, as people count it; number: from the first one after the prompt, from 0 on."""
    if number < 0:
        return f"prompt {peak.position}"
    if not image:
        return f"{number + 1:,}"
    row, column, channel = image.place(number)
    return f"{row},{column}" + (f" {'RGB'[channel]}" if image.channels == 3 else "")


def _number(value: float, decimals: int = 0) -> str:
    if math.isinf(value):
        return "infinite"
    return f"{value:,.{decimals}f}" if value < _HUGE else f"{value:.3g}"


def _choices(perplexity: float) -> str:
    return counted(perplexity) if perplexity < _HUGE else _number(perplexity)


def _brief(bits: float) -> str:
    """In at most five cells."""
    if math.isinf(bits):
        return "∞"
    return f"{bits:.1f}" if bits < 999.95 else f"{bits:.0f}" if bits < 99_999.5 else f"{bits:.0e}"


@dataclass(frozen=True)
class Look:
    """What the parts of the panel are drawn in."""

    ink: Style
    faint: Style
    bands: Sequence[Style]
    """As the tokens of a text are drawn, by band."""


def legend(image: ImageSpec | None, look: Look, *, tall: bool) -> list[Line]:
    """Which look stands for how many bits; of a picture, which colour. A line each if `tall`, or all in one."""
    if image:
        return _heat_legend(look, tall=tall)
    if not tall:
        ranges = [f"<{BANDS[0]:g}", *(f"{low:g}-{high:g}" for low, high in pairwise(BANDS)), f"{BANDS[-1]:g}+"]
        return [[*_spaced(ranges, look.bands, look.ink), Segment(" bits", look.faint)]]
    ranges = [
        f"below {BANDS[0]:g} bit",
        *(f"{low:g} to {high:g}" for low, high in pairwise(BANDS)),
        f"{BANDS[-1]:g} and more",
    ]
    return [
        [Segment(" ", look.ink), Segment(word, style), Segment(f"{'':{12 - len(word)}}{bits}", look.faint)]
        for word, style, bits in zip(_WORDS, look.bands, ranges, strict=True)
    ]


def colours_of(bits: Sequence[float]) -> list[Style]:
    """Those that a picture shows surprise in."""
    return [Style(color=hexadecimal(tuple(rgb))) for rgb in heat(np.array(bits)).tolist()]


def _heat_legend(look: Look, *, tall: bool) -> list[Line]:
    styles = [look.ink + colour for colour in colours_of(_HEATS)]
    if tall:
        names = [f"{_HEATS[0]:g} bits", *(f"{bits:g}" for bits in _HEATS[1:-1]), f"{_HEATS[-1]:g} and more"]
        return [
            [Segment(" ", look.ink), Segment(BLOCK * 2, style), Segment(f" {name}", look.faint)]
            for name, style in zip(names, styles, strict=True)
        ]
    line = [Segment("", look.ink)]
    for bits, style in zip(_HEATS, styles, strict=True):
        line += [Segment(f" {BLOCK}", style), Segment(f"{bits:g}{'+' if bits == HOTTEST else ''}", look.faint)]
    return [[*line, Segment(" bits", look.faint)]]


def _spaced(texts: Sequence[str], styles: Sequence[Style], between: Style) -> Line:
    return [
        part
        for text, style in zip(texts, styles, strict=True)
        for part in (Segment(" ", between), Segment(text, style))
    ]
