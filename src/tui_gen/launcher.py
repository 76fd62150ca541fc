"""The screen in a process of its own, and its parent, which puts the terminal back whatever ends the screen.

The shell knows the parent. It is forked before anything heavy is loaded, and waits: what is sent to it, it hands on; it
stops when the screen stops, and ends with the screen's exit status. The screen ends when its parent is gone. In a
browser there is no terminal to put back, and one process.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

from tui_gen.terminal_text import say

if sys.platform != "win32":
    import termios

PUT_BACK = "".join(
    [
        "\x1b\\",  # ends what may have been cut in its middle
        "\x1b[?2026l",  # what is written is shown at once
        *(f"\x1b[?{mode}l" for mode in (1000, 1003, 1015, 1006, 1016)),  # mouse
        "\x1b[?1004l\x1b[?2004l\x1b[?2048l",  # focus, pastes, sizes
        "\x1b[?7h",  # long lines wrap
        "\x1b[<u",  # the keyboard protocol, which each of the two screens has for itself
        "\x1b]22;\x07",  # the pointer's shape
        "\x1b[0m\x1b[?1049l\x1b[?25h",  # colours, the other screen, cursor
    ]
)
"""Takes back everything that the screen asks a terminal for."""
PATIENCE = 0.8
"""Seconds that the screen has to end when it is asked to, or when its parent is gone."""
_ENDING = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM")
_OTHERS = ("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGTSTP", "SIGCONT", "SIGCHLD")


def in_browser() -> bool:
    """Whether this process shows its screen in a browser: a server of Textual's, which has started it, says so."""
    return os.environ.get("TEXTUAL_DRIVER", "").endswith(":WebDriver")


