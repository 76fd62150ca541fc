"""How many threads a step is fastest with, on this machine: measured when a model is first opened, then remembered.

Two threads nearly halve a step with a large product, and slow down one of many small operations.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from statistics import median

from tui_gen.verdict import Verdict

_MOST = 8
"""Threads that are tried."""
_ROUNDS, _SECONDS = 5, 0.012
"""In each round every count is timed for about so long."""
_GAIN = 0.9
"""More threads must take at most this part of the time; others want the cores too."""

Step = Callable[[], object]


def fastest(sha256: str, runtime: str, opened: Callable[[int], Step]) -> int:
    """The number of threads to run a graph with.

    sha256: of the graph. runtime: onnxruntime's version. opened: gives what runs a step with so many threads.
    """
    counts = candidates(cores())
    if len(counts) == 1:
        return counts[0]
    verdict = Verdict("threads", sha256, runtime, cores())
    known = verdict.read() or ""
    if known.isdecimal() and int(known) in counts:
        return int(known)
    chosen = choose(counts, timed([opened(count) for count in counts]))
    verdict.write(str(chosen))
    return chosen


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def candidates(available: int) -> list[int]:
    """1, 2, 4, ... as far as there are processors."""
    return [count for count in (1, 2, 4, _MOST) if count <= max(1, available)]


def choose(counts: Sequence[int], seconds: Sequence[float]) -> int:
    """The fewest threads that are clearly faster than all fewer ones. seconds: a step with each count."""
    best = 0
    for at in range(1, len(counts)):
        if seconds[at] < _GAIN * seconds[best]:
            best = at
    return counts[best]


def timed(steps: Sequence[Step]) -> list[float]:
    """Median seconds of each step, measured in turns."""
    rounds = [[_seconds(step) for step in steps] for _ in range(_ROUNDS + 1)]
    return [median(times) for times in zip(*rounds[1:], strict=True)]  # the first round warms up


def _seconds(step: Step) -> float:
    began, count = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < _SECONDS or not count:
        step()
        count += 1
    return spent / count
