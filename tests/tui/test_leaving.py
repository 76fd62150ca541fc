"""Every way out of the screen, at every moment: the terminal is as it was found, and the journal whole."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from itertools import cycle, product
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import toys
from tests.support.checkpoints import write_lstm, write_pixelcnn
from tests.support.driver import GUARD_SECONDS
from tests.support.runs import published
from tests.support.terminal_page import page
from tests.tui.test_terminal import TUI_GEN, terminal
from tui_gen.bench.screen import AVAILABLE, Terminal
from tui_gen.library import open_model
from tui_gen.sessions.file import model_folders, read_session
from tui_gen.sessions.replay import replay

if AVAILABLE:
    import termios

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="needs a POSIX terminal")
SHIPPED = Path(__file__).parents[2] / "models"
SECONDS = 1.0
"""In which the screen is left on a machine that has nothing else to do."""
SECONDS_AWAY = 1.5
"""That it may take to stop the screen before, and to see that it has stopped or is back."""
_MODE = re.compile(
    rb"\x1b\[\?(?P<number>\d+)(?P<switch>[hl])|\x1b\[(?P<level>[<>])\d*u|\x1b\]22;(?P<pointer>\w*)|\x1b\[(?P<style>[\d;]*)m"
)


def modes(output: bytes) -> set[str]:
    """What a terminal is in after some output: modes by number, levels of its keyboard protocol, pointer, style."""
    on, level, pointer, style = {"7", "25"}, 0, b"", b""  # long lines wrap, the cursor is seen
    for match in _MODE.finditer(output):
        if number := match["number"]:
            (on.add if match["switch"] == b"h" else on.discard)(number.decode())
        elif match["level"]:
            level += 1 if match["level"] == b">" else -1
        elif match["pointer"] is not None:
            pointer = match["pointer"]
        else:
            style = match["style"].removeprefix(b"0")
    return on | {f"{what!r}" for what in (level, pointer, style) if what}


def is_as_found(screen: Terminal) -> bool:
    return modes(screen.output) == modes(b"") and screen.line_discipline() == screen.discipline_before


def is_stopped(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T"


def reach(screen: Terminal, keys: str, text: str) -> None:
    """Presses keys, and reads until something is on the screen."""
    screen.type(keys)
    end = time.monotonic() + GUARD_SECONDS
    while not re.search(text, page(screen.output)):
        assert time.monotonic() < end, f"{text} never came:\n{page(screen.output)}"
        screen.read(0.1)


class Moment(NamedTuple):
    """What a person is doing: how the program is begun, keys, and what is on the screen after each, a pattern."""

    words: str
    steps: tuple[tuple[str, str], ...]


def moment(*steps: tuple[str, str]) -> Moment:
    """Of a text."""
    return Moment("endless -l 100000", steps)


OPENING, OPEN, RUN, PAUSE = ("", "opening endless"), ("", "· CPU"), ("\r", "tokens/s"), (" ", "paused at")
WALK, INSIDE = ("\x1b[D\x1b[D", r"─ token \d"), ("\x1b[21~", "inside: state")
DRAW = OPEN, ("\r", "complete: 24")
MOMENTS = {
    "opening": moment(OPENING),
    "open": moment(OPEN),
    "running": moment(OPEN, RUN),
    "paused": moment(OPEN, RUN, PAUSE),
    "walking": moment(OPEN, RUN, PAUSE, WALK),
    "help": moment(OPEN, RUN, ("\x1bOP", "─ help ─")),
    "palette": moment(OPEN, RUN, ("\x10", "Search for commands")),
    "command": moment(OPEN, RUN, PAUSE, ("\x12", "the command that makes this")),
    "search": moment(OPEN, RUN, PAUSE, ("\x06", "in all samples"), ("the", r"find  the.* (of \d|nowhere)")),
    "saving": moment(OPEN, RUN, PAUSE, ("\x13", r"endless-1\.txt"), ("\r", "")),
    "knobs": moment(OPEN, RUN, ("\x1b[19~", "0-9 type")),
    "sweep": moment(OPEN, ("\x1b[15~", "tokens/s")),
    "surprise": moment(OPEN, RUN, ("\x1b[17~", "bits a token")),
    "another word": moment(OPEN, RUN, PAUSE, WALK, ("z", "instead of this token")),
    "models": moment(OPEN, RUN, ("\x1bOR", "c compare")),
    "models beside each other": moment(OPEN, RUN, ("\x1bOR", "c compare"), ("\x1b[Ac", r"▏ cats")),
    "branches": moment(OPEN, RUN, ("\x1bOS", "enter switch")),
    "renaming": moment(OPEN, RUN, PAUSE, ("\x1bOS", "enter switch"), ("r", "name of the branch")),
    "comparison": moment(OPEN, RUN, PAUSE, WALK, ("\x07", "a new branch"), ("\x1bOS\x1b[Bc", "tokens differ")),
    "inside": moment(OPEN, RUN, PAUSE, WALK, INSIDE),
    "influence": moment(OPEN, RUN, PAUSE, WALK, INSIDE, ("3", "inside: influence")),
    "units": moment(OPEN, RUN, PAUSE, WALK, INSIDE, ("4", "inside: units")),
    "split": moment(OPEN, RUN, PAUSE, WALK, INSIDE, ("5", "inside: tokens")),
    "reading": moment(OPEN, RUN, PAUSE, WALK, INSIDE, ("r", "read a text")),
    "surgery": moment(OPEN, RUN, PAUSE, WALK, INSIDE, ("f", "forget before token")),
    "drawing": Moment("stripes", (OPEN, ("\r", r"pixel \d"))),
    "completing": Moment("stripes -t 0", (*DRAW, ("\x1b[18~", "erase"), ("\r", ""))),
    "inside a picture": Moment("stripes -t 0", (*DRAW, ("\x1b[D", "─ pixel 2"), ("\x1b[21~", "inside: features"))),
    "film": Moment("stripes", (OPEN, ("\x1b[20~", "how stripes learned"), (" ", ""))),
    "tour": Moment("tour", (("", "n next"),)),
    "a stop of the tour": Moment("tour", (("", "1 of 12"), ("n", "2 of 12"))),
    "watching": Moment("watch training", (("", "training · epoch 1"),)),
    "converting": Moment("lstm.pt", (("", "converting lstm.pt"),)),
    "questions": Moment("conv.pt", (("", "what conv.pt does not say"),)),
}
ENDINGS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


def press(screen: Terminal) -> int:
    screen.type("\x11")
    return screen.wait()


def send(number: signal.Signals, *, to_screen: bool = False) -> Callable[[Terminal], int]:
    def leave(screen: Terminal) -> int:
        os.kill(screen.pid if to_screen else screen.process.pid, number)
        return screen.wait()

    return leave


def close(screen: Terminal) -> int:
    screen.close()
    return screen.process.wait(60)


def stop_unprepared(screen: Terminal) -> int:
    """As a shell may, without asking: its own modes may be on when the screen goes on."""
    seen = len(screen.output)
    os.kill(screen.pid, signal.SIGSTOP)
    os.kill(screen.pid, signal.SIGCONT)
    screen.until(rb"(?s)\x1b\[\?1049h.*\x1b\[\d+;\d+H", after=seen)
    return press(screen)


def suspend(screen: Terminal) -> None:
    seen = len(screen.output)
    screen.process.send_signal(signal.SIGTSTP)
    screen.until(rb"\x1b\[\?1049l", after=seen)
    for _ in range(100):
        screen.read(0.1)
        if is_stopped(screen.pid) and is_stopped(screen.process.pid):  # of which a shell hears
            break
    assert is_as_found(screen)


def return_and_press(screen: Terminal) -> int:
    suspend(screen)
    seen = len(screen.output)
    screen.process.send_signal(signal.SIGCONT)
    screen.until(rb"(?s)\x1b\[\?1049h.*\x1b\[\d+;\d+H", after=seen)
    return press(screen)


def end_suspended(screen: Terminal) -> int:
    """As a shell ends a job that it has stopped."""
    suspend(screen)
    screen.process.send_signal(signal.SIGTERM)
    screen.process.send_signal(signal.SIGCONT)
    return screen.wait()


WAYS: dict[str, tuple[Callable[[Terminal], int], int]] = {
    "ctrl+q": (press, 0),
    **{number.name: (send(number), 128 + number) for number in ENDINGS},
    **{f"{number.name} to the screen": (send(number, to_screen=True), 128 + number) for number in ENDINGS},
    "SIGUSR1": (send(signal.SIGUSR1), 128 + signal.SIGUSR1),
    "abort": (send(signal.SIGABRT, to_screen=True), 128 + signal.SIGABRT),
    "killed": (send(signal.SIGKILL, to_screen=True), 128 + signal.SIGKILL),
    "launcher killed": (send(signal.SIGKILL), -signal.SIGKILL),
    "closed": (close, 128 + signal.SIGHUP),
    "stopped": (stop_unprepared, 0),
    "suspended": (return_and_press, 0),
    "ended while suspended": (end_suspended, 128 + signal.SIGTERM),
}
"""Each with the exit status."""
AWAY = {"stopped", "suspended", "ended while suspended"}
SAMPLE = list(zip([*MOMENTS][::2], cycle(way for way in WAYS if "to the screen" not in way), strict=False))


def furnish(models: Path, here: Path) -> None:
    """What the moments name: a film, a model that ships, a training, checkpoints of a text and of pictures."""
    toys.learned(models / "stripes", *[toys.STRIPES.tolist()] * 3)
    (models / "recipes").symlink_to(SHIPPED / "recipes")
    published(here / "training", 1, eos=None)
    write_lstm(here / "lstm.pt")
    write_pixelcnn(here / "conv.pt")


def leave_at(models: Path, here: Path, at: str, way: str) -> float:
    """Leaves the screen by a way at a moment; returns the seconds that it took."""
    furnish(models, here)
    (words, steps), (leave, status) = MOMENTS[at], WAYS[way]
    with terminal(f"{TUI_GEN} {words}", models, here, login="suspended" not in way) as screen:  # where no shell waits
        for keys, text in steps:
            reach(screen, keys, text)
        pid, began = screen.pid, time.perf_counter()
        assert leave(screen) == status
        while way != "closed" and screen.read(1):
            pass  # the screen may outlive its parent for a moment
        seconds = time.perf_counter() - began
        assert way == "closed" or is_as_found(screen)
        tells = "the screen was ended by" in screen.output.decode(errors="replace")
        assert tells == (way in {"SIGUSR1", "abort", "killed"})
    assert not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()
    for journal in (here / "STATE").rglob("sessions/*.jsonl"):
        session = read_session(journal)
        assert not session.cut
        folders, *_ = model_folders(session, [str(here / "training")] if at == "watching" else [], anyway=False)
        opened = {index: open_model(folder, provider="cpu") for index, folder in folders.items()}
        assert replay(session, opened[0], opened).exact
    return seconds


@pytest.mark.parametrize(("at", "way"), SAMPLE)
def test_the_terminal_is_left_as_it_was_found(models: Path, tmp_path: Path, at: str, way: str) -> None:
    leave_at(models, tmp_path, at, way)


BUSY = """
import sys, time
from tui_gen.tui.playground import PlaygroundScreen
async def busy(self):
    sys.__stderr__.write("busy")
    sys.__stderr__.flush()
    time.sleep(600)
