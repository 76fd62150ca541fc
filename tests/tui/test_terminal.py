"""The real program in a real (pseudo) terminal: whole visits, signals, a sudden end, and where its output goes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.support import hostile, toys
from tui_gen.bench.screen import AVAILABLE, Terminal
from tui_gen.library import open_model
from tui_gen.sessions.file import read_session
from tui_gen.sessions.replay import replay

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="needs a POSIX terminal")
LEAVES_ALTERNATE_SCREEN = b"\x1b[?1049l"
TUI_GEN = f"'{sys.executable}' -m tui_gen"


@contextmanager
def terminal(command: str, models: Path, here: Path, *, login: bool = False) -> Iterator[Terminal]:
    """A command of the shell, launched in a folder, with a home of its own there."""
    places = {f"XDG_{name}_HOME": str(here / name) for name in ("CACHE", "DATA", "STATE")}
    shell = ["sh", "-c", f"cd '{here}' && exec {command}"]
    with Terminal(shell, {**places, "TUI_GEN_MODELS": str(models)}, login=login) as screen:
        yield screen


def test_a_whole_visit(models: Path, tmp_path: Path) -> None:
    with terminal(f"{TUI_GEN} cats -t 0", models, tmp_path) as screen:
        screen.until(b"Writes about cats.")
        screen.type("the\r")
        screen.until(b"the model ended at")
        screen.type("\x11")
        assert screen.wait() == 0
        assert b"the cat sat." in screen.output.replace(b"\x1b[", b"")  # words come whole, in one style
        assert LEAVES_ALTERNATE_SCREEN in screen.output


@pytest.mark.parametrize("graph", [hostile.endless(20), hostile.stubborn(20)], ids=["can be ended", "cannot"])
def test_a_step_that_has_no_end_does_not_keep_the_screen_open(
    graph: onnx.ModelProto, models: Path, tmp_path: Path
) -> None:
    toys.endless_text_folder(models / "stuck", graph=graph.SerializeToString())
    with terminal(f"{TUI_GEN} stuck --trust", models, tmp_path) as screen:
        screen.until(b"prompt")
        screen.type("\r")
        screen.until(rb"token 1\d")
        screen.type("\x11")
        assert screen.wait() == 0
        assert LEAVES_ALTERNATE_SCREEN in screen.output


def test_a_step_that_has_no_end_is_left_by_the_key_that_stops_a_run(models: Path, tmp_path: Path) -> None:
    toys.endless_text_folder(models / "stuck", graph=hostile.endless(20).SerializeToString())
    with terminal(f"{TUI_GEN} stuck --trust", models, tmp_path) as screen:
        screen.until(b"prompt")
        screen.type("\r")
        screen.until(rb"token 1\d")
        screen.type("\x1b")
        screen.until(rb"stopped at")  # and not `failed at`, as after the deadline
        screen.type("\x11")
        assert screen.wait() == 0


NOISE = """
import os, sys
from tui_gen.cli.play import quiet_stderr
with quiet_stderr():
    os.write(2, b"native noise")
    print("drawing", file=sys.__stderr__, flush=True)
os.write(2, b"after")
"""


def test_what_native_libraries_print_never_reaches_the_screen(models: Path, tmp_path: Path) -> None:
    (tmp_path / "noise.py").write_text(NOISE)
    with terminal(f"'{sys.executable}' noise.py", models, tmp_path) as screen:
        assert screen.wait() == 0
        assert b"drawing" in screen.output
        assert b"after" in screen.output
        assert b"noise" not in screen.output
    assert any(b"native noise" in log.read_bytes() for log in tmp_path.rglob("*.log"))


def test_a_link_in_the_place_of_the_log_is_not_followed(models: Path, tmp_path: Path) -> None:
    (tmp_path / "noise.py").write_text(NOISE)
    precious, log = tmp_path / "precious", tmp_path / "STATE" / "tui-gen" / "log" / "stderr.log"
    precious.write_text("mine")
    log.parent.mkdir(parents=True)
    for put in (lambda: log.symlink_to(precious), lambda: os.mkfifo(log)):
        put()
        with terminal(f"'{sys.executable}' noise.py", models, tmp_path) as screen:
            assert screen.wait() == 0
            assert b"drawing" in screen.output
        log.unlink()
    assert precious.read_text() == "mine"


def test_the_screen_is_drawn_on_stdout_when_stderr_goes_to_a_file(models: Path, tmp_path: Path) -> None:
    with terminal(f"{TUI_GEN} cats 2>errors", models, tmp_path) as screen:
        screen.until(b"Writes about cats.")
        screen.type("\x11")
        assert screen.wait() == 0
    assert (tmp_path / "errors").read_bytes() == b""


FAILING = """
import sys
from tui_gen.tui.playground import PlaygroundScreen
advance = PlaygroundScreen.on_run_view_advanced
def fail(self, message):
    advance(self, message)
    if len(message.view.branch) > 40:
        raise ValueError("a fault of the screen")
