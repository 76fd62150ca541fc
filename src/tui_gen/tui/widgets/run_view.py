"""The middle of the screen: what a person sees of a branch, and its run."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message
from textual.worker import Worker, get_current_worker

from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch, StepBuffer
from tui_gen.generation.pacing import Pace, frames, paced
from tui_gen.images.codec import ImageCodec
from tui_gen.images.picture import given_levels
from tui_gen.images.raster import RENDERING_NAMES, RENDERINGS, Rendering
from tui_gen.library import LoadedModel
from tui_gen.sampling.params import FREE, Mask, SamplingParams, Tokens
from tui_gen.sampling.sweep import Sweep
from tui_gen.sessions.workspace import Workspace
from tui_gen.tui.widgets.header import About
from tui_gen.tui.widgets.image_view import ImageView
from tui_gen.tui.widgets.text_view import TextView

if TYPE_CHECKING:
    from tui_gen.tui.app import TuiGen
    from tui_gen.tui.widgets.comparison import Comparison

Ending = Literal["ended", "length", "stopped", "failed"]
_LEAST_LINES = 4
_LEAST_COLUMNS = 14
_FRAMES_AHEAD = 2
"""Frames that may wait for the screen to draw them; one drawn late must not let the engine run far ahead."""
_WINDOW_SECONDS = 1.0
_RESULTS: dict[Ending, str] = {
    "ended": "the model ended at",
    "length": "complete:",
    "stopped": "stopped at",
    "failed": "failed at",
}


class Stage(Container):
    """Shows one thing at a time, and tells the rest of the screen of its run."""

    def __init__(self, desk: TuiGen) -> None:
        super().__init__(id="stage")
        self.desk = desk
        self.workspace: Workspace | None = None
        self.player: Player | None = None
        self.meter = Meter(goal=0)

    @property
    def branch(self) -> Branch | None:
        """What is shown."""
        return self.player.branch if self.player else None

    @property
    def running(self) -> bool:
        """Whether tokens are being made, be it that they wait."""
        return self.player is not None and self.player.running

    @property
    def paused(self) -> bool:
        """Whether the run waits for a person."""
        return self.running and self.player is not None and self.player.pace.paused

    @property
    def can_grow(self) -> bool:
        """Whether what rests here could go on: a text that has not come to its end, a picture that is not whole."""
        branch, workspace = self.branch, self.workspace
        if not branch or not workspace or self.running or branch.ended:
            return False
        return not workspace.loaded_model.card.image or len(branch) < workspace.limit(branch)

    async def put(self, widget: About | Player | Comparison) -> None:
        """Replaces what is there; a run that is there ends."""
        self.player = widget if isinstance(widget, Player) else None
        self.desk.walking.forget()
        await self.remove_children()
        await self.mount(widget)

    async def show(self, branch: Branch, *, go: bool = False) -> None:
        """Puts a branch on the stage, and lets it grow if it is told to."""
        desk, workspace, start = self.desk, self.workspace, branch.start.params
        assert workspace
        titles = start.headings() if isinstance(start, Sweep) else ()
        player = Player(
            workspace.loaded_model,
            branch,
            head=workspace.head(branch),
            params=desk.dials.params_for(start),
            rendering=desk.rendering,
            titles=titles,
        )
        workspace.shown = branch.name
        player.rest("length" if branch.ended or len(branch) >= workspace.limit(branch) else "stopped")
        await self.put(player)
        desk.set_class(bool(titles), "-sweeping")
        self.meter = Meter(workspace.limit(branch) - player.head, workspace.loaded_model.codec.unit)
        player.views[min(desk.walking.sample, len(player.views) - 1)].focus()
        if go:
            player.go(desk.dials.rate, workspace.limit(branch))
        desk.walking.show()
        desk.surprising.follow(anew=True)
        desk.keeping.note_shown(branch)
        self.show_progress()
        desk.showing.everything()

    def on_player_advanced(self, message: Player.Advanced) -> None:
        """Shows what was made, where the newest of it came from, and how far the run is: all in one repaint."""
        if message.player is not self.player or self.desk.closing:  # late: of the run before
            return
        message.player.take(message.made)
        self.meter.count(message.made)
        self.desk.walking.follow(message.made)
        self.desk.showing.device()
        self.desk.header.show_rate(self.meter.rate(), self.meter.step_seconds)
        self.desk.surprising.follow()
        self.desk.keeping.note_made(message.player.branch)
        self.show_progress()

    def on_player_rested(self, message: Player.Rested) -> None:
        """Says why no more is made."""
        if message.player is not self.player or self.desk.closing:
            return
        message.player.rest(message.ending)
        if message.fault:
            self.desk.complain(message.fault)
        self.desk.header.show_rate(self.meter.average_rate(), self.meter.step_seconds)
        self.desk.surprising.follow()
        self.desk.keeping.note_made(message.player.branch, resting=True)
        self.show_progress()
        self.desk.showing.knobs()

    def on_text_view_clicked(self, message: TextView.Clicked) -> None:
        """Walks to the token."""
        self.desk.walking.to(message.number + 1, message.sample)

    def on_image_view_clicked(self, message: ImageView.Clicked) -> None:
        """Walks to the pixel."""
        if self.player and self.player.loaded_model.card.image:
            channels = self.player.loaded_model.card.image.channels
            self.desk.walking.to(self.player.head + message.number * channels, message.sample)

    def pause(self) -> None:
        """Pauses, with the cursor behind the last token; goes on; makes a run that has reached its length longer."""
        player = self.player
        if not player:
            return
        if player.running:
            if player.pace.toggle_pause():
                self.desk.walking.to_end()
            else:
                self.desk.walking.leave()
        elif not player.branch.ended and self.workspace:
            self.desk.walking.leave()
            self.grow(self.workspace.loaded_model.codec.length(self.desk.dials.length))
        self.desk.showing.everything()

    def draw_otherwise(self) -> None:
        """Draws pictures in the next of the ways."""
        desk = self.desk
        desk.rendering = RENDERINGS[(RENDERINGS.index(desk.rendering) + 1) % len(RENDERINGS)]
        if not self.query(ImageView):
            desk.say(f"pictures will be drawn in {RENDERING_NAMES[desk.rendering]}")
        for canvas in self.query(ImageView):
            canvas.draw_in(desk.rendering)

    def grow(self, count: int) -> None:
        """Makes so many more tokens, of a run that rests."""
        player, workspace = self.player, self.workspace
        assert player
        assert workspace
        count = count or workspace.loaded_model.codec.length(None)
        if len(player.branch) >= workspace.limit(player.branch):
            workspace.lengthen(player.branch, count)
        limit = min(workspace.limit(player.branch), len(player.branch) + count)
        if len(player.branch) >= limit:
            self.desk.say("the picture is complete")
            return
        self.meter.goal = workspace.limit(player.branch) - player.head
        player.go(self.desk.dials.rate, limit)

    def obey(self, knob: str) -> None:
        """A knob was turned: what it means for the run that is shown."""
        player, dials = self.player, self.desk.dials
        if player and knob == "pace":
            player.pace.set_rate(dials.rate)
        if player and self.workspace and knob == "length":
            self.workspace.set_length(player.branch, dials.length)
            player.limit = self.workspace.limit(player.branch)
            self.meter.goal = player.limit - player.head
        self.desk.walking.show_knobs()
        self.show_progress()

    def changed_for_next(self) -> set[str]:
        """Knobs that count for the next run, and stand elsewhere than where this one began."""
        branch, dials = self.branch, self.desk.dials
        if not branch or not self.running or isinstance(branch.start.params, Sweep):
            return set()
        now = {"samples": (branch.samples, dials.samples), "seed": (branch.start.seed, dials.seed)}
        return {name for name, (there, here) in now.items() if there != here}

    def show_progress(self) -> None:
        """How far the run is."""
        player, said = self.player, ""
        if player:
            made = max(0, len(player.branch) - player.head)
            said = (
                self.meter.result(player.ending, made)
                if player.ending
                else self.meter.progress(made, paused=self.paused)
            )
        self.desk.knobs.show_progress(said)
        self.desk.showing.summary()


class Player(Container):
    """Owns the views of a branch and the thread that makes its steps. Removing the widget ends the run."""

    @dataclass
    class Advanced(Message):
        """Steps that have just been made, for the app to `take` together with what it says about them."""

        player: Player
        made: StepBuffer

    @dataclass
    class Rested(Message):
        """No more steps are made, and why; `fault` tells a failure."""

        player: Player
        ending: Ending
        fault: str = ""

    def __init__(
        self,
        loaded_model: LoadedModel,
        branch: Branch,
        *,
        head: int,
        params: SamplingParams,
        rendering: Rendering,
        titles: Sequence[str] = (),
    ) -> None:
        """head: the first position of what the model makes. params: the knobs, read at every step.

        titles: what stands above each sample, side by side; without them, several texts stand one above the other.
        """
        super().__init__()
        self.loaded_model, self.branch, self.params, self.titles = loaded_model, branch, params, titles
        self.head, self._rendering, self.limit = head, rendering, 0
        self._room = threading.Semaphore(_FRAMES_AHEAD)
        self._drawing, self._computed = 0.0, math.inf
        self.pace = Pace()
        self.ending: Ending | None = "stopped"
        self.set_class(bool(titles), "-beside")

    def compose(self) -> ComposeResult:
        """One canvas for all pictures, or one page per text."""
        codec, samples = self.loaded_model.codec, self.branch.samples
        if isinstance(codec, ImageCodec):
            picture = codec.picture(samples)
            picture.preset(given_levels(self.branch.start.prompt, codec.image))
            yield ImageView(picture, self._rendering, self.titles)
            return
        for sample in range(samples):
            several = f"sample {sample + 1} of {samples}" if samples > 1 else ""
            yield TextView(codec.reader, sample, self.titles[sample] if self.titles else several)

    def on_mount(self) -> None:
        """Shows what is there already."""
        branch = self.branch
        self._show(branch.tokens[1:], branch.given[1:], branch.live[1:])
        self.mark_chosen()
        for page in self.query(TextView) if self.ending else ():
            page.end()

    def on_resize(self) -> None:
        """Shares the room among the samples; what has none is scrolled to."""
        pages = list(self.query(TextView))
        if len(pages) < 2:
            return
        if self.titles:
            share = max(_LEAST_COLUMNS, self.size.width // len(pages))
            for page, title in zip(pages, self.titles, strict=True):
                page.styles.width = share
                page.border_title = title if len(title) + 4 <= share else title.rpartition(" ")[2]
        else:
            for page in pages:
                page.styles.height = max(_LEAST_LINES, self.size.height // len(pages))

    def on_unmount(self) -> None:
        """Ends the run, also when the whole screen goes away."""
        self.stop()

    def go(self, rate: float, limit: int) -> None:
        """Makes steps at a pace (tokens a second) until there are so many positions. It must rest."""
        self.limit, self.ending, self.pace = limit, None, Pace(rate)
        self._room = threading.Semaphore(_FRAMES_AHEAD)
        for page in self.query(TextView):
            page.go_on()
        self.run_worker(partial(self._work, self.pace, self._room), thread=True)

    def stop(self) -> None:
        """Ends the run at its next token; what was made stays."""
        self.pace.close()

    @property
    def running(self) -> bool:
        """Whether a run is under way, be it paused."""
        return self.ending is None

    @property
    def views(self) -> list[ImageView | TextView]:
        """What shows the samples."""
        return [*self.query(ImageView), *self.query(TextView)]

    def _work(self, pace: Pace, room: threading.Semaphore) -> None:
        """In the thread: makes steps, hands over one message per frame, touches no widget."""
        worker, branch = get_current_worker(), self.branch
        ending: Ending = "length"
        fault = ""
        try:
            steps = paced(branch.steps(self.params, lambda: self.limit), pace)
            for made in frames(steps, branch.step_buffer, lambda: self._drawing):
                if not self._hand_over(made, pace, room, worker):
                    break
        except TuiGenError as problem:
            ending, fault = "failed", str(problem)
        if ending == "length" and pace.closed:
            ending = "stopped"
        self.post_message(self.Rested(self, ending, fault))

    def _hand_over(self, made: StepBuffer, pace: Pace, room: threading.Semaphore, worker: Worker[None]) -> bool:
        made.settle()
        while not room.acquire(timeout=0.1):
            if worker.is_cancelled or pace.closed:
                return False
        self.post_message(self.Advanced(self, made))
        return not worker.is_cancelled

    def take(self, made: StepBuffer) -> None:
        """Takes note of a frame and shows it, then lets the engine make another."""
        computed = time.thread_time()
        self._drawing, self._computed = max(0.0, computed - self._computed), computed  # all since the last one
        self.branch.record(made)
        self._show(made.tokens, made.given, made.live)
        self._room.release()

    def rest(self, ending: Ending) -> None:
        """Takes note that the run is over."""
        self.ending = "ended" if ending == "length" and self.branch.ended else ending
        for page in self.query(TextView):
            page.end()

    def walk_to(self, sample: int, position: int | None) -> None:
        """Shows the cursor on a position of the branch; None takes it away."""
        for view in self.views:
            if isinstance(view, ImageView):
                view.walk_to(sample, None if position is None else self.pixel_of(position))
            else:
                view.walk_to(position - 1 if position is not None and view.sample == sample else None)

    def pixel_of(self, position: int) -> int | None:
        """The number of the pixel that a position belongs to, in raster order; None before the picture."""
        image = self.loaded_model.card.image
        assert image
        value = position - self.head
        return value // image.channels if 0 <= value < image.area else None

    def levels(self, sample: int) -> Tokens | None:
        """The picture of a sample as far as it is drawn, FREE elsewhere: [height, width] or [height, width, 3]."""
        image = self.loaded_model.card.image
        if not image:
            return None
        levels = np.full(image.area, FREE)
        made = self.branch.tokens[self.head : self.head + image.area, sample]
        levels[: len(made)] = made
        return levels.reshape(image.shape)

    def mark_chosen(self) -> None:
        """Marks the tokens that a person chose."""
        for page in self.query(TextView):
            chosen = [at - 1 for at in range(1, len(self.branch)) if self.branch.is_chosen(at, page.sample)]
            page.choose(chosen)

    def _show(self, tokens: Tokens, given: Mask, live: Mask) -> None:
        for view in self.views:
            if isinstance(view, ImageView):
                view.show_tokens(tokens)
            else:
                view.show_tokens(tokens, given, live)


class Meter:
    """Counts the sampled tokens of a run, from its making on. goal: how many positions it will make at most,
    each a `unit`.
    """

    def __init__(self, goal: int, unit: str = "token") -> None:
        self.goal, self._unit, self._total = goal, unit, 0
        self._began = self._last = time.monotonic()
        self._recent: deque[tuple[float, int]] = deque()
        self.step_seconds = 0.0
        """What model and sampling took for a step, all samples together, in the newest frame."""

    def count(self, made: StepBuffer) -> None:
        """Counts steps that have just come; given tokens do not count."""
        self._last, tokens = time.monotonic(), int((made.live & ~made.given).sum())
        self._total += tokens
        self._recent.append((self._last, tokens))
        while self._last - self._recent[0][0] > _WINDOW_SECONDS:
            self._recent.popleft()
        self.step_seconds = made.seconds / len(made)

    def rate(self) -> float:
        """Tokens of all samples a second, over the last second or since the run began."""
        span = min(_WINDOW_SECONDS, self._last - self._began)
        return sum(tokens for _, tokens in self._recent) / span if span > 0 else 0.0

    def average_rate(self) -> float:
        """The same over the whole run."""
        span = self._last - self._began
        return self._total / span if span > 0 else 0.0

    def progress(self, made: int, *, paused: bool) -> str:
        """For a run under way; of several samples, what each has."""
        return f"{'paused at' if paused else self._unit} {made:,} of {self.goal:,}"

    def result(self, ending: Ending, made: int) -> str:
        """For a run that is over."""
        return f"{_RESULTS[ending]} {made:,}"
