"""The text of a sample as a screen shows it, with the span of characters that each token wrote."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

from tui_gen.terminal_text import PieceScrubber
from tui_gen.text.codec import TextReader

BLOCK = 512
"""Tokens whose text is found out together, token by token, when somebody asks for one of them."""
_CONTEXT = 16
"""Tokens before them that a reader is given first: how a token is written may depend on those before it."""
_TAB = "    "


class Transcript:
    """Grows at its end. Tokens are read many at once; what a single one wrote is found out when it is asked for."""

    def __init__(self, reader: Callable[[], TextReader]) -> None:
        self._new_reader, self._reader, self._scrubber = reader, reader(), PieceScrubber()
        self._tokens: list[int] = []
        self._parts: list[str] = []
        self._firsts: list[int] = []
        self._starts: list[int] = []
        self._ends_of: dict[int, list[int]] = {}
        self.length = 0
        """Characters."""

    def __len__(self) -> int:
        """Tokens."""
        return len(self._tokens)

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self._parts)

    def append(self, tokens: Sequence[int]) -> str:
        """Adds tokens; returns the text that they add, harmless to a terminal."""
        return "".join(self._append(tokens[at : at + BLOCK]) for at in range(0, len(tokens), BLOCK))

    def span(self, number: int) -> tuple[int, int]:
        """Where the text of a token begins and ends; they are equal for one that only completes a later character."""
        part = bisect_right(self._firsts, number) - 1
        ends = self._part_ends(part)
        at = number - self._firsts[part]
        return (ends[at - 1] if at else self._starts[part]), ends[at]

    def written(self, number: int) -> str:
        """The text of a token."""
        part = bisect_right(self._firsts, number) - 1
        start, end = (offset - self._starts[part] for offset in self.span(number))
        return self._parts[part][start:end]

    def token_at(self, offset: int) -> int:
        """The number of the token that wrote the character at an offset; the last one past the end."""
        part = max(0, bisect_right(self._starts, offset) - 1)
        while part + 1 < len(self._starts) and self._starts[part + 1] == self._starts[part]:
            part += 1
        return min(self._firsts[part] + bisect_right(self._part_ends(part), offset), len(self) - 1)

    def _append(self, tokens: Sequence[int]) -> str:
        text = _printable(self._scrubber, self._reader.read_all(tokens))
        self._firsts.append(len(self._tokens))
        self._starts.append(self.length)
        self._parts.append(text)
        self._tokens += tokens
        self.length += len(text)
        return text

    def _part_ends(self, part: int) -> list[int]:
        """Where each token of a part ends."""
        if part not in self._ends_of:
            first = self._firsts[part]
            past = self._firsts[part + 1] if part + 1 < len(self._firsts) else len(self._tokens)
            self._ends_of[part] = self._read_singly(first, past, self._starts[part], len(self._parts[part]))
        return self._ends_of[part]

    def _read_singly(self, first: int, past: int, start: int, length: int) -> list[int]:
        reader, scrubber = self._new_reader(), PieceScrubber()
        for token in self._tokens[max(0, first - _CONTEXT) : first]:
            _printable(scrubber, reader.read(token))
        ends, end = [], start
        for token in self._tokens[first:past]:
            end = min(end + len(_printable(scrubber, reader.read(token))), start + length)
            ends.append(end)
        ends[-1] = start + length  # whatever a reader makes of a beginning in the middle, the part ends where it ends
        return ends


def _printable(scrubber: PieceScrubber, text: str) -> str:
    return scrubber.scrub(text).replace("\t", _TAB)
