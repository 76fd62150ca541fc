"""Files: bounded reads, digests, writes that never leave half of anything, and the folder of what is noted."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from tui_gen.errors import TuiGenError

if sys.platform != "win32":
    import fcntl

_UNSAFE = re.compile(r"[^\w.-]+")
_LONGEST = 80
"""Characters of a model's name that a file's name takes."""
MAX_BYTES, MAX_TEXT = 2**31, 2**25
"""Of a file, and of one that is text."""
_LARGE, _MOST_HOLES = 2**26, 10_000
"""Bytes of a file in which holes are looked for, and after how many one does not look further."""
HALF = "replace"
"""What is done to half a character, which JSON and the command line can have and UTF-8 cannot."""
_TEMPORARY, _YOUNG = "tui-gen-temporary-", 600
"""How names of temporary folders begin, and seconds."""
STATE = "TUI_GEN_STATE"
"""Of the environment; names another folder for what is noted."""
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


@contextlib.contextmanager
def open_bytes(path: Path, *, most: int = MAX_BYTES) -> Iterator[BinaryIO]:
    """A file of at most so many bytes. Raises TuiGenError for one that is missing, larger, or no file."""
    try:
        with open(open_regular(path), "rb") as file:
            if os.fstat(file.fileno()).st_size > most:
                raise TuiGenError(f"{path} is larger than {most >> 20:,} MiB, too large for what it is")
            check_whole(path, file.fileno())
            yield file
    except OSError as fault:
        reason = "is not a file" if fault.strerror == _NO_FILE else f"cannot be read: {fault.strerror}"
        raise TuiGenError(f"{path} {reason}") from fault


def read_bytes(path: Path, *, most: int = MAX_BYTES) -> bytes:
    """The file's bytes, at most so many. Raises TuiGenError, for an empty one too."""
    with open_bytes(path, most=most) as file:
        content = file.read()
    if not content:
        raise TuiGenError(f"{path} is empty")
    return content


def check_whole(path: Path, file: int) -> None:
    """Raises TuiGenError for a large file of which the disk has less than half, as of a copy that broke off: reading
    it would take long and much memory, for zeros.
    """
    size, at, data = os.fstat(file).st_size, 0, 0
    if size < _LARGE or not hasattr(os, "SEEK_HOLE"):
        return
    for _ in range(_MOST_HOLES):
        try:
            begin = os.lseek(file, at, os.SEEK_DATA)
        except OSError:  # there is no more
            break
        at = os.lseek(file, begin, os.SEEK_HOLE)
        data += at - begin
    os.lseek(file, 0, os.SEEK_SET)
    if data < size // 2:
        raise TuiGenError(
            f"{path} is not whole: of its {size >> 20:,} MiB only {data >> 20:,} are on the disk; copy or download it "
            "again"
        )


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

    return Path(os.environ.get(STATE) or platformdirs.user_state_dir("tui-gen", appauthor=False))


def cache_folder() -> Path:
    """Where it keeps what it can make again."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("tui-gen", appauthor=False))


def replace_private(path: Path, content: bytes) -> None:
    """As `replace_file`, and nobody else can read it."""
    replace_file(path, content, mode=PRIVATE)


def replace_file(path: Path, content: bytes | memoryview, *, mode: int = PUBLIC, durable: bool = False) -> None:
    """Puts a content in the place of a file's, at once: it is never half of it.

    mode: of the file. durable: whether it is on the disk when this returns, whatever happens to the machine. Raises
    OSError that names the file; it is as it was then, and nothing lies beside it.
    """
    replace_files({path: content}, mode=mode, durable=durable)


def replace_files(contents: Mapping[Path, bytes | memoryview], *, mode: int = PUBLIC, durable: bool = False) -> None:
    """The same for several files, one after another in this order, and none before there was room for all."""
    new = {path: path.with_name(f"{path.name}.tmp") for path in contents}
    path = Path()
    try:
        for path, content in contents.items():
            new[path].unlink(missing_ok=True)  # one that a kill has left, or whatever else stands there
            with open(open_regular(new[path], os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode=mode), "wb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
        for path in contents:
            new[path].replace(path)
    except OSError as fault:
        for rest in new.values():
            with contextlib.suppress(OSError):
                rest.unlink(missing_ok=True)
        fault.filename = str(path)  # which a file that is open does not say
        raise


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder, which is gone in the end; first, those go that killed programs of the same person have left."""
    import tempfile  # as above

    _remove_left(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY) as name:
        lock = _lock_folder(name)
        try:
            yield Path(name)
        finally:
            if lock is not None:
                os.close(lock)


def _lock_folder(path: str | Path) -> int | None:
    """The number of an opened folder whose lock is this process's now; None of one that another has, and for none."""
    with contextlib.suppress(OSError):
        folder = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0))
        if lock_at_once(folder, without=False):
            return folder
        os.close(folder)
    return None


def _remove_left(place: Path) -> None:
    """Removes temporary folders that no living process has the lock of, where the system has such locks.

    One that is young may not be locked yet.
    """
    if sys.platform == "win32":
        return
    import shutil

    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            facts = entry.stat(follow_symlinks=False) if entry.name.startswith(_TEMPORARY) else None
            if not facts or facts.st_uid != os.geteuid() or time.time() - facts.st_mtime < _YOUNG:
                continue
            if (lock := _lock_folder(entry.path)) is not None:
                shutil.rmtree(entry.path, ignore_errors=True)  # which follows no link
                os.close(lock)


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
