"""Parts of all dialogs: a frame with a title, a line to type into, a line that complains, what the keys do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

from rich.style import Style
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.suggester import Suggester, SuggestFromList
from textual.timer import Timer
from textual.widgets import Input, Static

from tui_gen.errors import TuiGenError, WaitingError
from tui_gen.terminal_text import scrub_line
from tui_gen.tui.layout import SteadyScreen
from tui_gen.tui.widgets.prompt import SignedInput, one_line

T = TypeVar("T")
PATIENCE = 0.3
"""Seconds without a key after which what is typed is looked at."""


class Dialog(ModalScreen[T | None], SteadyScreen[T | None]):
    """A modal screen with a `Frame` in its middle. Escape leaves it with None."""

    DEFAULT_CSS = """
    Dialog {
        align: center middle;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "leave", "cancel")]

    def action_leave(self) -> None:
        """Closes it; nothing happens."""
        self.dismiss(None)

    def on_input_changed(self, event: Input.Changed) -> None:
        """What is typed here is no business of what lies behind."""
        event.stop()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Stops the message of enter at the dialog, so that it does not reach the screen below."""
        event.stop()


class Frame(Vertical):
    """The border of a dialog, and what stands in it."""

    DEFAULT_CSS = """
    Frame {
        width: 78;
        max-width: 100%;
        height: auto;
        max-height: 100%;
        border: round $accent;
        border-title-color: $text;
        border-title-style: bold;
        padding: 0 1;
        background: $surface;
    }
    Frame Static {
        link-color: $text;
        link-style: none;
        link-style-hover: reverse;
        link-background-hover: $surface;
        link-color-hover: $text;
    }
    """

    def __init__(self, title: str) -> None:
        super().__init__()
        self.border_title = Text(scrub_line(title))  # a text would be read as markup


class LineInput(SignedInput):
    """One line to type, with a title; nothing gets in that a terminal would obey."""

    DEFAULT_CSS = """
    LineInput, LineInput:focus {
        height: 3;
        padding: 0 1;
        background: $background;
        border: round $foreground 35%;
        border-title-color: $text-muted;
        border-subtitle-color: $text-muted;
    }
    LineInput:focus {
        border: round $accent;
        border-title-color: $text;
        border-title-style: bold;
    }
    """

    def __init__(
        self, value: str = "", *, title: str = "", placeholder: str = "", suggester: Suggester | None = None
    ) -> None:
        super().__init__(value, scrub_line(placeholder), select_on_focus=False, suggester=suggester)
        if title:
            self.border_title = Text(scrub_line(title))

    def take(self, text: str) -> None:
        """Types text in place of what is selected; newlines around it are nothing."""
        self.replace(one_line(text.strip("\r\n")), *sorted(self.selection))


class Note(Static):
    """A complaint, or a hint while there is none. Of two lines at most, so that nothing moves when it changes."""

    DEFAULT_CSS = """
    Note {
        height: 2;
        color: $text-muted;
    }
    Note.-wrong {
        color: $text-error;
        text-style: bold;
    }
    """

    def __init__(self, hint: str = "") -> None:
        super().__init__(scrub_line(hint), markup=False)

    def tell(self, complaint: str, hint: str = "") -> None:
        """Says what is wrong, or a hint where nothing is."""
        self.set_class(bool(complaint), "-wrong")
        self.update(f"! {scrub_line(complaint)}" if complaint else scrub_line(hint))


class KeyHints(Static):
    """What the keys do; a click on one does it too."""

    DEFAULT_CSS = """
    KeyHints {
        height: auto;
        color: $text-muted;
    }
    """

    def __init__(self, *hints: tuple[str, str, str]) -> None:
        """hints: keys as they are shown, what they do, and the action of the screen, empty for none."""
        super().__init__(markup=False)
        self.show(hints)

    def show(self, hints: Sequence[tuple[str, str, str]]) -> None:
        """Shows others."""
        line = Text()
        for number, (key, meaning, action) in enumerate(hints):
            style = Style(meta={"@click": f"screen.{action}"}) if action else Style()
            line.append("  " if number else "").append(key, Style(bold=True) + style).append(f" {meaning}", style)
        self.update(line)


def no_complaint(_: str) -> str:
    """Has no complaint about any text."""
    return ""


def complaint_of(check: Callable[[str], object]) -> Callable[[str], str]:
    """What is wrong with a text, by a check that raises TuiGenError."""

    def complain(text: str) -> str:
        try:
            check(text)
        except WaitingError:
            raise
        except TuiGenError as fault:
            return str(fault)
        return ""

    return complain


class Ask(Dialog[str]):
    """Asks for a line of text; returns it once there is no complaint about it."""

    def __init__(
        self,
        title: str,
        value: str = "",
        hint: str = "",
        check: Callable[[str], str] = no_complaint,
        suggestions: Sequence[str] = (),
        *,
        select: bool = False,
        suggester: Suggester | None = None,
    ) -> None:
        """value: what stands there already; select: what is typed replaces it. suggester: in place of suggestions.

        check: says what is wrong with a text, or nothing. It is asked whenever typing pauses, and by enter; where it
        raises WaitingError, once more when the answer is known.
        """
        super().__init__()
        self._heading, self._hint, self._check = title, hint, check
        harmless = [suggestion for suggestion in suggestions if suggestion == scrub_line(suggestion)]
        if harmless:
            suggester = SuggestFromList(harmless, case_sensitive=False)
        self._line = LineInput(value, suggester=suggester)
        self._note, self._initial, self._select = Note(hint), value, select
        self._waiting: Timer | None = None

    def compose(self) -> ComposeResult:
        """The line, what is to say about it, and the keys."""
        with Frame(self._heading):
            yield self._line
            yield self._note
            yield KeyHints(("enter", "accept", "accept"), ("esc", "cancel", "leave"))

    def on_mount(self) -> None:
        """The cursor stands behind what is there already."""
        self._line.focus()
        if self._select:
            self._line.select_all()

    def on_key(self, event: events.Key) -> None:
        """What is typed before the line has the focus."""
        if event.character and event.is_printable and not self._line.has_focus:
            event.stop()
            self._line.take(event.character)

    def on_input_changed(self, event: Input.Changed) -> None:
        """A complaint waits for a pause: the beginning of a word is seldom one."""
        event.stop()
        if self._waiting:
            self._waiting.stop()
        self._note.tell("", self._hint)
        if event.value != self._initial:
            self._waiting = self.set_timer(PATIENCE, self._tell)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        event.stop()
        self.action_accept()

    def action_accept(self) -> None:
        """Closes the dialog, unless something is wrong."""
        if not self._tell(self.action_accept):
            self.dismiss(self._line.text)

    def _tell(self, again: Callable[[], object] | None = None) -> str:
        """What is wrong. again: called when that is known, unless something else is typed by then; default: this."""
        text = self._line.text

        def look() -> None:
            if self.is_current and text == self._line.text:
                (again or self._tell)()

        try:
            complaint = self._check(text)
        except WaitingError as wait:
            complaint = str(wait)
            wait.when_known(look)
        self._note.tell(complaint, self._hint)
        return complaint
