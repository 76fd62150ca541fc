"""The words of the panel of surprisal: totals, the legend of the marks in the output, the most surprising tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.cells import cell_len
from textual.content import Content

from tui_gen.card import ImageSpec
from tui_gen.generation.describe import number_of
from tui_gen.images.picture import HOTTEST, heat
from tui_gen.images.raster import hexadecimal
from tui_gen.scoring.branch_scores import BranchSurprisal, Origin, Peak
from tui_gen.scoring.score import BANDS, Totals, band
from tui_gen.terminal_text import counted, scrub_line
from tui_gen.tui.widgets.candidates import MARKS, short_number
from tui_gen.tui.widgets.cells import fit

_FAINT = "$foreground 70%"
"""As `$text-muted`, which is not to be had in a text."""
BAND_STYLES = (_FAINT, "$foreground", "bold", "bold underline", "bold reverse")
"""As the tokens of a text are drawn, by band."""
_MARKS: dict[Origin, str] = {"drawn": " ", "chosen": MARKS["chosen"], "given": MARKS["given"]}
_BITS = 5
"""Cells of a token's bits."""
_HUGE = 1e7
"""Bits from which on only the first digits are shown."""
_BAND_NAMES = ("expected", "likely", "possible", "surprising", "startling")
_HEATS = (0.0, 0.5, 2.0, 5.0, HOTTEST)
"""Bits whose colours the legend of a picture shows."""
SWATCH = "█"


@dataclass(frozen=True)
class PeakRow:
    """One of the most surprising tokens as it is shown."""

    peak: Peak
    text: str
    place: str
    colour: str = ""
    """Of its bits, where the picture shows them so."""


def totals_lines(totals: Totals, given: Totals, unit: str) -> list[Sequence[str]]:
    """The most important first, each in one or several wordings, the longest first. unit: what a token is.

    totals: of the tokens that the model made; given: of those that it was given.
    """
    if not totals.tokens:
        return [(f"no {unit} is made yet",), *_given_line(given, unit)]
    bits, count = _number(totals.bits), counted(totals.tokens, unit)
    perplexity = totals.perplexity
    choices = short_number(perplexity) if perplexity < _HUGE else _number(perplexity)
    lines: list[Sequence[str]] = [
        (f"{bits} bits in {count}", f"{bits} bits, {count}", f"{bits} bits"),
        (f"{_number(totals.bits / totals.tokens, 2)} bits a {unit}",),
        (f"like {choices} equal choices", f"like {choices} choices"),
    ]
    if unit != totals.unit:
        lines.append((f"{_number(totals.bits_per_unit, 2)} bits a {totals.unit}",))
    return [
        *lines,
        (f"perplexity {_number(perplexity, 2 if perplexity < 100 else 0)}",),
        *_given_line(given, unit),
    ]


def peak_rows(
    scores: BranchSurprisal, peaks: Sequence[Peak], name_of: Callable[[int], str], head: int
) -> list[PeakRow]:
    """The tokens with their names, made harmless, and where they stand; head: the first position after the prompt."""
    names = [scrub_line(name_of(peak.token)).replace(" ", "␣") for peak in peaks]
    colours = heat_colours([peak.bits for peak in peaks]) if scores.image else [""] * len(peaks)
    return [
        PeakRow(peak, name, _place(peak, head, scores.image), colour)
        for peak, name, colour in zip(peaks, names, colours, strict=True)
    ]


def heading(image: ImageSpec | None, unit: str, width: int) -> str:
    """The names of the columns."""
    place = "row,column" if image else "number"
    name = "value" if image else unit
    return f"  {'bits':>{_BITS}} {fit(name, width - _BITS - 5 - len(place))} {place}"


def row_lines(rows: Sequence[PeakRow], width: int) -> list[Content]:
    """A line each: bits, name, and place; its first cell is left to a cursor."""
    places = max((cell_len(row.place) for row in rows), default=0)
    return [_row_line(row, width, places) for row in rows]