PlaygroundScreen.action_generate = busy
from tui_gen.cli.main import main
sys.exit(main(["cats"]))
"""


@pytest.mark.parametrize(("way", "status"), [(press, 0), (send(signal.SIGTERM), 128 + signal.SIGTERM)])
def test_a_screen_that_is_too_busy_to_hear_of_it_is_left_too(
    models: Path, tmp_path: Path, way: Callable[[Terminal], int], status: int
) -> None:
    (tmp_path / "busy.py").write_text(BUSY)
    with terminal(f"'{sys.executable}' busy.py", models, tmp_path) as screen:
        screen.until(b"CPU")
        screen.type("\r")
        screen.until(b"busy")
        assert way(screen) == status
        assert is_as_found(screen)


def test_no_key_ends_the_program_once_it_has_asked_for_anything(models: Path, tmp_path: Path) -> None:
    with terminal(f"{TUI_GEN} cats", models, tmp_path, login=True) as screen:
        screen.until(rb"\x1b\[\?1049h")
        discipline = screen.line_discipline()
        assert not discipline[0] & termios.IXON  # else ctrl+q would be no key
        assert not discipline[3] & termios.ISIG
        assert press(screen) == 0
        assert is_as_found(screen)


def test_a_terminal_that_goes_away_without_a_signal_ends_the_screen(models: Path, tmp_path: Path) -> None:
    with terminal(f"{TUI_GEN} cats", models, tmp_path) as screen:
        screen.until(b"CPU")
        assert close(screen) == 128 + signal.SIGHUP


@pytest.mark.whole
@pytest.mark.parametrize(("at", "way"), list(product(MOMENTS, WAYS)))
def test_every_way_out_at_every_moment_takes_no_more_than_a_second(
    models: Path, tmp_path: Path, at: str, way: str
) -> None:
    assert leave_at(models, tmp_path, at, way) < SECONDS + SECONDS_AWAY * (way in AWAY)
