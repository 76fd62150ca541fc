"""The dialog of a training: its epochs with their losses, and samples that the model made after each."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from rich.segment import Segment
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.timer import Timer
from textual.widgets import Static
from textual.worker import Worker

from tui_gen.card import ImageSpec, ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.images.picture import Picture
from tui_gen.library import LoadedModel
from tui_gen.run_watch import Scores
from tui_gen.terminal_text import scrub, scrub_line
from tui_gen.training_log import Epoch, Learning, LossLine, SampleSettings, TrainingLog, picture_of, shown_loss
from tui_gen.training_run import log_folder
from tui_gen.tui.dialogs.dialog import Dialog, Frame, KeyHints
from tui_gen.tui.widgets.cells import part_style
from tui_gen.tui.widgets.image_view import ImageView, most_in_sight
from tui_gen.tui.widgets.surprisal_rows import first_that_fits

T = TypeVar("T")

_TURN = 0.7
"""Seconds that an epoch is seen while they are played."""
_SECONDS = 1.0
"""Between two looks at a log that may grow."""
_AT_ONCE = 2**20
"""Bytes of a log that a person need not wait for; a longer one is read while the dialog is on the screen."""
_PLOT = 13
"""Characters of the line on which a row's two losses are marked."""
_TRAINING, _HELD_OUT = "○", "●"
_RESTART = "↻"


class _Table:
    """The epochs with their losses and scores, and marks on the line between the lowest and the highest loss."""

    def __init__(self, learning: Learning, scores: Scores | None) -> None:
        self.learning, self._bits = learning, None if scores is None else dict(scores.bits)
        self._line = LossLine((loss for epoch in learning.epochs for loss in epoch.losses), _PLOT)
        self.holds_out = learning.holds_out

    def is_as(self, other: _Table) -> bool:
        """Whether the same is known."""
        return (self.learning, f"{self._bits}") == (other.learning, f"{other._bits}")

    @property
    def heading(self) -> str:
        """Of the columns."""
        low, high = f"{self._line.low:.2f}", f"{self._line.high:.2f}"
        names = [f"{_TRAINING} train", f"{_HELD_OUT} held", "score"]
        columns = " ".join(f"{name:>8}" for name in self._columns(*names))
        return f"{'epoch':5} {columns}  {low}{high:>{_PLOT - len(low)}}"

    def row(self, at: int) -> str:
        """Of the epoch at a place."""
        epoch = self.learning.epochs[at]
        marks = self._line.marks(zip((_TRAINING, _HELD_OUT), epoch.losses, strict=True), _HELD_OUT)
        score = math.nan if self._bits is None else self._bits.get(epoch.number, math.nan)
        losses = " ".join(f"{shown_loss(loss):>8}" for loss in self._columns(*epoch.losses, score))
        return f"{_RESTART if epoch.is_restart else ' '}{epoch.number:5} {losses}  {marks}"

    def _columns(self, train: T, held_out: T, score: T) -> list[T]:
        """Those that say anything."""
        return [train, *([held_out] if self.holds_out else []), *([] if self._bits is None else [score])]


