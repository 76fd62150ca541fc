"""Where a person types the prompt: what the model does not know is marked, what it knows is completed, what was used
before is recalled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.highlighter import Highlighter
from rich.text import Text
from textual import events
from textual.binding import BindingType
from textual.suggester import Suggester
from textual.widgets import Input

from tui_gen.errors import TuiGenError, WaitingError
from tui_gen.images.codec import ImageCodec
from tui_gen.sessions.history import PastPrompt
from tui_gen.terminal_text import scrub_line
from tui_gen.text.codec import TextCodec

_NEWLINE = "\u240a"
_MOST_PHRASES = 100
"""That a title names; there is no more room on any screen."""
_MOST_MARKS = 1000
"""In one prompt; of more, such as in a book that is pasted, all is marked at once, for each takes its time."""
_LAST_WORD = re.compile(rf"[^\s{_NEWLINE}]*[\s{_NEWLINE}]*$")


class SignedInput(Input):
    """A line that is edited with the keys of a shell. A pasted newline is shown as its sign and read as a newline."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("ctrl+y", "yank", "put back what ctrl+k, u and w took"),
        ("alt+backspace", "delete_left_word", "cut the word before the cursor"),
    ]

    _cut = ""
    _after_cut: tuple[str, int] | None = None

    @property
    def text(self) -> str:
        """What was typed, with newlines where their sign stands."""
        return with_newlines(self.value)

    @property
    def can_yank(self) -> bool:
        """Whether there is text to put back."""
        return bool(self._cut)

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

    def action_end(self, select: bool = False) -> None:
        """To the end; there, takes the suggestion."""
        if self.cursor_at_end and not select:
            self.action_cursor_right()
        else:
            super().action_end(select)

    def action_delete_right_all(self) -> None:
        """Cuts what follows the cursor."""
        self._cut_by(super().action_delete_right_all, after=True)

    def action_delete_left_all(self) -> None:
        """Cuts what stands before the cursor."""
        self._cut_by(super().action_delete_left_all)

    def action_delete_left_word(self) -> None:
        """Cuts the word before the cursor, up to a space."""
        before = _LAST_WORD.sub("", self.value[: self.cursor_position])
        whole = not self.selection.is_empty
        self._cut_by(self.delete_selection if whole else lambda: self.delete(len(before), self.cursor_position))

    def action_yank(self) -> None:
        """Puts back what was cut last; of several cuts in a row, all."""
        self.insert_text_at_cursor(self._cut)

    def _cut_by(self, delete: Callable[[], None], *, after: bool = False) -> None:
        """after: whether what is cut follows what was cut just before."""
        value, continues = self.value, self._after_cut == (self.value, self.cursor_position)
        delete()
        start = self.cursor_position
        text = value[start : start + len(value) - len(self.value)]
        if text:
            earlier = self._cut if continues else ""
            self._cut = earlier + text if after else text + earlier
        self._after_cut = (self.value, start)


