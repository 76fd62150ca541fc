"""Files: bounded reads, digests, writes that never leave half of anything, and the folder of what is noted."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import sys
from pathlib import Path

from tui_gen.errors import TuiGenError

if sys.platform != "win32":
    import fcntl

_UNSAFE = re.compile(r"[^\w.-]+")
_LONGEST = 80
"""Characters of a model's name that a file's name takes."""
MAX_BYTES, MAX_TEXT = 2**31, 2**25
"""Of a file, and of one that is text."""
PRIVATE, PUBLIC = 0o600, 0o666
"""Who may read a new file: its owner, or whoever a person lets read theirs."""
_NO_FILE = "it is not a file"


def open_regular(path: str | Path, flags: int = os.O_RDONLY, *, follow: bool = True, mode: int = PRIVATE) -> int:
    """The number of an opened file.

    follow: whether a link may stand in its place, which is not for what this program writes by itself. mode: of a new
    one. Raises OSError, for a pipe, a device and a folder too: a pipe would block, a device may never end.
    """
    same_bytes_at_once = getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    file = os.open(path, flags | same_bytes_at_once | (0 if follow else getattr(os, "O_NOFOLLOW", 0)), mode)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, _NO_FILE, str(path))
    return file


def read_beginning(path: str | Path, size: int, *, follow: bool = True) -> bytes:
    """At most so many bytes of a file. Raises OSError, as `open_regular` does."""
    with open(open_regular(path, follow=follow), "rb") as file:
        return file.read(size)


def read_bytes(path: Path, *, most: int = MAX_BYTES) -> bytes:
    """The file's bytes, at most so many. Raises TuiGenError for one that is missing, empty, larger, or no file."""
    try:
        with open(open_regular(path), "rb") as file:
            if os.fstat(file.fileno()).st_size > most:
                raise TuiGenError(f"{path} is larger than {most >> 20:,} MiB, too large for what it is")
            content = file.read()
    except OSError as fault:
        reason = "is not a file" if fault.strerror == _NO_FILE else f"cannot be read: {fault.strerror}"
        raise TuiGenError(f"{path} {reason}") from fault
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


def lock_at_once(file: int, *, without: bool) -> bool:
    """Whether the lock of a file is this process's now, until the file is closed, as by the end of the process.

    without: the answer of a file system that has no locks; on Windows there are none of this kind, and nobody else.
    """
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return without
    return True


def state_folder() -> Path:
    """Where this program keeps what it notes of a person's doings on this system."""
    import platformdirs  # here, for the help of every command reads this module

    return Path(platformdirs.user_state_dir("tui-gen", appauthor=False))


def replace_private(path: Path, content: bytes) -> None:
    """As `replace_file`, and nobody else can read it."""
    replace_file(path, content, mode=PRIVATE)


def replace_file(path: Path, content: bytes | memoryview, *, mode: int = PUBLIC, durable: bool = False) -> None:
    """Puts a content in the place of a file's, at once: it is never half of it.

    mode: of the file. durable: whether it is on the disk when this returns, whatever happens to the machine. Raises
    OSError that names the file; it is as it was then, and nothing lies beside it.
    """
    new = path.with_name(f"{path.name}.tmp")
    try:
        new.unlink(missing_ok=True)  # one that a kill has left, or whatever else stands there
        with open(open_regular(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode=mode), "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        new.replace(path)
    except OSError as fault:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        fault.filename = str(path)  # which a file that is open does not say
        raise


def append_to_file(path: Path, content: bytes) -> None:
    """Adds a content at the end of a file, whole or not at all. Raises OSError that names the file."""
    try:
        number = open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, mode=PUBLIC)
        with open(number, "ab", buffering=0) as file:
            size, rest = os.fstat(number).st_size, memoryview(content)
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                os.ftruncate(number, size)
                raise
    except OSError as fault:
        fault.filename = str(path)
        raise


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
