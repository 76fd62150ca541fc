"""Whether this machine can have CUDA at all, and on what devices."""

from __future__ import annotations

import ctypes
import sys
from ctypes import byref, c_int
from dataclasses import dataclass
from functools import cache
from typing import Any

REPAIR = "repair it with: pip uninstall -y onnxruntime onnxruntime-gpu, then: pip install onnxruntime-gpu"
LIBRARIES = "pip install 'tui-gen[cuda]'"
NO_DRIVER = "no NVIDIA driver found"
_NAME_LENGTH = 128


@dataclass(frozen=True)
class Driver:
    """What the NVIDIA driver says."""

    cuda: tuple[int, int]
    """The newest version of CUDA that it can run."""
    devices: tuple[str, ...]
    """Names of the GPUs, by their numbers."""


def missing_driver() -> str:
    """Why CUDA is out of the question here, or an empty text when an NVIDIA driver is installed."""
    return "" if _library() else NO_DRIVER


@cache
def driver() -> Driver | None:
    """None where there is no driver, or none that answers."""
    library = _library()
    if library is None or library.cuInit(0) != 0:
        return None
    version, count = c_int(), c_int()
    if library.cuDriverGetVersion(byref(version)) or library.cuDeviceGetCount(byref(count)):
        return None
    devices = tuple(_device_name(library, number) for number in range(count.value))
    return Driver((version.value // 1000, version.value % 1000 // 10), devices)


def driver_trouble(version: str, device: int) -> str:
    """Why the driver cannot run a CUDA of the needed version, such as `13.0`, on a device; empty if it can."""
    if missing := missing_driver():
        return missing
    state = driver()
    if state is None or not state.devices:
        return "the NVIDIA driver finds no GPU"
    if state.cuda[0] < int(version.partition(".")[0]):  # within a major version, an older driver runs newer libraries
        has = ".".join(map(str, state.cuda))
        return f"the NVIDIA driver is too old: it runs CUDA up to {has}, and {version} is needed; update the driver"
    if device >= len(state.devices):
        devices = ", ".join(f"{number}: {name}" for number, name in enumerate(state.devices))
        return f"there is no device {device}; this machine has {devices}"
    return ""


def device_name(device: int) -> str:
    """What a GPU is called, such as `NVIDIA H100`."""
    state = driver()
    return state.devices[device] if state and device < len(state.devices) else "GPU"


def both_runtimes() -> str:
    """What to do when onnxruntime and onnxruntime-gpu are both installed, or an empty text; one breaks the other."""
    from importlib import metadata  # some hundredths of a second, and only asked where there is a driver

    try:
        metadata.version("onnxruntime"), metadata.version("onnxruntime-gpu")
    except metadata.PackageNotFoundError:
        return ""
    return f"onnxruntime and onnxruntime-gpu are both installed; {REPAIR}"


def missing_library(path: str) -> str:
    """Which library a library needs and does not find, in the words of the system's loader; empty if it loads."""
    try:
        ctypes.CDLL(path)
    except OSError as fault:
        return str(fault).partition(": ")[0]
    return ""


def _library() -> Any:
    """The driver's, or None."""
    try:
        return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None


def _device_name(library: Any, number: int) -> str:
    handle, name = c_int(), ctypes.create_string_buffer(_NAME_LENGTH)
    if library.cuDeviceGet(byref(handle), number) or library.cuDeviceGetName(name, _NAME_LENGTH, handle):
        return "GPU"
    return name.value.decode("utf-8", "replace")