class EpochList(ScrollView, can_focus=True):
    """A line for each of many epochs, of which those in sight are drawn; one is selected."""

    DEFAULT_CSS = """
    EpochList {
        height: 1fr;
        background: $surface;
        scrollbar-size-vertical: 1;
        & > .epoch-list--selected {
            color: $block-cursor-blurred-foreground;
            background: $block-cursor-blurred-background;
            text-style: $block-cursor-blurred-text-style;
        }
        &:focus > .epoch-list--selected {
            color: $block-cursor-foreground;
            background: $block-cursor-background;
            text-style: $block-cursor-text-style;
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"epoch-list--selected"}
    BINDINGS: ClassVar[list[BindingType]] = [
        ("up", "turn(-1)", "the epoch before"),
        ("down", "turn(1)", "the next epoch"),
        ("pageup", "turn_page(-1)", "a page up"),
        ("pagedown", "turn_page(1)", "a page down"),
        ("home", "first", "the first epoch"),
        ("end", "last", "the last epoch"),
    ]

    class Selected(Message):
        """Another epoch is selected, or the list is another one."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.selected = _Table(Learning(), None), 0

    @property
    def epoch(self) -> Epoch | None:
        """The one that is selected; None while there are none."""
        return self.table.learning.epochs[self.selected] if self.table.learning.epochs else None

    @property
    def is_at_end(self) -> bool:
        """Whether the last one is selected."""
        return self.selected == len(self.table.learning) - 1

    def show(self, table: _Table, number: int | None = None) -> None:
        """Lists epochs. number: of the one that is selected then, or the first one after it."""
        self.table = table
        self.virtual_size = Size(0, len(table.learning))
        self.refresh()
        if number is not None:
            numbers = [epoch.number for epoch in table.learning.epochs]
            self.select(bisect_left(numbers, number))

    def select(self, at: int) -> None:
        """Selects the epoch at a place, or the nearest there is."""
        self.selected = max(0, min(len(self.table.learning) - 1, at))
        self.scroll_to_region(Region(0, self.selected, 1, 1), animate=False, force=True)
        self.refresh()
        self.post_message(self.Selected())

    def on_resize(self) -> None:
        """The selected one stays in sight."""
        self.select(self.selected)

    def on_click(self, event: events.Click) -> None:
        """Selects what is clicked on."""
        self.select(event.y + self.scroll_offset.y)

    def action_turn(self, by: int) -> None:
        """To another epoch."""
        self.select(self.selected + by)

    def action_turn_page(self, by: int) -> None:
        """As many epochs on as are in sight."""
        self.select(self.selected + by * max(1, self.size.height))

    def action_first(self) -> None:
        self.select(0)

    def action_last(self) -> None:
        self.select(len(self.table.learning) - 1)

    def render_line(self, y: int) -> Strip:
        """The line of an epoch."""
        at = y + self.scroll_offset.y
        style = part_style(self, "epoch-list--selected") if at == self.selected else self.rich_style
        text = self.table.row(at) if at < len(self.table.learning) else ""
        return Strip([Segment(text, style)]).adjust_cell_length(self.size.width, style)


