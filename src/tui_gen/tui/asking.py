"""Asking for one line: another word, a name, a value."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.app import ComposeResult
from textual.suggester import SuggestFromList
from textual.timer import Timer
from textual.widgets import Input

from tui_gen.scrub import scrub_line
from tui_gen.tui.dialog import PATIENCE, Choices, Dialog, Frame, Line, Note


def anything(_: str) -> str:
    """Has no complaint about any text."""
    return ""


class Ask(Dialog[str]):
    """Returns what was typed, once there is no complaint about it."""

    def __init__(
        self,
        title: str,
        value: str = "",
        hint: str = "",
        check: Callable[[str], str] = anything,
        suggestions: Sequence[str] = (),
    ) -> None:
        """check: says what is wrong with a text, or nothing. It is asked whenever typing pauses, and by enter."""
        super().__init__()
        self._heading, self._hint, self._check = title, hint, check
        harmless = [suggestion for suggestion in suggestions if suggestion == scrub_line(suggestion)]
        self._line = Line(value, suggester=SuggestFromList(harmless, case_sensitive=False) if harmless else None)
        self._note, self._asked_with = Note(hint), value
        self._waiting: Timer | None = None

    def compose(self) -> ComposeResult:
        """The line, what is to say about it, and the keys."""
        with Frame(self._heading):
            yield self._line
            yield self._note
            yield Choices(("enter", "accept", "accept"), ("esc", "cancel", "leave"))

    def on_mount(self) -> None:
        """The cursor stands behind what is there already."""
        self._line.focus()

    def take(self, text: str) -> None:
        """What was typed before the line had the focus."""
        self._line.insert_text_at_cursor(scrub_line(text))

    def on_input_changed(self, event: Input.Changed) -> None:
        """A complaint waits for a pause: the beginning of a word is seldom one."""
        event.stop()
        if self._waiting:
            self._waiting.stop()
        self._note.tell("", self._hint)
        if event.value != self._asked_with:
            self._waiting = self.set_timer(PATIENCE, self._tell)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        event.stop()
        self.action_accept()

    def action_accept(self) -> None:
        """Closes the dialog, unless something is wrong."""
        if not self._tell():
            self.dismiss(self._line.text)

    def _tell(self) -> str:
        complaint = self._check(self._line.text)
        self._note.tell(complaint, self._hint)
        return complaint
