"""A program on a pseudo terminal, driven by keys and watched like a person would."""

from __future__ import annotations

import contextlib
import os
import re
import select
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

with contextlib.suppress(ImportError):  # Windows has none of these
    import fcntl
    import pty
    import termios

SIZE = 80, 24
"""Columns and lines."""
_COLOURS = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
_READ = 1 << 16
_LONGEST_MATCH = 1000
AVAILABLE = "pty" in globals()
"""Whether this system has pseudo terminals."""


class Terminal:
    """Runs a program and keeps what it writes; use it in a `with` statement, which ends the program."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        size: tuple[int, int] = SIZE,
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self.output, self.began = b"", time.perf_counter()
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env={**os.environ, **_COLOURS, **(environment or {})}
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the program if it still runs."""
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def type(self, keys: str) -> float:
        """Presses keys; returns when, on the clock of `until`."""
        os.write(self._master, keys.encode())
        return time.perf_counter()

    def read(self, seconds: float) -> bool:
        """Keeps what comes next, if anything does in that time; returns whether the program may write more."""
        if select.select([self._master], [], [], seconds)[0]:
            try:
                self.output += os.read(self._master, _READ)
            except OSError:  # the other side is closed
                return False
        return True

    def settle(self, seconds: float = 0.2) -> None:
        """Reads until nothing has come for so long."""
        seen = -1
        while len(self.output) > seen:
            seen = len(self.output)
            self.read(seconds)

    def until(self, pattern: bytes, *, after: int = 0, seconds: float = 30) -> tuple[float, re.Match[bytes]]:
        """Waits for output that matches, in what came after so many bytes; returns when it was there, and the match.

        Raises TimeoutError if it does not come.
        """
        wanted, end = re.compile(pattern), time.perf_counter() + seconds
        while not (found := wanted.search(self.output, after)):
            after = max(after, len(self.output) - _LONGEST_MATCH)
            if time.perf_counter() > end or not self.read(0.1):
                raise TimeoutError(f"{pattern!r} was not written; the last was {self.output[-200:]!r}")
        return time.perf_counter(), found

    def wait(self) -> int:
        """Reads until the program has ended; returns its exit status."""
        while self.process.poll() is None:
            self.read(0.1)
        self.read(0)
        return self.process.returncode

    def peak_megabytes(self) -> float:
        """The most memory that the running program had so far; 0 where the system does not say."""
        status = Path(f"/proc/{self.process.pid}/status")
        if not status.exists():
            return 0.0
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii", errors="replace"))
        return int(found[1]) * 1024 / 1e6 if found else 0.0
