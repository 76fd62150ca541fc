"""The file of a journal: private, of a name of its own, and on the disk line by line."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

KEPT = 50
"""Journals that stay, the newest."""
_OURS = re.compile(r"\d{4}-\d\d-\d\d-\d{6}-.*\.jsonl")
_UNSAFE = re.compile(r"[^A-Za-z0-9.]+")
_LONGEST = 40
"""Characters of a model's name that a file's name takes."""


class JournalFile:
    """A new file that grows. Everything here raises OSError where the disk is at fault."""

    def __init__(self, folder: Path, model: str) -> None:
        """Named by date, time and model; older ones than the newest `KEPT` are deleted."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path, self._file = _created(folder, f"{datetime.now():%Y-%m-%d-%H%M%S}-{_harmless(model)}")
        _tidy(folder)

    def write(self, text: str) -> None:
        """Adds a text, which is with the system when this returns, and survives the end of this program."""
        content = text.encode("ascii")
        while content:
            content = content[os.write(self._file, content) :]

    def close(self) -> None:
        """Nothing can be written any more."""
        os.close(self._file)


def _created(folder: Path, stem: str) -> tuple[Path, int]:
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


def _tidy(folder: Path) -> None:
    """Deletes old journals and nothing else. One that is still written to is not old."""
    with contextlib.suppress(OSError):
        ours = [path for path in folder.iterdir() if _OURS.fullmatch(path.name)]
        for path in sorted(ours, key=_age)[:-KEPT]:
            path.unlink(missing_ok=True)


def _age(path: Path) -> tuple[float, str]:
    with contextlib.suppress(OSError):
        return path.lstat().st_mtime, path.name
    return 0.0, path.name
