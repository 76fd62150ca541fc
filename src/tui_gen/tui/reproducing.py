"""The command that makes the output again, or why there is none."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from tui_gen.scrub import scrub_line
from tui_gen.tui.dialog import Choices, Dialog, Frame

_COPY, _SAVE, _LEAVE = ("enter", "copy", "copy"), ("s", "save the session", "save"), ("esc", "close", "leave")


class CommandDialog(Dialog[str]):
    """Returns `copy` or `save`, or None where it is only looked at."""

    DEFAULT_CSS = """
    CommandDialog VerticalScroll {
        height: auto;
        max-height: 12;
        scrollbar-size-vertical: 1;
    }
    CommandDialog .command {
        color: $text;
        background: $background;
        padding: 1;
    }
    CommandDialog .reason {
        color: $text-muted;
        padding: 1 0;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("enter", "enter", "copy, or save where there is nothing to copy"),
        ("c", "copy", "copy"),
        ("s", "save", "save"),
    ]

    def __init__(self, command: str, reason: str = "") -> None:
        """command: in one line; empty where none makes the output again. reason: why, and what to do; or a remark."""
        super().__init__()
        self._command, self._reason = command, reason

    def compose(self) -> ComposeResult:
        """The command, which can be selected with the mouse, and the reason."""
        with Frame("the command that makes this again" if self._command else "no command makes this again"):
            with VerticalScroll():
                if self._command:
                    yield Static(scrub_line(self._command), markup=False, classes="command")
                if self._reason:
                    yield Static(scrub_line(self._reason), markup=False, classes="reason")
            yield Choices(*((_COPY, _SAVE, _LEAVE) if self._command else (("enter", *_SAVE[1:]), _LEAVE)))

    def on_mount(self) -> None:
        """Lets the arrow keys scroll."""
        self.query_one(VerticalScroll).focus()

    def action_enter(self) -> None:
        """What most want."""
        self.dismiss("copy" if self._command else "save")

    def action_copy(self) -> None:
        """Copies, if there is something to copy."""
        if self._command:
            self.dismiss("copy")

    def action_save(self) -> None:
        """Saves the session, which can be replayed."""
        self.dismiss("save")
