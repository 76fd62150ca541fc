"""Timings in turns, and results as rows of a table."""

from __future__ import annotations

import statistics
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tui_gen.bench.machine import IDLE_LOOP


class Lap(NamedTuple):
    """Seconds for a unit of work, such as a token: on the clock, and of all processors together where that is known."""

    wall: float
    processor: float | None = None


Run = Callable[[], Lap]
"""Does some work; returns the time for a unit of it."""
ROUNDS = 5
_REST = 0.05
"""Seconds before each run, in which the threads of the one before stop waiting for more work on the processors."""
BUSY = 0.1
"""The part of the processors' time that others may have for a bar to be met or missed."""


@dataclass(frozen=True)
class Result:
    """One row of the benchmark table: our measurement, the peer's, their ratio, and the ratio required."""

    case: str
    ours: str
    peer: str
    ratio: float | None = None
    """How many times as fast, as much, or as near; None where the peer is not installed."""
    bar: float | None = None
    """What the ratio should be at least, or at most; None for what is only shown."""
    at_most: bool = False
    note: str = ""
    """Why a bar is missed."""
    busy: float = 0.0
    """The part of the processors' time that others had meanwhile."""

    @property
    def is_met(self) -> bool | None:
        """None where there is nothing to compare, or no telling on so busy a machine."""
        if self.ratio is None or self.bar is None or self.busy > BUSY:
            return None
        return self.ratio <= self.bar if self.at_most else self.ratio >= self.bar

    @property
    def verdict(self) -> str:
        """Such as `2.3, misses 3 by 23 %`."""
        if self.ratio is None:
            return "not measured" if self.peer else ""
        if self.bar is None:
            return f"{self.ratio:.3g}"
        sign = "<=" if self.at_most else ">="
        if self.is_met is None:
            return f"{self.ratio:.3g} not judged ({sign} {self.bar:g}): others had {self.busy:.0%} of the processors"
        verdict = f"{self.ratio:.3g} {'meets' if self.is_met else 'misses'} {sign} {self.bar:g}"
        return verdict if self.is_met or not self.bar else f"{verdict} by {abs(self.ratio / self.bar - 1) * 100:.0f} %"


def format_timing(timing: Timing) -> str:
    """Such as `610 us (600 to 650; processor 1190)`, all in one unit; the last where it is known."""
    seconds = [timing.median, timing.least, timing.most, *([] if timing.processor is None else [timing.processor])]
    unit, scale = ("ms", 1e3) if timing.median >= 0.01 else ("us", 1e6)
    median, least, most, *processor = (
        f"{value:.3g}" if value < 1000 else f"{value:.0f}" for value in (each * scale for each in seconds)
    )
    return f"{median} {unit} ({least} to {most}{''.join(f'; processor {each}' for each in processor)})"


def as_text(row: Result, width: int) -> str:
    """The case with its verdict, what was measured, and why it misses."""
    below = [f"{row.ours}; {row.peer}" if row.peer else row.ours]
    below += [row.note] if row.note and row.is_met is False else []
    head = textwrap.wrap(": ".join(filter(None, (row.case, row.verdict))), width, subsequent_indent="  ")
    lines_below = [textwrap.wrap(line, width, initial_indent="    ", subsequent_indent="    ") for line in below]
    return "\n".join([*head, *(line for lines in lines_below for line in lines)])


def as_markdown(rows: Iterable[Result]) -> str:
    """A table, and below it why bars are missed."""
    rows = list(rows)
    head = ["| case | ours | beside | ratio |", "|---|---|---|---|"]
    table = [f"| {row.case} | {row.ours} | {row.peer} | {row.verdict} |" for row in rows]
    notes = [f"- {row.case}: {row.note}." for row in rows if row.is_met is False and row.note]
    return "\n".join([*head, *table, *(["", *notes] if notes else [])])


@dataclass(frozen=True)
class Timing:
    """Seconds for a unit of work, over several rounds."""

    median: float
    least: float
    most: float
    processor: float | None = None
    """The median of what all processors together worked for it, where that is known."""

    @classmethod
    def of(cls, laps: Iterable[Lap]) -> Timing:
        """Of the laps of all rounds."""
        laps = list(laps)
        walls, processors = [lap.wall for lap in laps], [lap.processor for lap in laps if lap.processor is not None]
        processor = statistics.median(processors) if len(processors) == len(walls) else None
        return cls(statistics.median(walls), min(walls), max(walls), processor)

    def over(self, other: Timing) -> float:
        """How many times as long this takes."""
        return self.median / other.median


def in_turns(runs: Mapping[str, Run], *, rounds: int = ROUNDS) -> dict[str, Timing]:
    """Each of them once per round; a round before these warms up. How busy the machine is, is measured between them."""
    laps: dict[str, list[Lap]] = {name: [] for name in runs}
    IDLE_LOOP.restart()
    for number in range(rounds + 1):
        for name, run in runs.items():
            time.sleep(_REST)
            if number:
                IDLE_LOOP.measure()
            lap = run()
            if number:
                laps[name].append(lap)
    return {name: Timing.of(each) for name, each in laps.items()}


def per_unit(work: Callable[[], object], units: int) -> Lap:
    """The time for each of so many units that a piece of work of this process consists of."""
    began, processor = time.perf_counter(), time.process_time()
    work()
    return Lap((time.perf_counter() - began) / units, (time.process_time() - processor) / units)
