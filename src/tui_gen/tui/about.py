"""What a model is, shown until its first run."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from tui_gen.errors import TuiGenError
from tui_gen.learning import read_learning
from tui_gen.library import Playable
from tui_gen.scrub import scrub
from tui_gen.wording import counted


class About(VerticalScroll):
    """The model card in a few lines."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """Plain text, whatever the card says."""
        yield Static(scrub(self._text), markup=False)


def about_text(playable: Playable) -> str:
    """Description, figures, data, and for a picture what can be asked for."""
    card = playable.card
    quality = f"{card.quality} on {card.quality.split}" if card.quality else ""
    facts = [
        ("network", card.architecture),
        ("predicts", f"one of {card.vocab_size:,} tokens at a time"),
        ("quality", quality),
        ("data", card.data),
        ("learned", _learned(playable)),
        ("runs on", playable.model.runs_on),
    ]
    lines = [f"{name:8} {value}" for name, value in facts if value]
    example = f"\n\nType a prompt and press enter, for example: {card.prompt_example}" if card.prompt_example else ""
    return f"{card.name}\n{card.description}{example}\n\n" + "\n".join(lines) + _phrases(playable)


def _learned(playable: Playable) -> str:
    """In how many epochs; nothing where its folder does not say, or what cannot be read."""
    try:
        epochs = len(read_learning(playable.path, playable.card))
    except TuiGenError:
        return ""
    return f"in {counted(epochs, 'epoch')}; f9 shows them" if epochs else ""


def _phrases(playable: Playable) -> str:
    if not playable.codec.phrases:
        return ""
    return "\n\nIt knows, between commas: " + ", ".join(playable.codec.phrases)
