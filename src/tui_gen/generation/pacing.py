"""Limits a run to a pace in tokens a second, bundles its steps into frames for a screen, and throttles drawing."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from tui_gen.errors import TuiGenError
from tui_gen.sampling.step import Step

FRAME_SECONDS = 1 / 30
_LONGEST_FRAME = 0.3
"""Seconds between frames where drawing is slow."""
_DRAWING_SHARE = 0.025
"""Of the time that the model could use, how much may go into drawing."""


class Pace:
    """How fast a run may go: tokens per second, paused or not. Any thread may turn it at any moment."""

    def __init__(self, rate: float = math.inf, *, on_pause: Callable[[], None] = lambda: None) -> None:
        """on_pause: called in the thread of the run whenever it comes to its stop in a pause."""
        self._condition = threading.Condition()
        self._rate, self._paused, self._closed, self._due = rate, False, False, 0.0
        self._single_steps, self._waiting, self._on_pause = 0, False, on_pause

    @property
    def rate(self) -> float:
        """Tokens per second; infinity for as fast as the model goes."""
        return self._rate

    @property
    def paused(self) -> bool:
        """Whether the run waits."""
        return self._paused

    @property
    def waiting(self) -> bool:
        """Whether the run has come to its stop in a pause, so that nothing is being computed."""
        with self._condition:
            return self._waiting and self._paused and not self._single_steps

    @property
    def closed(self) -> bool:
        """Whether the run is to end."""
        return self._closed

    def toggle_pause(self) -> bool:
        """Pauses or resumes; returns whether it is paused now."""
        with self._condition:
            self._paused, self._single_steps = not self._paused, 0
            self._condition.notify_all()
            return self._paused

    def grant(self) -> None:
        """Lets one token be made although the run is paused."""
        with self._condition:
            self._single_steps += 1
            self._condition.notify_all()

    def set_rate(self, rate: float) -> None:
        """Tokens per second; infinity for as fast as the model goes."""
        with self._condition:
            self._rate, self._due = rate, time.monotonic()
            self._condition.notify_all()

    def close(self) -> None:
        """Ends the run at its next token, also while it is paused."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def start(self) -> None:
        """Counts from now."""
        self._due = time.monotonic()

    def must_wait(self) -> bool:
        """Whether the next token has to wait for longer than a frame."""
        if self._paused:
            return not self._single_steps
        return self._due - time.monotonic() > FRAME_SECONDS

    def wait(self, *, announced: bool = True) -> bool:
        """Blocks until the next token may be made; False when the run is closed, or where a pause begins that was not
        announced.

        Tokens keep a schedule, so that one that wakes late does not delay those after it; time that was lost to a
        pause or to a slow model is not made up.
        """
        if self._rate == math.inf and not (self._paused or self._closed or self._due > time.monotonic()):
            return True
        with self._condition:
            while not self._closed and (self._paused or self._due > time.monotonic()):
                if self._paused and self._single_steps:
                    self._single_steps, self._waiting = self._single_steps - 1, False
                    return True
                if self._paused and not announced:
                    return False
                if self._paused and not self._waiting:
                    self._waiting = True
                    self._on_pause()
                self._condition.wait(None if self._paused else self._due - time.monotonic())
            self._waiting = False
            interval = 0.0 if math.isinf(self._rate) else 1 / self._rate
            self._due = max(self._due, time.monotonic() - FRAME_SECONDS) + interval
            return not self._closed


def paced(steps: Iterator[Step], pace: Pace) -> Iterator[Step | None]:
    """The steps, none before its time; nothing is computed while waiting. None announces a wait, so that what has been
    made so far can be shown. What the prompt gives is not paced.
    """
    pace.start()
    step: Step | None = None
    while True:
        if step is None or step.sampled:
            announced = pace.must_wait()
            if announced:
                yield None
            while not pace.wait(announced=announced) and not pace.closed:
                announced = True
                yield None
        if pace.closed:
            return
        step = next(steps, None)
        if step is None:
            return
        yield step


class Throttle:
    """Does something at most so often, such as drawing. What was put off is done with the next that asks for it, with
    the last after a while, or at once where there is hurry.
    """

    def __init__(
        self,
        act: Callable[[], None],
        later: Callable[[float, Callable[[], None]], object],
        *,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """later: calls a function after so many seconds. rate: times a second, at most."""
        self.clock, self.seconds = clock, 1 / rate
        """seconds: from one time to the next, at least."""
        self._act, self._later = act, later
        self._last, self._is_due, self._is_waiting = -math.inf, False, False

    def ask(self) -> None:
        """Does it now, if the last time is long enough ago."""
        self._is_due = True
        rest = self._last + self.seconds - self.clock()
        if rest <= 0:
            self.hurry()
        elif not self._is_waiting:
            self._is_waiting = True
            self._later(rest + self.seconds, self._come_back)  # most often somebody asks before

    def hurry(self) -> None:
        """Does at once what was put off, if anything was."""
        if self._is_due:
            self._is_due, self._last = False, self.clock()
            self._act()

    def _come_back(self) -> None:
        self._is_waiting = False
        if self._is_due:
            self.ask()


class Bundle(Protocol):
    """What a frame's steps are collected in; a list will do."""

    def append(self, step: Step, /) -> None:
        """Takes the next step."""
        ...

    def __len__(self) -> int:
        """Steps."""
        ...


B = TypeVar("B", bound=Bundle)


def frames(
    steps: Iterator[Step | None], bundle: Callable[[], B], drawing: Callable[[], float] = lambda: 0.0
) -> Iterator[B]:
    """Bundles of the steps of a frame: a thirtieth of a second, or longer where drawing would take much of the model's
    time. A bundle is also finished when a knob was turned, before a wait, at the end, and before an error is passed on,
    so that what was made is shown.

    bundle: makes what steps are collected in. drawing: seconds of computing that the last frame took to be drawn.
    """
    current = bundle()
    last_time, busy, params = -math.inf, 0.0, None
    try:
        for step in steps:
            if step is not None:
                current.append(step)
                busy += step.seconds
                differs, params = params is not None and step.params != params, step.params
            if len(current) and (step is None or differs or _is_due(time.monotonic() - last_time, busy, drawing)):
                last_time, busy = time.monotonic(), 0.0
                ready, current = current, bundle()
                yield ready
    except TuiGenError:
        if len(current):
            yield current
        raise
    if len(current):
        yield current


def _is_due(elapsed: float, busy: float, drawing: Callable[[], float]) -> bool:
    """Whether it is time for the next frame. Drawing costs nothing where the model mostly waits for its pace."""
    if elapsed < FRAME_SECONDS:
        return False
    return elapsed >= _LONGEST_FRAME or elapsed > 2 * busy or elapsed * _DRAWING_SHARE >= drawing()
