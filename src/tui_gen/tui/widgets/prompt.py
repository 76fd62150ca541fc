"""Where a person types the prompt; what the model does not know is marked while it is typed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.highlighter import Highlighter
from rich.text import Text
from textual import events
from textual.suggester import Suggester
from textual.widgets import Input

from tui_gen.errors import TuiGenError
from tui_gen.images.codec import ImageCodec
from tui_gen.terminal_text import scrub_line
from tui_gen.text.codec import TextCodec

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


class Prompt(SignedInput):
    """One line; what is typed while it has no focus begins a new one."""

    def __init__(self, value: str) -> None:
        self._marker = _UnknownMarker()
        super().__init__(value, highlighter=self._marker, select_on_focus=False)
        self.border_title = "prompt"
        self.cursor_blink = False  # or it would be drawn twice a second for ever, also over a slow line

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leaves enter to the screen, which generates."""
        return action != "submit"

    def begin(self, text: str) -> None:
        """Begins a new prompt, unless one is being typed. The next letter may be on its way to the app already."""
        if self.screen.focused is not self:
            self.screen.set_focus(self)
            self.value = ""
        self.take(text)

    def take(self, text: str) -> None:
        """Types text at the cursor; its newlines become signs, the last ones nothing."""
        self.insert_text_at_cursor(one_line(text.rstrip("\r\n")))

    def serve(self, codec: TextCodec | ImageCodec, example: str) -> None:
        """Marks and suggests by what this model knows."""
        self._marker.codec = codec
        self.placeholder = scrub_line(f"for example: {example}") if example else "enter generates without a prompt"
        self.suggester = _PhraseSuggester(codec.phrases) if codec.phrases else None
        self.refresh()

    def unknown(self) -> list[str]:
        """The words that the model does not know."""
        return self._marker.unknown(self.text)


class _UnknownMarker(Highlighter):
    codec: TextCodec | ImageCodec | None = None

    def highlight(self, text: Text) -> None:
        for start, end in self._spans(with_newlines(text.plain)):
            text.stylize("underline reverse", start, end)

    def unknown(self, text: str) -> list[str]:
        return [text[start:end] for start, end in self._spans(text)]

    def _spans(self, text: str) -> list[tuple[int, int]]:
        try:
            return self.codec.unknown(text) if self.codec else []
        except TuiGenError:  # a tokenizer that fails; generating tells why
            return [(0, len(text))]


class _PhraseSuggester(Suggester):
    """Completes the phrase after the last comma."""

    def __init__(self, phrases: Sequence[str]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._phrases = [phrase for phrase in phrases if phrase == scrub_line(phrase)]

    async def get_suggestion(self, value: str) -> str | None:
        start = value.rpartition(",")[2].lstrip()
        match = next((phrase for phrase in self._phrases if start and phrase.startswith(start.lower())), None)
        return value + match[len(start) :] if match else None


def one_line(text: str) -> str:
    """Text with signs for newlines as lines end; terminals paste carriage returns."""
    return scrub_line(text.replace("\r\n", "\n").replace("\r", "\n"))


def with_newlines(line: str) -> str:
    """A line with newlines for their signs."""
    return line.replace(_NEWLINE, "\n")
