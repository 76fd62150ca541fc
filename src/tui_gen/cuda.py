"""Whether this machine can have CUDA at all."""

from __future__ import annotations

import ctypes
import sys

REPAIR = "repair it with: pip uninstall -y onnxruntime onnxruntime-gpu, then: pip install onnxruntime-gpu"


def missing_driver() -> str:
    """Why CUDA is out of the question here, or an empty text when an NVIDIA driver is installed."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(library)
    except OSError:
        return "no NVIDIA driver found"
    return ""


def both_runtimes() -> str:
    """What to do when onnxruntime and onnxruntime-gpu are both installed, or an empty text; one breaks the other."""
    from importlib import metadata  # some hundredths of a second, and only asked where there is a driver

    try:
        metadata.version("onnxruntime"), metadata.version("onnxruntime-gpu")
    except metadata.PackageNotFoundError:
        return ""
    return f"onnxruntime and onnxruntime-gpu are both installed; {REPAIR}"
