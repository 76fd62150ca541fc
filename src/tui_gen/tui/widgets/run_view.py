"""A branch on the screen: its samples, the run that makes it longer, and the cursor that walks through it."""

from __future__ import annotations

import math
import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import count
from typing import Literal

import numpy as np
from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.css.query import NoMatches
from textual.message import Message
from textual.widget import Widget
from textual.worker import Worker, get_current_worker

from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch, StepBuffer
from tui_gen.generation.describe import number_of
from tui_gen.generation.pacing import Pace, frames, paced
from tui_gen.images.codec import ImageCodec
from tui_gen.images.picture import given_levels
from tui_gen.images.raster import Rendering
from tui_gen.runtime.watch import WATCH
from tui_gen.sampling.params import FREE, Mask, SamplingParams, Tokens
from tui_gen.sampling.step import Step
from tui_gen.scoring.branch_scores import BranchSurprisal
from tui_gen.sessions.workspace import Workspace
from tui_gen.tui.widgets.image_view import ImageView
from tui_gen.tui.widgets.text_view import TextView

Ending = Literal["ended", "length", "stopped", "failed"]
BEHIND = 2**40
"""A position that no branch reaches: behind the last token."""
_LEAST_LINES = 4
_LEAST_COLUMNS = 14
_FRAMES_AHEAD = 2
"""Frames that may wait for the screen to draw them; one drawn late must not let the engine run far ahead."""
_WINDOW_SECONDS = 1.0
_BUSY = 0.5
"""Share of the time that goes into steps from which on a run has none to spare."""
_RESULTS: dict[Ending, str] = {
    "ended": "the model ended at",
    "length": "complete:",
    "stopped": "stopped at",
    "failed": "failed at",
}


