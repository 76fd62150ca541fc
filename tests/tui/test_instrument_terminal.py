"""The instrument as a program in a real (pseudo) terminal: from the launch to a file, and to a sudden end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import toys
from tui_gen.bench.screen import AVAILABLE, Terminal
from tui_gen.library import open_model
from tui_gen.sessions.file import read_session
from tui_gen.sessions.replay import replay

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="needs a POSIX terminal")


@contextmanager
def program(arguments: str, models: Path, here: Path) -> Iterator[Terminal]:
    """Launched in a folder, with a home of its own there."""
    places = {f"XDG_{name}_HOME": str(here / name) for name in ("CACHE", "DATA", "STATE")}
    command = ["sh", "-c", f"cd '{here}' && exec '{sys.executable}' -m tui_gen {arguments}"]
    with Terminal(command, {**places, "TUI_GEN_MODELS": str(models)}) as screen:
        yield screen


def test_a_picture_is_drawn_looked_at_changed_and_saved(models: Path, tmp_path: Path) -> None:
    with program("stripes -t 0", models, tmp_path) as screen:
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
    with program("endless -l 100000", models, tmp_path) as screen:
        screen.until(b"prompt")
        screen.type("the\r")
        screen.until(rb"tokens/s")
        screen.type("\x1b[A\x1b[A")  # warmer
        screen.until(rb"1\.10")
        [journal] = (tmp_path / "STATE").rglob("*.jsonl")
        while b'"positions"' not in journal.read_bytes():
            screen.read(0.1)
        screen.process.kill()
        screen.wait()
    session = read_session(journal)
    made = replay(session, open_model(models / "endless", provider="cpu"))
    assert made.exact
    assert len(made.tree["1"]) > 5
    assert len({params.temperature for _, params in made.tree["1"].turns}) > 1
