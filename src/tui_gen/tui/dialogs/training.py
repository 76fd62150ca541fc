"""The dialog of a training: its epochs with their losses, and samples that the model made after each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.timer import Timer
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from tui_gen.card import ImageSpec, ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.images.picture import Picture
from tui_gen.library import LoadedModel
from tui_gen.terminal_text import scrub, scrub_line
from tui_gen.training_log import Epoch, Learning, SampleSettings, picture_of, read_learning, shown_loss
from tui_gen.training_run import log_folder
from tui_gen.tui.dialogs.dialog import Dialog, Frame, KeyHints
from tui_gen.tui.widgets.cells import SteadyOptionList
from tui_gen.tui.widgets.image_view import ImageView, most_in_sight
from tui_gen.tui.widgets.surprisal_rows import first_that_fits

_TURN = 0.7
"""Seconds that an epoch is seen while they are played."""
_PLOT = 13
"""Characters of the line on which a row's two losses are marked."""
_TRAINING, _HELD_OUT = "○", "●"


class TrainingDialog(Dialog[None]):
    """All epochs of a training, the last one selected. As many pictures are seen as fit, texts scroll."""

    DEFAULT_CSS = """
    TrainingDialog {
        Frame {
            width: 1fr;
            max-width: 130;
            height: 1fr;
            max-height: 46;
        }
        Horizontal {
            height: 1fr;
        }
        .epochs {
            width: 41;
            height: 100%;
        }
        &.-medium .epochs {
            width: 26; /* the losses, but not their line */
        }
        &.-narrow .epochs {
            width: 8; /* the epochs' numbers alone */
        }
        .heading {
            height: 1;
            padding: 0 1;
            text-wrap: nowrap;
            text-overflow: clip;
            color: $text-muted;
        }
        OptionList, OptionList:focus {
            height: 1fr;
            border: none;
            padding: 0;
            background: $surface;
            background-tint: $background 0%;
            text-wrap: nowrap;
            text-overflow: clip;
            scrollbar-size-vertical: 1;
        }
        OptionList > .option-list--option {
            padding: 0 1;
        }
        .samples {
            width: 1fr;
            height: 100%;
            border: round $foreground 35%;
            border-title-color: $text-muted;
            background: $background;
            scrollbar-size-vertical: 1;
        }
        .samples:focus {
            border: round $accent;
            border-title-color: $text;
        }
        VerticalScroll.samples {
            padding: 0 1;
        }
        .caption {
            height: 1;
        }
        .meaning {
            height: auto;
            color: $text-muted;
        }
        &.-short {
            .meaning, KeyHints {
                display: none;
            }
            .samples {
                border: none;
                border-top: solid $foreground 35%;
            }
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("space", "play", "all epochs in turn"),
        ("left", "turn(-1)", "the epoch before"),
        ("right", "turn(1)", "the next epoch"),
        ("less_than_sign", "turn_sample(-1)", "the sample before"),
        ("greater_than_sign", "turn_sample(1)", "the next sample"),
        ("f9,q", "leave", "close"),
    ]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-medium"), (78, "-wide")]  # noqa: RUF012 (of instances in Textual)
    VERTICAL_BREAKPOINTS = [(0, "-short"), (18, "-tall")]  # noqa: RUF012 (likewise)

    def __init__(self, card: ModelCard, learning: Learning) -> None:
        """learning: of one epoch at least."""
        super().__init__()
        self._card, self._learning = card, learning
        self._list = SteadyOptionList(*_options(learning), markup=False)
        self._list.highlighted = len(learning) - 1  # what the training came to
        self._text, self._caption = Static(markup=False), Static(markup=False, classes="caption")
        self._pictures = SamplePictures(card.image) if card.image else None
        self._samples = self._pictures or VerticalScroll(classes="samples")
        self._key_hints = KeyHints()
        self._playing: Timer | None = None
        self._epoch: Epoch | None = None
        """The one that is on the screen."""

    def compose(self) -> ComposeResult:
        """The epochs on the left, what was made on the right."""
        with Frame(f"how {self._card.name} learned") as frame:
            with Horizontal():
                with Vertical(classes="epochs"):
                    yield Static(_heading(self._learning), classes="heading", markup=False)
                    yield self._list
                with self._samples:
                    if not self._pictures:
                        yield self._text
            yield self._caption
            yield Static(_meaning(self._learning), markup=False, classes="meaning")
            yield self._key_hints
        self._frame = frame

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

    def on_resize(self) -> None:
        """What has room is known when everything has its place."""
        self.call_after_refresh(self._use_room)

    def action_turn(self, by: int) -> None:
        """To another epoch, if there is one."""
        at = (self._list.highlighted or 0) + by
        if 0 <= at < len(self._learning):
            self._list.highlighted = at

    def action_turn_sample(self, by: int) -> None:
        """Of several pictures of which not all are in sight, to others."""
        if self._pictures:
            self._pictures.turn(by)
            self._use_room()

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
        if not self._pictures:
            self._text.update(_texts(epoch))
        self._use_room(epoch)

    def _use_room(self, epoch: Epoch | None = None) -> None:
        """Shows as many pictures and as many words as fit, of an epoch or of the selected one."""
        epoch = epoch or self._learning.epochs[self._list.highlighted or 0]
        prompt = f": {scrub_line(self._learning.prompt)}" if self._learning.prompt else ""
        seed = ""
        if self._pictures:
            self._pictures.show(epoch)
            seed = f", {self._pictures.part}" if self._pictures.part else ""
        self._samples.border_title = Text(f"after epoch {epoch.number}{seed}{prompt}")  # a text would be read as markup
        self._caption.update(first_that_fits(_captions(epoch.settings, self._card), self._caption.size.width))
        self._show_keys()

    def _show_keys(self) -> None:
        play = ("space", "hold" if self._playing else "play", "play")
        hints = [("↑↓", "epoch", ""), play]
        if not self._pictures:
            hints.append(("tab", "scroll the text", "app.focus_next"))
        elif self._pictures.part:
            hints.append(("<>", "sample", "turn_sample(1)"))
        self._key_hints.show([*hints, ("esc", "close", "leave")])
        keys = "" if self._key_hints.display else "space plays, esc closes"
        self._frame.border_subtitle = keys


class SamplePictures(ImageView, can_focus=False):
    """As many of an epoch's pictures as can be seen at once, and those that follow where a person turns to them."""

    def __init__(self, image: ImageSpec) -> None:
        super().__init__(Picture(image, 1))
        self.add_class("samples")
        self._epoch: Epoch | None = None
        self._headings = list[str]()
        self._first = 0

    @property
    def part(self) -> str:
        """Which sample is seen where it is one of several; empty where all are."""
        return " and ".join(self._headings) if self._epoch and len(self._headings) < len(self._epoch.samples) else ""

    def show(self, epoch: Epoch) -> None:
        """Shows the samples of an epoch, from the one on that was turned to."""
        self._epoch = epoch
        image, total = self.picture.image, len(epoch.samples)
        self.rendering, count = most_in_sight((image.height, image.width), max(1, total), self.size)
        numbers = [(self._first + number) % total for number in range(count)] if total else []
        self._headings = [epoch.headings[number] for number in numbers]
        samples = [epoch.samples[number] for number in numbers]
        self.picture = picture_of(samples, image) if samples else Picture(image, 1)
        self._captions = self._headings if count > 1 else ()
        self._lay_out()

    def turn(self, by: int) -> None:
        """The first one that is seen is another one, if not all are seen."""
        self._first = (self._first + by) % len(self._epoch.samples) if self._epoch and self.part else 0


