"""Word wrap of a text that only grows: lines that are full are never looked at again."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from rich.cells import cell_len, chop_cells

_CHARACTERS_A_CELL = 4
"""How many may share a cell, such as a letter and its accents; what is beyond is not looked at for a line."""


class Line(NamedTuple):
    """A line on the screen, and where in the text it begins."""

    start: int
    text: str

    def offset_at(self, cell: int) -> int:
        """Where in the text the character in a cell stands; past the line's end, its last one."""
        head = chop_cells(self.text, cell + 1)[:1]
        return self.start + max(0, len("".join(head)) - 1)


class Wrapped:
    """Text of a given width in terminal cells. Breaks at spaces, or inside a word that is longer than a line."""

    def __init__(self, width: int) -> None:
        self.width = max(1, width)
        self._reach = _CHARACTERS_A_CELL * self.width
        self.lines: list[Line] = [Line(0, "")]
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        """All of it, as it was appended."""
        return "".join(self._parts)

    def append(self, text: str) -> int:
        """Adds text; returns the number of the first line that changed."""
        self._parts.append(text)
        first = len(self.lines) - 1
        open_line = self.lines.pop()
        start = open_line.start
        for number, piece in enumerate((open_line.text + text).split("\n")):
            start += number > 0  # the newline itself
            start = self._wrap(start, piece)
        return first

    def line_at(self, offset: int) -> int:
        """The number of the line that a character stands in."""
        return max(0, bisect_right(self.lines, offset, key=lambda line: line.start) - 1)

    def resized(self, width: int) -> Wrapped:
        """The same text at another width."""
        wrapped = Wrapped(width)
        wrapped.append(self.text)
        return wrapped

    def _wrap(self, start: int, piece: str) -> int:
        """Adds the lines of a piece without newlines; returns where it ends."""
        end = start + len(piece)
        while not self._fits(piece):
            head, rest = self._split(piece)
            self.lines.append(Line(start, head))
            start, piece = end - len(rest), rest
        self.lines.append(Line(start, piece))
        return end

    def _fits(self, piece: str) -> bool:
        return len(piece) <= self._reach and cell_len(piece) <= self.width

    def _split(self, piece: str) -> tuple[str, str]:
        head = chop_cells(piece[: self._reach], self.width)[0] or piece[0]
        if piece[len(head)] == " ":
            return head, piece[len(head) + 1 :]
        space = head.rfind(" ")
        return (head[:space], piece[space + 1 :]) if space > 0 else (head, piece[len(head) :])
