"""Pictures as they are drawn: all samples side by side, at the largest whole scale that fits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import ClassVar

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui_gen.card import Colour
from tui_gen.generate import Step
from tui_gen.picture import Picture
from tui_gen.raster import BLANK, Cell, Raster, Rendering
from tui_gen.tui.tiling import Tiling, tile


class Canvas(ScrollView, can_focus=True):
    """Paints a `Picture`; only the rows of characters that changed are painted again."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"canvas--blank"}

    def __init__(self, picture: Picture, rendering: Rendering = "blocks") -> None:
        super().__init__()
        self.picture, self.rendering = picture, rendering
        self._raster, self._tiling = Raster(rendering), Tiling(1, 1, 0, 0, 0)
        self._lay_out()

    def show_steps(self, steps: Sequence[Step]) -> None:
        """Draws the pixels of these steps."""
        width = self.picture.image.width
        before = self.picture.drawn
        if self._laid_out_for != self.size:
            self._lay_out()
        for step in steps:
            self.picture.add(step)
        if self.picture.drawn > before:
            self._repaint(range(before // width, (self.picture.drawn - 1) // width + 1))

    def end(self) -> None:
        """Nothing changes when the last pixel is drawn."""

    def draw_in(self, rendering: Rendering) -> None:
        """Draws everything in another way."""
        self.rendering = rendering
        self._lay_out()

    def on_resize(self) -> None:
        """Finds the scale that fits now."""
        self._lay_out()

    def render_line(self, y: int) -> Strip:
        """One line of the visible part: a row of characters of every picture in that row of pictures."""
        line = y + self.scroll_offset.y - self._tiling.top
        row, inside = divmod(line, self._tiling.height + 1)
        samples = self._tiling.samples_in(row, len(self.picture)) if line >= 0 else range(0)
        if inside == self._tiling.height or not samples:
            return Strip.blank(self.size.width, self.rich_style)
        segments = [Segment(" " * self._tiling.left, self.rich_style)]
        for sample in samples:
            segments += self._segments(self._raster.row(self.picture.rgb[sample], inside))
            segments.append(Segment("  ", self.rich_style))
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)

    def _segments(self, cells: Iterable[Cell]) -> list[Segment]:
        blank, ground = self.get_component_rich_style("canvas--blank"), self.rich_style
        return [
            Segment(cell.char, blank if cell.char == BLANK else ground + _style(cell.foreground, cell.background))
            for cell in cells
        ]

    def _lay_out(self) -> None:
        image, self._laid_out_for = self.picture.image, self.size
        self._raster, self._tiling = tile(
            Raster(self.rendering), (image.height, image.width), len(self.picture), self.size
        )
        rows = self._tiling.rows(len(self.picture))
        self.virtual_size = Size(self.size.width, self._tiling.top + rows * (self._tiling.height + 1) - 1)
        self.refresh()

    def _repaint(self, pixel_rows: range) -> None:
        for row in range(self._tiling.rows(len(self.picture))):
            top = self._tiling.top + row * (self._tiling.height + 1) - self.scroll_offset.y
            first, last = self._raster.rows_of(pixel_rows[0])[0], self._raster.rows_of(pixel_rows[-1])[-1]
            self.refresh(Region(0, top + first, self.size.width, last - first + 1))


@lru_cache(maxsize=2**14)
def _style(foreground: Colour | None, background: Colour | None) -> Style:
    return Style.from_color(*(colour and Color.from_rgb(*colour) for colour in (foreground, background)))
