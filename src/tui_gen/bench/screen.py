"""The screen, timed on a pseudo terminal: driven by keys, and watched like a person would."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import select
import signal
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tui_gen.bench.networks import VOCABULARY, fill_graph, text_card
from tui_gen.bench.timing import Lap, Result, Timing, format_timing, in_turns, per_unit
from tui_gen.files import temporary_folder
from tui_gen.generation.generate import generate
from tui_gen.library import LoadedModel, open_model, shipped_folder
from tui_gen.sampling.params import SamplingParams
from tui_gen.text.codec import TextCodec

with contextlib.suppress(ImportError):  # Windows has none of these
    import fcntl
    import pty
    import resource
    import termios

SIZE, LARGE_SIZE = (80, 24), (160, 45)
"""Columns and lines."""
_COLOURS = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "TUI_GEN_CONFIG": os.devnull}
"""And nothing of a person's own, so that the same is measured everywhere."""
_LOGIN = ("sh", "-c", 'exec "$@" <"$0" >"$0" 2>&1')
"""The first terminal that a session opens is its own."""
_READ = 1 << 16
_LONGEST_MATCH = 1000
AVAILABLE = "pty" in globals()
"""Whether this system has pseudo terminals."""
_LENGTH, _TEMPERATURE, _SEED = 3000, 2.0, 2
"""A run that is long enough, also where the model may end it."""
_END = rb"(?:the model ended at|complete:) ([\d,]+)"
_FIRST_FRAME = b" prompt "
_PRESSES = 12
_UP, _DOWN, _ENTER = "\x1b[A", "\x1b[B", "\r"
_TO_UNLIMITED = "]" * 12
_DRAWN = r"▸ (?:\x1b\[[\d;]*m)*{}"
_STAYS, _MOVES = "stays", "moves"
_SHARED = (
    "the profile: Python draws and generates in turns, and where the model takes all processors, drawing a frame takes "
    "them from it; runs give 0.77 to 1.05"
)
_WAITING = (
    "the profile: at 16 tokens a second the next token is due 31 ms after a press on average, and takes 5 to 10 ms to "
    "be drawn; runs give 30 to 51 ms"
)
_WATCH_SECONDS, _WATCH_PICTURE_SECONDS = 4.0, 2.5
_SETTLE_SECONDS = 1.0
"""After which a run at pace is watched, before a picture is whole: at its beginning more is drawn."""
_LONG_TEXT = "-t", "1", "--seed", "10"
"""Of `recipes`, for longer than it is watched."""
_BARE_APP = """
import json, sys
from textual.app import App
from textual.containers import VerticalScroll
from textual.widgets import Static

class BareApp(App):
    text = ""

    def compose(self):
        with VerticalScroll():
            yield Static(markup=False)

    def on_mount(self):
        words = iter(json.loads(sys.argv[1]))
        self.set_interval(1 / float(sys.argv[2]), lambda: self.append(next(words, "")))

    def append(self, word):
        self.text += word
        self.query_one(Static).update(self.text)
        self.query_one(VerticalScroll).scroll_end(animate=False)

BareApp().run()
"""
_NOWHERE = (Result("the screen", "not measured: this system has no pseudo terminals", ""),)


