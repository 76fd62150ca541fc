"""One run on the screen: the seam between the engine's thread and the widgets."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.message import Message
from textual.worker import Worker, get_current_worker

from tui_gen.codec import ImageCodec
from tui_gen.errors import TuiGenError
from tui_gen.generate import Step, generate
from tui_gen.library import Playable
from tui_gen.pace import Pace, frames, paced
from tui_gen.raster import Rendering
from tui_gen.sampling import SamplingParams, Tokens
from tui_gen.tui.canvas import Canvas
from tui_gen.tui.page import TextPage

Ending = Literal["ended", "length", "stopped", "failed"]
_LEAST_LINES = 6
"""Height of one of several texts."""
_FRAMES_AHEAD = 2
"""Frames that may wait for the screen; then the engine waits, so nothing piles up and knobs count at once."""


@dataclass(frozen=True)
class Run:
    """What is to be generated. `params` and `pace` are shared with the screen, which turns them while the run goes."""

    playable: Playable
    prompt: Tokens
    params: SamplingParams
    pace: Pace
    length: int
    seed: int

    @property
    def samples(self) -> int:
        """How many samples are generated at once."""
        return len(self.prompt)


class Player(VerticalScroll, can_focus=False):
    """Owns one run: its view and the thread that makes its steps. Removing the widget ends the run."""

    @dataclass
    class Advanced(Message):
        """Steps that have just been made, for the app to `show` together with what it says about them."""

        player: Player
        steps: Sequence[Step]

    @dataclass
    class Ended(Message):
        """The run is over, and why; `fault` tells a failure."""

        player: Player
        ending: Ending
        fault: str = ""

    def __init__(self, run: Run, rendering: Rendering) -> None:
        super().__init__()
        self._engine_run, self._rendering = run, rendering
        self._room = threading.Semaphore(_FRAMES_AHEAD)
        self._stopped = False
        self._drawing, self._computed = 0.0, math.inf
        self.ending: Ending | None = None

    def compose(self) -> ComposeResult:
        """One canvas for all pictures, or one page per text."""
        codec = self._engine_run.playable.codec
        if isinstance(codec, ImageCodec):
            yield Canvas(codec.picture(self._engine_run.samples), self._rendering)
        else:
            yield from (
                TextPage(codec.reader(), sample, self._engine_run.samples) for sample in range(self._engine_run.samples)
            )

    def on_mount(self) -> None:
        """Starts the engine."""
        self.run_worker(self._work, thread=True)

    def on_resize(self) -> None:
        """Shares the height among the samples; what has no room is scrolled to."""
        share = max(_LEAST_LINES, self.size.height // len(self.views))
        for view in self.views if len(self.views) > 1 else []:
            view.styles.height = share

    def on_unmount(self) -> None:
        """Ends the run, also when the whole screen goes away."""
        self.stop()

    def stop(self) -> None:
        """Ends the run at its next token; what was made stays."""
        self._stopped = True
        self._engine_run.pace.close()

    def place(self, step: Step) -> int:
        """Which token after the prompt a step of this run makes, from 0 on; negative within the prompt."""
        return step.index - self._engine_run.prompt.shape[1]

    @property
    def views(self) -> list[Canvas | TextPage]:
        """What shows the samples."""
        return [*self.query(Canvas), *self.query(TextPage)]

    def _work(self) -> None:
        """In the thread: makes steps, hands over one message per frame, touches no widget."""
        run, worker = self._engine_run, get_current_worker()
        ending, fault, last = "length", "", None
        try:
            steps = generate(run.playable.model, run.prompt, run.params, length=run.length, seed=run.seed)
            for bundle in frames(paced(steps, run.pace), lambda: self._drawing, light=True):
                if not self._hand_over(bundle, worker):
                    break
                last = bundle[-1]
        except TuiGenError as problem:
            ending, fault = "failed", str(problem)
        if ending == "length" and self._stopped:
            ending = "stopped"
        elif ending == "length" and last is not None and self._all_ended(last):
            ending = "ended"
        self.app.post_message(self.Ended(self, ending, fault))  # type: ignore[arg-type]

    def _hand_over(self, bundle: Sequence[Step], worker: Worker[None]) -> bool:
        while not self._room.acquire(timeout=0.1):
            if worker.is_cancelled or self._stopped:
                return False
        self.app.post_message(self.Advanced(self, bundle))
        return not worker.is_cancelled

    def _all_ended(self, last: Step) -> bool:
        eos = self._engine_run.playable.card.eos
        return eos is not None and bool((~last.live | (last.tokens == eos)).all())

    def show(self, steps: Sequence[Step]) -> None:
        """Shows a frame, then lets the engine make another."""
        computed = time.thread_time()
        self._drawing, self._computed = max(0.0, computed - self._computed), computed  # all since the last one
        for view in self.views:
            view.show_steps(steps)
        self._room.release()

    def finish(self, ending: Ending) -> None:
        """Takes note that the run is over."""
        self.ending = ending
        for view in self.views:
            view.end()
