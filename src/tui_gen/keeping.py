"""Keeping what was made: files with names of their own, so that nothing is ever overwritten."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tui_gen.errors import TuiGenError

_UNSAFE = re.compile(r"[^\w.-]+")
_LONGEST = 80
"""Characters of a model's name that a file's name takes."""


def write_new(path: Path, content: bytes) -> None:
    """Writes a file that is not there yet; leaves no half of one, as on a full disk.

    Raises TuiGenError for one that is there, or that cannot be written.
    """
    try:
        file = open(path, "xb")  # noqa: SIM115
    except FileExistsError as fault:
        raise TuiGenError(f"{path} exists already and is left as it is; choose another name") from fault
    except OSError as fault:
        raise _unwritable(path, fault) from fault
    try:
        with file:
            file.write(content)
    except OSError as fault:
        path.unlink(missing_ok=True)
        raise _unwritable(path, fault) from fault


def free_path(folder: Path, stem: str, suffix: str) -> Path:
    """The first of `stem-1`, `stem-2`, ... with this suffix that does not exist in the folder.

    A stem may be any text; what does not belong into a file's name becomes `-`.
    """
    name = _UNSAFE.sub("-", stem)[:_LONGEST].strip("-.") or "output"
    number = 1
    while os.path.lexists(path := folder / f"{name}-{number}{suffix}"):
        number += 1
    return path


def _unwritable(path: Path, fault: OSError) -> TuiGenError:
    return TuiGenError(f"{path} cannot be written: {fault.strerror}")
