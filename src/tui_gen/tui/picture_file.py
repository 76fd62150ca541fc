"""A line for the path of an image file, which it reads beside the screen."""

from __future__ import annotations

import os
from dataclasses import dataclass

from textual import work
from textual.message import Message
from textual.worker import get_current_worker

from tui_gen.card import ImageSpec
from tui_gen.errors import TuiGenError
from tui_gen.sampling import Tokens
from tui_gen.tui.dialog import Line
from tui_gen.tui.paths import PathSuggester


class PictureFile(Line):
    """Empty means another picture: the one on the screen, if there is one."""

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
        self.border_subtitle = "→ completes"
        self._image = image
        self._without = self.Read("", present, "type the path of an image file" if present is None else "")
        self._newest, self._asked = self._without, ""

    @property
    def path(self) -> str:
        """What was typed."""
        return self.value.strip()

    @property
    def read(self) -> Read:
        """What was read last, or the picture on the screen while no file is named."""
        return self._newest if self.path else self._without

    @property
    def ready(self) -> bool:
        """Whether that is what was typed."""
        return self.read.path == self.path

    def look(self) -> None:
        """Reads the file in a thread and says so, unless another one is asked for meanwhile."""
        if self._asked != self.path:
            self._asked = self.path
            self._read_in_thread(self.path)

    def on_picture_file_read(self, event: Read) -> None:
        """Keeps it; the dialog hears of it too."""
        self._newest, self._asked = event, ""

    @work(thread=True, exclusive=True)
    def _read_in_thread(self, path: str) -> None:
        from tui_gen.image_file import read_levels  # loads Pillow, which nobody else may need

        try:
            read = self.Read(path, read_levels(os.path.expanduser(path), self._image))
        except (TuiGenError, OSError, MemoryError) as fault:
            read = self.Read(path, fault=str(fault) or "the picture needs more memory than there is")
        if not get_current_worker().is_cancelled:  # by the next one
            self.post_message(read)
