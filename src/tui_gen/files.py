"""Reading files that somebody else made: ordinary ones, of a size that can be meant."""

from __future__ import annotations

import stat
from pathlib import Path

from tui_gen.errors import TuiGenError

MAX_BYTES = 2**31


def read_bytes(path: Path) -> bytes:
    """The file's bytes. Raises TuiGenError for one that is missing, empty, huge, or no file (a pipe would block)."""
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise TuiGenError(f"{path} is not a file")
        if facts.st_size > MAX_BYTES:
            raise TuiGenError(f"{path} is larger than {MAX_BYTES} bytes")
        content = path.read_bytes()
    except OSError as fault:
        raise TuiGenError(f"{path} cannot be read: {fault.strerror}") from fault
    if not content:
        raise TuiGenError(f"{path} is empty")
    return content


def read_text(path: Path) -> str:
    """The same for UTF-8 text."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as fault:
        raise TuiGenError(f"{path} is not UTF-8 text") from fault