class RunView(Container):
    """Shows a branch and owns the thread that makes its steps. Removing the widget ends the run."""

    @dataclass
    class Advanced(Message):
        """Steps that have just been made, to be handed to `take`."""

        view: RunView
        buffer: StepBuffer

    @dataclass
    class Paused(Message):
        """The run has come to its stop in a pause; all that it has made came before, in `Advanced`."""

        view: RunView

    @dataclass
    class Rested(Message):
        """No more steps are made, and why, to be handed to `rest`; `fault` tells a failure."""

        view: RunView
        ending: Ending
        fault: str = ""

    @dataclass
    class Moved(Message):
        """The cursor stands elsewhere, is there or gone, or another sample is looked at."""

        view: RunView

    def __init__(
        self,
        workspace: Workspace,
        branch: Branch,
        *,
        params: SamplingParams,
        rendering: Rendering,
        sample: int = 0,
        beside: Branch | None = None,
    ) -> None:
        """params: the knobs, read at every step. sample: the one that the cursor and the panels are about at first.

        beside: a branch of another model; at positions that it has already, its knobs count.
        """
        super().__init__()
        self.workspace, self.branch, self.head = workspace, branch, workspace.head(branch)
        """head: the first position of what the model makes."""
        self.sample = min(sample, branch.samples - 1)
        self.cursor: Cursor | None = None
        self.pace, self.ending = Pace(), self._resting("length" if workspace.is_full(branch) else "stopped")
        self.meter = Meter(unit=workspace.loaded_model.codec.unit)
        self._params, self._rendering, self._limit = params, rendering, workspace.limit(branch)
        self._beside, self._thread = beside, 0
        self._titles = branch.start.sweep.headings() if branch.start.sweep else []
        self._room = threading.Semaphore(_FRAMES_AHEAD)
        self._frames_made = self._frames_shown = 0
        self._drawing, self._drawn_at = 0.0, math.inf
        self.set_class(bool(self._titles), "-beside")

    def compose(self) -> ComposeResult:
        """One view of all pictures, or one per text: of a sweep side by side, else one above the other."""
        codec, samples = self.workspace.loaded_model.codec, self.branch.samples
        if isinstance(codec, ImageCodec):
            picture = codec.picture(samples)
            picture.preset(given_levels(self.branch.start.prompt, codec.image))
            yield ImageView(picture, self._rendering, self._titles)
            return
        for sample in range(samples):
            several = f"sample {sample + 1} of {samples}" if samples > 1 else ""
            yield TextView(codec.reader, sample, self._titles[sample] if self._titles else several)

    def on_mount(self) -> None:
        """Shows what is there already."""
        branch = self.branch
        self._show(branch.tokens[1:], branch.given[1:], branch.live[1:])
        for view in self.query(TextView):
            view.choose([at - 1 for at in range(1, len(branch)) if branch.is_chosen(at, view.sample)])
            if not self.running:
                view.end()

    def on_resize(self) -> None:
        """Shares the room among the samples; what has none is scrolled to."""
        views = list(self.query(TextView))
        if len(views) < 2:
            return
        if self._titles:
            share = max(_LEAST_COLUMNS, self.size.width // len(views))
            for view, title in zip(views, self._titles, strict=True):
                view.styles.width = share
                view.border_title = title if len(title) + 4 <= share else title.rpartition(" ")[2]
        else:
            for view in views:
                view.styles.height = max(_LEAST_LINES, self.size.height // len(views))
        self.call_after_refresh(self._scroll_to_sample)

    def on_unmount(self) -> None:
        """Ends the run, also when the whole screen goes away."""
        self.stop()

    @property
    def views(self) -> list[ImageView | TextView]:
        """What shows the samples."""
        return [*self.query(ImageView), *self.query(TextView)]

    @property
    def running(self) -> bool:
        """Whether a run is under way, be it paused."""
        return self.ending is None

    @property
    def paused(self) -> bool:
        """Whether the run waits for a person."""
        return self.running and self.pace.paused

    @property
    def busy(self) -> bool:
        """Whether making steps takes most of the time, so that other work would slow the run."""
        at_leisure = math.isfinite(self.pace.rate) and self.pace.rate * self.meter.step_seconds < _BUSY
        return self.running and not self.paused and not at_leisure

    @property
    def still(self) -> bool:
        """Whether it is paused, nothing is being computed, and all that was computed is shown."""
        return self.running and self.pace.waiting and self._frames_made == self._frames_shown

    @property
    def can_grow(self) -> bool:
        """Whether what rests here could go on: a text that has not come to its end, a picture that is not whole."""
        if self.running or self.branch.ended:
            return False
        return not self.workspace.loaded_model.card.image or len(self.branch) < self.workspace.limit(self.branch)

    def focus_sample(self) -> None:
        """Gives the focus to the view of the sample that is looked at. Raises NoMatches where the screen is left."""
        views = self.views
        if not views:
            raise NoMatches("no sample is shown any more")
        views[min(self.sample, len(views) - 1)].focus()

    # --- the run ---

    def start(self, rate: float, limit: int | None = None) -> None:
        """Makes steps at a pace (tokens a second) until there are so many positions. It must rest."""
        self._limit = self.workspace.limit(self.branch) if limit is None else limit
        self.ending, self.pace = None, Pace(rate, on_pause=self._tell_pause)
        self._room, self._frames_made, self._frames_shown = threading.Semaphore(_FRAMES_AHEAD), 0, 0
        for view in self.query(TextView):
            view.go_on()
        self.run_worker(partial(self._work, self.pace, self._room), thread=True)

    def grow(self, count: int, rate: float) -> bool:
        """Makes so many more tokens, of a run that rests; False if there is no room for any."""
        limit = self.workspace.lengthen(self.branch, count or self.workspace.loaded_model.codec.length(None))
        if len(self.branch) >= limit:
            return False
        self.start(rate, limit)
        return True

    def stop(self) -> None:
        """Ends the run at its next token, or without it where that takes long; what was made stays."""
        self.pace.close()
        WATCH.abandon_runs(self._thread)

    def toggle_pause(self, length: int | None, rate: float) -> bool:
        """Pauses, with the cursor behind the last token; goes on; makes a run that has reached its length longer.

        length: of what is made then, at most. False if there is no room for any.
        """
        if self.running:
            if self.pace.toggle_pause():
                self._stand(Cursor(self.sample))
            else:
                self.leave_cursor()
        elif not self.branch.ended:
            self.leave_cursor()
            return self.grow(self.workspace.loaded_model.codec.length(length), rate)
        return True

    def set_length(self, length: int | None) -> None:
        """Lets the run become so long."""
        self.workspace.set_length(self.branch, length)
        self._limit = self.workspace.limit(self.branch)

    def take(self, buffer: StepBuffer) -> None:
        """Records a frame's steps in the branch and shows them, then lets the thread hand over another frame."""
        now = time.thread_time()
        self._drawing, self._drawn_at = max(0.0, now - self._drawn_at), now  # all since the last one
        self.branch.record(buffer)
        self._show(buffer.tokens, buffer.given, buffer.live)
        if self.cursor:
            self.draw_cursor()
        self.meter.count(buffer)
        self._frames_shown += 1
        self._room.release()

    def rest(self, ending: Ending) -> None:
        """Takes note that the run is over."""
        self.ending = self._resting(ending)
        for view in self.query(TextView):
            view.end()

    def progress(self) -> str:
        """How far the run is: the number of its last token; of several samples, that of the longest."""
        last, goal = (number_of(end - 1, self.head) for end in (len(self.branch), self.workspace.limit(self.branch)))
        count = max(0, last)
        if self.ending == "ended" and self.branch.samples > 1:
            return f"all ended by {count:,}"
        if self.ending:
            return f"{_RESULTS[self.ending]} {count:,}"
        if last < 0 and not self.paused:
            return f"reads {len(self.branch) - 1:,} of {self.head - 1:,}"
        return f"{'paused at' if self.paused else self.meter.unit} {count:,} of {goal:,}"

    def _resting(self, ending: Ending) -> Ending | None:
        return "ended" if ending == "length" and self.branch.ended else ending

    def _work(self, pace: Pace, room: threading.Semaphore) -> None:
        """In the thread: makes steps, hands over one message per frame, touches no widget."""
        worker, branch, self._thread = get_current_worker(), self.branch, threading.get_ident()
        ending: Ending = "length"
        fault = ""
        try:
            steps = paced(self._steps(), pace)
            for buffer in frames(steps, branch.step_buffer, lambda: self._drawing):
                if not self._hand_over(buffer, pace, room, worker):
                    break
        except TuiGenError as problem:
            ending, fault = ("length", "") if pace.closed else ("failed", str(problem))
        if ending == "length" and pace.closed:
            ending = "stopped"
        self._thread = 0  # others will work in it
        self.post_message(self.Rested(self, ending, fault))

    def _steps(self) -> Iterator[Step]:
        """With the knobs as they are; what another branch has at the same position already, with its knobs there."""
        beside = self._beside
        if beside is None:
            yield from self.branch.steps(self._params, lambda: self._limit)
            return
        params = replace(self._params)
        steps = self.branch.steps(params, lambda: self._limit)
        for position in count(len(self.branch)):
            source = beside.params_at(position) if position < len(beside) else self._params
            for knob in fields(params):
                setattr(params, knob.name, getattr(source, knob.name))
            if (step := next(steps, None)) is None:
                return
            yield step

    def _tell_pause(self) -> None:
        self.post_message(self.Paused(self))

    def _hand_over(self, buffer: StepBuffer, pace: Pace, room: threading.Semaphore, worker: Worker[None]) -> bool:
        buffer.settle()
        while not room.acquire(timeout=0.1):
            if worker.is_cancelled or pace.closed:
                return False
        self._frames_made += 1
        self.post_message(self.Advanced(self, buffer))
        return not worker.is_cancelled

    def _show(self, tokens: Tokens, given: Mask, live: Mask) -> None:
        for view in self.views:
            if isinstance(view, ImageView):
                view.show_tokens(tokens)
            else:
                view.show_tokens(tokens, given, live)

    # --- the cursor ---

    @property
    def position(self) -> int | None:
        """The position that the cursor stands on; None without one."""
        return self.cursor.at(self.branch, self.workspace.room(self.branch)) if self.cursor else None

    def step(self, buffer: StepBuffer | None = None) -> Step | None:
        """What the panels are about: the step at the cursor, or the newest of the sample; None before the first.

        buffer: the frame that has just come; its last step need not be computed anew. Raises TuiGenError.
        """
        position = self.position
        if position is None and self.sample == 0 and buffer and buffer.newest_live:
            return buffer.newest_live
        if position is None:
            position = max(1, int(self.branch.live[:, self.sample].sum()) - 1)
        return self.branch.look(position) if len(self.branch) > 1 or self.cursor else None

    def walk(self, by: int) -> bool:
        """Moves the cursor; from behind the last token on, makes one more. False where it can go no further."""
        self.hold()
        if by == 1 and self.cursor and self.cursor.position is None and self.running:
            self.pace.grant()
            return True
        cursor, room = self.cursor or Cursor(self.sample), self.workspace.room(self.branch)
        moved = cursor.move(self.branch, by, room)
        at_end = moved == self.cursor and by > 0
        self._stand(moved)
        return not at_end

    @property
    def behind_the_end(self) -> bool:
        """Whether the cursor stands where the next token would be made."""
        return self.cursor is not None and self.cursor.position is None

    def walk_to(self, position: int, sample: int | None = None) -> None:
        """Puts the cursor on a position, or behind the last one."""
        self.hold()
        self.sample = self.sample if sample is None else sample
        self._stand(Cursor(self.sample).to(self.branch, position, self.workspace.room(self.branch)))

    def turn_sample(self, direction: int) -> None:
        """Moves cursor and panels to the next (1) or previous (-1) sample, wrapping around."""
        self.look_at((self.sample + direction) % self.branch.samples)

    def look_at(self, sample: int) -> None:
        """Another sample, for the cursor and the panels."""
        position, self.sample = self.position, min(sample, self.branch.samples - 1)
        if position is None:
            self.post_message(self.Moved(self))
        else:
            self._stand(Cursor(self.sample).to(self.branch, position, self.workspace.room(self.branch)))

    def leave_cursor(self) -> bool:
        """Takes the cursor away; False if there is none, or if it merely waits at the end of a run."""
        if self.cursor is None:
            return False
        waits, self.cursor = self.cursor.position is None, None
        self.draw_cursor()
        self.post_message(self.Moved(self))
        return not waits

    def draw_cursor(self) -> None:
        """Shows where the cursor stands now; with a run, it may have moved."""
        position = self.position
        for view in self.views:
            if isinstance(view, ImageView):
                view.walk_to(self.sample, None if position is None else self.pixel_of(position))
            else:
                view.walk_to(None if position is None or view.sample != self.sample else position - 1)

    def follow_focus(self, focused: Widget | None) -> None:
        """The panels are about the text that has the focus."""
        if isinstance(focused, TextView) and focused.sample != self.sample and focused in self.views:
            self.look_at(focused.sample)

    def on_text_view_clicked(self, message: TextView.Clicked) -> None:
        """Walks to the token."""
        message.stop()
        self.walk_to(message.number + 1, message.sample)

    def on_image_view_clicked(self, message: ImageView.Clicked) -> None:
        """Walks to the pixel."""
        message.stop()
        image = self.workspace.loaded_model.card.image
        assert image
        self.walk_to(self.head + message.number * image.channels, message.sample)

    def _stand(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.draw_cursor()
        self._scroll_to_sample()
        self.post_message(self.Moved(self))

    def _scroll_to_sample(self) -> None:
        """Brings the text with the cursor into sight; pictures do so themselves."""
        for view in self.query(TextView):
            if view.sample == self.sample and self.cursor:
                view.scroll_visible(animate=False, force=True)

    def hold(self) -> None:
        """Walking pauses a run."""
        if self.running and not self.pace.paused:
            self.pace.toggle_pause()

    def pixel_of(self, position: int) -> int | None:
        """The number of the pixel that a position belongs to, in raster order; None before the picture."""
        image = self.workspace.loaded_model.card.image
        assert image
        value = position - self.head
        return value // image.channels if 0 <= value < image.area else None

    # --- what else can be seen ---

    def show_scores(self, scores: BranchSurprisal | None) -> None:
        """Marks each token by its surprisal, or no longer."""
        for view in self.views:
            if scores is None:
                view.show_bits(None)
            else:
                view.show_bits(scores.pixels() if isinstance(view, ImageView) else scores.bits[:, view.sample])

    def mark(self, pattern: re.Pattern[str] | None) -> None:
        """Marks the texts that match, or none."""
        for view in self.query(TextView):
            view.mark(pattern)

    def show_legend(self, legend: Content | None) -> None:
        """What the marks of `show_scores` mean, in a line below the samples; None where it stands elsewhere."""
        self.set_class(legend is not None, "-legend")
        if legend and legend.markup != self.border_subtitle:
            self.border_subtitle = legend

    def levels(self, sample: int) -> Tokens | None:
        """The picture of a sample, FREE where nothing is drawn: [height, width] or [height, width, 3]."""
        image = self.workspace.loaded_model.card.image
        if not image:
            return None
        levels = np.full(image.area, FREE)
        tokens = self.branch.tokens[self.head : self.head + image.area, sample]
        levels[: len(tokens)] = tokens
        return levels.reshape(image.shape)


@dataclass(frozen=True)
class Cursor:
    """Stands on a token of a sample, or behind the last one: on the one that would be made next."""

    sample: int = 0
    position: int | None = None
    """None stands behind the last token, however many are made."""

    def at(self, branch: Branch, room: range) -> int:
        """The position, of the next token if there is none yet."""
        position = len(branch) if self.position is None else min(self.position, len(branch))
        return min(position, room.stop - 1)

    def move(self, branch: Branch, by: int, room: range) -> Cursor:
        """So many tokens further on or back, within what the sample has."""
        return self.to(branch, self.at(branch, room) + by, room)

    def to(self, branch: Branch, position: int, room: range) -> Cursor:
        """On a position, or the nearest one that the sample has; past the last one, behind it.

        room: the positions that a cursor may stand on at all.
        """
        past = int(branch.live[:, self.sample].sum())
        goes_on = past == len(branch) and not branch.ended and past < room.stop
        if position >= past:
            return replace(self, position=None if goes_on else past - 1)
        return replace(self, position=max(room.start, position))


class Meter:
    """Counts the sampled tokens of a run, from its making on. unit: what one of them is."""

    def __init__(self, unit: str = "token") -> None:
        self.unit, self._total = unit, 0
        self._start = self._last = time.monotonic()
        self._recent: deque[tuple[float, int]] = deque()
        self.step_seconds = 0.0
        """What model and sampling took for a step, all samples together, in the newest frame."""

    def count(self, buffer: StepBuffer) -> None:
        """Counts steps that have just come; given tokens do not count."""
        self._last, tokens = time.monotonic(), int((buffer.live & ~buffer.given).sum())
        self._total += tokens
        self._recent.append((self._last, tokens))
        while self._last - self._recent[0][0] > _WINDOW_SECONDS:
            self._recent.popleft()
        self.step_seconds = buffer.seconds / len(buffer)

    def rate(self) -> float:
        """Tokens of all samples a second, over the last second or since the run began."""
        span = min(_WINDOW_SECONDS, self._last - self._start)
        return sum(tokens for _, tokens in self._recent) / span if span > 0 else 0.0

    def average_rate(self) -> float:
        """The same over the whole run."""
        span = self._last - self._start
        return self._total / span if span > 0 else 0.0
