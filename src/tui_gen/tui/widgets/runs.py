"""The runs in the middle of the screen: one, or those of several models beside each other, which do all together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical
from textual.message import Message
from textual.widgets import Static
from textual.worker import Worker, get_current_worker

from tui_gen.errors import TuiGenError
from tui_gen.generation.describe import pixels_of, with_differences
from tui_gen.generation.pacing import Throttle
from tui_gen.generation.tree import differences
from tui_gen.images.picture import Pixels
from tui_gen.library import LoadedModel
from tui_gen.sampling.params import Mask
from tui_gen.scoring.comparison import ModelComparison, check_comparable
from tui_gen.terminal_text import counted, scrub_line
from tui_gen.tui.widgets.divergence_strip import DivergenceStrip, StripRow
from tui_gen.tui.widgets.image_view import SinglePicture
from tui_gen.tui.widgets.run_view import BEHIND, RunView
from tui_gen.tui.widgets.text_view import TextView

_LEAST_COLUMN = 26
"""Cells that a model needs beside another one."""
_OF_RUN = " · "
"""Between the name of a run and its epoch."""
_TITLED = 18
"""Cells that a picture needs for its whole title."""
_SUMS_PER_SECOND = 4
"""How often what sums up a run that goes on is drawn, at most."""


def least_width(models: Sequence[LoadedModel]) -> int:
    """Cells that models need to stand beside each other; a picture is not cut."""
    image = models[0].card.image
    return len(models) * max(_LEAST_COLUMN, image.width + 1 if image and len(models) > 1 else 0)


def check_beside(models: Sequence[LoadedModel], width: int) -> None:
    """Raises TuiGenError for models that cannot be compared, or have no room beside each other on a screen's width."""
    check_comparable(models)
    if width < (least := least_width(models)):
        raise TuiGenError(f"{len(models)} models beside each other need {least} columns; the screen has {width}")