class TrainingDialog(Dialog[None]):
    """All epochs of a training, the last one selected. As many pictures are seen as fit, texts scroll."""

    @dataclass
    class Grown(Message):
        """There are more epochs, or scores."""

        table: _Table

    @dataclass
    class Refused(Message):
        """A log that was still to be read cannot be."""

        fault: str

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
        &.-scored .epochs {
            width: 35; /* the losses and the score, but not their line */
        }
        &.-scored.-roomy .epochs {
            width: 50;
        }
        &.-alone .epochs {
            width: 32; /* as nothing is held out */
        }
        &.-medium.-alone .epochs {
            width: 17;
        }
        &.-scored.-alone .epochs {
            width: 26;
        }
        &.-scored.-roomy.-alone .epochs {
            width: 41;
        }
        &.-narrow .epochs, &.-narrow.-alone .epochs {
            width: 8; /* the epochs' numbers alone */
        }
        .heading {
            height: 1;
            padding: 0 1;
            text-wrap: nowrap;
            text-overflow: clip;
            color: $text-muted;
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
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-medium"), (78, "-wide"), (110, "-roomy")]  # noqa: RUF012 (of instances in Textual)
    VERTICAL_BREAKPOINTS = [(0, "-short"), (18, "-tall")]  # noqa: RUF012 (likewise)

    def __init__(self, card: ModelCard, log: TrainingLog, scores: Scores | None = None) -> None:
        """log: of one epoch at least, or still to be read; it may grow, as scores may."""
        super().__init__()
        self._card, self._log, self._scores = card, log, scores
        self._learning = log.learning
        self._list, self._heading = EpochList(), Static(classes="heading", markup=False)
        self._meaning = Static(markup=False, classes="meaning")
        self._list.show(_Table(self._learning, scores))
        self._list.selected = len(self._learning) - 1  # what the training came to
        self.set_class(scores is not None, "-scored")
        self._text, self._caption = Static(markup=False), Static(markup=False, classes="caption")
        self._pictures = SamplePictures(card.image) if card.image else None
        self._samples = self._pictures or VerticalScroll(classes="samples")
        self._key_hints = KeyHints()
        self._playing: Timer | None = None
        self._looker: Worker[None] | None = None
        self._epoch: Epoch | None = None
        """The one that is on the screen."""

    def compose(self) -> ComposeResult:
        """The epochs on the left, what was made on the right."""
        with Frame(f"how {self._card.name} learned") as frame:
            with Horizontal():
                with Vertical(classes="epochs"):
                    yield self._heading
                    yield self._list
                with self._samples:
                    if not self._pictures:
                        yield self._text
            yield self._caption
            yield self._meaning
            yield self._key_hints
        self._frame = frame

    def on_mount(self) -> None:
        """The arrows go through the epochs; the log is looked at from now on."""
        self._list.focus()
        self._show_table(self._list.table)
        self.set_interval(_SECONDS, self._look)
        self._look()
        self._show_keys()

    def _look(self) -> None:
        if not self._looker or self._looker.is_finished:
            self._looker = self.run_worker(self._look_once, thread=True)

    def _look_once(self) -> None:
        """In a thread. What cannot be read leaves the list as it is, where there is one."""
        learning = self._list.table.learning
        try:
            self._log.update(self._card)
            _check(self._log, self._card.name)
            learning = self._log.learning
        except TuiGenError as fault:
            if not learning.epochs:
                self.post_message(self.Refused(str(fault)))
                return
        table = _Table(learning, self._scores)
        if not table.is_as(self._list.table):
            self.post_message(self.Grown(table))

    def on_training_dialog_grown(self, message: Grown) -> None:
        """Lists what is there now; the epoch that is selected stays so."""
        epoch = self._list.epoch or message.table.learning.epochs[-1]
        self._show_table(message.table)
        self._list.show(message.table, epoch.number)

    def _show_table(self, table: _Table) -> None:
        self._learning = table.learning
        self.set_class(not table.holds_out, "-alone")
        self._heading.update(table.heading if table.learning.epochs else "reading ...")
        self._meaning.update(_meaning(table, self._scores))

    def on_training_dialog_refused(self, message: Refused) -> None:
        """There is nothing to look at."""
        self.dismiss(None)
        self.app.notify(message.fault, severity="error")

    def on_epoch_list_selected(self) -> None:
        """Shows what was made after this epoch."""
        if epoch := self._list.epoch:
            self._show(epoch)

    def on_resize(self) -> None:
        """What has room is known when everything has its place."""
        self.call_after_refresh(self._use_room)

    def action_turn(self, by: int) -> None:
        """To another epoch, if there is one."""
        self._list.select(self._list.selected + by)

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
        if not self._list.epoch:
            return
        if self._list.is_at_end:
            self._list.select(0)
        self._playing = self.set_interval(_TURN, self._next)
        self._show_keys()

    def _next(self) -> None:
        if self._epoch is not self._list.epoch:
            return  # a busy machine: the list has moved on, and its epoch is not on the screen yet
        self.action_turn(1)
        if self._list.is_at_end:
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
        epoch = epoch or self._list.epoch
        if not epoch:
            return
        prompt = f": {scrub_line(self._learning.prompt)}" if self._learning.prompt else ""
        seed = ""
        if self._pictures:
            self._pictures.show(epoch)
            seed = f", {self._pictures.part}" if self._pictures.part else ""
        began = ", started again" if epoch.is_restart else ""
        self._samples.border_title = Text(f"after {epoch.title}{began}{seed}{prompt}")  # a text would be read as markup
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


def _meaning(table: _Table, scores: Scores | None) -> str:
    unit = f" in {scrub_line(table.learning.unit)}" if table.learning.unit else ""
    held_out = ", the held-out one is taken after it, so that it may be lower" if table.holds_out else ""
    score = f" Score: {scores.unit or 'bits'} of {scrub_line(scores.file.name)}." if scores else ""
    restart = f" {_RESTART} started again." if any(epoch.is_restart for epoch in table.learning.epochs) else ""
    return f"Loss{unit}, lower is better. The training loss is averaged over the epoch{held_out}.{score}{restart}"


def training_dialog(loaded_model: LoadedModel, scores: Scores | None = None) -> TrainingDialog:
    """How a model learned. Raises TuiGenError where its folder does not say, or what cannot be read.

    scores: of the networks of its run, if there are any.
    """
    log = TrainingLog(log_folder(loaded_model.folder))
    if not log.path.is_file() or log.path.stat().st_size <= _AT_ONCE:
        log.update(loaded_model.card)
        _check(log, loaded_model.path.name)
    return TrainingDialog(loaded_model.card, log, scores)


def _check(log: TrainingLog, name: str) -> None:
    if not log.learning.epochs:
        raise TuiGenError(f"{name} does not say how it learned: it has no training log")
