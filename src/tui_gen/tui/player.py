"""Shows a branch, and makes it grow when it is told to."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message
from textual.worker import Worker, get_current_worker

from tui_gen.branch import Branch
from tui_gen.codec import ImageCodec
from tui_gen.errors import TuiGenError
from tui_gen.generate import FREE
from tui_gen.library import Playable
from tui_gen.pace import Pace, frames, paced
from tui_gen.picture import given_levels
from tui_gen.raster import Rendering
from tui_gen.sampling import Mask, SamplingParams, Tokens
from tui_gen.stretch import Stretch
from tui_gen.tui.canvas import Canvas
from tui_gen.tui.page import TextPage

Ending = Literal["ended", "length", "stopped", "failed"]
_LEAST_LINES = 4
_LEAST_COLUMNS = 14
_FRAMES_AHEAD = 2
"""Frames that may wait for the screen to draw them; one drawn late must not let the engine run far ahead."""


class Player(Container):
    """Owns the views of a branch and the thread that makes its steps. Removing the widget ends the run."""

    @dataclass
    class Advanced(Message):
        """Steps that have just been made, for the app to `take` together with what it says about them."""

        player: Player
        made: Stretch

    @dataclass
    class Rested(Message):
        """No more steps are made, and why; `fault` tells a failure."""

        player: Player
        ending: Ending
        fault: str = ""

    def __init__(
        self,
        playable: Playable,
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
        self.playable, self.branch, self.params, self.titles = playable, branch, params, titles
        self.head, self._rendering, self.limit = head, rendering, 0
        self._room = threading.Semaphore(_FRAMES_AHEAD)
        self._drawing, self._computed = 0.0, math.inf
        self.pace = Pace()
        self.ending: Ending | None = "stopped"
        self.set_class(bool(titles), "-beside")

    def compose(self) -> ComposeResult:
        """One canvas for all pictures, or one page per text."""
        codec, samples = self.playable.codec, self.branch.samples
        if isinstance(codec, ImageCodec):
            picture = codec.picture(samples)
            picture.preset(given_levels(self.branch.begun.prompt, codec.image))
            yield Canvas(picture, self._rendering, self.titles)
            return
        for sample in range(samples):
            several = f"sample {sample + 1} of {samples}" if samples > 1 else ""
            yield TextPage(codec.reader, sample, self.titles[sample] if self.titles else several)

    def on_mount(self) -> None:
        """Shows what is there already."""
        branch = self.branch
        self._show(branch.tokens[1:], branch.given[1:], branch.live[1:])
        self.mark_chosen()
        for page in self.query(TextPage) if self.ending else ():
            page.end()

    def on_resize(self) -> None:
        """Shares the room among the samples; what has none is scrolled to."""
        pages = list(self.query(TextPage))
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
        for page in self.query(TextPage):
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
    def views(self) -> list[Canvas | TextPage]:
        """What shows the samples."""
        return [*self.query(Canvas), *self.query(TextPage)]

    def _work(self, pace: Pace, room: threading.Semaphore) -> None:
        """In the thread: makes steps, hands over one message per frame, touches no widget."""
        worker, branch = get_current_worker(), self.branch
        ending: Ending = "length"
        fault = ""
        try:
            steps = paced(branch.steps(self.params, lambda: self.limit), pace)
            for made in frames(steps, branch.stretch, lambda: self._drawing):
                if not self._hand_over(made, pace, room, worker):
                    break
        except TuiGenError as problem:
            ending, fault = "failed", str(problem)
        if ending == "length" and pace.closed:
            ending = "stopped"
        self.post_message(self.Rested(self, ending, fault))

    def _hand_over(self, made: Stretch, pace: Pace, room: threading.Semaphore, worker: Worker[None]) -> bool:
        made.settle()
        while not room.acquire(timeout=0.1):
            if worker.is_cancelled or pace.closed:
                return False
        self.post_message(self.Advanced(self, made))
        return not worker.is_cancelled

    def take(self, made: Stretch) -> None:
        """Takes note of a frame and shows it, then lets the engine make another."""
        computed = time.thread_time()
        self._drawing, self._computed = max(0.0, computed - self._computed), computed  # all since the last one
        self.branch.record(made)
        self._show(made.tokens, made.given, made.live)
        self._room.release()

    def rest(self, ending: Ending) -> None:
        """Takes note that the run is over."""
        self.ending = "ended" if ending == "length" and self.branch.ended else ending
        for page in self.query(TextPage):
            page.end()

    def walk_to(self, sample: int, position: int | None) -> None:
        """Shows the cursor on a position of the branch; None takes it away."""
        for view in self.views:
            if isinstance(view, Canvas):
                view.walk_to(sample, None if position is None else self.pixel_of(position))
            else:
                view.walk_to(position - 1 if position is not None and view.sample == sample else None)

    def pixel_of(self, position: int) -> int | None:
        """The number of the pixel that a position belongs to, in raster order; None before the picture."""
        image = self.playable.card.image
        assert image
        value = position - self.head
        return value // image.channels if 0 <= value < image.area else None

    def levels(self, sample: int) -> Tokens | None:
        """The picture of a sample as far as it is drawn, FREE elsewhere: [height, width] or [height, width, 3]."""
        image = self.playable.card.image
        if not image:
            return None
        levels = np.full(image.area, FREE)
        made = self.branch.tokens[self.head : self.head + image.area, sample]
        levels[: len(made)] = made
        return levels.reshape(image.shape)

    def mark_chosen(self) -> None:
        """Marks the tokens that a person chose."""
        for page in self.query(TextPage):
            chosen = [at - 1 for at in range(1, len(self.branch)) if self.branch.is_chosen(at, page.sample)]
            page.choose(chosen)

    def _show(self, tokens: Tokens, given: Mask, live: Mask) -> None:
        for view in self.views:
            if isinstance(view, Canvas):
                view.show_tokens(tokens)
            else:
                view.show_tokens(tokens, given, live)
