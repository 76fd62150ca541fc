"""The files that journals are kept in: one for each sitting, of which the newest stay, and those that still grow."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from tui_gen.files import lock_at_once, replace_private, state_folder

KEPT = 50
"""Journals that stay, the newest."""
_OURS = re.compile(r"\d{4}-\d\d-\d\d-\d{6}-.*\.jsonl")
_UNSAFE = re.compile(r"[^A-Za-z0-9.]+")
_LONGEST = 40
"""Characters of a model's name that a file's name takes."""


def journal_folder() -> Path:
    """Where journals are kept on this system."""
    return state_folder() / "sessions"


class JournalFile:
    """A new file that grows. Everything here raises OSError where the disk is at fault.

    It is locked as long as this process lives, by which others know that it still grows.
    """

    def __init__(self, folder: Path, model: str) -> None:
        """Named by date, time and model; older ones than the newest `KEPT` are deleted."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path, self._file = _create(folder, f"{datetime.now():%Y-%m-%d-%H%M%S}-{_harmless(model)}")
        lock_at_once(self._file, without=True)
        _tidy(folder)

    def write(self, text: str) -> None:
        """Adds a text, which is with the system when this returns, and survives the end of this program."""
        content = text.encode("ascii")
        while content:
            content = content[os.write(self._file, content) :]

    def rewrite(self, text: str) -> None:
        """Puts a text in the place of all that was written, at once: the file is never half of it."""
        os.close(self._file)  # for Windows replaces no file that is open
        try:
            replace_private(self.path, text.encode("ascii"))
        finally:
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))
            lock_at_once(self._file, without=True)

    def close(self) -> None:
        """Nothing can be written any more."""
        os.close(self._file)


def _create(folder: Path, stem: str) -> tuple[Path, int]:
    for path in _candidates(folder, stem):
        with contextlib.suppress(FileExistsError):
            return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    raise AssertionError("there is always another name")


def _candidates(folder: Path, stem: str) -> Iterator[Path]:
    yield folder / f"{stem}.jsonl"
    number = 1
    while True:
        number += 1
        yield folder / f"{stem}-{number}.jsonl"


def _harmless(model: str) -> str:
    return _UNSAFE.sub("-", model)[:_LONGEST].strip("-.") or "model"


def left_behind(since: float) -> Path | None:
    """The newest journal that was written to after a time, and of which no process lives any more."""
    ours = [path for path in _journals(journal_folder()) if _age(path)[0] >= since and not _lives(path)]
    return ours[-1] if ours else None


def _tidy(folder: Path) -> None:
    """Deletes old journals and nothing else. One that still grows is not old."""
    for path in _journals(folder)[:-KEPT]:
        with contextlib.suppress(OSError):
            if not _lives(path):
                path.unlink(missing_ok=True)


def _journals(folder: Path) -> list[Path]:
    """The newest last."""
    with contextlib.suppress(OSError):
        return sorted((path for path in folder.iterdir() if _OURS.fullmatch(path.name)), key=_age)
    return []


def _age(path: Path) -> tuple[float, str]:
    with contextlib.suppress(OSError):
        return path.lstat().st_mtime, path.name
    return 0.0, path.name


def _lives(path: Path) -> bool:
    """Whether a process has it open to write to it; Windows deletes no file that is open."""
    with contextlib.suppress(OSError):
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
        try:
            return not lock_at_once(file, without=True)
        finally:
            os.close(file)
    return False