def _row_line(row: PeakRow, width: int, places: int) -> Content:
    before = f" {_MARKS[row.peak.origin]}{_brief(row.peak.bits):>{_BITS}} "
    swatch, space = (SWATCH, " ") if row.colour else ("", "")
    text = fit(row.text, width - _BITS - places - 5 - len(swatch + space)).rstrip()
    place = row.place.rjust(width - 1 - len(before + swatch + space) - cell_len(text))
    style = "" if row.colour else BAND_STYLES[band(row.peak.bits)]
    return Content.assemble(before, (swatch, row.colour), space, (text, style), place)


def marks_legend(rows: Sequence[PeakRow]) -> str:
    """What the marks mean that are there."""
    marks = dict.fromkeys((_MARKS[row.peak.origin], row.peak.origin) for row in rows if row.peak.origin != "drawn")
    return "  ".join(f"{mark} {origin}" for mark, origin in sorted(marks, reverse=True))


def first_that_fits(wordings: Sequence[str], cells: int) -> str:
    """The longest wording that has room; the last, cut, where none has."""
    return fit(next((words for words in wordings if cell_len(words) <= cells), wordings[-1]), cells).rstrip()


def _given_line(given: Totals, unit: str) -> list[Sequence[str]]:
    if not given.tokens:
        return []
    bits = f"given: {_number(given.bits)} bits"
    return [(f"{bits} in {counted(given.tokens, unit)}", f"{bits} in {given.tokens:,}", bits)]


def _place(peak: Peak, head: int, image: ImageSpec | None) -> str:
    """Where a token stands: its number, or in a picture row and column; head: the first position after the prompt."""
    number = number_of(peak.position, head)
    if number < 1:
        return f"prompt {peak.position:,}"
    if not image:
        return f"{number:,}"
    row, column, channel = image.place(peak.position - head)
    return f"{row},{column}" + (f" {'RGB'[channel]}" if image.channels == 3 else "")


def _number(value: float, decimals: int = 0) -> str:
    if math.isinf(value):
        return "infinite"
    return f"{value:,.{decimals}f}" if value < _HUGE else f"{value:.3g}"


def _brief(bits: float) -> str:
    """In at most five cells."""
    if math.isinf(bits):
        return "∞"
    return f"{bits:.1f}" if bits < 999.95 else f"{bits:.0f}" if bits < 99_999.5 else f"{bits:.0e}"


def legend(image: ImageSpec | None, *, tall: bool) -> Content:
    """Which style stands for how many bits; of a picture, which colour. Five lines if `tall`, or one."""
    if image:
        return _heat_legend(tall=tall)
    lows, highs = [f"{low:g}" for low in BANDS], [f"{high:g}" for high in BANDS[1:]]
    if not tall:
        ranges = [f"<{lows[0]}", *map("{}-{}".format, lows, highs), f"{lows[-1]}+"]
        words = [part for pair in zip(ranges, BAND_STYLES, strict=True) for part in (" ", pair)]
        return Content.assemble(*words, (" bits", _FAINT))
    ranges = [f"below {lows[0]} bit", *map("{} to {}".format, lows, highs), f"{lows[-1]} and more"]
    return Content("\n").join(
        Content.assemble(" ", (name, style), (f"{'':{12 - len(name)}}{bits}", _FAINT))
        for name, style, bits in zip(_BAND_NAMES, BAND_STYLES, ranges, strict=True)
    )


def heat_colours(bits: Sequence[float]) -> list[str]:
    """Those that a picture shows surprisal in."""
    return [hexadecimal(tuple(rgb)) for rgb in heat(np.array(bits)).tolist()]


def _heat_legend(*, tall: bool) -> Content:
    colours = heat_colours(_HEATS)
    if tall:
        names = [f"{_HEATS[0]:g} bits", *(f"{bits:g}" for bits in _HEATS[1:-1]), f"{_HEATS[-1]:g} and more"]
        return Content("\n").join(
            Content.assemble(" ", (SWATCH * 2, colour), (f" {name}", _FAINT))
            for name, colour in zip(names, colours, strict=True)
        )
    parts = [
        part
        for bits, colour in zip(_HEATS, colours, strict=True)
        for part in ((f" {SWATCH}", colour), (f"{bits:g}{'+' if bits == HOTTEST else ''}", _FAINT))
    ]
    return Content.assemble(*parts, (" bits", _FAINT))
