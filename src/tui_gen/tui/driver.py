"""What crosses the line to the terminal: Textual repaints what may have changed, and only what has is written; and how
the terminal is left and entered.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby, repeat
from operator import attrgetter
from typing import Any, NamedTuple

from rich.cells import cell_len, get_character_cell_size
from textual import events
from textual.app import App
from textual.driver import Driver
from textual.message import Message

from tui_gen.launcher import PATIENCE, PUT_BACK
from tui_gen.terminal_text import has_joints

if sys.platform != "win32":
    import termios

    from textual.drivers.linux_driver import LinuxDriver

_MOVE = re.compile(r"\x1b\[(\d+);(\d+)H")
_STYLE = re.compile(r"\x1b\[([\d;]*)m")
_BLANK = re.compile(r"( {8,})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PART = re.compile(r"[345]8;(?:5;\d+|2;\d+;\d+;\d+)|\d+")
"""One colour or attribute in the numbers of a style."""
_ALTERNATE_SCREEN = "\x1b[?1049"
_MOVE_BYTES = 8
"""Of moving the cursor: what takes fewer is written again rather than passed over."""
_INPUT_MODES, _LOCAL_MODES = 0, 3
"""Where these stand in what termios tells of a terminal."""
_SIGNALS_SECONDS = 0.05
"""Within which a signal that comes by two ways has come by both."""


class Run(NamedTuple):
    """Characters of one style on a line."""

    style: str
    """The numbers of its escape sequence; empty for the terminal's own."""
    text: str

    def is_narrow(self) -> bool:
        """Whether each character takes one cell."""
        return self.text.isascii() or {1}.issuperset(map(get_character_cell_size, set(self.text)))


class TerminalContent:
    """What stands on the terminal, as far as it is known: characters and their styles by row, from 1 on, and cell."""

    def __init__(self) -> None:
        self._rows = defaultdict[int, list[tuple[str, str] | None]](list)
        """None for a cell that is not known."""
        self._cursor = ""

    def forget(self) -> None:
        """Anything may stand there now."""
        self._rows.clear()
        self._cursor = ""

    def difference(self, update: str, height: int) -> str:
        """What of an update differs from what stands there.

        update: as Textual writes it: moves of the cursor, each followed by styled characters. One of the whole screen,
        `height` rows, is written whole: it follows a change of the terminal's size, after which anything may stand
        there.
        """
        _, *parts = _MOVE.split(update)
        rows, columns, bodies = [int(row) for row in parts[::3]], [int(column) for column in parts[1::3]], parts[2::3]
        if rows[:height] == list(range(1, height + 1)) and set(columns[:height]) == {1}:
            self.forget()
        output = _Output()
        for row, column, body in zip(rows, columns, bodies, strict=True):
            self._change(output, row, column, body.rstrip("\n"))
        changes, cursor = output.finish(), "" if bodies[-1] else f"\x1b[{rows[-1]};{columns[-1]}H"
        if not changes and cursor == self._cursor:
            return ""
        self._cursor = cursor
        return changes + cursor

    def _change(self, output: _Output, row: int, column: int, body: str) -> None:
        """Writes a part of a row, which begins at a column."""
        texts, cells = _STYLE.split(body), self._rows[row]
        if any(map(_CONTROL.search, texts[::2])):
            cells.clear()  # nothing that is known here
            output.pass_on(row, column, body)
            return
        is_certain = True
        for run in _runs(texts):
            width = cell_len(run.text)
            is_certain &= run.is_narrow()  # a terminal may take wide characters for narrow ones
            new: Sequence[tuple[str, str] | None] = list(zip(run.text, repeat(run.style))) if is_certain else [None]
            place = slice(column - 1, column - 1 + width)
            if not is_certain or cells[place] != new or output.is_short(row, column, run):
                output.put(row, column, run, width)
                cells += [None] * (place.start - len(cells))
                cells[place] = new if is_certain else [None] * width
            column += width


class _Output:
    """Characters for the terminal with as few moves of the cursor and changes of style as it takes."""

    def __init__(self) -> None:
        self._pieces, self._style, self._place = list[str](), "", (0, 0)

    def is_short(self, row: int, column: int, run: Run) -> bool:
        """Whether writing a run takes no more than to pass over it."""
        return self._place == (row, column) and len(style_change(self._style, run.style) + run.text) <= _MOVE_BYTES

    def put(self, row: int, column: int, run: Run, width: int) -> None:
        """Writes a run of so many cells."""
        move, style = f"\x1b[{row};{column}H", style_change(self._style, run.style)
        self._pieces += move if self._place != (row, column) else "", style
        if has_joints(run.text):  # of which a terminal may make fewer cells, or more
            self._pieces += " " * width, move
        self._pieces.append(run.text)
        self._style, self._place = run.style, (0, 0) if has_joints(run.text) else (row, column + width)

    def pass_on(self, row: int, column: int, body: str) -> None:
        """Writes something as it is, which may be anything."""
        self._pieces += self.finish(), f"\x1b[{row};{column}H{body}"
        self._place = 0, 0

    def finish(self) -> str:
        """All of it; the next begins with the terminal's own style."""
        output = "".join(self._pieces) + ("\x1b[0m" if self._style else "")
        self._pieces, self._style = [], ""
        return output


