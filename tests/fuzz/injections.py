"""Sequences that a terminal obeys or hides, wherever a stranger's text can stand, and what a pseudo terminal receives.

`python -m tests.fuzz.injections [PLACE ...]` tries the whole table, and prints what arrives raw; the kind `injections`
of `tests.fuzz` tries cases of it at random.
"""

from __future__ import annotations

import fcntl
import os
import random
import re
import select
import signal
import struct
import sys
import tempfile
import termios
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from itertools import product
from pathlib import Path

from tests.tui.test_leaving import page
from tui_gen.bench.screen import SIZE
from tui_gen.terminal_text import scrub

from .places import PLACES, Place, train

SEQUENCES = {
    "screen and colour": "\x1b[2J\x1b[31;5m",
    "questions": "\x1b[6n\x1b[c\x1b[21t",
    "modes": "\x1b[?1007h\x1b[>9u\x1bc",
    "title": "\x1b]0;owned\x07",
    "clipboard": "\x1b]52;c;b3duZWQ=\x07",
    "link": "\x1b]8;;file:x\x1b\\owned\x1b]8;;\x1b\\",
    "DCS": "\x1bP$qm\x1b\\\x1bP+q544e\x1b\\",
    "APC, PM, SOS": "\x1b_Gi=1\x1b\\\x1b^owned\x1b\\\x1bXowned\x1b\\",
    "C1": "\x9b2J\x9d0;owned\x9c\x90owned\x9c\x85",
    "directions": "\u202eowned\u2066\u200f\u061c",
    "hidden": "\u200bo\u2060w\u3164n\ufeffe\U000e0041d\xad\u180e",
    "lines": "\nFORGED \x0bFORGED \x0cFORGED \u2028FORGED",
    "carriage": "\rFORGED",
    "backspace": "\b\b\b\x7f\x7f\x00FORGED",
    "no UTF-8": "\udc9b2J\udc9d0;owned\udc9c\udcff",
    "size": "size" * 50_000,
}
"""What a terminal obeys or hides, by kind; a lone surrogate stands for a byte, as in the name of a file."""
HARMLESS = "harmless"
"""The text of a place; a sequence stands in its middle."""
PATIENCE = 45
"""Seconds by the clock for a case, on a machine that others use."""
_MOST_BYTES = 60_000
"""That a long text may add to what is shown."""
_SHARED = (
    "onnxruntime",
    "export.__main__",
    "export.convert",
    "export.publish",
    "export.training.trainer",
    "tui_gen.tui.app",
)
"""Modules that the process of each case has from this one: they take seconds."""
_MOVE = re.compile(r"\x1b\[\d+;\d+H")
_STYLE = re.compile(r"\x1b\[(?:[0-4679]|2[2-9]|[34]9|[345]8;2;\d+;\d+;\d+|;)*m")
"""As the program writes it: in colours of its own, without blinking."""
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|\x1b[^\[\]PX^_]?")
_FORGED = re.compile("^ *FORGED", re.M)


def text_of(sequence: str) -> str:
    """The text of a place with a sequence in it."""
    return f"harm{sequence}less"


def raw(received: bytes, baseline: bytes, *, is_result: bool = False) -> set[str]:
    """What a terminal received and would obey or hide, but for what came with a harmless text too."""
    lines = {"a line of its own"} if not is_result and _FORGED.search(_bare(received)) else set[str]()
    return (_obeyed(received) - _obeyed(baseline)) | lines


def _plain(received: bytes) -> str:
    """Without moves and colours of the program's own."""
    text = received.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    return _STYLE.sub("", _MOVE.sub("", text))


def _bare(received: bytes) -> str:
    return _ESCAPES.sub("", _plain(received))


def _obeyed(received: bytes) -> set[str]:
    hidden = {character for character in set(_bare(received)) if scrub(character) != character}
    return hidden | {*_ESCAPES.findall(_plain(received))}