PlaygroundScreen.on_run_view_advanced = fail
from tui_gen.cli.main import main
sys.exit(main(["endless", "-l", "1000"]))
"""


def test_a_fault_of_the_screen_is_told_in_a_line_and_what_was_made_can_be_made_again(
    models: Path, tmp_path: Path
) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    with terminal(f"'{sys.executable}' failing.py", models, tmp_path) as screen:
        screen.until(b"prompt")
        screen.type("\r")
        assert screen.wait() == 1
        assert LEAVES_ALTERNATE_SCREEN in screen.output
        farewell = screen.output.rpartition(LEAVES_ALTERNATE_SCREEN)[2].decode()
    assert "the screen failed: ValueError('a fault of the screen')" in farewell
    match = re.search(r"tui-gen replay (\S+\.jsonl) --screen brings back what was made", farewell)
    assert match
    command = [sys.executable, "-m", "tui_gen", "replay", match[1]]
    result = subprocess.run(
        command, capture_output=True, env={**os.environ, "TUI_GEN_MODELS": str(models)}, check=True, text=True
    )
    assert "exact" in result.stderr
    assert len(result.stdout.split()) > 20


def session_of(command: str) -> str:
    """A command that runs another one in a session and a terminal of its own, as a login does."""
    script = f"stty rows 24 columns 80; exec {command}"
    return f"""'{sys.executable}' -c 'import pty, sys; pty.spawn(["sh", "-c", sys.argv[1]])' "{script}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs a shell with job control")
def test_a_run_is_suspended_to_a_clean_shell_and_goes_on_after_fg(models: Path, tmp_path: Path) -> None:
    with terminal(session_of("bash --norc -i"), models, tmp_path) as screen:
        screen.until(rb"[#$] $")
        screen.type(f"{TUI_GEN} endless -l 100000\r")
        screen.until(b"prompt")
        screen.type("\r")
        screen.until(rb"tokens/s")
        screen.type("\x1a")
        screen.until(rb"Stopped")
        visit, left = screen.output.partition(b"Stopped")[0], len(screen.output)
        for mode in (b"?1049", b"?1000", b"?1003", b"?1004", b"?2004"):  # the other screen, mouse, focus, pastes
            assert visit.rindex(b"\x1b[" + mode + b"l") > visit.rindex(b"\x1b[" + mode + b"h")
        screen.type("stty -a; echo clean\r")
        screen.until(rb"icanon iexten echo [^;]*clean\r", after=left)
        seen = len(screen.output)
        screen.type("fg\r")
        for part in (rb"\x1b\[\?1049h", b"endless", b"knobs", b"prompt", rb"\^q"):  # all of it is drawn again
            screen.until(part, after=seen)
        screen.type(" ")
        screen.until(b"paused at", after=seen)
        screen.type("\x11")
        screen.until(rb"\x1b\[\?1049l[^$#]*[#$] $", after=seen)  # the shell's prompt: what is typed before may be lost
        screen.type("exit\r")
        assert screen.wait() == 0


def test_where_no_shell_waits_the_program_does_not_stop_for_ever(models: Path, tmp_path: Path) -> None:
    with terminal(session_of(f"{TUI_GEN} cats"), models, tmp_path) as screen:
        for _ in range(20):  # while the terminal hands its keys to the program
            screen.type("\x1a")
            screen.read(0.05)
        screen.until(b"Writes about cats.")
        screen.type("\x1a")
        screen.until(b"no shell waits")
        screen.type("\x11")
        assert screen.wait() == 0


def test_a_picture_is_drawn_looked_at_changed_and_saved(models: Path, tmp_path: Path) -> None:
    with terminal(f"{TUI_GEN} stripes -t 0", models, tmp_path) as screen:
        screen.until(b"Draws stripes.")
        screen.type("\r")
        screen.until("▀".encode())
        screen.type("]]]]")  # as fast as it goes
        screen.until(b"complete: 24")
        screen.type("\x1b[H\x1b[C\x1b[B")  # home, right, down
        screen.until(b"row 1, column 1")
        seen = len(screen.output)
        screen.type("\r")
        screen.until(b"rank", after=seen)
        seen = len(screen.output)
        screen.type("\x1b[B\r")  # the next level is taken, and all is drawn to the end
        screen.until(b"row 3, column 5", after=seen)
        screen.type("\x13")
        screen.until(rb"stripes-1\.png")
        screen.type("\r")
        screen.until(b"saved as")
        screen.type("\x11")
        assert screen.wait() == 0
    with Image.open(tmp_path / "stripes-1.png") as image:
        grey = np.array(image.convert("L"))
    step = grey.shape[0] // toys.HEIGHT
    drawn = grey[step // 2 :: step, step // 2 :: step]
    assert np.argwhere(drawn != toys.STRIPE_GREYS).tolist() == [[1, 1]]


def test_the_journal_of_a_program_that_was_killed_replays_exactly(models: Path, tmp_path: Path) -> None:
    with terminal(f"{TUI_GEN} endless -l 100000", models, tmp_path) as screen:
        screen.until(b"prompt")
        screen.type("the\r")
        screen.until(rb"tokens/s")
        screen.type("\x1b[A\x1b[A")  # warmer
        screen.until(rb"1\.10")
        screen.type("]]]]")  # as fast as it goes
        screen.until(rb"token \d,\d\d\d of", seconds=60)
        os.kill(screen.pid, signal.SIGKILL)
        screen.wait()
    [journal] = (tmp_path / "STATE").rglob("sessions/*.jsonl")
    session = read_session(journal)
    session_again = replay(session, open_model(models / "endless", provider="cpu"))
    assert session_again.exact
    assert len(session_again.tree["1"]) > 5
    assert len({params.temperature for _, params in session_again.tree["1"].turns}) > 1