class Runs(Container):
    """The views of a branch and of those beside it. Keys go to the first; the others follow it."""

    DEFAULT_CSS = """
    Runs {
        height: 100%;
    }
    Runs .columns {
        height: 1fr;
    }
    Runs .column {
        width: 1fr;
        border-left: vkey $foreground 20%;
        &.-first { border-left: none; }
        & > Static {
            height: 1;
            padding: 0 1;
            color: $text-muted;
            text-style: bold;
            text-wrap: nowrap;
            text-overflow: ellipsis;
        }
    }
    Runs.-tight .column {
        display: none;
        &.-first { display: block; }
    }
    Runs .differences {
        width: auto;
    }
    """

    @dataclass
    class Read(Message):
        """More of the first branch was read by all models, if there is no fault."""

        fault: str = ""

    def __init__(
        self, views: Sequence[RunView], names: Sequence[str] = (), comparison: ModelComparison | None = None
    ) -> None:
        """names, comparison: of several views, which models they show and how those differ."""
        super().__init__()
        self.first, self.others = views[0], list(views[1:])
        self._comparison, self._names = comparison, [scrub_line(name) for name in names]
        is_alike = len({name.rpartition(_OF_RUN)[0] for name in self._names}) == 1
        self._ends = [name.rpartition(_OF_RUN)[2] for name in self._names] if is_alike else self._names
        """What to call networks of one run where there is little room."""
        self._headings = [Static(name, markup=False) for name in self._names]
        rows = len(self._read_columns())
        self._strip = DivergenceStrip(self._names[0], rows) if rows else None
        image = self.first.workspace.loaded_model.card.image
        self._pictures = [SinglePicture() for _ in self.others] if image else []
        self._first_places = dict[tuple[int, int], int]()
        """Where columns first differ, by column and sample; that never changes."""
        self._sums = Throttle(self._sum_up, self.set_timer, rate=_SUMS_PER_SECOND)
        self._reader: Worker[None] | None = None
        self._read_state: tuple[int, bool] | None = None
        """How long the first branch was when it was read last, and whether it ran."""

    def compose(self) -> ComposeResult:
        """A view alone; of several, each with its heading, below them how far they lie apart."""
        if not self.others:
            yield self.first
            return
        with Horizontal(classes="columns"):
            for view, heading in zip(self.views, self._headings, strict=True):
                with Vertical(classes="column" if view is not self.first else "column -first"):
                    yield heading
                    yield view
            if self._pictures:
                with Vertical(classes="differences"):
                    yield from self._pictures
        if self._strip:
            yield self._strip

    def on_mount(self) -> None:
        """Shows what there is to compare already."""
        self.follow(now=True)

    def on_resize(self) -> None:
        """Pictures that show what differs take what the others leave; too narrow a screen shows the first alone."""
        image, width = self.first.workspace.loaded_model.card.image, self.size.width
        self.set_class(width < least_width([view.workspace.loaded_model for view in self.views]), "-tight")
        for picture in self._pictures:
            assert image
            whole = width >= (len(self.views) + 1) * (image.width + 2)
            dots = math.ceil(image.width / 2) + 2
            share = width // (len(self.views) + 1) if whole else dots
            picture.styles.width, picture.border_title = share, "what differs" if share >= _TITLED else "differs"
            picture.display = width >= dots + len(self.views) * (image.width + 1)
        self.follow(now=True)

    # --- what all do together ---

    @property
    def views(self) -> list[RunView]:
        """Of all models."""
        return [self.first, *self.others]

    @property
    def running(self) -> bool:
        """Whether any run is under way, be it paused."""
        return any(view.running for view in self.views)

    @property
    def paused(self) -> bool:
        """Whether all that are under way wait for a person."""
        return self.running and all(view.paused for view in self.views if view.running)

    @property
    def can_grow(self) -> bool:
        """Whether all rest, and one could go on."""
        return not self.running and any(view.can_grow for view in self.views)

    def start(self, rate: float) -> None:
        """Makes steps at a pace (tokens a second)."""
        for view in self.views:
            view.start(rate)

    def catch_up(self, rate: float) -> None:
        """Makes the others as long as the first one, which rests, or as they are to be."""
        grown, limit = (length - self.first.head for length in (len(self.first.branch), _limit(self.first)))
        whole = self.first.branch.ended or grown >= limit
        for view in self.others:
            goal = _limit(view) if whole else min(_limit(view), view.head + grown)
            if not view.running and not view.branch.ended and len(view.branch) < goal:
                view.start(rate, goal)

    def stop(self) -> None:
        """Ends all runs."""
        for view in self.views:
            view.stop()

    def toggle_pause(self, length: int | None, rate: float) -> bool:
        """Pauses all, or lets all go on, as `RunView.toggle_pause`; False if there is no room for more."""
        if self.running:
            paused = self.paused
            able = [view for view in self.views if view.running and view.paused == paused]
        else:
            able = [view for view in self.views if not view.branch.ended] or [self.first]
        toggled = [self.first.toggle_pause(length, rate)] if self.first in able else []
        with self.prevent(RunView.Moved):
            toggled += [view.toggle_pause(length, rate) for view in self.others if view in able]
        return any(toggled)

    def grow(self, count: int, rate: float) -> bool:
        """Makes so many more tokens; False if there is no room for any."""
        able = [view for view in self.views if not view.running and not view.branch.ended]
        grown = [view.grow(count, rate) for view in able]
        return any(grown)

    def walk(self, by: int) -> bool:
        """Moves the cursor of all; from behind the last token on, makes one more. False where it can go no further."""
        grants = by == 1 and self.first.behind_the_end and self.first.running
        for view in self.others:
            view.hold()
            if grants and view.running:
                view.pace.grant()
        return self.first.walk(by)

    def set_rate(self, rate: float) -> None:
        """Another pace for all."""
        for view in self.views:
            view.pace.set_rate(rate)

    def set_length(self, length: int | None) -> None:
        """Lets all become so long."""
        for view in self.views:
            view.set_length(length)

    # --- the cursor and what grows ---

    def on_run_view_moved(self, message: RunView.Moved) -> None:
        """The others follow the first one; a click on one of them moves all."""
        if message.view is self.first:
            self._gather()
            self.follow(now=True)
        elif message.view in self.others:
            message.stop()
            view, position = message.view, message.view.position
            if position is not None:
                self.first.walk_to(self._place(view, self.first, position), view.sample)

    def on_run_view_advanced(self, message: RunView.Advanced) -> None:
        """Records and shows what was made."""
        view = message.view
        view.take(message.buffer)
        self._note_growth(view)
        if view is not self.first:
            message.stop()
            self.follow()

    def on_run_view_paused(self, message: RunView.Paused) -> None:
        """Notes what was made before a pause."""
        if message.view.still:
            self._note_growth(message.view, resting=True)

    def on_run_view_rested(self, message: RunView.Rested) -> None:
        """No more is made, and why."""
        view = message.view
        view.rest(message.ending)
        if message.fault:
            self.notify(message.fault, severity="error")
        self._note_growth(view, resting=True)
        if view is not self.first:
            self.follow(now=True)

    def _note_growth(self, view: RunView, *, resting: bool = False) -> None:
        """Notes it in the journal, which all share."""
        view.workspace.note_growth(view.branch, resting=resting)
        if view is self.first and (fault := view.workspace.take_fault()):
            self.notify(fault, severity="error")

    def follow(self, *, now: bool = False) -> None:
        """A branch has grown: marks what differs, and after a moment, or now, sums it up."""
        if not self._comparison:
            return
        for number in range(1, len(self.views)):
            self._mark(number)
        self._sums.ask()
        if now:
            self._sums.hurry()

    def _gather(self) -> None:
        """Puts the cursors of the others where the first one's stands."""
        first = self.first
        with self.prevent(RunView.Moved):
            for view in self.others:
                view.look_at(first.sample)
                if first.position is None:
                    view.leave_cursor()
                else:
                    at = BEHIND if first.behind_the_end else self._place(first, view, first.position)
                    view.walk_to(at, first.sample)

    def _place(self, view: RunView, target: RunView, position: int) -> int:
        """The position in another column that stands where one of a column does: by its number, or where the tokens are
        others by the place in the text.
        """
        columns = [self.views.index(each) for each in (view, target)]
        if self._pictures or not any(self._difference_of_tokens(column) for column in columns):
            return position - view.head + target.head
        assert self._comparison
        mine, theirs = (list(each.query(TextView))[view.sample] for each in (view, target))
        own, other = (self._comparison.prompt_length(column, view.sample) for column in columns)
        place = max(0, mine.place_of(position - 1) - own + other)
        return theirs.token_at(place) + 1 if place < len(theirs.text) else BEHIND

    def _difference_of_tokens(self, column: int) -> str:
        return self._comparison.vocabulary_differences[column] if self._comparison else ""

    def _mark(self, number: int) -> None:
        """Marks the tokens of a column that differ from the first one's, as far as both have come."""
        assert self._comparison
        for page in self.views[number].query(TextView):
            if not self._difference_of_tokens(number):
                page.mark_differences(_differing(self.first, self.views[number], page.sample))
            elif (number_of_first := self._first_place(number, page.sample)) is not None:
                place = number_of_first + self._comparison.prompt_length(number, page.sample)
                if place < len(page.text):
                    page.mark_differences(np.arange(page.count) >= page.token_at(place))

    def _first_place(self, number: int, sample: int) -> int | None:
        """As `ModelComparison.first_difference`, which reads whole texts, but once it is known no more."""
        assert self._comparison
        place = self._first_places.get((number, sample))
        if place is None and (place := self._comparison.first_difference(number, sample)) is not None:
            self._first_places[number, sample] = place
        return place

    # --- summing up ---

    def _sum_up(self) -> None:
        """Says how far the models lie apart up to now, and reads on."""
        if not self.is_mounted or not self._comparison:
            return
        for number, heading in enumerate(self._headings):
            names = (self._names[number], self._ends[number])
            texts = ["  ".join(filter(None, pair[::-1])) for pair in product(self._difference(number), names)]
            text = next((text for text in texts if cell_len(text) <= heading.content_size.width), texts[-1])
            if heading.content != text:
                heading.update(text, layout=False)
        for number, picture in enumerate(self._pictures, start=1):
            picture.show(self._differing_pixels(number))
        self._show_strip()
        self._read_on()

    def _difference(self, number: int) -> tuple[str, ...]:
        """Where a column first differs, or in how many pixels; in many words, and in few.

        Of the first column, how wide a screen would show the others, where it does not.
        """
        assert self._comparison
        sample = self.first.sample
        if not number:
            least = least_width([view.workspace.loaded_model for view in self.views])
            return (f"{len(self.views)} models need {least} columns" if self.has_class("-tight") else "",)
        if self._pictures:
            count = int(self._comparison.pixel_differences(number, sample).sum())
            return f"{counted(count, 'pixel')} differ", f"≠ {counted(count, 'pixel')}", f"≠ {count:,}"
        place = self._first_place(number, sample)
        if place is None:
            return ("no difference" + (" yet" if self.running else ""),)
        other_tokens = self._difference_of_tokens(number)
        title = f"character {place + 1:,}" if other_tokens else self.first.workspace.title(self.first.branch, place)
        return f"differs from {title} on", f"≠ {title}"

    def _differing_pixels(self, number: int) -> Pixels:
        """What differs in white, on a dark copy of the first picture."""
        assert self._comparison
        image, sample = self.first.workspace.loaded_model.card.image, self.first.sample
        assert image
        pixels = pixels_of(self.first.branch, image, sample)[0]
        return with_differences(pixels, self._comparison.pixel_differences(number, sample))

    def _show_strip(self) -> None:
        """What is known of how the others read what the first one made."""
        first, sample = self.first, self.first.sample
        position = first.position if first.position is not None else int(first.branch.live[:, sample].sum()) - 1
        number = position - first.head
        if self._strip:
            rows = [self._row(column, sample) for column in self._read_columns()]
            at, place = (number, first.workspace.title(first.branch, position)) if number >= 0 else (None, "")
            self._strip.show(rows, at, place)

    def _row(self, column: int, sample: int) -> StripRow:
        assert self._comparison
        divergence, reading = self._comparison.divergences[column], self._comparison.readings[column]
        bits = divergence.bits[self.first.head - 1 :, sample] if divergence is not None else None
        total = divergence.total(sample) if divergence is not None else math.nan
        per_character, note = math.nan, "read when the runs rest" if self._busy else ""
        if reading is not None:
            totals = reading.totals(sample)
            per_character = totals.bits_per_unit if totals.units else math.nan
            unknown = f"reads {counted(reading.unknown, 'word')} as unknown" if reading.unknown else ""
            note = reading.fault(sample) or unknown or note or self._difference_of_tokens(column) or "its own text"
        return StripRow(self._names[column], bits, total, per_character, scrub_line(note))

    def _read_columns(self) -> list[int]:
        """Those of whose reading of the first one's tokens, or of its text, something can be said."""
        if not (comparison := self._comparison):
            return []
        pairs = zip(comparison.divergences, comparison.readings, strict=True)
        return [column for column, pair in enumerate(pairs) if pair != (None, None)]

    @property
    def _busy(self) -> bool:
        """Whether making tokens takes most of the time: then nothing is read, which would run the models once more."""
        return any(view.busy for view in self.views)

    def _read_on(self) -> None:
        """Reads in a thread what is new, where anybody can see it and the runs leave time for it."""
        comparison, state = self._comparison, (len(self.first.branch), self.first.running)
        visible = self._strip is not None and self._strip.size.height > 0
        if (
            comparison
            and visible
            and not self._busy
            and state != self._read_state
            and not (self._reader and self._reader.is_running)
        ):
            self._read_state = state
            read = partial(self._read, comparison, final=not self.first.running)
            self._reader = self.run_worker(read, thread=True, exit_on_error=False)

    def _read(self, comparison: ModelComparison, *, final: bool) -> None:
        """In the thread."""
        worker = get_current_worker()
        try:
            comparison.update(lambda: worker.is_cancelled, final=final)
        except TuiGenError as fault:
            self.post_message(self.Read(str(fault)))
        else:
            self.post_message(self.Read())

    def on_runs_read(self, message: Read) -> None:
        """More is known, and may be behind again."""
        self._reader = None
        if message.fault:
            self.notify(message.fault, severity="error")
            return
        self._show_strip()
        self.follow()


def _limit(view: RunView) -> int:
    """Positions that a branch may have."""
    return view.workspace.limit(view.branch)


def _differing(first: RunView, other: RunView, sample: int) -> Mask:
    """bool[tokens] of the other's tokens: which are not the first one's, as far as both have come."""
    one, two = first.branch, other.branch
    differ = differences(one, two, sample)[1 : len(two)]
    if not one.has_ended(sample):
        differ[len(one) - 1 :] = False
    mask: Mask = differ[two.live[1:, sample]]
    return mask
