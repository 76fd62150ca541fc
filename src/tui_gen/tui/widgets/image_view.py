"""Views of pictures, at the largest whole scale that fits: all samples of a run side by side, or a single picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size, clamp
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from tui_gen.card import Colour
from tui_gen.images.picture import Picture, Pixels, heat
from tui_gen.images.raster import BLANK, Cell, Raster, Rendering, brightness, pointed
from tui_gen.sampling.params import Floats, Tokens
from tui_gen.tui.widgets.cells import fit, part_style

_PAPER = (12, 12, 12)
"""The ground of coloured characters on a light theme, in sRGB."""
_FREE_HALF = {"▀": ".", "▄": "˙"}
"""In place of a half block whose other half is free, on the colour of the half that is given."""
GAP = 2
"""Columns between two pictures; between two rows of them is one line."""


class ImageView(ScrollView, can_focus=True):
    """All samples of a `Picture`, and a cursor on a pixel; only rows of characters that changed are painted again."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"image-view--blank", "image-view--caption"}

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
        self._cursor: tuple[int, int] | None = None
        self._raster, self._tiling = Raster(rendering), Tiling(1, 1, 0, 0, 0)
        self._lay_out()

    def show_tokens(self, tokens: Tokens) -> None:
        """Draws the pixels of these tokens [steps, samples]; those before the picture are left out."""
        width, before = self.picture.image.width, self.picture.drawn
        if self._layout_size != self.size:
            self._lay_out()
        self.picture.take(tokens)
        if self.picture.drawn > before:
            self._repaint(range(before // width, (self.picture.drawn - 1) // width + 1))
            if self._cursor is None:
                self._reveal(0, self.picture.drawn - 1)

    def show_bits(self, bits: Floats | None) -> None:
        """Paints surprise, float[samples, pixels], NaN for what is not known, in the pictures' place; None ends it."""
        image = self.picture.image
        self._heat = None if bits is None else heat(bits.reshape(-1, image.height, image.width))
        self.refresh()

    def walk_to(self, sample: int, pixel: int | None) -> None:
        """Puts the cursor on a pixel; None takes it away."""
        cursor = None if pixel is None else (sample, pixel)
        if cursor != self._cursor:
            before, self._cursor = self._cursor, cursor
            for place in filter(None, (before, cursor)):
                row = place[1] // self.picture.image.width
                self._repaint(range(row, row + 1))
            if cursor:
                self._reveal(*cursor)

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
        """Finds the scale that fits now; the cursor stays in sight."""
        self._lay_out()
        if self._cursor:
            self._reveal(*self._cursor)

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
        style = part_style(self, "image-view--caption")
        return [Segment(fit(self._captions[sample], self._tiling.width), style)]

    def _row(self, sample: int, number: int) -> list[Segment]:
        pixels = (self.picture.rgb if self._heat is None else self._heat)[sample]
        cells = self._raster.row(pixels, number)
        if self._cursor and self._cursor[0] == sample:
            row, column = divmod(self._cursor[1], self.picture.image.width)
            cells = pointed(self._raster, cells, pixels, number, (row, column))
        return self._segments(cells)

    def _segments(self, cells: Iterable[Cell]) -> list[Segment]:
        blank, ground = part_style(self, "image-view--blank"), self.rich_style
        # Characters in the colours of their pixels are made for a dark ground, and get one on a light screen.
        paper = None if self.app.current_theme.dark else _PAPER
        return [
            Segment(
                cell.char,
                blank if cell.char == BLANK else ground + cell_style(cell.foreground, cell.background or paper),
            )
            for cell in cells
        ]

    def _lay_out(self) -> None:
        image, self._layout_size = self.picture.image, self.size
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
def cell_style(foreground: Colour | None, background: Colour | None) -> Style:
    """Of a character and its ground."""
    return Style.from_color(*(colour and Color.from_rgb(*colour) for colour in (foreground, background)))


class SinglePicture(Widget):
    """A picture in a frame; of one that is too large even for braille dots, the part around `_at` is seen."""

    DEFAULT_CSS = """
    SinglePicture {
        border: round $foreground 35%;
        border-title-color: $text-muted;
        background: $background;
        & > .single-picture--free {
            color: $text-muted;
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"single-picture--free"}

    def __init__(self) -> None:
        super().__init__()
        self._picture: Pixels | None = None
        self._at = (0, 0)
        """The pixel (row, column) that is seen for certain."""

    def show(self, picture: Pixels | None) -> None:
        """Shows a picture [height, width, 3], or that there is none."""
        self._picture = picture
        self.refresh()

    def decorate(
        self, raster: Raster, cells: list[Cell], pixels: Pixels, number: int, first: tuple[int, int]
    ) -> list[Cell]:
        """A row of characters, as it is shown. first: the pixel (row, column) at which `pixels` begin."""
        return cells

    def render_line(self, y: int) -> Strip:
        """One line: a row of characters of the picture, in the middle."""
        if self._picture is None:
            return self._text_line(y)
        raster, tiling, (top, left) = self.placement(self._picture)
        number = y - tiling.top
        if not 0 <= number < min(tiling.height, self.size.height):
            return Strip.blank(self.size.width, self.rich_style)
        pixels = self._picture[top:, left : left + max(1, self.size.width) * 2]
        cells = raster.row(pixels, number)
        if (number + 1) * 2 <= len(pixels) * raster.scale:  # past the end, nothing is free
            cells = list(map(_mark_free_half, cells))
        cells = self.decorate(raster, cells, pixels, number, (top, left))
        segments = [Segment(" " * tiling.left, self.rich_style), *map(self._segment, cells)]
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)

    def _text_line(self, y: int) -> Strip:
        text = "no picture yet" if y == self.size.height // 2 else ""
        return Strip([Segment(text.center(self.size.width)[: self.size.width], self.rich_style)])

    def placement(self, picture: Pixels) -> tuple[Raster, Tiling, tuple[int, int]]:
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
            return Segment(cell.char, part_style(self, "single-picture--free"))
        ink, ground = (part and Color.from_rgb(*part) for part in cell[1:])
        return Segment(cell.char, self.rich_style + Style.from_color(ink, ground))


def _mark_free_half(cell: Cell) -> Cell:
    """A half block, with a dot in its half that is free: to be left out is too little to tell it from black."""
    if cell.char not in _FREE_HALF or cell.background or not cell.foreground:
        return cell
    ink = (0, 0, 0) if brightness(cell.foreground) > 0.5 else (255, 255, 255)
    return Cell(_FREE_HALF[cell.char], ink, cell.foreground)


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
        placement = _place(larger, picture, samples, room)
        if not _fits(placement, samples, room):
            return raster, best
        raster, best = larger, placement


def most_in_sight(picture: tuple[int, int], samples: int, room: Size) -> tuple[Rendering, int]:
    """How many of some pictures (height, width) fit in half blocks, with captions where it is more than one.

    Where not even one does: one in braille dots, which take a quarter of the room.
    """
    for count in range(samples, 0, -1):
        inside = Size(room.width, room.height - (count > 1))
        if _fits(tile(Raster("blocks"), picture, count, inside)[1], count, inside):
            return "blocks", count
    return "braille", 1


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