class Prompt(SignedInput):
    """One line; what is typed while it has no focus begins a new one."""

    BINDINGS: ClassVar[list[BindingType]] = [("ctrl+@,ctrl+space", "turn_suggestion", "another suggestion")]

    def __init__(self, value: str) -> None:
        self._marker, self._model = _UnknownMarker(self._read_again), ""
        self._past: Sequence[PastPrompt] = ()
        self._at = 0
        self._edits: dict[int, str] = {}
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

    def put(self, text: str) -> None:
        """Puts a text in place of what stands there, and the cursor behind it."""
        self.value = one_line(text)
        self.cursor_position = len(self.value)
        self.screen.set_focus(self)

    def show_text(self, text: str) -> None:
        """Shows a prompt that nobody has typed here."""
        with self.prevent(Input.Changed):
            self.value = scrub_line(text)
            self.cursor_position = len(self.value)

    def serve(self, codec: TextCodec | ImageCodec, example: str, model: str = "") -> None:
        """Marks and suggests by what this model knows. model: its name, where prompts can be recalled."""
        self._marker.codec, self._model = codec, model
        self.placeholder = scrub_line(f"for example: {example}") if example else "enter generates without a prompt"
        self.suggester = _EndingSuggester(self._with_ending)
        self._read_again()

    def unknown(self) -> list[str]:
        """The words that the model does not know."""
        return self._marker.unknown(self.text)

    # --- what was used before ---

    def recall(self, past: Callable[[], Sequence[PastPrompt]], direction: int) -> bool:
        """Shows the prompt before (-1) or after (1) this one that the model can read; False if there is none.

        What is being typed, and what is changed on the way, stands there again on the way back.
        past: the prompts that were used, asked for once on the way back from the newest.
        """
        if not self._past:
            self._past = past()
            self._at = len(self._past)
        self._edits[self._at] = self.text
        at = self._at + direction
        while 0 <= at < len(self._past) and not self._is_other(self._past[at]):
            at += direction
        if not 0 <= at <= len(self._past):
            return False
        self._at = at
        self.put(self._edits[at] if at in self._edits else self._past[at].text)
        self._show_title()
        return True

    def end_recall(self) -> None:
        """The prompt is used: the way back begins anew, and what was cut is gone."""
        self._past, self._edits, self._cut = (), {}, ""
        self._show_title()

    def _is_other(self, prompt: PastPrompt) -> bool:
        readable = prompt.model == self._model or not self._marker.unknown(prompt.text)
        return readable and prompt.text != self.text

    # --- what it can go on with ---

    def watch_value(self) -> None:
        """The words that fit are others."""
        self._show_title()

    def watch_has_focus(self, has_focus: bool) -> None:
        """They are shown while something is typed."""
        super().watch_has_focus(has_focus)
        self._show_title()

    def action_turn_suggestion(self) -> None:
        """Suggests another word that fits."""
        endings = self._endings(self.text)
        if self.cursor_at_end and endings:
            present = self._suggestion[len(self.value) :]
            at = endings.index(present) + 1 if present in endings else 0
            self._suggestion = self.value + endings[at % len(endings)]

    def _with_ending(self, value: str) -> str | None:
        """Of a prompt and of a phrase that are not begun yet, nothing is suggested."""
        begun = value and not value.rstrip(" ").endswith(",")
        endings = self._endings(with_newlines(value)) if begun else []
        return value + endings[0] if endings else None

    def _endings(self, text: str) -> list[str]:
        try:
            endings = self._marker.codec.endings(text) if self._marker.codec else []
        except WaitingError as wait:
            wait.when_known(self._read_again)
            return []
        except TuiGenError:  # a tokenizer that fails; generating tells why
            return []
        return [ending for ending in endings if ending == scrub_line(ending)]

    def _read_again(self) -> None:
        """The tokenizer has an answer that was waited for."""
        self._marker.forget()
        self._suggestion = self._with_ending(self.value) or ""
        self._show_title()
        self.refresh()

    def _show_title(self) -> None:
        """What can be typed, where the model knows but a few phrases; else whose prompt this was."""
        codec = self._marker.codec
        other = self._past[self._at].model if self._at < len(self._past) else self._model
        if other != self._model:
            self.border_title = Text(scrub_line(f"prompt of {other}"))
        elif self.has_focus and codec and codec.phrases and (phrases := self._fitting_phrases()):
            self.border_title = Text("prompt: " + ", ".join(phrases[:_MOST_PHRASES]))
        else:
            self.border_title = "prompt"

    def _fitting_phrases(self) -> list[str]:
        """That begin with what is typed; all where none does."""
        before, comma, start = self.value.lower().rpartition(",")
        start = start.lstrip()
        if endings := self._endings(self.text):
            return [start + ending for ending in endings]
        return self._endings(before + comma) if start in self.unknown() else []


class _UnknownMarker(Highlighter):
    """Reads a text once: a long one takes its time, and the prompt is drawn far more often than it changes."""

    codec: TextCodec | ImageCodec | None = None
    _last: tuple[object, str, list[tuple[int, int]]] = (None, "", [])

    def __init__(self, read_again: Callable[[], None]) -> None:
        """read_again: called when a text that took too long can be read."""
        self._read_again = read_again

    def forget(self) -> None:
        """Reads the text again when it is drawn next."""
        self._last = (None, "", [])

    def highlight(self, text: Text) -> None:
        spans = self._spans(with_newlines(text.plain))
        for start, end in spans if len(spans) <= _MOST_MARKS else [(0, len(text))]:
            text.stylize("underline reverse", start, end)

    def unknown(self, text: str) -> list[str]:
        return [text[start:end] for start, end in self._spans(text)]

    def _spans(self, text: str) -> list[tuple[int, int]]:
        codec, last, spans = self._last
        if codec is not self.codec or last != text:
            try:
                spans = self.codec.unknown(text) if self.codec else []
            except WaitingError as wait:
                wait.when_known(self._read_again)
                spans = []
            except TuiGenError:  # a tokenizer that fails; generating tells why
                spans = [(0, len(text))]
            self._last = self.codec, text, spans
        return spans


class _EndingSuggester(Suggester):
    """Completes the word or phrase that is being typed."""

    def __init__(self, complete: Callable[[str], str | None]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._complete = complete

    async def get_suggestion(self, value: str) -> str | None:
        return self._complete(value)


def one_line(text: str) -> str:
    """Text with signs for newlines as lines end; terminals paste carriage returns."""
    return scrub_line(text.replace("\r\n", "\n").replace("\r", "\n"))


def with_newlines(line: str) -> str:
    """A line with newlines for their signs."""
    return line.replace(_NEWLINE, "\n")
