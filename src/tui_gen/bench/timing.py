"""Times several things in turns, so that whatever else the machine does falls on all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Run = Callable[[], float]
"""Does some work; returns seconds for a unit of it, such as a token."""
ROUNDS = 5
_REST = 0.05
"""Seconds before each run, in which the threads of the one before stop waiting for more work on the processors."""


@dataclass(frozen=True)
class Timing:
    """Seconds for a unit of work, over several rounds."""

    median: float
    least: float
    most: float

    def over(self, other: Timing) -> float:
        """How many times as long this takes."""
        return self.median / other.median


def in_turns(runs: Mapping[str, Run], *, rounds: int = ROUNDS) -> dict[str, Timing]:
    """Each of them once per round; a round before these warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for measured in range(rounds + 1):
        for name, run in runs.items():
            time.sleep(_REST)
            spent = run()
            if measured:
                seconds[name].append(spent)
    return {name: Timing(statistics.median(times), min(times), max(times)) for name, times in seconds.items()}


def per_unit(work: Callable[[], object], units: int) -> float:
    """Seconds for each of so many units that a piece of work consists of."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) / units