def _options(learning: Learning) -> list[Option]:
    limits = _limits(learning)
    return [Option(_row(epoch, *limits)) for epoch in learning.epochs]


def _limits(learning: Learning) -> tuple[float, float]:
    """The lowest and the highest loss: the ends of the line on which they are marked."""
    losses = [loss for epoch in learning.epochs for loss in epoch.losses if not math.isnan(loss)]
    return min(losses, default=0.0), max(losses, default=0.0)


def _heading(learning: Learning) -> str:
    low, high = (f"{limit:.2f}" for limit in _limits(learning))
    return f"{'epoch':5} {_TRAINING + ' train':>8} {_HELD_OUT + ' held':>8}  {low}{high:>{_PLOT - len(low)}}"


def _row(epoch: Epoch, low: float, high: float) -> str:
    line = [" "] * _PLOT
    for mark, loss in zip((_TRAINING, _HELD_OUT), epoch.losses, strict=True):
        if not math.isnan(loss):
            line[round((loss - low) / ((high - low) or 1.0) * (_PLOT - 1))] = mark
    train, held_out = (f"{shown_loss(loss):>8}" for loss in epoch.losses)
    return f"{epoch.number:5} {train} {held_out}  {''.join(line)}"


def _texts(epoch: Epoch) -> Text:
    """The samples below each other, each of several below its heading."""
    text = Text()
    for heading, sample in zip(epoch.headings, epoch.samples, strict=True):
        text.append("\n\n" if text else "").append(f"{heading}\n" if heading else "", "bold").append(scrub(str(sample)))
    return text


def _captions(settings: SampleSettings, card: ModelCard) -> Sequence[str]:
    """How samples were drawn, in several wordings, the longest first."""
    caption, remark = settings.caption(card), settings.remark(card)
    brief = caption.removeprefix("one sample, ")
    return *((f"{caption} ({remark})",) if remark else ()), caption, brief, brief.replace("temperature", "T")


def _meaning(learning: Learning) -> str:
    return (
        f"Loss in {scrub_line(learning.unit)}, lower is better. The training loss is averaged over the epoch, the "
        "held-out one is taken after it, so that it may be lower."
    )


def training_dialog(loaded_model: LoadedModel) -> TrainingDialog:
    """How a model learned. Raises TuiGenError where its folder does not say, or what cannot be read."""
    training = read_learning(log_folder(loaded_model.folder), loaded_model.card)
    if not training.epochs:
        raise TuiGenError(f"{loaded_model.path.name} does not say how it learned: it has no training log")
    return TrainingDialog(loaded_model.card, training)
