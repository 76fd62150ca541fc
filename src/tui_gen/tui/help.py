"""The help: every key, grouped by what it is for, and what the numbers mean."""

from __future__ import annotations

from itertools import groupby
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from tui_gen.tui.keys import KEYS

_WORDS = """\
words on the screen
  temperature  divides the logits before the softmax: 0 always takes
               the likeliest token, 1 is what the model learned,
               above 1 surprises
  next token   the likeliest tokens, and their probabilities after all
               knobs; ▸ was drawn; of several samples, the first
  seed         where the random numbers start: same model, prompt,
               seed and knobs give the same output, also with
               tui-gen generate
  top-k, top-p, min-p
               filters for the command line: tui-gen --top-k 40, say
  ms/step      what the model and the sampling take for one token of
               all samples; the pace holds tokens/s below that
  prompt       may be empty; what the model does not know is underlined"""


class HelpScreen(ModalScreen[None]):
    """Made from the key table."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,f1,question_mark,q,enter", "dismiss", "close")]

    def compose(self) -> ComposeResult:
        """One text that scrolls."""
        with VerticalScroll():
            yield Static(help_text(), markup=False)

    def on_mount(self) -> None:
        """Lets the arrow keys scroll."""
        scroll = self.query_one(VerticalScroll)
        scroll.border_title, scroll.border_subtitle = "help", "esc closes"
        scroll.focus()


def help_text() -> str:
    """All keys by group, then the words on the screen."""
    parts = []
    for group, keys in groupby(KEYS, key=lambda key: key.group):
        parts.append("\n".join([group, *(f"  {key.shown:11} {key.meaning}" for key in keys)]))
    return "\n\n".join([*parts, _WORDS])
