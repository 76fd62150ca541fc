"""Runs a function of ours on foreign bytes in a child process, which may crash, hang or take all the memory it gets.

Such a function, a task, is told the bytes and a way to report what it is about to do: so a crash has a place. The child
has limits of its own, and dies with its parent.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from queue import SimpleQueue
from typing import IO

from tui_gen.errors import TuiGenError

Report = Callable[[str], None]
"""Takes a line that says what is done next."""
Reply = Callable[[str], str | None]
"""The same; what it returns, a line, is sent to the child, whose task waits for it in `receive`."""
_CODE = "import sys; from tui_gen.child import serve; serve(sys.argv[1])"
_FAILED = 1
_STAGE, _FAULT = "stage", "fault"
"""How a line begins that the child prints: with what it is about to do, or with a fault and its kind."""
_LONGEST = 2**25
"""Bytes of a report."""
_LOOK = 0.1
"""Seconds after which one looks again whether a child is still wanted."""
_BUSY = 2
"""How many times as long as its time a child may take by the clock, on a machine that others use."""
_DIE_WITH_PARENT = 1
"""Linux's PR_SET_PDEATHSIG."""
_WINDOWS_EXCEPTION = 0xC0000000
"""The least exit status of a program that Windows ended for a fault such as a bad memory access."""
_OUT_OF_TIME = -signal.SIGXCPU if sys.platform != "win32" else None
_children: set[subprocess.Popen[bytes]] = set()
_replies = SimpleQueue[str]()
"""In the child: what was said to its reports."""


@dataclass(frozen=True)
class Ending:
    """How a child ended. stage: what it did last, as it was reported; empty before the first report."""

    status: int | None
    """Its exit status; None for one that took too long."""
    stage: str = ""
    fault: str = ""
    """The kind of the exception that ended the task; empty where none did."""
    message: str = ""
    """What the exception says."""

    @property
    def crashed(self) -> bool:
        """Whether a signal ended it, or what is the same on Windows."""
        return self.status is not None and (self.status < 0 or self.status >= _WINDOWS_EXCEPTION)


def ignore(_: str) -> None:
    """Is told of nothing."""


