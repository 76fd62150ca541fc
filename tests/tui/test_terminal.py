"""The real program in a real (pseudo) terminal."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="needs a POSIX terminal")
LEAVES_ALTERNATE_SCREEN = b"\x1b[?1049l"


class Terminal:
    """A program on a pseudo terminal of 80 x 24."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        import fcntl
        import struct
        import termios

        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, close_fds=True
        )
        os.close(slave)
        self.output = b""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def read(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not select.select([self._master], [], [], 0.05)[0]:
                continue
            try:
                self.output += os.read(self._master, 65536)
            except OSError:  # the other side is closed
                return

    def until(self, text: bytes, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while text not in self.output:
            assert time.monotonic() < end, self.output[-3000:]
            self.read(0.1)

    def wait(self) -> int:
        while self.process.poll() is None:
            self.read(0.1)
        self.read(0.1)
        return self.process.returncode

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


@contextmanager
def terminal(command: Sequence[str], models: Path, tmp_path: Path) -> Iterator[Terminal]:
    places = {f"XDG_{name}_HOME": str(tmp_path / name) for name in ("CACHE", "DATA", "STATE")}
    environment = {
        **os.environ,
        **places,
        "TUI_GEN_MODELS": str(models),
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
    }
    opened = Terminal(command, environment)
    try:
        yield opened
    finally:
        opened.close()


def test_a_whole_visit(models: Path, tmp_path: Path) -> None:
    with terminal([sys.executable, "-m", "tui_gen", "cats", "-t", "0"], models, tmp_path) as screen:
        screen.until(b"Writes about cats.")
        screen.type("the\r")
        screen.until(b"ended by the model at")
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
from tui_gen.tui.launch import quiet_stderr
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
