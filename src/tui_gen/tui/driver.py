"""What crosses the line to the terminal: Textual repaints what may have changed, and only what has is written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from rich.cells import cell_len
from textual.app import App
from textual.driver import Driver

_MOVE = re.compile(r"\x1b\[(\d+);(\d+)H")
_STYLE = re.compile(r"\x1b\[([\d;]*)m")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PART = re.compile(r"[345]8;(?:5;\d+|2;\d+;\d+;\d+)|\d+")
"""One colour or attribute in the numbers of a style."""
_ALTERNATE_SCREEN = "\x1b[?1049"
_MOVE_BYTES = 8
"""Of moving the cursor: what takes fewer is written again rather than passed over."""


class Run(NamedTuple):
    """Characters of one style on a line."""

    style: str
    """The numbers of its escape sequence; empty for the terminal's own."""
    text: str


class TerminalContent:
    """What stands on the terminal, as far as it is known: runs of characters by row and column, counted from 1 on."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[int, Run]] = {}
        self._cursor = ""

    def forget(self) -> None:
        """Anything may stand there now."""
        self._rows, self._cursor = {}, ""

    def difference(self, update: str, height: int) -> str:
        """What of an update differs from what stands there, written with as few changes of style as it takes.

        update: as Textual writes it: moves of the cursor, each followed by styled characters. One of the whole screen,
        `height` rows, is written whole: it follows a change of the terminal's size, after which anything may stand
        there.
        """
        _, *parts = _MOVE.split(update)
        rows, columns, bodies = [int(row) for row in parts[::3]], [int(column) for column in parts[1::3]], parts[2::3]
        if rows[:height] == list(range(1, height + 1)) and set(columns[:height]) == {1}:
            self.forget()
        changes = "".join(map(self._change, rows, columns, (body.rstrip("\n") for body in bodies)))
        cursor = "" if bodies[-1] else f"\x1b[{rows[-1]};{columns[-1]}H"
        if not changes and cursor == self._cursor:
            return ""
        self._cursor = cursor
        return changes + cursor

    def _change(self, row: int, column: int, body: str) -> str:
        """What to write for a part of a row, which begins at a column."""
        texts = _STYLE.split(body)
        if not body:
            return ""
        if any(map(_CONTROL.search, texts[::2])):  # nothing that is known here
            self._rows.pop(row, None)
            return f"\x1b[{row};{column}H{body}"
        before, known = self._rows.get(row, {}), dict[int, Run]()
        written, style, end, start, is_certain = [""], "", 0, column, True
        for run in _runs(texts):
            width = cell_len(run.text)
            is_certain &= width == len(run.text)  # a terminal may take wide characters for narrow ones
            change = style_change(style, run.style)
            is_short = start == end and len(change + run.text) <= _MOVE_BYTES
            if not is_certain or before.get(start) != run or is_short:
                written += [f"\x1b[{row};{start}H" if start != end else "", change, run.text]
                style, end = run.style, start + width
            if is_certain:
                known[start] = run
            start += width
        beside = {at: run for at, run in before.items() if at >= start or at + len(run.text) <= column}
        self._rows[row] = beside | known
        return "".join(written) + ("\x1b[0m" if style else "")


def _runs(texts: list[str]) -> Iterator[Run]:
    """Of texts between which stand the numbers of a style; neighbours of the same style are one run."""
    style = run_style = run_text = ""
    for text, numbers in zip(texts[::2], ["0", *texts[1::2]], strict=True):
        style = "" if numbers in {"", "0"} else f"{style};{numbers}" if style else numbers
        if text and style != run_style and run_text:
            yield Run(run_style, run_text)
            run_text = ""
        if text:
            run_style, run_text = style, run_text + text
    if run_text:
        yield Run(run_style, run_text)


@lru_cache(maxsize=2**14)
def style_change(before: str, after: str) -> str:
    """The shortest escape sequence from one style to another: of two that differ in colours alone, those colours."""
    if before == after:
        return ""
    old, new = _style_parts(before), _style_parts(after)
    if old.keys() <= new.keys() and all(old[kind] == new[kind] for kind in old.keys() - {"ink", "ground"}):
        return f"\x1b[{';'.join(number for kind, number in new.items() if old.get(kind) != number)}m"
    return f"\x1b[{';'.join(['0', *new.values()])}m"


def _style_parts(style: str) -> dict[str, str]:
    """Ink, ground, and attributes by their own numbers."""
    parts: list[str] = _PART.findall(style)
    return {_kind(part): part for part in parts}


def _kind(part: str) -> str:
    number = int(part.partition(";")[0])
    if 30 <= number <= 39 or 90 <= number <= 97:
        return "ink"
    return "ground" if 40 <= number <= 49 or 100 <= number <= 107 else part


class SparingDriver(Driver):
    """Before a driver of Textual in the order of its bases, lets it write only what differs."""

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._content = TerminalContent()

    def write(self, data: str) -> None:
        """Writes to the terminal."""
        if _MOVE.match(data):
            data = self._content.difference(data, self._app.size.height)
        elif _ALTERNATE_SCREEN in data:
            self._content.forget()
        if data:
            super().write(data)  # type: ignore[safe-super]  # that of the driver


def sparing(driver: type[Driver]) -> type[Driver]:
    """The driver that writes only what differs."""
    return type(driver.__name__, (SparingDriver, driver), {})
