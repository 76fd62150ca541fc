"""Which device a batch runs on, and with how many threads: whatever was measured to be fastest, cached by file."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median

from tui_gen import __version__
from tui_gen.errors import DeviceFullError, TuiGenError
from tui_gen.files import cache_folder, digest, read_beginning, replace_private
from tui_gen.runtime.cuda import device_name, driver
from tui_gen.runtime.cuda_model import CudaModel
from tui_gen.runtime.session import RUNTIME, Provider, cuda_trouble, in_vain

Work = Callable[[], object]
"""A step of every sample, whose time is measured."""
_MOST = 8
"""Threads that are tried."""
_ROUNDS, _SECONDS = 5, 0.012
"""In each round every count is timed for about so long."""
_LONGEST = 100
"""Characters of a measurement."""
_GAIN = 0.9
"""More threads must take at most this part of the time; others want the cores too."""


@dataclass(frozen=True)
class Candidates:
    """What there is to choose from."""

    open_device: Callable[[], CudaModel]
    """Raises TuiGenError that says what is missing."""
    cpu_work: Callable[[int], Work]
    """For so many samples."""
    device_work: Callable[[CudaModel, int], Work]
    threads: int = 1
    """Of a step on the CPU."""


@dataclass
class Placement:
    """Decides for each batch size when it first runs. provider: what was asked for. device: the number of a GPU.

    Raises TuiGenError where CUDA was asked for and cannot be used.
    """

    graph: bytes
    provider: Provider
    device: int
    candidates: Candidates
    note: str = ""
    """Why it runs where it runs, of the batch that was decided last."""
    _engine: CudaModel | None = None
    hopeless: str = ""
    """Why no device can be used; empty as long as one may be."""
    _decisions: dict[int, tuple[CudaModel | None, str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.hopeless = cuda_trouble(self.device)
        if self.provider == "cuda":
            self._need_device()
            self.note = device_name(self.device)
        else:
            self.note = self.hopeless

    def of(self, batch: int) -> CudaModel | None:
        """The device that so many samples run on; None for the CPU."""
        decision = self._decisions.get(batch)
        if decision is None:
            with self._lock:
                decision = self._decisions[batch] = self._decisions.get(batch) or self._decide(batch)
        engine, self.note = decision
        return engine

    def leave(self, batch: int, why: str, *, lost: bool) -> None:
        """Moves this batch size to the CPU for good; every batch size, if the device is lost."""
        self._decisions = (
            dict.fromkeys(self._decisions, (None, why)) if lost else {**self._decisions, batch: (None, why)}
        )
        self.note = why
        if lost:
            self.hopeless, self._engine = why, None

    def _need_device(self) -> CudaModel:
        if self.hopeless:
            raise in_vain(self.hopeless)
        if self._engine is None:
            try:
                self._engine = self.candidates.open_device()
            except TuiGenError as fault:
                raise in_vain(str(fault)) from fault
        return self._engine

    def _decide(self, batch: int) -> tuple[CudaModel | None, str]:
        if self.hopeless:
            return None, self.hopeless
        if self.provider == "cuda":
            return self._need_device(), device_name(self.device)
        measurement = CachedMeasurement("place", digest(self.graph), RUNTIME, self._machine(), batch)
        ratio = _parse_ratio(measurement.read() or "")
        try:
            if ratio and ratio < 1:
                return None, _reason(ratio, batch, self.device)
            engine = self._engine = self._engine or self.candidates.open_device()
            times_faster = ratio or self._measure(engine, batch)
        except DeviceFullError:
            return None, no_room(batch)
        except TuiGenError as fault:
            self.hopeless = str(fault)
            return None, self.hopeless
        if not ratio:
            measurement.write(f"{times_faster:.3g}")
        return engine if times_faster >= 1 else None, _reason(times_faster, batch, self.device)

    def _measure(self, engine: CudaModel, batch: int) -> float:
        """How many times as fast the device is as the CPU."""
        cpu, device = median_seconds([self.candidates.cpu_work(batch), self.candidates.device_work(engine, batch)])
        return cpu / device

    def _machine(self) -> str:
        """What a measurement holds for; short, for the name of a file."""
        facts = (__version__, platform.node(), cores(), self.candidates.threads, self.device, driver())
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def no_room(batch: int) -> str:
    """Why so many samples do not run on a device."""
    return f"the GPU has too little memory for {batch} sample{'s' if batch > 1 else ''}"


def _parse_ratio(text: str) -> float:
    """How many times as fast the device is, as it was written; 0 for nothing of the kind."""
    with suppress(ValueError):
        return max(0.0, float(text))
    return 0.0


def _reason(times_faster: float, batch: int, device: int) -> str:
    samples = f"{batch} sample{'s' if batch > 1 else ''}"
    name = device_name(device)
    if times_faster >= 1:
        return f"{name}, {times_faster:.2g} times as fast as the CPU for {samples}"
    return f"{1 / times_faster:.2g} times as fast as {name} for {samples}"


def fastest_threads(sha256: str, runtime: str, open_step: Callable[[int], Work]) -> int:
    """The number of threads to run a graph with.

    sha256: of the graph. runtime: onnxruntime's version. open_step: gives what runs a step with so many threads.
    """
    counts = thread_counts(cores())
    if len(counts) == 1:
        return counts[0]
    measurement = CachedMeasurement("threads", sha256, runtime, cores())
    by_text = {str(count): count for count in counts}
    if count := by_text.get(measurement.read() or ""):
        return count
    count = fastest(counts, seconds_in_turns([open_step(count) for count in counts]))
    measurement.write(str(count))
    return count


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_counts(available: int) -> list[int]:
    """1, 2, 4, ... as far as there are processors."""
    return [count for count in (1, 2, 4, _MOST) if count <= max(1, available)]


def choose(counts: Sequence[int], seconds: Sequence[float]) -> int:
    """The fewest threads that are clearly faster than all fewer ones. seconds: a step with each count."""
    best = 0
    for at in range(1, len(counts)):
        if seconds[at] < _GAIN * seconds[best]:
            best = at
    return counts[best]


def fastest(counts: Sequence[int], times: Sequence[Sequence[float]]) -> int:
    """As `choose`, both in the middle and at best: on a busy machine, either alone is chance. times: of each count."""
    return min(choose(counts, [kind(each) for each in times]) for kind in (median, min))


def median_seconds(steps: Sequence[Work]) -> list[float]:
    """Median seconds of each step, measured in turns."""
    return [median(times) for times in seconds_in_turns(steps)]


def seconds_in_turns(steps: Sequence[Work]) -> list[tuple[float, ...]]:
    """Seconds of each step in some rounds, in which all of them take turns."""
    rounds = [[_seconds(step) for step in steps] for _ in range(_ROUNDS + 1)]
    return list(zip(*rounds[1:], strict=True))  # the first round warms up


def _seconds(step: Work) -> float:
    began, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - began) < _SECONDS or not count:
        step()
        count += 1
    return elapsed / count


class CachedMeasurement:
    """A measurement of a file, cached by its hash. kind: of what. facts: what else it depends on, such as versions."""

    def __init__(self, kind: str, sha256: str, *facts: object) -> None:
        self._path = cache_folder() / kind / "-".join(map(str, (sha256, *facts)))

    def read(self) -> str | None:
        """What was written; None where nothing was, or where it cannot be read."""
        try:
            return read_beginning(self._path, _LONGEST, follow=False).decode("ascii")
        except (OSError, ValueError):
            return None

    def write(self, text: str) -> None:
        """Keeps a measurement, where there is a place for it; without one it is merely measured again."""
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_private(self._path, text.encode("ascii"))
