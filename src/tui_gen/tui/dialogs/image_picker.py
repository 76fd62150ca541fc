"""Choosing the picture to complete and the parts of it to erase: a file, and a cursor for rows and rectangles."""

from __future__ import annotations

import asyncio
import itertools
import os
from dataclasses import dataclass
from typing import ClassVar

from textual import events, work
from textual.actions import SkipAction
from textual.binding import BindingType
from textual.geometry import clamp
from textual.message import Message
from textual.suggester import Suggester
from textual.worker import get_current_worker

from tui_gen.card import ImageSpec
from tui_gen.errors import TuiGenError
from tui_gen.images.completion import Rectangle
from tui_gen.images.picture import Pixels
from tui_gen.images.raster import Cell, Raster, pointed
from tui_gen.launcher import in_browser
from tui_gen.sampling.params import Tokens
from tui_gen.terminal_text import scrub_line
from tui_gen.tui.browser import NO_FILES
from tui_gen.tui.dialogs.dialog import LineInput
from tui_gen.tui.widgets.image_view import SinglePicture

COVER = "▒"
"""What a rectangle that is being chosen is covered with."""
_LOOKED_AT = 5000
"""Entries of a folder, at most."""


class Preview(SinglePicture, can_focus=True):
    """A picture in which rows and rectangles are erased with a cursor; it is marked while this has the focus."""

    DEFAULT_CSS = """
    Preview {
        border-subtitle-color: $text-muted;
        &:focus {
            border: round $accent;
            border-title-color: $text;
            border-title-style: bold;
        }
    }
    """
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

    class SelectionChanged(Message):
        """A rectangle was begun or dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.border_title, self._dragging = "picture", False
        self._anchor: tuple[int, int] | None = None

    @property
    def is_selecting(self) -> bool:
        """Whether a rectangle is begun."""
        return self._anchor is not None

    @property
    def rectangle(self) -> Rectangle:
        """From where it was begun to the cursor, both included; without one, the cursor's pixel."""
        (top, bottom), (left, right) = (sorted(pair) for pair in zip(self._anchor or self._at, self._at, strict=True))
        return Rectangle(left, top, right, bottom)

    def show(self, picture: Pixels | None) -> None:
        """Shows a picture [height, width, 3], or that there is none; the cursor stays inside."""
        super().show(picture)
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
            self._select_from(self._at)

    def action_erase(self) -> None:
        """Erases the rectangle, or the cursor's row where none is begun."""
        if self._picture is None:
            return
        row, width = self._at[0], self._picture.shape[1]
        part = self.rectangle if self._anchor else Rectangle(0, row, width - 1, row)
        self._select_from(None)
        self.post_message(self.Erase(part))

    def action_undo(self) -> None:
        """Asks for the last part."""
        self.post_message(self.Undo())

    def action_drop(self) -> None:
        """Forgets the rectangle; without one, the key is for the dialog."""
        if not self._anchor:
            raise SkipAction
        self._select_from(None)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Puts the cursor there; a rectangle may be drawn from there on."""
        self.focus()
        if self._point(event):
            self._select_from(None)
            self._dragging = True
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Stretches the rectangle."""
        before = self._at
        if self._dragging and self._point(event) and self._at != before and not self._anchor:
            self._select_from(before)

    def on_mouse_up(self) -> None:
        """Erases a rectangle that was drawn."""
        if self._dragging:
            self._dragging = False
            self.release_mouse()
            if self._anchor:
                self.action_erase()

    def _select_from(self, anchor: tuple[int, int] | None) -> None:
        if anchor != self._anchor:
            self._anchor = anchor
            self.post_message(self.SelectionChanged())
        self.refresh()

    def decorate(
        self, raster: Raster, cells: list[Cell], pixels: Pixels, number: int, first: tuple[int, int]
    ) -> list[Cell]:
        """With the rectangle and the cursor."""
        if not self.has_focus:
            return cells
        if self._anchor:
            cells = _cover(raster, cells, number, self.rectangle, first)
        row, column = self._at[0] - first[0], self._at[1] - first[1]
        return pointed(raster, cells, pixels, number, (row, column))

    def _point(self, event: events.MouseEvent) -> bool:
        """Puts the cursor on the pixel of a click; False where there is none."""
        if self._picture is None:
            return False
        raster, tiling, (top, left) = self.placement(self._picture)
        at = event.get_content_offset_capture(self)
        pixel = raster.pixel_at(at.y - tiling.top, at.x - tiling.left)
        inside = pixel is not None and pixel[0] + top < self._picture.shape[0]
        if pixel and inside and pixel[1] + left < self._picture.shape[1]:
            self.action_move(pixel[0] + top - self._at[0], pixel[1] + left - self._at[1])
            return True
        return False


