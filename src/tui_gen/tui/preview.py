"""A picture with a cursor, in which rows and rectangles are chosen to be erased."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.actions import SkipAction
from textual.binding import BindingType
from textual.geometry import clamp
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui_gen.completion import Rectangle
from tui_gen.picture import Pixels
from tui_gen.raster import BLANK, Cell, Raster, brightness, pointed
from tui_gen.tui.looks import part_style
from tui_gen.tui.tiling import Tiling, tile

CHOSEN = "▒"
"""What a rectangle that is being chosen is covered with."""
_FREE_HALF = {"▀": ".", "▄": "˙"}
"""In place of a half block whose other half is free, on the colour of the half that is given."""


class Preview(Widget, can_focus=True):
    """Half blocks at the largest whole scale that fits; where none does, braille dots, or a part around the cursor."""

    DEFAULT_CSS = """
    Preview {
        border: round $foreground 35%;
        border-title-color: $text-muted;
        border-subtitle-color: $text-muted;
        background: $background;
        &:focus {
            border: round $accent;
            border-title-color: $text;
            border-title-style: bold;
        }
        & > .preview--free {
            color: $text-muted;
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"preview--free"}
    BINDINGS: ClassVar[list[BindingType]] = [
        ("up", "move(-1, 0)", "a row up"),
        ("down", "move(1, 0)", "a row down"),
        ("left", "move(0, -1)", "a column to the left"),
        ("right", "move(0, 1)", "a column to the right"),
        ("shift+up", "move(-8, 0)", "rows up"),
        ("shift+down", "move(8, 0)", "rows down"),
        ("shift+left", "move(0, -8)", "columns to the left"),
        ("shift+right", "move(0, 8)", "columns to the right"),
        ("space", "mark", "begin a rectangle, or erase it"),
        ("delete,backspace", "erase", "erase the rectangle, or the row"),
        ("u", "undo", "take the last part back"),
        ("escape", "drop", "drop the rectangle"),
    ]

    @dataclass
    class Erase(Message):
        """A person wants a part to be erased."""

        part: Rectangle

    class Undo(Message):
        """A person wants the part back that was erased last."""

    class Chosen(Message):
        """A rectangle was begun or dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.border_title = "picture"
        self._picture: Pixels | None = None
        self._at, self._dragging = (0, 0), False
        self._anchor: tuple[int, int] | None = None

    @property
    def choosing(self) -> bool:
        """Whether a rectangle is begun."""
        return self._anchor is not None

    @property
    def chosen(self) -> Rectangle:
        """From where it was begun to the cursor, both included; without one, the cursor's pixel."""
        (top, bottom), (left, right) = (sorted(pair) for pair in zip(self._anchor or self._at, self._at, strict=True))
        return Rectangle(left, top, right, bottom)

    def show(self, picture: Pixels | None) -> None:
        """Shows a picture [height, width, 3], or that there is none."""
        self._picture = picture
        self.action_move(0, 0)

    def on_focus(self) -> None:
        """Shows where the cursor is."""
        self.action_move(0, 0)

    def on_blur(self) -> None:
        """A rectangle that is not finished is forgotten."""
        self._anchor, self.border_subtitle = None, ""
        self.refresh()

    def action_move(self, down: int, across: int) -> None:
        """Moves the cursor, within the picture."""
        if self._picture is not None:
            height, width = self._picture.shape[:2]
            self._at = clamp(self._at[0] + down, 0, height - 1), clamp(self._at[1] + across, 0, width - 1)
            if self.has_focus:
                self.border_subtitle = f"row {self._at[0]}, column {self._at[1]}"
        self.refresh()

    def action_mark(self) -> None:
        """Begins a rectangle at the cursor, or erases the one that is begun."""
        if self._anchor:
            self.action_erase()
        elif self._picture is not None:
            self._choose_from(self._at)

    def action_erase(self) -> None:
        """Erases the rectangle, or the cursor's row where none is begun."""
        if self._picture is None:
            return
        row, width = self._at[0], self._picture.shape[1]
        part = self.chosen if self._anchor else Rectangle(0, row, width - 1, row)
        self._choose_from(None)
        self.post_message(self.Erase(part))

    def action_undo(self) -> None:
        """Asks for the last part."""
        self.post_message(self.Undo())

    def action_drop(self) -> None:
        """Forgets the rectangle; without one, the key is for the dialog."""
        if not self._anchor:
            raise SkipAction
        self._choose_from(None)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Puts the cursor there; a rectangle may be drawn from there on."""
        self.focus()
        if self._point(event):
            self._choose_from(None)
            self._dragging = True
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Stretches the rectangle."""
        before = self._at
        if self._dragging and self._point(event) and self._at != before and not self._anchor:
            self._choose_from(before)

    def on_mouse_up(self) -> None:
        """Erases a rectangle that was drawn."""
        if self._dragging:
            self._dragging = False
            self.release_mouse()
            if self._anchor:
                self.action_erase()

    def render_line(self, y: int) -> Strip:
        """One line: a row of characters of the picture, in the middle."""
        if self._picture is None:
            return self._text_line(y)
        raster, tiling, (top, left) = self._placed(self._picture)
        number = y - tiling.top
        if not 0 <= number < min(tiling.height, self.size.height):
            return Strip.blank(self.size.width, self.rich_style)
        pixels = self._picture[top:, left : left + max(1, self.size.width) * 2]
        cells = raster.row(pixels, number)
        if (number + 1) * 2 <= len(pixels) * raster.scale:  # past the end, nothing is free
            cells = list(map(_dotted, cells))
        cells = self._marked(raster, cells, pixels, number, (top, left))
        segments = [Segment(" " * tiling.left, self.rich_style), *map(self._segment, cells)]
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)

    def _text_line(self, y: int) -> Strip:
        text = "no picture yet" if y == self.size.height // 2 else ""
        return Strip([Segment(text.center(self.size.width)[: self.size.width], self.rich_style)])

    def _choose_from(self, anchor: tuple[int, int] | None) -> None:
        if anchor != self._anchor:
            self._anchor = anchor
            self.post_message(self.Chosen())
        self.refresh()

    def _placed(self, picture: Pixels) -> tuple[Raster, Tiling, tuple[int, int]]:
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

    def _marked(
        self, raster: Raster, cells: list[Cell], pixels: Pixels, number: int, first: tuple[int, int]
    ) -> list[Cell]:
        """With the rectangle and the cursor."""
        if not self.has_focus:
            return cells
        if self._anchor:
            cells = _covered(raster, cells, number, self.chosen, first)
        row, column = self._at[0] - first[0], self._at[1] - first[1]
        return pointed(raster, cells, pixels, number, (row, column))

    def _segment(self, cell: Cell) -> Segment:
        if cell.char == BLANK:
            return Segment(cell.char, part_style(self, "preview--free"))
        ink, ground = (part and Color.from_rgb(*part) for part in cell[1:])
        return Segment(cell.char, self.rich_style + Style.from_color(ink, ground))

    def _point(self, event: events.MouseEvent) -> bool:
        """Puts the cursor on the pixel of a click; False where there is none."""
        if self._picture is None:
            return False
        raster, tiling, (top, left) = self._placed(self._picture)
        at = event.get_content_offset_capture(self)
        pixel = raster.pixel_at(at.y - tiling.top, at.x - tiling.left)
        inside = pixel is not None and pixel[0] + top < self._picture.shape[0]
        if pixel and inside and pixel[1] + left < self._picture.shape[1]:
            self.action_move(pixel[0] + top - self._at[0], pixel[1] + left - self._at[1])
            return True
        return False


def _dotted(cell: Cell) -> Cell:
    """A half block, with a dot in its half that is free: to be left out is too little to tell it from black."""
    if cell.char not in _FREE_HALF or cell.background or not cell.foreground:
        return cell
    ink = (0, 0, 0) if brightness(cell.foreground) > 0.5 else (255, 255, 255)
    return Cell(_FREE_HALF[cell.char], ink, cell.foreground)


def _covered(raster: Raster, cells: list[Cell], number: int, part: Rectangle, first: tuple[int, int]) -> list[Cell]:
    """A row of characters with what belongs to a part covered."""
    top, bottom = (max(0, row - first[0]) for row in (part.top, part.bottom))
    left, right = (max(0, column - first[1]) for column in (part.left, part.right))
    if not raster.rows_of(top).start <= number < raster.rows_of(bottom).stop:
        return cells
    across = range(raster.cells_of(left).start, raster.cells_of(right).stop)
    return [Cell(CHOSEN) if place in across else cell for place, cell in enumerate(cells)]
