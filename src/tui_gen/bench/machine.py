"""What a benchmark ran on: processor, versions, and how fast memory is read."""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tui_gen import __version__
from tui_gen.bench.timing import per_unit
from tui_gen.runtime import RUNTIME
from tui_gen.threads import cores

_CPUINFO = Path("/proc/cpuinfo")
_READ, _PASSES = 64_000_000, 12
"""Bytes that each thread reads, more than a cache holds, and how often: the threads of other rows spin for a while."""


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
