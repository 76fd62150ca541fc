"""The machine that a benchmark runs on: what it is, and how busy others keep it meanwhile."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tui_gen import __version__
from tui_gen.runtime.placement import cores
from tui_gen.runtime.session import RUNTIME

_CPUINFO, _CACHES = Path("/proc/cpuinfo"), Path("/sys/devices/system/cpu/cpu0/cache")
_ITERATIONS = 100_000
"""Of the idle loop: some twenty milliseconds, in which a system lets several who wait have a turn."""


def facts() -> dict[str, str]:
    """By name, for people and programs."""
    return {
        "processor": f"{processor()}, {cores()} cores",
        "caches": _caches() or "unknown",
        "load": _load() or "unknown",
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


def processor() -> str:
    """What it is called."""
    if _CPUINFO.exists():
        for line in _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or sys.platform


def _caches() -> str:
    """Such as `L1 data 48K, L2 1024K, L3 32768K`: those that a processor has or shares. Empty where nothing says so."""
    caches = []
    for folder in sorted(_CACHES.glob("index*")):
        try:
            level, kind, size = (
                (folder / name).read_text(encoding="ascii").strip() for name in ("level", "type", "size")
            )
        except (OSError, ValueError):
            continue
        if kind != "Instruction":
            caches.append(f"L{level}{' data' if kind == 'Data' else ''} {size}")
    return ", ".join(caches)


def _load() -> str:
    """How many processes wanted a processor, in the mean of the last minute. Empty where nothing says so."""
    try:
        return f"{os.getloadavg()[0]:.2f}"
    except (AttributeError, OSError):
        return ""


class IdleLoop:
    """A fixed piece of work on all processors at once: what it waits for them is what others had of them."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(cores())
        self._waits: list[float] = []

    def restart(self) -> None:
        """Forgets what was measured."""
        self._waits.clear()

    def measure(self) -> None:
        """Runs the work once."""
        laps = list(self._pool.map(_loop, range(cores())))
        self._waits.append(max(0.0, 1 - sum(processor for _, processor in laps) / sum(wall for wall, _ in laps)))

    @property
    def busy(self) -> float:
        """The part of the processors' time that others had, in the mean of what was measured."""
        return sum(self._waits) / len(self._waits) if self._waits else 0.0


def _loop(_: int) -> tuple[float, float]:
    """Seconds on the clock and of a processor. It is one call, during which other threads may have the interpreter."""
    began, processor = time.perf_counter(), time.thread_time()
    hashlib.pbkdf2_hmac("sha256", b"idle", b"loop", _ITERATIONS)
    return time.perf_counter() - began, time.thread_time() - processor


IDLE_LOOP = IdleLoop()
"""That of this program; `in_turns` runs it before everything that it times."""
