"""The dialog of a training: its epochs with their losses, and a sample that the model made after each."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.timer import Timer
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.library import LoadedModel
from tui_gen.terminal_text import scrub, scrub_line
from tui_gen.training_log import Epoch, Learning, pictures, read_learning
from tui_gen.tui.dialogs.dialog import Dialog, Frame, KeyHints
from tui_gen.tui.widgets.cells import SteadyOptionList
from tui_gen.tui.widgets.image_view import SinglePicture

_TURN = 0.7
"""Seconds that an epoch is seen while they are played."""
_PLOT = 13
"""Characters of the line on which a row's two losses are marked."""
_TRAINING, _HELD_OUT = "○", "●"


class TrainingDialog(Dialog[None]):
    """All epochs of a training, the last one selected. A picture is drawn as large as it fits, a text scrolls."""

    DEFAULT_CSS = """
    TrainingDialog {
        Frame {
            width: 100%;
            max-width: 130;
            height: 100%;
            max-height: 46;
        }
        Horizontal {
            height: 1fr;
        }
        .epochs {
            width: 41;
            height: 100%;
        }
        .heading {
            padding: 0 1;
            color: $text-muted;
        }
        OptionList, OptionList:focus {
            height: 1fr;
            border: none;
            padding: 0;
            background: $surface;
            background-tint: $background 0%;
            text-wrap: nowrap;
            scrollbar-size-vertical: 1;
        }
        OptionList > .option-list--option {
            padding: 0 1;
        }
        VerticalScroll {
            width: 1fr;
            height: 100%;
            padding: 0 1;
            border: round $foreground 35%;
            border-title-color: $text-muted;
            background: $background;
            scrollbar-size-vertical: 1;
        }
        VerticalScroll:focus {
            border: round $accent;
            border-title-color: $text;
        }
        SinglePicture {
            width: 1fr;
            height: 100%;
        }
        .meaning {
            height: auto;
            color: $text-muted;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("space", "play", "all epochs in turn"),
        ("left", "turn(-1)", "the epoch before"),
        ("right", "turn(1)", "the next epoch"),
        ("f9,q", "leave", "close"),
    ]

    def __init__(self, card: ModelCard, learning: Learning) -> None:
        """learning: of one epoch at least."""
        super().__init__()
        self._card, self._learning = card, learning
        self._list = SteadyOptionList(*_options(learning), markup=False)
        self._list.highlighted = len(learning) - 1  # what the training came to
        self._picture, self._text = SinglePicture(), Static(markup=False)
        self._key_hints = KeyHints()
        self._playing: Timer | None = None
        self._epoch: Epoch | None = None
        """The one that is on the screen."""

    def compose(self) -> ComposeResult:
        """The epochs on the left, what was made on the right."""
        with Frame(f"how {self._card.name} learned"):
            with Horizontal():
                with Vertical(classes="epochs"):
                    yield Static(_heading(self._learning), classes="heading", markup=False)
                    yield self._list
                if self._card.image:
                    yield self._picture
                else:
                    with VerticalScroll():
                        yield self._text
            yield Static(_meaning(self._learning), markup=False, classes="meaning")
            yield self._key_hints

    def on_mount(self) -> None:
        """The arrows go through the epochs."""
        self._list.focus()
        self._show_keys()

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Shows what was made after this epoch, if it still is the one: a new list begins with its first."""
        event.stop()
        if event.option_index == self._list.highlighted:
            self._show(self._learning.epochs[event.option_index])

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter has nothing to do."""
        event.stop()

    def action_turn(self, by: int) -> None:
        """To another epoch, if there is one."""
        at = (self._list.highlighted or 0) + by
        if 0 <= at < len(self._learning):
            self._list.highlighted = at

    def action_play(self) -> None:
        """Shows all epochs in turn, from the first one where the last is shown; or holds."""
        if self._playing:
            self._hold()
            return
        if self._list.highlighted == len(self._learning) - 1:
            self._list.highlighted = 0
        self._playing = self.set_interval(_TURN, self._next)
        self._show_keys()

    def _next(self) -> None:
        if self._epoch is not self._learning.epochs[self._list.highlighted or 0]:
            return  # a busy machine: the list has moved on, and its epoch is not on the screen yet
        self.action_turn(1)
        if self._list.highlighted == len(self._learning) - 1:
            self._hold()

    def _hold(self) -> None:
        if self._playing:
            self._playing.stop()
        self._playing = None
        self._show_keys()

    def _show(self, epoch: Epoch) -> None:
        self._epoch = epoch
        prompt = f": {scrub_line(self._learning.prompt)}" if self._learning.prompt else ""
        title = Text(f"after epoch {epoch.number}{prompt}")  # a text would be read as markup
        if self._card.image:
            self._picture.border_title = title
            self._picture.show(pictures([epoch], self._card.image).rgb[0])
        else:
            self.query_one(VerticalScroll).border_title = title
            self._text.update(scrub(str(epoch.sample)))

    def _show_keys(self) -> None:
        scroll = () if self._card.image else (("tab", "scroll the text", "app.focus_next"),)
        play = ("space", "hold" if self._playing else "play", "play")
        self._key_hints.show((("↑↓", "epoch", ""), play, *scroll, ("esc", "close", "leave")))


def _options(learning: Learning) -> list[Option]:
    limits = _limits(learning)
    return [Option(_row(epoch, *limits)) for epoch in learning.epochs]


def _limits(learning: Learning) -> tuple[float, float]:
    """The lowest and the highest loss: the ends of the line on which they are marked."""
    losses = [loss for epoch in learning.epochs for loss in (epoch.train_loss, epoch.validation_loss)]
    return min(losses), max(losses)


def _heading(learning: Learning) -> str:
    low, high = (f"{limit:.2f}" for limit in _limits(learning))
    return f"{'epoch':5} {_TRAINING + ' train':>8} {_HELD_OUT + ' held':>8}  {low}{high:>{_PLOT - len(low)}}"


def _row(epoch: Epoch, low: float, high: float) -> str:
    losses, line = (epoch.train_loss, epoch.validation_loss), [" "] * _PLOT
    for mark, loss in zip((_TRAINING, _HELD_OUT), losses, strict=True):
        line[round((loss - low) / ((high - low) or 1.0) * (_PLOT - 1))] = mark
    train, held_out = (f"{loss:8.3f}" for loss in losses)
    return f"{epoch.number:5} {train} {held_out}  {''.join(line)}"


def _meaning(learning: Learning) -> str:
    return (
        f"Loss in {scrub_line(learning.unit)}, lower is better. The training loss is averaged over the epoch, the "
        "held-out one is taken after it, so that it may be lower. Each sample has the same random numbers."
    )


def training_dialog(loaded_model: LoadedModel) -> TrainingDialog:
    """How a model learned. Raises TuiGenError where its folder does not say, or what cannot be read."""
    training = read_learning(loaded_model.path, loaded_model.card)
    if not training.epochs:
        raise TuiGenError(f"{loaded_model.path.name} does not say how it learned: it has no training log")
    return TrainingDialog(loaded_model.card, training)
