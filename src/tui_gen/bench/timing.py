"""Timings in turns, results as rows of a table, and the machine: processor, versions, how fast memory is read."""

from __future__ import annotations

import importlib.util
import platform
import statistics
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tui_gen import __version__
from tui_gen.runtime.placement import cores
from tui_gen.runtime.session import RUNTIME

_CPUINFO = Path("/proc/cpuinfo")
_READ, _PASSES = 64_000_000, 12
"""Bytes that each thread reads, more than a cache holds, and how often: the threads of other rows spin for a while."""
Run = Callable[[], float]
"""Does some work; returns seconds for a unit of it, such as a token."""
ROUNDS = 5
_REST = 0.05
"""Seconds before each run, in which the threads of the one before stop waiting for more work on the processors."""


def facts() -> dict[str, str]:
    """By name, for people and programs."""
    return {
        "processor": f"{_processor()}, {cores()} cores",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "tui-gen": __version__,
        "onnxruntime": RUNTIME,
        "provider": "CPU",
        "numpy": np.__version__,
        "torch": torch_version() or "not installed",
    }


def torch_version() -> str:
    """Empty where PyTorch is not installed. Does not import it."""
    if importlib.util.find_spec("torch") is None:
        return ""
    from importlib import metadata

    return metadata.version("torch")


def _processor() -> str:
    if _CPUINFO.exists():
        for line in _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or sys.platform


def reader(threads: int) -> Callable[[], float]:
    """Seconds for a byte that so many threads read from memory at once, at the best of some passes: it is a limit."""
    blocks = [np.ones(_READ // 8) for _ in range(threads)]
    pool = ThreadPoolExecutor(threads)

    def run() -> float:
        return min(per_unit(lambda: list(pool.map(_read, blocks)), _READ * threads) for _ in range(_PASSES))

    return run


def _read(block: NDArray[np.float64]) -> float:
    """A sum reads every number once; numpy lets other threads run meanwhile."""
    return float(block.sum())


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

    @property
    def is_met(self) -> bool | None:
        """None where there is nothing to compare."""
        if self.ratio is None or self.bar is None:
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
        verdict = f"{self.ratio:.3g} {'meets' if self.is_met else 'misses'} {sign} {self.bar:g}"
        return verdict if self.is_met or not self.bar else f"{verdict} by {abs(self.ratio / self.bar - 1) * 100:.0f} %"


def format_timing(timing: Timing) -> str:
    """Such as `610 us (600 to 650)`."""
    values = [seconds * 1e6 for seconds in (timing.median, timing.least, timing.most)]
    unit, scale = ("ms", 1e3) if values[0] >= 10_000 else ("us", 1)
    median, least, most = (
        f"{value / scale:.3g}" if value / scale < 1000 else f"{value / scale:.0f}" for value in values
    )
    return f"{median} {unit} ({least} to {most})"


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

    def over(self, other: Timing) -> float:
        """How many times as long this takes."""
        return self.median / other.median


def in_turns(runs: Mapping[str, Run], *, rounds: int = ROUNDS) -> dict[str, Timing]:
    """Each of them once per round; a round before these warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            time.sleep(_REST)
            duration = run()
            if number:
                seconds[name].append(duration)
    return {name: Timing(statistics.median(times), min(times), max(times)) for name, times in seconds.items()}


def per_unit(work: Callable[[], object], units: int) -> float:
    """Seconds for each of so many units that a piece of work consists of."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) / units
