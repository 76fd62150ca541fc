"""The real program in a real (pseudo) terminal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tui_gen.bench.screen import AVAILABLE, Terminal

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="needs a POSIX terminal")
LEAVES_ALTERNATE_SCREEN = b"\x1b[?1049l"


@contextmanager
def terminal(command: Sequence[str], models: Path, tmp_path: Path) -> Iterator[Terminal]:
    places = {f"XDG_{name}_HOME": str(tmp_path / name) for name in ("CACHE", "DATA", "STATE")}
    with Terminal(command, {**places, "TUI_GEN_MODELS": str(models)}) as opened:
        yield opened


def test_a_whole_visit(models: Path, tmp_path: Path) -> None:
    with terminal([sys.executable, "-m", "tui_gen", "cats", "-t", "0"], models, tmp_path) as screen:
        screen.until(b"Writes about cats.")
        screen.type("the\r")
        screen.until(b"the model ended at")
        screen.type("\x11")
        assert screen.wait() == 0
        assert b"the cat sat." in screen.output.replace(b"\x1b[", b"")  # words come whole, in one style
        assert LEAVES_ALTERNATE_SCREEN in screen.output


def test_a_picture_in_the_middle_of_drawing_does_not_keep_the_program(models: Path, tmp_path: Path) -> None:
    with terminal([sys.executable, "-m", "tui_gen", "stripes"], models, tmp_path) as screen:
        screen.until(b"Draws stripes.")
        screen.type("\r")
        screen.until("▀".encode())
        screen.type("\x11")
        assert screen.wait() == 0
        assert LEAVES_ALTERNATE_SCREEN in screen.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_mid_run_leaves_a_sane_terminal(models: Path, tmp_path: Path, number: signal.Signals) -> None:
    with terminal([sys.executable, "-m", "tui_gen", "endless"], models, tmp_path) as screen:
        screen.until(b"prompt")
        screen.type("\r")  # perhaps before the model is open
        screen.until(b"tokens/s")
        screen.process.send_signal(number)
        assert screen.wait() == 128 + number
        assert LEAVES_ALTERNATE_SCREEN in screen.output


NOISE = """
import os, sys
from tui_gen.cli.play import quiet_stderr
with quiet_stderr():
    os.write(2, b"native noise")
    print("drawing", file=sys.__stderr__, flush=True)
os.write(2, b"after")
"""


def test_what_native_libraries_print_never_reaches_the_screen(models: Path, tmp_path: Path) -> None:
    with terminal([sys.executable, "-c", NOISE], models, tmp_path) as screen:
        assert screen.wait() == 0
        assert b"drawing" in screen.output
        assert b"after" in screen.output
        assert b"noise" not in screen.output
    assert any(b"native noise" in log.read_bytes() for log in tmp_path.rglob("*.log"))


def test_the_screen_is_drawn_on_stdout_when_stderr_goes_to_a_file(models: Path, tmp_path: Path) -> None:
    command = f"{sys.executable} -m tui_gen cats 2>{tmp_path}/errors"
    with terminal(["sh", "-c", command], models, tmp_path) as screen:
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
    with terminal([sys.executable, "-c", FAILING], models, tmp_path) as screen:
        screen.until(b"prompt")
        screen.type("\r")
        assert screen.wait() == 1
        assert LEAVES_ALTERNATE_SCREEN in screen.output
        told = screen.output.rpartition(LEAVES_ALTERNATE_SCREEN)[2].decode()
    assert "the screen failed: ValueError('a fault of the screen')" in told
    found = re.search(r"tui-gen replay (\S+\.jsonl) --screen brings back what was made", told)
    assert found
    command = [sys.executable, "-m", "tui_gen", "replay", found[1]]
    result = subprocess.run(
        command, capture_output=True, env={**os.environ, "TUI_GEN_MODELS": str(models)}, check=True, text=True
    )
    assert "exact" in result.stderr
    assert len(result.stdout.split()) > 20


def test_a_run_that_is_killed_leaves_a_session_that_can_be_made_again(models: Path, tmp_path: Path) -> None:
    with terminal([sys.executable, "-m", "tui_gen", "endless", "-l", "100000"], models, tmp_path) as screen:
        screen.until(b"prompt")
        screen.type("\r")
        screen.until(rb"token 1\d\d of")
        screen.process.kill()
        screen.wait()
    (journal,) = (tmp_path / "STATE" / "tui-gen" / "sessions").glob("*.jsonl")
    command = [sys.executable, "-m", "tui_gen", "replay", str(journal)]
    result = subprocess.run(
        command, capture_output=True, env={**os.environ, "TUI_GEN_MODELS": str(models)}, check=True, text=True
    )
    assert "exact" in result.stderr
    assert len(result.stdout.split()) > 20