def start(code: str, *words: str, buffer: int = -1) -> subprocess.Popen[bytes]:
    """A process of this Python, which is listened to and spoken to; raises TuiGenError where it does not start."""
    try:
        return subprocess.Popen(
            # -P: a foreign model's folder may be the working directory, and nothing in it may be imported
            [sys.executable, "-P", "-c", code, *words],
            bufsize=buffer,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError as fault:
        raise TuiGenError(f"{sys.executable or 'Python'} does not start ({fault})") from fault


def run_in_child(
    task: Callable[[bytes, Report], None],
    content: bytes,
    *,
    seconds: float,
    memory: int | None,
    tell: Reply = ignore,
    is_stopped: Callable[[], bool] = bool,
) -> Ending:
    """Runs a task, a function of a module of ours, on foreign bytes.

    seconds: of a processor, after which it is killed. memory: bytes of address space. Both as far as the system can
    limit them. tell: takes each report as it comes, for which the child has all the time there is; what it raises ends
    the child. is_stopped: asked again and again,
    whether nobody waits for it any more; it counts as one that took too long. Raises TuiGenError where no child starts.
    """
    facts = {
        "task": (task.__module__, task.__name__),
        "size": len(content),
        "memory": memory,
        "seconds": math.ceil(seconds),
        "parent": os.getpid(),
    }
    child = start(_CODE, json.dumps(facts))
    _children.add(child)
    pipe, output = child.stdin, child.stdout
    assert pipe
    assert output
    try:
        threading.Thread(target=_write, args=(pipe, content), daemon=True).start()  # for a child that does not read
        deadline = _Deadline(child, _BUSY * seconds, is_stopped)
        deadline.start()
        ending = _read(output, pipe, tell, deadline)
        status = None if deadline.is_over(child.wait()) else child.returncode
        return replace(ending, status=status)
    finally:
        child.kill()
        child.wait()
        for file in (pipe, output):
            with suppress(OSError):
                file.close()
        _children.discard(child)


class _Deadline(threading.Thread):
    """Kills a child that takes too long by the clock, or that nobody waits for."""

    def __init__(self, child: subprocess.Popen[bytes], seconds: float, is_stopped: Callable[[], bool]) -> None:
        super().__init__(daemon=True)
        self._child, self._end, self._is_stopped = child, time.monotonic() + seconds, is_stopped
        self._is_killer, self._is_held = False, False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lets no time pass, for who takes a report may have to ask a person."""
        began, self._is_held = time.monotonic(), True
        try:
            yield
        finally:
            self._end += time.monotonic() - began
            self._is_held = False

    def run(self) -> None:
        """Looks several times a second."""
        while True:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout=_LOOK)
                return
            if self._is_stopped() or (not self._is_held and time.monotonic() > self._end):
                self._is_killer = True
                self._child.kill()
                return

    def is_over(self, status: int) -> bool:
        """Whether a child with this exit status ended for want of time."""
        return self._is_killer or status == _OUT_OF_TIME


def end_children() -> None:
    """Kills all children, for a program that ends: whoever waits for one is told that it crashed."""
    for child in list(_children):
        child.kill()


def _write(pipe: IO[bytes], content: bytes) -> None:
    with suppress(OSError, ValueError):  # it has ended, and the pipe with it
        pipe.write(content)
        pipe.flush()


def _read(output: IO[bytes], pipe: IO[bytes], tell: Reply, deadline: _Deadline) -> Ending:
    """What a child prints, to its end; what is to be said to that goes into the pipe."""
    stage = fault = message = ""
    while line := output.readline(_LONGEST):
        sort, _, text = line.decode("utf-8", "replace").rstrip("\r\n").partition(" ")
        if sort == _STAGE:
            stage = text
            with deadline.held():
                reply = tell(stage)
            if reply is not None:
                _write(pipe, f"{reply}\n".encode())
        elif sort == _FAULT:
            fault, _, message = text.partition(" ")
    return Ending(None, stage, fault, message)


def serve(text: str) -> None:
    """In the child: runs a task on what stands on stdin; a fault of it is reported, and ends the child with 1."""
    try:
        facts = json.loads(text)
        limit(facts["memory"], facts["seconds"])
        _die_with(facts["parent"])
        content = sys.stdin.buffer.read(facts["size"])
        threading.Thread(target=_outlive_no_parent, daemon=True).start()
        module, function = facts["task"]
        getattr(import_module(module), function)(content, lambda stage: _print(_STAGE, stage))
    except BaseException as fault:
        kind = "ImportError" if isinstance(fault, ImportError) else type(fault).__name__
        _print(_FAULT, kind, *str(fault).split())
        os._exit(_FAILED)
    os._exit(0)  # what a library would still do at its end has nothing to do with the bytes


def _print(*words: str) -> None:
    print(*words, file=sys.__stdout__, flush=True)  # the task may have turned sys.stdout elsewhere


def _outlive_no_parent() -> None:
    for line in sys.stdin.buffer:  # which comes to an end with the parent, and not before
        _replies.put(line.decode().rstrip("\n"))
    os._exit(_FAILED)


def receive() -> str:
    """In the child: what is said to the last report; waits for it."""
    return _replies.get()


def limit(memory: int | None, seconds: int | None, *, data: int | None = None) -> None:
    """Limits this process: bytes of address space, seconds of a processor; and no core is dumped.

    data: bytes that it writes, for a library that takes far more address space than memory.
    """
    if sys.platform == "win32":
        return
    import resource

    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_DATA: data,
    }
    for kind, value in limits.items():
        if value is None:
            continue
        hard = resource.getrlimit(kind)[1]
        with suppress(OSError, ValueError):  # macOS knows no such limit
            resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent:  # which ended before this line
            os._exit(_FAILED)
