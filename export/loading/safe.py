"""Files of the safetensors library."""

from __future__ import annotations

import json
import struct
from typing import Any

import safetensors.torch

from tui_gen.errors import TuiGenError


def is_safetensors(data: bytes) -> bool:
    """Whether a file begins with the length of a header in JSON, and the header."""
    return len(data) > 9 and data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8


def read_safetensors(data: bytes) -> Any:
    """Tensors by name as `state_dict`, and the header's `metadata`."""
    try:
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    except Exception as fault:  # the library's errors share no base, and torch's readers add their own
        raise TuiGenError(f"is a damaged safetensors file: {fault!s:.100}") from None
    metadata = header.get("__metadata__")
    return {"state_dict": tensors, **({"metadata": metadata} if isinstance(metadata, dict) else {})}