def _runs(texts: list[str]) -> Iterator[Run]:
    """Of texts between which stand the numbers of a style; neighbours of one style are one run, long blanks another."""
    style, runs = "", list[Run]()
    for numbers, text in zip(["0", *texts[1::2]], texts[::2], strict=True):
        style = "" if numbers in {"", "0"} else f"{style};{numbers}" if style else numbers
        runs += [Run(style, text)] if text else []
    for style, group in groupby(runs, key=attrgetter("style")):
        text = "".join(run.text for run in group)
        yield from (Run(style, piece) for piece in _BLANK.split(text) if piece)


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


def no_shell_waits() -> bool:
    """Whether nobody could bring this program back: a terminal or a script has started it, the first of a session."""
    return sys.platform == "win32" or os.getsid(0) == os.getpgrp()


def end_soon(app: App[Any]) -> None:
    """Ends the process without the app where that is too busy to leave; one that is leaving has twice as long."""

    def end() -> None:
        time.sleep(PATIENCE)
        if app._exit:
            time.sleep(PATIENCE)
        os._exit(0)

    threading.Thread(target=end, name="quit", daemon=True).start()


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


if sys.platform != "win32":

    class TerminalDriver(SparingDriver, LinuxDriver):
        """Of a terminal of POSIX, which may be taken away and given back at any moment.

        Textual enters a terminal once more when it goes on after SIGSTOP, and restores what it finds then; and it does
        so within a signal's handler, where the queue of its writer may be locked (`LinuxDriver._sigcont_application`).
        """

        def __init__(self, app: App[Any], **facts: Any) -> None:
            super().__init__(app, **facts)
            self._returning: asyncio.TimerHandle | None = None
            with contextlib.suppress(OSError):  # in a container it may have no name
                self.fileno = os.open(os.ttyname(self.fileno), os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)

        def run_input_thread(self) -> None:
            """Reads what is typed."""
            try:
                super().run_input_thread()
            except BlockingIOError:  # a shell that has the terminal meanwhile was faster
                self.run_input_thread()
            except OSError:
                self._loop.call_soon_threadsafe(self._app.exit, None, 128 + signal.SIGHUP)

        def write(self, data: str) -> None:
            """Writes to the terminal; nowhere while it is a shell's, or gone."""
            if self._writer_thread is not None and self._writer_thread.is_alive():
                super().write(data)

        def process_message(self, message: Message) -> None:
            """Hands on what was typed. Quits without the app where that is too busy to hear of it."""
            super().process_message(message)
            if isinstance(message, events.Key):
                bindings = self._app._bindings.key_to_bindings.get(message.key, [])
                if any(binding.action == "quit" and binding.priority for binding in bindings):  # unlike a letter's
                    end_soon(self._app)  # the parent puts the terminal back

        def start_application_mode(self) -> None:
            """Asks the terminal for what a screen takes. The line discipline comes first: as soon as there is anything
            to take back it tells so, and no key ends this process.
            """
            before = None
            with contextlib.suppress(termios.error):
                before = termios.tcgetattr(self.fileno)
                raw = termios.tcgetattr(self.fileno)
                raw[_INPUT_MODES] = self._patch_iflag(raw[_INPUT_MODES])  # in which ctrl+q and ctrl+s are no keys
                raw[_LOCAL_MODES] = self._patch_lflag(raw[_LOCAL_MODES])
                termios.tcsetattr(self.fileno, termios.TCSANOW, raw)
            super().start_application_mode()  # type: ignore[no-untyped-call]
            self.attrs_before = before

        def stop_application_mode(self) -> None:
            """Takes back all that the terminal was asked for, but the line discipline."""
            self.write(PUT_BACK)
            self.disable_input()

        def disable_input(self) -> None:
            """Reads no more. Where a shell has the terminal, its input is not touched: that would stop this process."""
            if self._writer_thread is not None:
                super().disable_input()

        def close(self) -> None:
            """Writes what is not written yet. The line discipline comes last, for it tells that all is done."""
            super().close()
            self._writer_thread = None
            if self.attrs_before is not None:
                with contextlib.suppress(termios.error):
                    termios.tcsetattr(self.fileno, termios.TCSANOW, self.attrs_before)
            self.attrs_before = None

        def _sigtstp_application(self, *_: object) -> None:
            if not no_shell_waits():  # as a system does it with programs that have no handler
                self._loop.call_soon_threadsafe(self._suspend)

        def _sigcont_application(self, *_: object) -> None:
            self._loop.call_soon_threadsafe(self._return_soon)

        def _suspend(self) -> None:
            """Stops this process; not twice, where both the shell and the parent ask for it."""
            if self._writer_thread is not None:
                self.suspend_application_mode()
                os.kill(os.getpid(), signal.SIGSTOP)

        def _return_soon(self) -> None:
            """Once, where both the shell and the parent let this process go on."""
            if self._returning is None:
                self._returning = self._loop.call_later(_SIGNALS_SECONDS, self._return)

        def _return(self) -> None:
            """Enters the terminal anew; leaves it before, if it was stopped as it was: anybody may have changed it."""
            self._returning = None
            if self._app._exit or not self._app.is_running:
                return
            if self._writer_thread is not None:
                self.suspend_application_mode()
            self._must_signal_resume = True
            self.resume_application_mode()


def sparing(driver: type[Driver]) -> type[Driver]:
    """The driver that writes only what differs."""
    if sys.platform != "win32" and driver is LinuxDriver:
        return TerminalDriver
    return type(driver.__name__, (SparingDriver, driver), {})