class Terminal:
    """Runs a program and keeps what it writes; use it in a `with` statement, which ends the program."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        size: tuple[int, int] = SIZE,
        *,
        login: bool = False,
    ) -> None:
        """login: in a session of its own, which hears when its terminal is closed."""
        self._master, slave = pty.openpty()
        self.resize(*size)
        self.discipline_before, self.output, self.began = self.line_discipline(), b"", time.perf_counter()
        self.process = subprocess.Popen(
            [*_LOGIN, os.ttyname(slave), *command] if login else command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, **_COLOURS, **(environment or {})},
            start_new_session=login,
            process_group=None if login else 0,  # as a shell begins a job
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the program if it still runs."""
        if self.process.poll() is None:
            pid = self.pid
            self.process.send_signal(signal.SIGHUP)  # so that a parent of the screen is not surprised by its end
            os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
            self.process.kill()
            self.process.wait()
        self.close()

    def close(self) -> None:
        """Goes away."""
        if self._master >= 0:
            os.close(self._master)
        self._master = -1

    @property
    def pid(self) -> int:
        """Of the process that draws: what the program has begun first, where the system says so; else the program."""
        place = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        children = place.read_text(encoding="ascii").split() if place.exists() else []
        return int(children[0]) if children else self.process.pid

    def resize(self, columns: int, lines: int) -> None:
        """Gives it another size."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def line_discipline(self) -> list[Any]:
        """How lines are read and written now."""
        return termios.tcgetattr(self._master)

    def type(self, keys: str) -> float:
        """Presses keys; returns when, on the clock of `until`."""
        os.write(self._master, keys.encode())
        return time.perf_counter()

    def read(self, seconds: float) -> bool:
        """Keeps what comes next, if anything does in that time; returns whether the program may write more."""
        if select.select([self._master], [], [], seconds)[0]:
            try:
                self.output += os.read(self._master, _READ)
            except OSError:  # the other side is closed
                return False
        return True

    def settle(self, seconds: float = 0.2) -> None:
        """Reads until nothing has come for so long."""
        size = -1
        while len(self.output) > size:
            size = len(self.output)
            self.read(seconds)

    def until(self, pattern: bytes, *, after: int = 0, seconds: float = 30) -> tuple[float, re.Match[bytes]]:
        """Waits for output that matches, in what came after so many bytes; returns when it was there, and the match.

        Raises TimeoutError if it does not come.
        """
        expression, end = re.compile(pattern), time.perf_counter() + seconds
        while not (match := expression.search(self.output, after)):
            after = max(after, len(self.output) - _LONGEST_MATCH)
            if time.perf_counter() > end or not self.read(0.1):
                raise TimeoutError(f"{pattern!r} was not written; the last was {self.output[-200:]!r}")
        return time.perf_counter(), match

    def wait(self, *, seconds: float = 60) -> int:
        """Reads until the program has ended; returns its exit status. Raises TimeoutError if it does not end."""
        end = time.perf_counter() + seconds
        while self.process.poll() is None:
            self.read(0.1)
            if time.perf_counter() > end:
                raise TimeoutError(f"the program did not end; the last was {self.output[-200:]!r}")
        self.read(0)
        return self.process.returncode

    def traffic(self, seconds: float) -> float:
        """How many kilobytes the program writes a second, over so many from now on."""
        self.read(0)
        size, began = len(self.output), time.perf_counter()
        while (elapsed := time.perf_counter() - began) < seconds:
            self.read(seconds - elapsed)
        return (len(self.output) - size) / elapsed / 1e3

    def processor_seconds(self) -> float | None:
        """What the running program has had of the processors so far; None where the system does not say."""
        status = Path(f"/proc/{self.pid}/stat")
        if not status.exists():
            return None
        fields = status.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_megabytes(self) -> float:
        """The most memory that the running program had so far; 0 where the system does not say."""
        status = Path(f"/proc/{self.pid}/status")
        if not status.exists():
            return 0.0
        match = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii", errors="replace"))
        return int(match[1]) * 1024 / 1e6 if match else 0.0


def screen() -> Iterator[Result]:
    """What the screen costs, and how soon it answers."""
    yield from (*rates(), *keys()) if AVAILABLE else _NOWHERE


def line() -> Iterator[Result]:
    """What crosses a slow line between the screen and the program, and what a screen costs that only waits."""
    if not AVAILABLE:
        yield from _NOWHERE
        return
    for size in (SIZE, LARGE_SIZE):
        yield _text_traffic("recipes", "16 tokens", _LONG_TEXT, size=size, rate=16, bar=40)
        yield _text_traffic("shakespeare", "64 characters", (), size=size, rate=64, bar=60)
        with Terminal(_program("adventurers"), size=size) as screen:
            ours = _paced(screen, _WATCH_PICTURE_SECONDS)
        yield _traffic("adventurers, a picture of 32x32 at 8 rows a second", ours, size=size, bar=70)
        yield from _waiting(size)


def launch() -> Iterator[Result]:
    """What a person waits for at first."""
    yield from launches() if AVAILABLE else _NOWHERE


def rates() -> Iterator[Result]:
    """Tokens that reach the screen without a limit of pace, beside those of the same run without a screen."""
    for name in ("recipes", "shakespeare"):
        with Terminal([*_program(name), "-t", str(_TEMPERATURE), "--seed", str(_SEED), "-l", str(_LENGTH)]) as screen:
            _lift_limit(screen)
            loaded_model = open_model(shipped_folder() / name)
            runs = {"screen": partial(_on_screen, screen), "bare": partial(_bare, loaded_model)}
            times = in_turns(runs, rounds=3)
            peak = screen.peak_megabytes()
        yield Result(
            f"{name}, tokens reaching the screen beside the engine alone",
            f"a token on the screen {format_timing(times['screen'])}",
            f"without one {format_timing(times['bare'])}",
            times["bare"].over(times["screen"]),
            0.85,
            note=_SHARED,
        )
        yield Result(
            f"{name}, most memory of the program", f"{peak:.0f} MB", "150 MB", peak / 150 or None, 1, at_most=True
        )


def _program(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tui_gen", *arguments]


def _lift_limit(screen: Terminal) -> None:
    """Turns the pace to unlimited in a first run, and waits for its end."""
    screen.until(_FIRST_FRAME)
    screen.type(_ENTER)
    screen.until(rb"token \d")
    screen.type(_TO_UNLIMITED)
    screen.until(rb"unlimited")
    screen.until(_END)


def _on_screen(screen: Terminal) -> Lap:
    """The time for a token, from the first sight of how far the run is to its end."""
    screen.settle()
    screen.type(_ENTER)
    start, first = screen.until(rb"token ([\d,]+) of", after=len(screen.output))
    before = screen.processor_seconds()
    end, last = screen.until(_END, after=first.end())  # before it, how the last run ended may be drawn again
    after, count = screen.processor_seconds(), _count(last) - _count(first)
    return Lap((end - start) / count, None if before is None or after is None else (after - before) / count)


def _count(match: re.Match[bytes]) -> int:
    return int(match[1].replace(b",", b""))


def _bare(loaded_model: LoadedModel) -> Lap:
    counts: list[int] = []
    steps = generate(
        loaded_model.model, loaded_model.codec.prompt([""]), SamplingParams(_TEMPERATURE), length=_LENGTH, seed=_SEED
    )
    wall, processor = per_unit(lambda: counts.append(sum(not step.given[0] for step in steps)), 1)
    return Lap(wall / counts[0], (processor or 0) / counts[0])


def _text_traffic(
    name: str, unit: str, arguments: Sequence[str], *, size: tuple[int, int], rate: int, bar: float
) -> Result:
    with Terminal(_program(name, *arguments), size=size) as screen:
        ours = _paced(screen, _WATCH_SECONDS)
    count = round(rate * (_SETTLE_SECONDS + _WATCH_SECONDS))
    with Terminal([sys.executable, "-c", _BARE_APP, json.dumps(_words(name, count)), str(rate)], size=size) as screen:
        screen.until(re.escape(b"\x1b[?1049h"))  # it has begun, and never falls silent
        screen.traffic(_SETTLE_SECONDS)
        theirs = screen.traffic(_WATCH_SECONDS)
    return _traffic(f"{name} at {unit} a second", ours, size=size, bar=bar, bare=theirs)


def _traffic(case: str, ours: float, *, size: tuple[int, int], bar: float, bare: float | None = None) -> Result:
    peer = f"{bar:g} kB/s"
    if bare is not None:
        peer += f"; a bare Textual app that appends the same words {bare:.1f} kB/s"
    return Result(f"{case}, {size[0]}x{size[1]}, written", f"{ours:.1f} kB/s", peer, ours / bar, 1, at_most=True)


def _paced(screen: Terminal, seconds: float) -> float:
    """Kilobytes a second of a run at its pace."""
    screen.until(_FIRST_FRAME)
    screen.type(_ENTER)
    screen.until(rb"[1-9]\d* of")
    screen.traffic(_SETTLE_SECONDS)
    return screen.traffic(seconds)


def _waiting(size: tuple[int, int]) -> Iterator[Result]:
    with Terminal(_program("recipes"), size=size) as screen:
        screen.until(_FIRST_FRAME)
        screen.settle(_SETTLE_SECONDS)
        began, before = time.perf_counter(), screen.processor_seconds()
        yield _traffic("the screen, waiting", screen.traffic(2 * _WATCH_SECONDS), size=size, bar=1)
        seconds, after = time.perf_counter() - began, screen.processor_seconds()
    if before is not None and after is not None:
        share, case = (after - before) / seconds, f"the screen, waiting, {size[0]}x{size[1]}, of a processor"
        yield Result(case, f"{share:.2%}", "0.5 %", share / 0.005, 1, at_most=True)


def _words(name: str, count: int) -> list[str]:
    """The first tokens that a text model writes."""
    loaded_model = open_model(shipped_folder() / name)
    codec = loaded_model.codec
    assert isinstance(codec, TextCodec)
    reader = codec.reader()
    steps = generate(loaded_model.model, codec.prompt([""]), SamplingParams(), length=count, seed=_SEED)
    return [reader.read(int(step.tokens[0])) for step in steps]


def keys() -> Iterator[Result]:
    """From a key that turns the temperature to the first token on the screen that it counts for."""
    with telltale() as folder, Terminal([*_program(str(folder)), "-t", "0", "-l", "1000000"]) as screen:
        screen.until(_FIRST_FRAME)
        screen.type(_ENTER)
        for pace, note in (("16 tokens a second", _WAITING), ("no limit of pace", "")):
            screen.until(_DRAWN.format(_STAYS).encode())
            waits = [_seconds_to_turn(screen, key) for key in (_UP, _DOWN) * _PRESSES]
            wait = Timing(statistics.median(waits), min(waits), max(waits))
            summary = f"from the press {format_timing(wait)}, at {pace}"
            yield Result(
                f"LSTM 128, 10,000 words, a token at the new temperature, {pace}",
                summary,
                "50 ms",
                wait.median / 0.05,
                1,
                at_most=True,
                note=note,
            )
            screen.type(_TO_UNLIMITED)


def _seconds_to_turn(screen: Terminal, key: str) -> float:
    """Seconds from the press until a token is seen that only the new temperature draws."""
    time.sleep(random.uniform(0.05, 0.2))  # at any moment of a frame
    screen.read(0)
    size, press = len(screen.output), screen.type(key)
    return screen.until(_DRAWN.format(_MOVES if key == _UP else _STAYS).encode(), after=size)[0] - press


@contextmanager
def telltale() -> Iterator[Path]:
    """A model whose tokens tell the temperature: one is a little likelier than all others, and is drawn only at 0."""
    bias = np.zeros(VOCABULARY, dtype=np.float32)
    bias[0] = 1e-3
    graph = fill_graph("lstm", {"output.bias": bias, "output.weight": np.zeros((128, VOCABULARY), dtype=np.float32)})
    words = {_STAYS: 0} | {f"{_MOVES}{number}": number for number in range(1, VOCABULARY)}
    tokenizer = {"version": "1.0", "model": {"type": "WordLevel", "vocab": words, "unk_token": _STAYS}}
    with temporary_folder() as place:
        folder = place / "telltale"
        folder.mkdir()
        (folder / "model.onnx").write_bytes(graph)
        (folder / "config.json").write_text(text_card("lstm").to_json(), encoding="utf-8")
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
        yield folder


def launches() -> Iterator[Result]:
    """From the command to the first frame and to the first token of `recipes`, beside importing the two libraries."""
    waits = {"imports": _imports, "frame": _first_frame, "token": _first_token}
    times = in_turns({name: partial(_launched, wait) for name, wait in waits.items()}, rounds=4)
    summary = f"importing Textual and onnxruntime {format_timing(times['imports'])}"
    for kind, bar in (("frame", 1.6), ("token", 2.2)):
        yield Result(
            f"launch to the first {kind} of recipes",
            format_timing(times[kind]),
            summary,
            times[kind].over(times["imports"]),
            bar,
            at_most=True,
        )


def _launched(wait: Callable[[], float]) -> Lap:
    """The seconds that a wait for a program says, and what that program had of the processors until it was ended."""
    before, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Lap(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _imports() -> float:
    with Terminal([sys.executable, "-c", "import textual.app, onnxruntime"]) as screen:
        screen.wait()
        return time.perf_counter() - screen.began


def _first_frame() -> float:
    with Terminal(_program("recipes")) as screen:
        return screen.until(_FIRST_FRAME)[0] - screen.began


def _first_token() -> float:
    with Terminal(_program("recipes")) as screen:
        screen.until(_FIRST_FRAME)  # before it a terminal would read enter as the end of a line
        screen.type(_ENTER)
        return screen.until(rb"token [1-9][\d,]* of")[0] - screen.began
