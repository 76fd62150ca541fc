"""Where a batch of a model runs: on the CPU or on a device, whichever was measured to be faster."""

from __future__ import annotations

import hashlib
import platform
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tui_gen import __version__
from tui_gen.cuda import device_name, driver
from tui_gen.errors import DeviceFullError, TuiGenError
from tui_gen.on_device import OnDevice
from tui_gen.providers import cuda_trouble, in_vain
from tui_gen.runtime import RUNTIME, Provider
from tui_gen.threads import cores, timed
from tui_gen.verdict import Verdict, digest

Turn = Callable[[], object]
"""Makes a token of every sample."""


@dataclass(frozen=True)
class Candidates:
    """What there is to choose from."""

    open_device: Callable[[], OnDevice]
    """Raises TuiGenError that says what is missing."""
    cpu_turn: Callable[[int], Turn]
    """For so many samples."""
    device_turn: Callable[[OnDevice, int], Turn]
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
    _engine: OnDevice | None = None
    hopeless: str = ""
    """Why no device can be used; empty as long as one may be."""
    _decided: dict[int, tuple[OnDevice | None, str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.hopeless = cuda_trouble(self.device)
        if self.provider == "cuda":
            self._need_device()
            self.note = device_name(self.device)
        else:
            self.note = self.hopeless

    def of(self, batch: int) -> OnDevice | None:
        """The device that so many samples run on; None for the CPU."""
        found = self._decided.get(batch)
        if found is None:
            with self._lock:
                found = self._decided[batch] = self._decided.get(batch) or self._decide(batch)
        engine, self.note = found
        return engine

    def leave(self, batch: int, why: str, *, lost: bool) -> None:
        """From now on these samples run on the CPU; all, where the device is lost."""
        self._decided = dict.fromkeys(self._decided, (None, why)) if lost else {**self._decided, batch: (None, why)}
        self.note = why
        if lost:
            self.hopeless, self._engine = why, None

    def _need_device(self) -> OnDevice:
        if self.hopeless:
            raise in_vain(self.hopeless)
        if self._engine is None:
            try:
                self._engine = self.candidates.open_device()
            except TuiGenError as fault:
                raise in_vain(str(fault)) from fault
        return self._engine

    def _decide(self, batch: int) -> tuple[OnDevice | None, str]:
        if self.hopeless:
            return None, self.hopeless
        if self.provider == "cuda":
            return self._need_device(), device_name(self.device)
        verdict = Verdict("place", digest(self.graph), RUNTIME, self._machine(), batch)
        known = _parsed(verdict.read() or "")
        try:
            if known and known < 1:
                return None, _reason(known, batch, self.device)
            engine = self._engine = self._engine or self.candidates.open_device()
            times_faster = known or self._measured(engine, batch)
        except DeviceFullError:
            return None, no_room(batch)
        except TuiGenError as fault:
            self.hopeless = str(fault)
            return None, self.hopeless
        if not known:
            verdict.write(f"{times_faster:.3g}")
        return engine if times_faster >= 1 else None, _reason(times_faster, batch, self.device)

    def _measured(self, engine: OnDevice, batch: int) -> float:
        """How many times as fast the device is as the CPU."""
        cpu, device = timed([self.candidates.cpu_turn(batch), self.candidates.device_turn(engine, batch)])
        return cpu / device

    def _machine(self) -> str:
        """What a measurement holds for; short, for the name of a file."""
        facts = (__version__, platform.node(), cores(), self.candidates.threads, self.device, driver())
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def no_room(batch: int) -> str:
    """Why so many samples do not run on a device."""
    return f"the GPU has too little memory for {batch} sample{'s' if batch > 1 else ''}"


def _parsed(text: str) -> float:
    """A verdict; 0 for none."""
    with suppress(ValueError):
        return max(0.0, float(text))
    return 0.0


def _reason(times_faster: float, batch: int, device: int) -> str:
    samples = f"{batch} sample{'s' if batch > 1 else ''}"
    name = device_name(device)
    if times_faster >= 1:
        return f"{name}, {times_faster:.2g} times as fast as the CPU for {samples}"
    return f"{1 / times_faster:.2g} times as fast as {name} for {samples}"
