"""Ends what onnxruntime computes: a step that takes far longer than those before, or all of it when the program ends.

onnxruntime looks at a flag between two operations, and the thread that runs a step hears of nothing before its end, not
of ctrl+c either. So another thread looks at the runs, four times a second and only while there are any. A run pays for
it with two additions: how long it takes is seen from how often that thread finds it unchanged, which also leaves out
the time for which the whole program was stopped.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    from socket import socket

TICK = 0.25
"""Seconds from one look to the next."""
_PATIENCE, _FACTOR = 9.0, 20
"""A run may take so many seconds, and so many times as long as the fastest run before it took for as much."""
_IDLE = 8
"""Looks without any run after which nobody looks any more."""
_GRACE = 3
"""Looks that a run has to end after ctrl+c, before the program ends without it."""
_INTERRUPTED = 130
"""The exit status."""
_SIGNALS = 4096
"""That are heard at once, at most."""


class Options(Protocol):
    """What onnxruntime looks at."""

    terminate: bool


class Speed:
    """Of the runs of a session."""

    seconds: float | None = None
    """That the fastest one took for each token of each sample, at most; None before one has ended."""


class Run:
    """A computation that one thread at a time makes, again and again."""

    __slots__ = (
        *("__weakref__", "_abandoned", "_last", "_looks", "_options", "_size", "_speed"),
        *("count", "reason", "thread"),
    )

    def __init__(self, options: Options, speed: Speed, size: int) -> None:
        """size: tokens of all samples that a run reads."""
        self.count = 0
        """Twice the runs that have ended; one more while there is one."""
        self.reason = ""
        """Why it was ended."""
        self.thread = 0
        """That made it last."""
        self._abandoned = 0
        self._options, self._speed, self._size = options, speed, max(1, size)
        self._last = self._looks = 0

    @property
    def limit(self) -> float:
        """Seconds that it may take."""
        fastest = TICK if self._speed.seconds is None else self._speed.seconds
        return _PATIENCE + _FACTOR * fastest * self._size

    def look(self) -> bool:
        """Whether something has been computed since the last time; ends a run that takes too long."""
        count, before = self.count, self._last
        if count in (before, self._abandoned):
            self._looks += count % 2
            if count == self._abandoned:
                self.end("stopped")
            elif self._looks * TICK > self.limit:
                self.end(
                    f"a step of the model did not end within {self.limit:.0f} s, so it was ended: "
                    "the file is damaged, or made to do so"
                )
            return bool(count % 2)
        if ended := count // 2 - before // 2:
            seconds = (self._looks + 1) * TICK / (ended * self._size)
            self._speed.seconds = min(seconds, self._speed.seconds or seconds)
        self._last, self._looks = count, 0
        return True

    def abandon(self) -> None:
        """Ends it at the next look, if it is still under way then: what takes less time is worth more whole."""
        self._abandoned = self.count

    def end(self, reason: str) -> None:
        """Ends it between two operations, if it is under way."""
        if self.count % 2:
            self.reason, self._options.terminate = reason, True

    def take_reason(self) -> str:
        """Why it was ended, if it was; it can be made again."""
        reason, self.reason, self._options.terminate = self.reason, "", False
        return reason


class Watch:
    """Looks at all runs of the process."""

    def __init__(self) -> None:
        self.asleep = True
        """Whether nobody looks, so that a run has to wake it."""
        self._runs, self._lock, self._call = WeakSet[Run](), threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._listens = False
        self._ear: _Ear | None = None

    def add(self, run: Run) -> None:
        """Looks at a run from now on."""
        with self._lock:
            self._runs.add(run)

    def listen(self) -> None:
        """For the main thread of a program: ctrl+c ends what it computes, or else the program, within a second."""
        self._listens = True

    def wake(self) -> None:
        """Has somebody look again."""
        with self._lock:
            if self._thread is None:
                if self._listens and threading.current_thread() is threading.main_thread():
                    self._ear = _ear()
                self._thread = threading.Thread(target=self._look_on, name="watch", daemon=True)
                self._thread.start()
            self.asleep = False
            self._call.set()

    def end_runs(self, reason: str) -> list[tuple[Run, int]]:
        """Ends what is being computed; which runs those are, with their counts."""
        runs = [(run, run.count) for run in self._all() if run.count % 2]
        for run, _ in runs:
            run.end(reason)
        return runs

    def abandon_runs(self, thread: int) -> None:
        """Ends what a thread computes, where that takes longer than until the next look."""
        for run in self._all():
            if run.thread == thread and run.count % 2:
                run.abandon()

    def _all(self) -> list[Run]:
        with self._lock:
            return list(self._runs)

    def _look_on(self) -> None:
        idle, looks_left = 0, 0
        stubborn: list[tuple[Run, int]] = []
        while True:
            if self._hears_interrupt():
                stubborn, looks_left = self.end_runs("interrupted"), _GRACE
            stubborn, looks_left = [(run, count) for run, count in stubborn if run.count == count], looks_left - 1
            if stubborn and looks_left < 0:
                os._exit(_INTERRUPTED)
            computing = [run.look() for run in self._all()]
            idle = 0 if any(computing) else idle + 1
            if idle > _IDLE:
                self._sleep()
                idle = 0

    def _sleep(self) -> None:
        self._call.clear()
        self.asleep = True
        if any(run.count % 2 for run in self._all()):  # which began before it could see that
            self.asleep = False
        else:
            self._call.wait()

    def _hears_interrupt(self) -> bool:
        """Waits until the next look; whether there was a ctrl+c meanwhile."""
        if self._ear is None:
            time.sleep(TICK)
            return False
        ready = select.select([self._ear.end], [], [], TICK)[0]
        return bool(ready) and signal.SIGINT in self._ear.read()


class _Ear(NamedTuple):
    """Where the numbers of signals arrive at once, whatever the main thread does."""

    end: int | socket
    read: Callable[[], bytes]


def _ear() -> _Ear:
    if sys.platform == "win32":  # where nobody can wait for a pipe
        from socket import socketpair

        there, here = socketpair()
        there.setblocking(False)
        signal.set_wakeup_fd(there.detach(), warn_on_full_buffer=False)
        return _Ear(here, partial(here.recv, _SIGNALS))
    end, writing_end = os.pipe()
    os.set_blocking(writing_end, False)
    signal.set_wakeup_fd(writing_end, warn_on_full_buffer=False)
    return _Ear(end, partial(os.read, end, _SIGNALS))


WATCH = Watch()
