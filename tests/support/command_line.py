"""The command line in process: `main`, with streams of its own."""

from __future__ import annotations

import io
import os
import stat
import sys
import tempfile
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tui_gen.cli.main import main


class Terminal(io.FileIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Interrupted(io.RawIOBase):
    """A stdin on which Ctrl-C follows what was typed."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._content:
            raise KeyboardInterrupt
        content, self._content = self._content[: len(buffer)], self._content[len(buffer) :]
        buffer[: len(content)] = content
        return len(content)


class LeftPager(io.FileIO):
    """A stdout that waits for its reader when Ctrl-C comes, and then has none; what is dropped may be flushed."""

    waits = True

    def write(self, content: Any) -> int:
        if stat.S_ISCHR(os.fstat(self.fileno()).st_mode):  # the null device is in its place
            return super().write(content)
        self.waits, waits = False, self.waits
        raise KeyboardInterrupt if waits else BrokenPipeError


def run_main(
    *words: str,
    stdin: bytes | io.RawIOBase = b"",
    stdout: io.RawIOBase | None = None,
    terminal: bool = False,
    **variables: str,
) -> CompletedProcess[bytes]:
    """Calls `main`; what it writes goes to files, as `main` may put the null device in the place of its stdout.

    terminal: whether stdout says that it is one. variables: of the environment.
    """
    source = io.BytesIO(stdin) if isinstance(stdin, bytes) else io.BufferedReader(stdin)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        written, complaints = Path(folder) / "out", Path(folder) / "err"
        for name, value in variables.items():
            patch.setenv(name, value)
        raw = stdout or (Terminal if terminal else io.FileIO)(written, "w")
        with raw, complaints.open("w", encoding="utf-8") as stderr:
            patch.setattr(sys, "stdin", io.TextIOWrapper(source, encoding="utf-8"))
            patch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8"))
            patch.setattr(sys, "stderr", stderr)
            try:
                status: Any = main(words)
            except SystemExit as end:
                status = end.code or 0
            sys.stdout.flush()
        return CompletedProcess(words, status, b"" if stdout else written.read_bytes(), complaints.read_bytes())
