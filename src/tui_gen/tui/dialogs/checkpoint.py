"""The dialog for what a checkpoint does not say: every question with its meaning, its choices, and what is guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input, Static

from tui_gen.checkpoint import OF_FILES, Answers, Diagnosis, Question
from tui_gen.launcher import in_browser
from tui_gen.tui.browser import NO_FILES
from tui_gen.tui.dialogs.dialog import Dialog, Frame, KeyHints, LineInput, Note
from tui_gen.tui.dialogs.image_picker import PathSuggester

_CHOICES = re.compile(r"[a-z0-9_-]+(\|[a-z0-9_-]+)*")
_FIELD_ROWS, _OTHER_ROWS = 4, 7
"""Of the screen: for a question and its answer at least, and for what stands around them all."""
_HINT = "what is left empty is as it is guessed"


class AnswerInput(LineInput):
    """One way to tell the answer to a question."""

    def __init__(
        self, question: Question, option: str, key: str, usage: str, *, value: str = "", guess: str = ""
    ) -> None:
        """option: of the exporter. key: of an assumption, or nothing. usage: how a value is written. guess: shown while
        nothing stands there.
        """
        self._choices = question.choices or (tuple(usage.split("|")) if _CHOICES.fullmatch(usage) else ())
        suggester = SuggestFromList(self._choices) if self._choices else None
        super().__init__(
            value,
            title=" ".join(filter(None, (option, key))),
            placeholder=guess,
            suggester=PathSuggester() if option == "--vocab" else suggester,
        )
        self.border_subtitle = Text("↑↓ " + " | ".join(self._choices) if self._choices else usage)
        if in_browser() and option in OF_FILES:
            self.disabled, self.border_subtitle = True, Text(NO_FILES)
        self.question, self.initial, self._option, self._key = question, value, option, key

    @property
    def answer(self) -> Answers:
        """Nothing where nothing was typed."""
        text = self.text.strip()
        return ((self._option, f"{self._key}={text}" if self._key else text),) if text else ()

    def turn(self, direction: int) -> None:
        """The next choice, or the one before."""
        if self._choices:
            now = self.text.strip() or self.question.default
            at = self._choices.index(now) + direction if now in self._choices else min(direction, 0)
            self.value = self._choices[at % len(self._choices)]
            self.cursor_position = len(self.value)


class CheckpointDialog(Dialog[Answers]):
    """Asks what a checkpoint does not say; returns what was answered, empty where all is as it is guessed."""

    DEFAULT_CSS = """
    CheckpointDialog VerticalScroll {
        height: auto;
        scrollbar-size-vertical: 1;
    }
    CheckpointDialog .what {
        height: auto;
        padding: 0 1;
    }
    CheckpointDialog .summary {
        height: auto;
        max-height: 2;
        color: $text-muted;
        padding: 0 1;
    }
    """
    AUTO_FOCUS = ""  # it would scroll before there is room for the questions
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "turn(-1)", "choice", show=False, priority=True),
        Binding("down", "turn(1)", "choice", show=False, priority=True),
    ]

    def __init__(self, name: str, diagnosis: Diagnosis, answers: Answers = (), fault: str = "") -> None:
        """name: of the file. answers: that stand there already. fault: why these were of no use."""
        super().__init__()
        self._name, self._diagnosis, self._answers, self._fault = name, diagnosis, answers, fault
        self._note, self._questions = Note(_HINT), VerticalScroll(*self._rows(), can_focus=False)

    def compose(self) -> ComposeResult:
        """What the file is, the questions with those that need an answer first, and the keys."""
        with Frame(f"what {self._name} does not say"):
            yield Static(self._diagnosis.summary, markup=False, classes="summary")
            yield self._questions
            yield self._note
            yield KeyHints(
                ("enter", "play it", "accept"), ("tab", "next", "app.focus_next"), ("↑↓", "choose", ""),
                ("esc", "cancel", "leave"),
            )  # fmt: skip

    def _rows(self) -> Iterator[Static | AnswerInput]:
        values = dict(map(_split, self._answers))
        for question in sorted(self._diagnosis.questions, key=lambda each: (bool(each.default), not each.is_open)):
            yield Static(question.what, markup=False, classes="what")
            for number, (option, key, usage) in enumerate(question.fields):
                guess = f"guessed: {question.default}" if question.default else "needed"
                guess = guess if not number else "another way to tell it" if question.is_open else ""
                yield AnswerInput(question, option, key, usage, value=values.pop((option, key), ""), guess=guess)
        if values:
            yield Static("answered before", markup=False, classes="what")
        for (option, key), value in values.items():
            yield AnswerInput(Question("", "", "asked again"), option, key, "", value=value)

    def on_mount(self) -> None:
        """The first question has the focus."""
        self.on_resize()
        self._note.tell(self._fault, _HINT)
        for line in self.query(AnswerInput).results():
            line.focus(scroll_visible=False)
            break

    def on_resize(self) -> None:
        """The questions have what the rest leaves."""
        self._questions.styles.max_height = max(_FIELD_ROWS, self.app.size.height - _OTHER_ROWS)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A question is seen with its answer, once all have their places."""
        self.call_after_refresh(self._reveal, event.widget)

    def _reveal(self, line: Widget) -> None:
        place = line.virtual_region
        above = [each.virtual_region for each in self._questions.query(Static).results(Static)]
        question = max((each for each in above if each.y < place.y), key=lambda each: each.y, default=place)
        self._questions.scroll_to_region(question.union(place), animate=False, force=True, immediate=True)

    def on_input_changed(self, event: Input.Changed) -> None:
        """A complaint is of what stood there."""
        event.stop()
        if isinstance(event.input, AnswerInput) and event.value != event.input.initial:
            self._note.tell("", _HINT)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        event.stop()
        self.action_accept()

    def action_turn(self, direction: int) -> None:
        """Another choice, where there are some."""
        if isinstance(self.focused, AnswerInput):
            self.focused.turn(direction)

    def action_accept(self) -> None:
        """Closes the dialog, unless something needs an answer."""
        lines = [*self.query(AnswerInput).results()]
        answered = {id(line.question) for line in lines if line.answer}
        for line in lines:
            if not line.question.default and id(line.question) not in answered:
                self._note.tell(f"needed: {line.question.what}")
                line.focus()
                return
        self.dismiss(tuple(pair for line in lines for pair in line.answer))


def _split(answer: tuple[str, str]) -> tuple[tuple[str, str], str]:
    """Option and key, and the value."""
    option, value = answer
    key, sign, rest = value.partition("=")
    return ((option, key), rest) if option == "--assume" and sign else ((option, ""), value)
