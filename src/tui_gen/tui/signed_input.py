"""A line of input that shows newlines and control characters as signs."""

from __future__ import annotations

from textual import events
from textual.widgets import Input

from tui_gen.scrub import scrub_line

_NEWLINE = "\u240a"


class SignedInput(Input):
    """A pasted newline is shown as its sign and read as a newline."""

    @property
    def text(self) -> str:
        """What was typed, with newlines where their sign stands."""
        return with_newlines(self.value)

    def validate_value(self, value: str) -> str:
        """Lets nothing in that a terminal would obey."""
        return scrub_line(value)

    def on_paste(self, event: events.Paste) -> None:
        """Takes all lines, not only the first."""
        event.stop()
        event.prevent_default()
        self.take(event.text)

    def take(self, text: str) -> None:
        """Types text, as this line does it."""
        raise NotImplementedError


def one_line(text: str) -> str:
    """Text with signs for newlines as lines end; terminals paste carriage returns."""
    return scrub_line(text.replace("\r\n", "\n").replace("\r", "\n"))


def with_newlines(line: str) -> str:
    """A line with newlines for their signs."""
    return line.replace(_NEWLINE, "\n")
