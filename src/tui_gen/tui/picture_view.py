"""A picture that is shown: half blocks at the largest whole scale that fits, or braille dots where none does."""

from __future__ import annotations

from typing import ClassVar

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.geometry import clamp
from textual.strip import Strip
from textual.widget import Widget

from tui_gen.picture import Pixels
from tui_gen.raster import BLANK, Cell, Raster, brightness
from tui_gen.tui.looks import part_style
from tui_gen.tui.tiling import Tiling, tile

_FREE_HALF = {"▀": ".", "▄": "˙"}
"""In place of a half block whose other half is free, on the colour of the half that is given."""


class PictureView(Widget):
    """Of a picture that is too large even for braille dots, a part around `_at` is seen."""

    DEFAULT_CSS = """
    PictureView {
        border: round $foreground 35%;
        border-title-color: $text-muted;
        background: $background;
        & > .picture-view--free {
            color: $text-muted;
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"picture-view--free"}

    def __init__(self) -> None:
        super().__init__()
        self._picture: Pixels | None = None
        self._at = (0, 0)
        """The pixel (row, column) that is seen for certain."""

    def show(self, picture: Pixels | None) -> None:
        """Shows a picture [height, width, 3], or that there is none."""
        self._picture = picture
        self.refresh()

    def decorated(
        self, raster: Raster, cells: list[Cell], pixels: Pixels, number: int, first: tuple[int, int]
    ) -> list[Cell]:
        """A row of characters, as it is shown. first: the pixel (row, column) at which `pixels` begin."""
        return cells

    def render_line(self, y: int) -> Strip:
        """One line: a row of characters of the picture, in the middle."""
        if self._picture is None:
            return self._text_line(y)
        raster, tiling, (top, left) = self.placed(self._picture)
        number = y - tiling.top
        if not 0 <= number < min(tiling.height, self.size.height):
            return Strip.blank(self.size.width, self.rich_style)
        pixels = self._picture[top:, left : left + max(1, self.size.width) * 2]
        cells = raster.row(pixels, number)
        if (number + 1) * 2 <= len(pixels) * raster.scale:  # past the end, nothing is free
            cells = list(map(_dotted, cells))
        cells = self.decorated(raster, cells, pixels, number, (top, left))
        segments = [Segment(" " * tiling.left, self.rich_style), *map(self._segment, cells)]
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)

    def _text_line(self, y: int) -> Strip:
        text = "no picture yet" if y == self.size.height // 2 else ""
        return Strip([Segment(text.center(self.size.width)[: self.size.width], self.rich_style)])

    def placed(self, picture: Pixels) -> tuple[Raster, Tiling, tuple[int, int]]:
        """How to draw, where, and the first pixel (row, column) that is seen."""
        shape = picture.shape[0], picture.shape[1]
        for rendering in (Raster("blocks"), Raster("braille")):
            raster, tiling = tile(rendering, shape, 1, self.size)
            if tiling.height <= self.size.height and tiling.width <= self.size.width:
                return raster, tiling, (0, 0)
        rows, columns = max(1, self.size.height) * 2, max(1, self.size.width)
        top = clamp(self._at[0] - rows // 2, 0, max(0, shape[0] - rows)) // 2 * 2
        left = clamp(self._at[1] - columns // 2, 0, max(0, shape[1] - columns))
        return Raster("blocks"), tile(Raster("blocks"), shape, 1, self.size)[1], (top, left)

    def _segment(self, cell: Cell) -> Segment:
        if cell.char == BLANK:
            return Segment(cell.char, part_style(self, "picture-view--free"))
        ink, ground = (part and Color.from_rgb(*part) for part in cell[1:])
        return Segment(cell.char, self.rich_style + Style.from_color(ink, ground))


def _dotted(cell: Cell) -> Cell:
    """A half block, with a dot in its half that is free: to be left out is too little to tell it from black."""
    if cell.char not in _FREE_HALF or cell.background or not cell.foreground:
        return cell
    ink = (0, 0, 0) if brightness(cell.foreground) > 0.5 else (255, 255, 255)
    return Cell(_FREE_HALF[cell.char], ink, cell.foreground)
