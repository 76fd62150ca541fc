"""Pictures as they are drawn: all samples side by side, at the largest whole scale that fits; a cursor on a pixel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui_gen.card import Colour
from tui_gen.heat import heat
from tui_gen.picture import Picture, Pixels
from tui_gen.raster import BLANK, Cell, Raster, Rendering, pointed
from tui_gen.sampling import Floats, Tokens
from tui_gen.tui.bars import fit
from tui_gen.tui.looks import part_style
from tui_gen.tui.tiling import GAP, Tiling, tile

_PAPER = (12, 12, 12)
"""The ground of coloured characters on a light theme, in sRGB."""


class Canvas(ScrollView, can_focus=True):
    """Paints a `Picture`; only the rows of characters that changed are painted again."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"canvas--blank", "canvas--caption"}

    @dataclass
    class Clicked(Message):
        """A person has clicked on a pixel: of which sample, and its number in raster order."""

        sample: int
        number: int

    def __init__(self, picture: Picture, rendering: Rendering = "blocks", captions: Sequence[str] = ()) -> None:
        """captions: what stands below each picture, if anything."""
        super().__init__()
        self.picture, self.rendering = picture, rendering
        self._captions = captions
        self._heat: Pixels | None = None
        self._walked: tuple[int, int] | None = None
        self._raster, self._tiling = Raster(rendering), Tiling(1, 1, 0, 0, 0)
        self._lay_out()

    def show_tokens(self, tokens: Tokens) -> None:
        """Draws the pixels of these tokens [steps, samples]; those before the picture are left out."""
        width, before = self.picture.image.width, self.picture.drawn
        if self._laid_out_for != self.size:
            self._lay_out()
        self.picture.take(tokens)
        if self.picture.drawn > before:
            self._repaint(range(before // width, (self.picture.drawn - 1) // width + 1))
            if self._walked is None:
                self._reveal(0, self.picture.drawn - 1)

    def show_bits(self, bits: Floats | None) -> None:
        """Paints surprise, float[samples, pixels], NaN for what is not known, in the pictures' place; None ends it."""
        image = self.picture.image
        self._heat = None if bits is None else heat(bits.reshape(-1, image.height, image.width))
        self.refresh()

    def walk_to(self, sample: int, pixel: int | None) -> None:
        """Puts the cursor on a pixel; None takes it away."""
        walked = None if pixel is None else (sample, pixel)
        if walked != self._walked:
            before, self._walked = self._walked, walked
            for place in filter(None, (before, walked)):
                row = place[1] // self.picture.image.width
                self._repaint(range(row, row + 1))
            if walked:
                self._reveal(*walked)

    def draw_in(self, rendering: Rendering) -> None:
        """Draws everything in another way."""
        self.rendering = rendering
        self._lay_out()

    def on_click(self, event: events.Click) -> None:
        """Says which pixel was hit."""
        at, tiling = event.get_content_offset(self), self._tiling
        if at is None:
            return
        row, line = divmod(at.y + self.scroll_offset.y - tiling.top, tiling.height + 1)
        column, cell = divmod(at.x - tiling.left, tiling.width + GAP)
        samples = tiling.samples_in(row, len(self.picture))
        if row >= 0 and 0 <= column < len(samples) and (pixel := self._raster.pixel_at(line, cell)):
            image = self.picture.image
            if pixel[0] < image.height and pixel[1] < image.width:
                self.post_message(self.Clicked(samples[column], pixel[0] * image.width + pixel[1]))

    def on_resize(self) -> None:
        """Finds the scale that fits now."""
        self._lay_out()

    def render_line(self, y: int) -> Strip:
        """One line of the visible part: a row of characters of every picture in that row of pictures."""
        line = y + self.scroll_offset.y - self._tiling.top
        row, inside = divmod(line, self._tiling.height + 1)
        samples = self._tiling.samples_in(row, len(self.picture)) if line >= 0 else range(0)
        if not samples or (inside == self._tiling.height and not self._captions):
            return Strip.blank(self.size.width, self.rich_style)
        segments = [Segment(" " * self._tiling.left, self.rich_style)]
        for sample in samples:
            segments += self._caption(sample) if inside == self._tiling.height else self._row(sample, inside)
            segments.append(Segment(" " * GAP, self.rich_style))
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)

    def _caption(self, sample: int) -> list[Segment]:
        style = part_style(self, "canvas--caption")
        return [Segment(fit(self._captions[sample], self._tiling.width), style)]

    def _row(self, sample: int, number: int) -> list[Segment]:
        shown = self.picture.rgb if self._heat is None else self._heat
        cells = self._raster.row(shown[sample], number)
        if self._walked and self._walked[0] == sample:
            row, column = divmod(self._walked[1], self.picture.image.width)
            cells = pointed(self._raster, cells, shown[sample], number, (row, column))
        return self._segments(cells)

    def _segments(self, cells: Iterable[Cell]) -> list[Segment]:
        blank, ground = part_style(self, "canvas--blank"), self.rich_style
        # Characters in the colours of their pixels are made for a dark ground, and get one on a light screen.
        paper = None if self.app.current_theme.dark else _PAPER
        return [
            Segment(
                cell.char,
                blank if cell.char == BLANK else ground + _style(cell.foreground, cell.background or paper),
            )
            for cell in cells
        ]

    def _lay_out(self) -> None:
        image, self._laid_out_for = self.picture.image, self.size
        room = Size(self.size.width, self.size.height - bool(self._captions))
        self._raster, self._tiling = tile(Raster(self.rendering), (image.height, image.width), len(self.picture), room)
        rows = self._tiling.rows(len(self.picture))
        height = self._tiling.top + rows * (self._tiling.height + 1) - (not self._captions)
        self.virtual_size = Size(self.size.width, height)
        self.refresh()

    def _reveal(self, sample: int, pixel: int) -> None:
        """Scrolls to a pixel, if there is something to scroll."""
        if self.virtual_size.height > self.size.height:
            row = self._raster.rows_of(pixel // self.picture.image.width)[0]
            top = self._tiling.top + sample // max(1, self._tiling.columns) * (self._tiling.height + 1)
            place = Region(0, top + row, 1, 1)
            self.scroll_to_region(place, animate=False, immediate=True, force=True, x_axis=False)

    def _repaint(self, pixel_rows: range) -> None:
        for row in range(self._tiling.rows(len(self.picture))):
            top = self._tiling.top + row * (self._tiling.height + 1) - self.scroll_offset.y
            first, last = self._raster.rows_of(pixel_rows[0])[0], self._raster.rows_of(pixel_rows[-1])[-1]
            self.refresh(Region(0, top + first, self.size.width, last - first + 1))


@lru_cache(maxsize=2**14)
def _style(foreground: Colour | None, background: Colour | None) -> Style:
    return Style.from_color(*(colour and Color.from_rgb(*colour) for colour in (foreground, background)))