def _cover(raster: Raster, cells: list[Cell], number: int, part: Rectangle, first: tuple[int, int]) -> list[Cell]:
    """A row of characters with what belongs to a part covered."""
    top, bottom = (max(0, row - first[0]) for row in (part.top, part.bottom))
    left, right = (max(0, column - first[1]) for column in (part.left, part.right))
    if not raster.rows_of(top).start <= number < raster.rows_of(bottom).stop:
        return cells
    across = range(raster.cells_of(left).start, raster.cells_of(right).stop)
    return [Cell(COVER) if place in across else cell for place, cell in enumerate(cells)]


class PictureFile(LineInput):
    """The path of an image file, which is read in a thread; empty means the picture on the screen, if there is one.

    In a browser it stays empty.
    """

    @dataclass
    class Read(Message):
        """A file has been read, or why it could not be."""

        path: str
        """As it was typed; empty for no file."""
        levels: Tokens | None = None
        """[height, width], or [height, width, 3] for three channels."""
        fault: str = ""

    def __init__(self, image: ImageSpec, present: Tokens | None) -> None:
        """present: the levels of the picture on the screen."""
        otherwise = "" if present is None else "empty: the one on the screen"
        super().__init__(title="image file", placeholder=otherwise, suggester=PathSuggester())
        self.border_subtitle = "no files in a browser" if in_browser() else "→ completes"
        self.disabled = in_browser()
        self._image = image
        cure = f"let a picture be drawn first; {NO_FILES}" if in_browser() else "type the path of an image file"
        self._without = self.Read("", present, cure if present is None else "")
        self._last, self._pending_path = self._without, ""

    @property
    def path(self) -> str:
        """What was typed."""
        return self.value.strip()

    @property
    def read(self) -> Read:
        """What was read last, or the picture on the screen while no file is named."""
        return self._last if self.path else self._without

    @property
    def ready(self) -> bool:
        """Whether that is what was typed."""
        return self.read.path == self.path

    def look(self) -> None:
        """Reads the file in a thread and says so, unless another one is asked for meanwhile."""
        if self._pending_path != self.path:
            self._pending_path = self.path
            self._read_in_thread(self.path)

    def on_picture_file_read(self, event: Read) -> None:
        """Keeps it; the dialog hears of it too."""
        self._last, self._pending_path = event, ""

    @work(thread=True, exclusive=True)
    def _read_in_thread(self, path: str) -> None:
        from tui_gen.images.read import read_levels  # loads Pillow, which nobody else may need

        try:
            read = self.Read(path, read_levels(os.path.expanduser(path), self._image))
        except (TuiGenError, OSError, MemoryError) as fault:
            read = self.Read(path, fault=str(fault) or "the picture needs more memory than there is")
        if not get_current_worker().is_cancelled:  # by the next one
            self.post_message(read)


class PathSuggester(Suggester):
    """Suggests the first file or folder, by name, that begins with what is typed; hidden ones only after a dot."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """Looks in a thread: a folder may be on a slow disk. What folders hold is no business of a browser's."""
        return None if in_browser() else await asyncio.to_thread(complete_path, value)


def complete_path(path: str) -> str | None:
    """What a path may be meant to become; None where nothing fits."""
    folder, prefix = os.path.split(path)
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:
            matches = [entry for entry in itertools.islice(entries, _LOOKED_AT) if _fits(entry.name, prefix)]
            best = min(matches, key=lambda entry: entry.name, default=None)
            return best and path + best.name[len(prefix) :] + ("/" if best.is_dir() else "")
    except (OSError, ValueError):
        return None


def _fits(name: str, prefix: str) -> bool:
    """Whether a name, harmless to a terminal, goes on from what is typed."""
    is_hidden = name.startswith(".") and not prefix
    return name.startswith(prefix) and not is_hidden and name == scrub_line(name)
