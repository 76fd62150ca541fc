"""Files: bounded reads, digests, writes that never leave half of anything, and the folder of what is noted."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

from tui_gen.errors import TuiGenError

_UNSAFE = re.compile(r"[^\w.-]+")
_LONGEST = 80
"""Characters of a model's name that a file's name takes."""
MAX_BYTES, MAX_TEXT = 2**31, 2**25
"""Of a file, and of one that is text."""


def read_bytes(path: Path, *, most: int = MAX_BYTES) -> bytes:
    """The file's bytes, at most so many.

    Raises TuiGenError for one that is missing, empty, larger, or no file (a pipe would block).
    """
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise TuiGenError(f"{path} is not a file")
        if facts.st_size > most:
            raise TuiGenError(f"{path} is larger than {most >> 20:,} MiB, too large for what it is")
        content = path.read_bytes()
    except OSError as fault:
        raise TuiGenError(f"{path} cannot be read: {fault.strerror}") from fault
    if not content:
        raise TuiGenError(f"{path} is empty")
    return content


def read_text(path: Path) -> str:
    """The same for UTF-8 text."""
    try:
        return read_bytes(path, most=MAX_TEXT).decode("utf-8")
    except UnicodeDecodeError as fault:
        raise TuiGenError(f"{path} is not UTF-8 text") from fault


def digest(content: bytes) -> str:
    """The sha256 of a file, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


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


def state_folder() -> Path:
    """Where this program keeps what it notes of a person's doings on this system."""
    import platformdirs  # here, for the help of every command reads this module

    return Path(platformdirs.user_state_dir("tui-gen", appauthor=False))


def replace_private(path: Path, content: bytes) -> None:
    """Puts a content in the place of a file's, at once: it is never half of it. Nobody else can read it.

    Raises OSError; the file is as it was then.
    """
    new = path.with_suffix(".tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(new, flags, 0o600), "wb") as file:
            file.write(content)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


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
