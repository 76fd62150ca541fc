"""Where a command writes: a file or stdout, and remarks on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import BinaryIO

from tui_gen.errors import TuiGenError
from tui_gen.scrub import scrub_line
from tui_gen.writers import Writer


def say(*lines: str) -> None:
    """Tells things on stderr, each in one line."""
    for line in lines:
        print(f"tui-gen: {scrub_line(line)}", file=sys.stderr)


@contextlib.contextmanager
def closing(writer: Writer) -> Iterator[Writer]:
    """Closes it also after an interruption: what was made stays. A reader that has gone is no second error."""
    try:
        yield writer
    finally:
        with contextlib.suppress(BrokenPipeError) if sys.exc_info()[0] else contextlib.nullcontext():
            writer.close()


@contextlib.contextmanager
def destination(path: str | None) -> Iterator[BinaryIO]:
    """A file to write to; stdout, if no path is given. Raises TuiGenError for one that cannot be written or that is
    there already: nothing is overwritten.
    """
    if path is None:
        if sys.stdout is None:
            raise TuiGenError("stdout is closed; add -o FILE")
        yield sys.stdout.buffer
        return
    try:
        file = open(path, "wb" if _is_device(path) else "xb")  # noqa: SIM115
    except FileExistsError as fault:
        raise TuiGenError(f"{path} exists already and is left as it is; choose another name") from fault
    except OSError as fault:
        raise TuiGenError(f"{path} cannot be written: {fault.strerror}") from fault
    with file:
        yield file


def _is_device(path: str) -> bool:
    """Such as a terminal or a pipe, which holds nothing that could be lost."""
    return os.path.exists(path) and not os.path.isfile(path)
