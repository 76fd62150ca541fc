"""Whether this machine can have CUDA at all."""

from __future__ import annotations

import ctypes
import sys


def missing_driver() -> str:
    """Why CUDA is out of the question here, or an empty text when an NVIDIA driver is installed."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(library)
    except OSError:
        return "no NVIDIA driver found"
    return ""
