"""How surprise looks, and the lines that say so: by band in a text, by colour in a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from rich.segment import Segment
from rich.style import Style

from tui_gen.card import ImageSpec
from tui_gen.heat import HOTTEST, heat
from tui_gen.raster import hexadecimal
from tui_gen.surprise import BANDS

Line = list[Segment]
_WORDS = ("expected", "likely", "possible", "surprising", "startling")
"""What the bands are called."""
_HEATS = (0.0, 0.5, 2.0, 5.0, HOTTEST)
"""Bits whose colours the legend of a picture shows."""
BLOCK = "█"


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
