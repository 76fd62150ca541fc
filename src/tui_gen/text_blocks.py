"""A text of any length in blocks that can be tokenized one by one, as if it had been tokenized whole."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator

from tui_gen.errors import TuiGenError

BLOCK = 2**16
"""Bytes that are read at once, and characters without white space at which a block ends in the middle of a word."""
_WHITE = " \t\n"


def text_blocks(file: io.BufferedIOBase, name: str) -> Iterator[str]:
    """Blocks that joined are the text, with its line ends as newlines and without a byte order mark.

    A block ends before white space, where tokenizers of words and of pieces of words split anyway. One without any in
    64 Ki characters ends there: that changes nothing for characters, and makes two tokens of a word of this length.
    What comes from a pipe is handed on as it comes, but for the last word. Raises TuiGenError, which calls the file by
    the name, for bytes that are no UTF-8 text.
    """
    pending = ""
    for text in _decoded(file, name):
        pending += text
        if cut := _cut(pending):
            yield pending[:cut]
            pending = pending[cut:]
    if pending:
        yield pending


def _cut(text: str) -> int:
    """How many characters make a block; 0 if it may go on."""
    last = max(map(text.rfind, _WHITE))
    before = len(text[: last + 1].rstrip(_WHITE))
    return before or (len(text) if len(text) >= BLOCK else 0)


def _decoded(file: io.BufferedIOBase, name: str) -> Iterator[str]:
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")(), translate=True)
    read, block = 0, b"?"
    while block:
        block = file.read1(BLOCK)
        _refuse_nul(block, read, name)
        read += len(block)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as fault:
            wrong = f"it goes wrong at byte {read - len(fault.object) + fault.start}"
            raise TuiGenError(f"{name} is not UTF-8 text: {wrong}; convert it to UTF-8") from fault
        yield text


def _refuse_nul(block: bytes, read: int, name: str) -> None:
    place = block.find(0)
    if place >= 0:
        raise TuiGenError(f"{name} is not UTF-8 text: it has a NUL at byte {read + place}; convert it to UTF-8")
