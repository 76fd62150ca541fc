"""The prompts that were used, of all models and sessions: one file that every screen adds to."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tui_gen.errors import TuiGenError
from tui_gen.files import lock_at_once, open_regular, replace_private, state_folder
from tui_gen.json_fields import JsonFields, parse_json

MOST = 2000
"""Prompts that stay, the newest."""
LONGEST = 20_000
"""Characters of a prompt that is kept."""
_SHORT = 2 * MOST * len('{"model": "m", "text": "t"}')
"""Bytes of a file that cannot have too many lines."""
_MOST_BYTES = 2**23
"""Of the file that are read, at its end; one of so many, or with twice as many prompts, is cut to the newest."""


class PastPrompt(NamedTuple):
    """A prompt as it was typed, with its newlines, and the name of the model that read it."""

    model: str
    text: str


class PromptHistory:
    """Prompts in the order of their use, the newest last. Nothing here fails: `take_fault` says what could not be."""

    def __init__(self, path: Path | None = None) -> None:
        """path: the file, in place of the user's own."""
        self._path = path or state_folder() / "prompts.jsonl"
        self._unwritten: list[PastPrompt] = []
        self._fault, self._has_told = "", False

    def prompts(self) -> list[PastPrompt]:
        """Those of the file, also what other screens have added by now, then those that it could not take."""
        return [*reversed(list(self._newest_first()))][-MOST:]

    def add(self, model: str, text: str) -> None:
        """Takes note of a prompt; not of an empty one, of a huge one, nor of the newest one again."""
        prompt = PastPrompt(model, text)
        if not text.strip() or len(text) > LONGEST or next(self._newest_first(), None) == prompt:
            return
        try:
            if not self._unwritten:  # after which the file would have them in another order
                _append(self._path, prompt)
                return
        except OSError as fault:
            self._fault = f"prompts are not kept in {self._path}: {fault.strerror or fault}"
        self._unwritten.append(prompt)

    def take_fault(self) -> str:
        """Why the file does not take prompts, told once; empty while all is well."""
        fault = "" if self._has_told else self._fault
        self._has_told = bool(self._fault)
        return fault

    def _newest_first(self) -> Iterator[PastPrompt]:
        yield from reversed(self._unwritten)
        try:
            lines = _last_lines(self._path)
        except OSError:  # there is none yet; one that cannot be read cannot be written either, which is told then
            return
        yield from filter(None, map(_parse, reversed(lines)))


def _append(path: Path, prompt: PastPrompt) -> None:
    """In one write, so that several screens never mix their lines. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    line = json.dumps(prompt._asdict()).encode("ascii") + b"\n"
    with _lock(path.parent) as locked:
        file = open_regular(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        with open(file, "rb", buffering=0) as stream:
            size = os.fstat(file).st_size
            stream.seek(max(0, size - 1))
            content = (b"\n" if stream.read(1) not in (b"", b"\n") else b"") + line  # a line that was cut ends here
            if os.write(file, content) < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if locked:
            _tidy(path, size)


def _tidy(path: Path, size: int) -> None:
    """Cuts a file that has become too long to its newest lines; it is whole at any moment."""
    if size < _SHORT:
        return
    lines = _last_lines(path)
    if len(lines) <= 2 * MOST and size < _MOST_BYTES:
        return
    replace_private(path, b"".join(line + b"\n" for line in _newest(lines, _MOST_BYTES // 2)))


def _newest(lines: list[bytes], most: int) -> list[bytes]:
    """The last lines that have no more bytes than `most` together, at most `MOST` of them."""
    first, room = len(lines), most
    while first > max(0, len(lines) - MOST) and (room := room - len(lines[first - 1]) - 1) >= 0:
        first -= 1
    return lines[first:]


def _last_lines(path: Path) -> list[bytes]:
    """The lines at the end of a file. Raises OSError."""
    with open(open_regular(path), "rb") as stream:
        skipped = max(0, os.fstat(stream.fileno()).st_size - _MOST_BYTES)
        stream.seek(skipped)
        lines = stream.read(_MOST_BYTES).split(b"\n")[1 if skipped else 0 :]
    return [line for line in lines if line]


def _parse(line: bytes) -> PastPrompt | None:
    """None for what is no line of ours, such as one that was cut when a disk was full."""
    try:
        values = parse_json(line)
        fields = JsonFields(values if isinstance(values, dict) else {}, "")
        prompt = PastPrompt(fields.text("model"), fields.text("text"))
    except TuiGenError:
        return None
    return prompt if prompt.text.strip() and len(prompt.text) <= LONGEST else None


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Whether no other screen is just adding; one that holds the lock is not waited for."""
    if sys.platform == "win32":
        yield True
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        yield lock_at_once(file, without=False)
    finally:
        os.close(file)
