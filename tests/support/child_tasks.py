"""What a child process does in tests."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from tui_gen.child import Report


def echo(content: bytes, report: Report) -> None:
    """Reports how much it was given."""
    report(f"{len(content)} bytes")


def crash(content: bytes, report: Report) -> None:
    """Ends as by a fault of a library."""
    report("first")
    report("then this")
    os.abort()


def hang(content: bytes, report: Report) -> None:
    """Does nothing, for ever."""
    report("waiting")
    threading.Event().wait()


def hold(content: bytes, report: Report) -> None:
    """Keeps a pipe open, whose path it is given, for ever."""
    with Path(content.decode()).open("wb"):
        threading.Event().wait()


def grow(content: bytes, report: Report) -> None:
    """Takes 3 GB."""
    report("growing")
    bytearray(3 * 2**30)


def fail(content: bytes, report: Report) -> None:
    """Raises an error of two lines."""
    raise ValueError("one\ntwo")
