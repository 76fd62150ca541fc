"""The first line of the screen: which model, where it runs, how fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from tui_gen.errors import TuiGenError
from tui_gen.library import LoadedModel
from tui_gen.terminal_text import LONGEST, brief, counted, scrub, scrub_line
from tui_gen.training_log import count_epochs
from tui_gen.training_run import log_folder
from tui_gen.tui.bindings import KEYS, Context, Key, Pair, key_of, pairs_now
from tui_gen.tui.widgets.cells import fit

_SEPARATOR = " · "
_LONGEST_FACT, _MOST_PHRASES = 500, 500
"""Characters of what a card says of one thing, and how many phrases of a prompt are named."""


class Header(Widget):
    """Name on the left, facts on the right, a rule between them; facts that do not fit are left out whole, but one."""

    def __init__(self) -> None:
        super().__init__()
        self._facts: list[str] = []
        self._speed: list[str] = []
        self._note = ""
        self._model: tuple[object, ...] = ()

    def show_model(self, loaded_model: LoadedModel) -> bool:
        """Shows the model and where it runs; False where that stands there already and the model has no warnings."""
        card, model = loaded_model.card, loaded_model.model
        facts = (loaded_model.name, card.architecture, *model.placed)
        if facts == self._model and not model.has_warnings:
            return False
        self.show(*facts)
        self._model = facts
        return True

    def show(self, *facts: str) -> None:
        """Shows facts about the model, the most important first; foreign text is made harmless here."""
        self._facts, self._speed, self._model = [scrub_line(fact) for fact in facts if fact], [], ()
        self.refresh()

    def show_note(self, note: str) -> None:
        """Shows something else after the first of the facts."""
        self._note = note
        self.refresh()

    def show_rate(self, tokens_per_second: float, step_seconds: float) -> None:
        """Shows how fast tokens come, at the pace that is set, and how long the engine takes for a step."""
        rate = f"{tokens_per_second:,.0f} tokens/s"
        self._speed = [rate, f"{1000 * step_seconds:.2f} ms/step"] if tokens_per_second else []
        self.refresh()

    def render(self) -> Text:
        """The line."""
        room = self.size.width - len("tui-gen") - 4
        facts, speed = [*self._facts[:1], *filter(None, [self._note]), *self._facts[1:]], list(self._speed)
        while cell_len(_SEPARATOR.join(facts + speed)) > room and len(facts + speed) > 1:
            (speed if len(speed) > 1 else facts if len(facts) > 1 else speed).pop()
        right = _SEPARATOR.join(facts + speed)
        right = right if cell_len(right) <= room else fit(right, room)
        return Text(f"tui-gen {'─' * max(1, room + 2 - cell_len(right))} {right}", no_wrap=True)


class KeyBar(Widget):
    """Pairs of key and meaning, as many whole ones as fit."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-bar--key"}

    def __init__(self, keys: Sequence[Key] = KEYS) -> None:
        super().__init__()
        self._keys = keys
        self._pairs: Sequence[Pair] = ()

    def show(self, now: Context) -> None:
        """Shows what the keys do in a context."""
        pairs = pairs_now(now, self._keys)
        if pairs != self._pairs:
            self._pairs = pairs
            self.refresh()

    def render(self) -> Text:
        """The line; where not all fit, those before the last two go first."""
        shown = list(self._pairs)
        while len(shown) > 2 and sum(cell_len(key + meaning) + 3 for key, meaning in shown) - 2 > self.size.width:
            shown.pop(-3)
        line = Text(no_wrap=True)
        for key, meaning in shown:
            line.append(f"{key} ", self.get_component_rich_style("key-bar--key", partial=True, default=Style())).append(
                f"{meaning}  "
            )
        return line


class About(VerticalScroll):
    """The model card in a few lines."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """Plain text, whatever the card says."""
        yield Static(scrub(self._text), markup=False)


def about_text(loaded_model: LoadedModel, keys: Sequence[Key] = KEYS) -> str:
    """Description, figures, data, and for a picture what can be asked for."""
    card = loaded_model.card
    quality = f"{card.quality} on {card.quality.split}" if card.quality else ""
    facts = [
        ("network", card.architecture),
        ("predicts", f"one of {card.vocab_size:,} tokens at a time"),
        ("quality", quality),
        ("data", card.data),
        ("learned", _epochs(loaded_model, key_of("training", keys))),
        ("proved", card.proof),
        ("runs on", loaded_model.model.runs_on),
        ("hub", loaded_model.address if loaded_model.snapshot else ""),
        *_conversion_facts(loaded_model, key_of("load_anew", keys)),
    ]
    lines = [f"{name:8} {brief(value, _LONGEST_FACT)}" for name, value in facts if value]
    example = (
        f"\n\nType a prompt and press enter, for example: {brief(card.prompt_example, _LONGEST_FACT)}"
        if card.prompt_example
        else ""
    )
    return f"{loaded_model.name}\n{brief(card.description)}{example}\n\n" + "\n".join(lines) + _phrases(loaded_model)


def _conversion_facts(loaded_model: LoadedModel, key: str) -> list[tuple[str, str]]:
    """What a model that was made of a checkpoint rests on, and how to keep it."""
    conversion = loaded_model.conversion
    if not conversion:
        return []
    questions = [question for question in conversion.diagnosis.questions if question.default]
    guesses = [("guessed", f"{question.what}: {question.default}") for question in questions]
    told = " ".join(f"{option} {value}" for option, value in conversion.answers)
    change = [("", f"{key} changes that")] if guesses or told else []
    return [("file", str(conversion.path)), ("to keep", conversion.command), ("told", told), *guesses, *change]


def _epochs(loaded_model: LoadedModel, key: str) -> str:
    """In how many epochs; nothing where its folder does not say, or what cannot be read."""
    try:
        epochs = count_epochs(log_folder(loaded_model.folder))
    except TuiGenError:
        return ""
    return f"in {counted(epochs, 'epoch')}; {key} shows them" if epochs else ""


def _phrases(loaded_model: LoadedModel) -> str:
    if not loaded_model.codec.phrases:
        return ""
    return "\n\nIt knows, between commas: " + brief(", ".join(loaded_model.codec.phrases[:_MOST_PHRASES]), 4 * LONGEST)