def _received(run: Callable[[str], int], text: str, folder: Path, steps: tuple[tuple[str, str], ...]) -> bytes:
    """What a pseudo terminal receives of a command, a process of its own. Raises RuntimeError if it has no end."""
    pid, terminal = os.forkpty()
    if not pid:
        _be_child(run, text, folder)
    try:
        return b"".join(_reads(terminal, steps))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def _be_child(run: Callable[[str], int], text: str, folder: Path) -> None:
    """Never returns."""
    status = 1
    try:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
        os.environ.update(TUI_GEN_MODELS=str(folder / "models"), TERM="xterm-256color", COLORTERM="truecolor")
        os.environ.update(TUI_GEN_CONFIG=os.devnull, XDG_STATE_HOME=str(folder / "state"))
        os.chdir(folder)
        for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        status = run(text)
    except BaseException:
        traceback.print_exc()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(status)


def _reads(terminal: int, steps: tuple[tuple[str, str], ...]) -> Iterator[bytes]:
    """What comes, until the program ends, while keys are pressed."""
    waits, received, end = list(steps), b"", time.monotonic() + PATIENCE
    while True:
        if waits and re.search(waits[0][0], page(received)):
            os.write(terminal, waits.pop(0)[1].encode())
        if not select.select([terminal], [], [], 0.1)[0]:
            if steps and not waits:  # again: what is pressed before the screen listens is lost
                with suppress(OSError):
                    os.write(terminal, steps[-1][1].encode())
            if time.monotonic() > end:
                raise RuntimeError(f"it waits: {page(received).strip() or received[-300:]!r}")
            continue
        try:
            piece = os.read(terminal, 1 << 16)
        except OSError:  # the program has closed its side
            return
        received += piece
        yield piece


class Injections:
    """Tries cases in a folder."""

    def __init__(self, folder: Path) -> None:
        for module in _SHARED:
            import_module(module)
        self._folder, self._baselines = folder, dict[str, bytes]()
        os.environ.update(TOKENIZERS_PARALLELISM="false", XDG_CACHE_HOME=str(folder / "cache"))

    def attempt(self, name: str, kind: str) -> bytes:
        """Raises RuntimeError for what arrives raw, and for what the program does not foresee; returns what came."""
        place = PLACES[name]
        if place.needs_training and not (trained := self._folder / "trained").exists():
            trained.mkdir()
            _received(train, "", trained, ())
        if name not in self._baselines:
            self._baselines[name] = baseline = self._receive(place, HARMLESS)
            if HARMLESS not in page(baseline) + _bare(baseline).replace("\n", ""):
                raise RuntimeError(f"the text does not come: {_bare(baseline)[-500:]!r}")
        received = self._receive(place, text_of(SEQUENCES[kind]))
        if faults := raw(received, self._baselines[name], is_result=place.is_result):
            raise RuntimeError(f"{sorted(faults)} raw in {received[-400:]!r}")
        if b"Traceback" in received or b"nobody foresaw" in received:
            raise RuntimeError(f"{received[-1500:].decode(errors='replace')}")
        if not place.is_result and len(received) > len(self._baselines[name]) + _MOST_BYTES:
            raise RuntimeError(f"{len(received)} bytes")
        return received

    def _receive(self, place: Place, text: str) -> bytes:
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            return _received(place.run, text, Path(folder), place.steps)


CASES = [*product(PLACES, SEQUENCES)]


def injections(folder: Path) -> Callable[[random.Random], object]:
    """A sequence at a place of the table, but for those that begin with a training."""
    table, cases = Injections(folder), [case for case in CASES if not PLACES[case[0]].needs_training]
    return lambda rng: table.attempt(*rng.choice(cases))


def try_all(names: list[str]) -> int:
    """The whole table, or some places of it; returns the exit status."""
    count = faults = 0
    with tempfile.TemporaryDirectory(prefix="tui-gen-injections-") as folder:
        os.environ.update(HOME=folder, XDG_DATA_HOME=folder, XDG_CONFIG_HOME=folder)
        table = Injections(Path(folder))
        for name, kind in CASES:
            if names and not any(name.startswith(each) for each in names):
                continue
            count += 1
            if kind == next(iter(SEQUENCES)):
                print(f"{name} ...", flush=True)
            try:
                table.attempt(name, kind)
            except RuntimeError as fault:
                faults += 1
                print(f"{name}, {kind}: {fault}", flush=True)
    print(f"{count} cases, {faults} with faults")
    return int(faults > 0)


if __name__ == "__main__":
    raise SystemExit(try_all(sys.argv[1:]))
