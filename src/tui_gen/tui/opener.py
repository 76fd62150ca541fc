"""Opening a model beside the screen: it may take a moment, and the last one chosen counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from textual import work
from textual.message import Message
from textual.widget import Widget
from textual.worker import get_current_worker

from tui_gen.errors import TuiGenError
from tui_gen.library import Playable, open_model
from tui_gen.tui.settings import Settings


class Opener(Widget):
    """Has no look; owns the thread that opens model folders."""

    DEFAULT_CSS = "Opener { display: none; }"

    @dataclass
    class Opened(Message):
        """A model has been opened."""

        playable: Playable

    @dataclass
    class Refused(Message):
        """A model could not be opened."""

        fault: str

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self.busy = False

    def open(self, folder: Path) -> None:
        """Opens a model folder and says how it went; what was being opened before is forgotten."""
        self.busy = True
        self._open_in_thread(folder)

    @work(thread=True, exclusive=True)
    def _open_in_thread(self, folder: Path) -> None:
        try:
            asked = self._settings
            playable = open_model(folder, provider=asked.provider, threads=asked.threads, device=asked.device)
            playable.model.place(asked.samples)
            outcome: Message = self.Opened(playable)
        except (TuiGenError, OSError, MemoryError) as fault:
            outcome = self.Refused(str(fault) or type(fault).__name__)
        if not get_current_worker().is_cancelled:  # by the choice of another model
            self.busy = False
            self.post_message(outcome)
