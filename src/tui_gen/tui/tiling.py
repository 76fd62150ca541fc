"""Where several pictures of one size go on a screen."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from textual.geometry import Size

from tui_gen.raster import Raster

GAP = 2
"""Columns between two pictures; between two rows of them is one line."""


@dataclass(frozen=True)
class Tiling:
    """Pictures in rows, each of width x height characters; the whole is set off from the left and the top."""

    width: int
    height: int
    columns: int
    left: int
    top: int

    def rows(self, samples: int) -> int:
        """How many rows of pictures there are."""
        return math.ceil(samples / max(1, self.columns))

    def samples_in(self, row: int, samples: int) -> range:
        """Which pictures stand in a row."""
        return range(row * self.columns, min((row + 1) * self.columns, samples))


def tile(raster: Raster, picture: tuple[int, int], samples: int, room: Size) -> tuple[Raster, Tiling]:
    """The largest whole scale at which all pictures (height, width) fit, and their places in the middle.

    If they do not fit even at scale 1, the rows that are too many lie below the visible part.
    """
    best = _place(raster, picture, samples, room)
    while True:
        larger = replace(raster, scale=raster.scale + 1)
        placed = _place(larger, picture, samples, room)
        if not _fits(placed, samples, room):
            return raster, best
        raster, best = larger, placed


def _place(raster: Raster, picture: tuple[int, int], samples: int, room: Size) -> Tiling:
    width, height = raster.size(*picture)
    columns = min(samples, max(1, (room.width + GAP) // (width + GAP)))
    rows = math.ceil(samples / columns)
    columns = math.ceil(samples / rows)  # as many in the last row as in the others, if possible
    left = (room.width - columns * (width + GAP) + GAP) // 2
    top = (room.height - rows * (height + 1) + 1) // 2
    return Tiling(width, height, columns, max(0, left), max(0, top))


def _fits(tiling: Tiling, samples: int, room: Size) -> bool:
    across = tiling.columns * (tiling.width + GAP) - GAP
    down = tiling.rows(samples) * (tiling.height + 1) - 1
    return across <= room.width and down <= room.height
