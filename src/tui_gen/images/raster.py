"""Pixels to rows of characters: half blocks in colour, an ASCII ramp, braille dots. Pure drawing, for any front end."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from tui_gen.card import Colour
from tui_gen.images.picture import UNDRAWN, Pixels

Rendering = Literal["blocks", "ascii", "braille"]
RENDERINGS: tuple[Rendering, ...] = ("blocks", "ascii", "braille")
RENDERING_NAMES: dict[Rendering, str] = {"blocks": "half blocks", "ascii": "ASCII", "braille": "braille dots"}
RAMP = " .:-=+*#%@"
"""From dark to bright, for a dark background."""
BLANK = "·"
"""A cell in which nothing is drawn yet."""

_PIXELS_PER_CELL = {"blocks": (1, 2), "ascii": (1, 2), "braille": (2, 4)}
_BRAILLE_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
_BRAILLE_LIT = 0.25

_Block = list[list[Colour | None]]
"""The pixels of one cell, line by line; None where nothing is drawn yet."""


class Cell(NamedTuple):
    """One character of a drawing; a colour that is None is the terminal's own."""

    char: str
    foreground: Colour | None = None
    background: Colour | None = None


@dataclass(frozen=True)
class Raster:
    """A way to draw pictures: which characters, and how large.

    At scale 1 a cell holds 1x2 pixels (braille 2x4), which keeps pixels about square; a larger scale repeats pixels.
    """

    rendering: Rendering = "blocks"
    scale: int = 1

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(columns, rows) of characters that a picture takes."""
        across, down = _PIXELS_PER_CELL[self.rendering]
        return math.ceil(width * self.scale / across), math.ceil(height * self.scale / down)

    def rows_of(self, pixel_row: int) -> range:
        """The rows of characters that change when a row of pixels does."""
        down = _PIXELS_PER_CELL[self.rendering][1]
        return range(pixel_row * self.scale // down, ((pixel_row + 1) * self.scale - 1) // down + 1)

    def pixel_at(self, row: int, column: int) -> tuple[int, int] | None:
        """The pixel (row, column) that a character shows, the first of several; None before the picture."""
        across, down = _PIXELS_PER_CELL[self.rendering]
        return (row * down // self.scale, column * across // self.scale) if row >= 0 and column >= 0 else None

    def cells_of(self, pixel_column: int) -> range:
        """The characters of a row that show a column of pixels."""
        across = _PIXELS_PER_CELL[self.rendering][0]
        return range(pixel_column * self.scale // across, ((pixel_column + 1) * self.scale - 1) // across + 1)

    def row(self, picture: Pixels, number: int) -> list[Cell]:
        """One row of characters of a picture [height, width, 3]."""
        across, down = _PIXELS_PER_CELL[self.rendering]
        lines = [self._line(picture, number * down + offset) for offset in range(down)]
        cells = math.ceil(len(lines[0]) / across)
        window = np.full((down, cells * across, 3), UNDRAWN, dtype=np.int16)
        for offset, line in enumerate(lines):
            window[offset, : len(line)] = line
        blocks = window.reshape(down, cells, across, 3).swapaxes(0, 1)
        draw = {"blocks": _half_block, "ascii": _ramp, "braille": _braille}[self.rendering]
        return [draw([[_colour(pixel) for pixel in line] for line in block]) for block in blocks.tolist()]

    def _line(self, picture: Pixels, line: int) -> Pixels:
        """One line of scaled pixels; past the picture's end nothing is drawn."""
        source = line // self.scale
        pixels = picture[source] if source < len(picture) else np.full_like(picture[0], UNDRAWN)
        return np.repeat(pixels, self.scale, axis=0)


def _colour(pixel: Sequence[int]) -> Colour | None:
    red, green, blue = pixel
    return None if red == UNDRAWN else (red, green, blue)


def _half_block(block: _Block) -> Cell:
    [top], [bottom] = block
    if top is None and bottom is None:
        return Cell(BLANK)
    return Cell("▄", bottom) if top is None else Cell("▀", top, bottom)


def _ramp(block: _Block) -> Cell:
    colours = [colour for line in block for colour in line if colour]
    if not colours:
        return Cell(BLANK)
    bright = sum(map(brightness, colours)) / len(colours)
    return Cell(RAMP[min(int(bright * len(RAMP)), len(RAMP) - 1)], max(colours, key=brightness))


def _braille(block: _Block) -> Cell:
    if not any(colour for line in block for colour in line):
        return Cell(BLANK)
    return Cell(chr(0x2800 + int(_BRAILLE_BITS[[[_is_lit(colour) for colour in line] for line in block]].sum())))


def _is_lit(colour: Colour | None) -> bool:
    return colour is not None and brightness(colour) > _BRAILLE_LIT


def hexadecimal(colour: Colour) -> str:
    """An RGB colour as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def brightness(colour: Colour) -> float:
    """Luma of an RGB colour, 0 to 1 (ITU-R BT.601)."""
    red, green, blue = colour
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255


def pointed(raster: Raster, cells: list[Cell], picture: Pixels, number: int, pixel: tuple[int, int]) -> list[Cell]:
    """A row of characters of a picture with a mark on a pixel (row, column), if it is in that row."""
    if number not in raster.rows_of(pixel[0]):
        return cells
    colour = _colour(picture[pixel].tolist())
    ink = (0, 0, 0) if colour and brightness(colour) > _BRAILLE_LIT * 2 else (255, 255, 255)
    places = raster.cells_of(pixel[1])
    marks = "X" if len(places) == 1 else "[" + " " * (len(places) - 2) + "]"
    row = list(cells)
    for place, mark in zip(places, marks, strict=True):
        row[place] = Cell(mark, ink, colour or (96, 96, 96))
    return row


def plain(cells: Sequence[Cell]) -> str:
    """The characters without their colours. Half blocks then mean bright (1) and dark (0) pixels."""
    return "".join(_mono(cell) for cell in cells)


def _mono(cell: Cell) -> str:
    if cell.char not in "▀▄":
        return cell.char
    top, bottom = (cell.foreground, cell.background) if cell.char == "▀" else (None, cell.foreground)
    bright = _is_lit(top), _is_lit(bottom)
    return " ▀▄█"[bright[0] + 2 * bright[1]]


def ansi(cells: Sequence[Cell]) -> str:
    """The row with 24-bit colour escape sequences, ended by a reset."""
    parts = []
    for (foreground, background), run in itertools.groupby(cells, key=lambda cell: cell[1:]):
        parts.append(_escape(foreground, background) + "".join(cell.char for cell in run))
    return "".join(parts) + "\x1b[0m"


def _escape(foreground: Colour | None, background: Colour | None) -> str:
    codes = ["0"]
    if foreground:
        codes.append("38;2;{};{};{}".format(*foreground))
    if background:
        codes.append("48;2;{};{};{}".format(*background))
    return f"\x1b[{';'.join(codes)}m"
