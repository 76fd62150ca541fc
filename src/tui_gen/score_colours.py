"""The colours of the bands of surprise, in a terminal. They get darker, so that they differ without hue, too."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from tui_gen.card import Colour
from tui_gen.raster import Cell, ansi
from tui_gen.surprise import BANDS, band


class Paint(NamedTuple):
    """How the tokens of a band look; None is the terminal's own colour."""

    name: str
    foreground: Colour | None
    background: Colour | None


_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
PAINTS = (
    Paint("plain", None, None),
    Paint("yellow", _BLACK, (255, 242, 160)),
    Paint("orange", _BLACK, (255, 178, 80)),
    Paint("red", _WHITE, (196, 48, 43)),
    Paint("violet", _WHITE, (92, 20, 110)),
)
"""One per band."""


def painted(text: str, bits: float) -> str:
    """A token with the colour of its bits behind it, but not behind white space before it and line ends in it."""
    paint = PAINTS[band(bits)]
    if not paint.background:
        return text
    word = text.lstrip() or text
    lines = (_painted(line, paint) for line in word.split("\n"))
    return text[: len(text) - len(word)] + "\n".join(lines)


def legend(*, coloured: bool) -> str:
    """One line that says which colour stands for how many bits."""
    borders = [
        f"below {BANDS[0]:g}",
        *(f"{low:g} to {high:g}" for low, high in pairwise(BANDS)),
        f"{BANDS[-1]:g} and more",
    ]
    named = (f" {paint.name} {border} " for paint, border in zip(PAINTS, borders, strict=True))
    shown = (_painted(name, paint) if coloured else name for name, paint in zip(named, PAINTS, strict=True))
    return "bits:" + "".join(shown).rstrip(" ")


def _painted(line: str, paint: Paint) -> str:
    return ansi([Cell(char, paint.foreground, paint.background) for char in line]) if line else ""