def outlive(run: Callable[[], int], rescue: Callable[[], str] = str) -> int:
    """Runs what shows a screen on the terminal of stdin and stdout; returns its exit status, as a shell would have it.
    In a browser, ends the process with it.

    rescue: what a person can do after a sudden end, if anything, to be told beside what it was.
    """
    if in_browser():
        _end_with(run)
    if sys.platform == "win32" or not all(stream and stream.isatty() for stream in (sys.stdin, sys.stdout)):
        return run()
    state, (lifeline, end) = TerminalState(), os.pipe()
    numbers = {getattr(signal, name) for name in (*_ENDING, *_OTHERS)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        child = os.fork()
    except OSError:  # no process can be had; the screen does without
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return run()
    if child == 0:
        os.close(end)
        signal.signal(signal.SIGINT, _interrupt_once)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        threading.Thread(target=_follow_parent, args=(lifeline,), name="lifeline", daemon=True).start()
        _end_with(run)
    os.close(lifeline)
    return _Watch(child, state, numbers, before).until_end(rescue)


class TerminalState:
    """The line discipline of the terminal on stdin, as it is found.

    The screen takes its changes of that back last, so that it tells whether there is anything else to take back.
    """

    def __init__(self) -> None:
        self._attributes = list[Any]()
        self.look()

    def look(self) -> None:
        """Takes note of it, unless that was done; while another program has the terminal, it is not ours to keep."""
        if not self._attributes and has_terminal():
            self._attributes = self._read()

    def put_back(self) -> None:
        """Makes the terminal what it was; not one that is gone by now, or that another program has."""
        if sys.platform == "win32" or not self._attributes or not has_terminal():
            return
        if self._read() in ([], self._attributes):
            return
        with contextlib.suppress(termios.error):
            termios.tcflush(0, termios.TCIOFLUSH)  # what is not shown yet, and movements of the mouse
            termios.tcsetattr(0, termios.TCSANOW, self._attributes)
        _write(PUT_BACK)

    def _read(self) -> list[Any]:
        if sys.platform != "win32":
            with contextlib.suppress(termios.error):
                return termios.tcgetattr(0)
        return []


def has_terminal() -> bool:
    """Whether it is this program's, as far as anybody decides about that."""
    try:
        return sys.platform == "win32" or os.tcgetpgrp(0) == os.getpgrp()
    except OSError:  # it is nobody's
        return True


def _write(text: str) -> None:
    """Writes to the terminal. It may no longer take what it gets, which is not waited for where it can be opened."""
    file = 1
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            file = os.open(os.ttyname(1), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    with contextlib.suppress(OSError):
        os.write(file, text.encode())
    if file != 1:
        os.close(file)


def _interrupt_once(*_: object) -> None:
    """The keyboard interrupts this process and its parent, which hands it on: once is enough."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_with(run: Callable[[], int]) -> NoReturn:
    """Runs the screen, and ends the process without waiting for any thread."""
    status = 1
    try:
        status = run()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _follow_parent(lifeline: int) -> None:
    """Ends this process when the parent was killed: as when a terminal is closed, and if that takes long, at once.

    lifeline: a pipe whose other end the parent has.
    """
    if sys.platform != "win32":
        os.read(lifeline, 1)
        os.kill(os.getpid(), signal.SIGHUP)
        time.sleep(PATIENCE)
        os._exit(128 + signal.SIGHUP)


class _Watch:
    """The parent, from the fork to the child's end."""

    def __init__(self, child: int, state: TerminalState, numbers: set[signal.Signals], mask: set[Any]) -> None:
        """numbers: the signals that are heard. mask: those that are blocked while it waits."""
        self._child, self._state, self._request, self._deadline = child, state, 0, 0.0
        self._signals, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, _hear)
        self._poll = select.poll()
        self._poll.register(self._signals, select.POLLIN)
        self._poll.register(0, 0)  # which tells of a terminal that is gone, and of nothing else
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def until_end(self, rescue: Callable[[], str]) -> int:
        """Waits for the child, puts the terminal back, and tells what nobody asked for; returns the exit status."""
        while (status := self._status()) is None:
            self._hand_on_signals()
        self._state.put_back()
        if status < 0 and not self._request:
            say("; ".join(filter(None, [f"the screen was ended by {_described(-status)}", rescue()])))
        return status if status >= 0 else 128 + (self._request or -status)

    def _hand_on_signals(self) -> None:
        """Waits until something has happened, and gives the child the signals that came."""
        numbers = list[int]()
        for file, events in self._poll.poll(self._milliseconds()):
            if file == self._signals:
                numbers += os.read(file, 64)
                continue
            self._poll.unregister(file)
            if events & select.POLLHUP:  # else this system cannot tell
                numbers.append(signal.SIGHUP)
        for number in numbers:
            if signal.Signals(number).name in _ENDING and not self._request:
                self._request, self._deadline = number, time.monotonic() + PATIENCE
            if number != signal.SIGCHLD:
                os.kill(self._child, number)

    def _milliseconds(self) -> int | None:
        return max(0, round((self._deadline - time.monotonic()) * 1000)) + 1 if self._deadline else None

    def _status(self) -> int | None:
        """How the child has ended: its exit status, or less than 0 for a signal's number; None while it lives.

        If it has stopped, stops too, unless it is to end: the shell lets both go on.
        """
        if self._deadline and time.monotonic() > self._deadline:
            os.kill(self._child, signal.SIGKILL)
        child, status = os.waitpid(self._child, os.WNOHANG | os.WUNTRACED)
        if child and not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status)
        if child and not self._request:
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)  # which has no effect where no shell waits
            os.kill(os.getpid(), signal.SIGTSTP)
            signal.signal(signal.SIGTSTP, _hear)
            self._state.look()
        return None


def _described(number: int) -> str:
    """A signal."""
    words = f"{signal.Signals(number).name} ({signal.strsignal(number)})"
    return f"{words}: perhaps memory ran out" if number == signal.SIGKILL else words


def _hear(*_: object) -> None:
    """The number is in the pipe."""
