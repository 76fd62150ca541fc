"""A text is copied by every way there is, and the ways are named."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.driver import on_screen
from tui_gen.tui import clipboard
from tui_gen.tui.clipboard import obeys, pass_on

pytestmark = pytest.mark.skipif(os.name != "posix", reason="programs of POSIX")
TEXT = "rose cake\n\u00e9"
Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts programs into a folder that is searched before any other."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("TMUX", "STY", "WAYLAND_DISPLAY", "DISPLAY", "TERM_PROGRAM", "WT_SESSION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")

    def write(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return write


def test_the_first_program_that_takes_the_text_has_it(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    install("wl-copy", f"cat > {tmp_path}/wayland")  # of no use here
    install("xclip", "exit 1")
    install("xsel", f"echo $* > {tmp_path}/options; cat > {tmp_path}/copied; sleep 10 &")
    assert pass_on(TEXT) == "with xsel, and through the terminal if it allows that"
    assert (tmp_path / "copied").read_text(encoding="utf-8") == TEXT
    assert (tmp_path / "options").read_text() == "--clipboard --input\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "copied", "options"]


def test_in_tmux_its_buffer_has_it_also_where_tmux_is_old(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMUX", "/somewhere,1,0")
    monkeypatch.setenv("TERM", "xterm-kitty")
    install("tmux", f'[ "$*" = "load-buffer -w -" ] && cat > {tmp_path}/copied')
    assert pass_on(TEXT) == "with tmux, and through the terminal if it allows that"
    assert (tmp_path / "copied").read_text(encoding="utf-8") == TEXT
    install("tmux", f'[ "$*" = "load-buffer -" ] && cat > {tmp_path}/copied')
    assert pass_on("x").startswith("with tmux (its own buffer), ")


def test_a_program_that_hangs_is_killed_with_what_it_has_started(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clipboard, "PATIENCE", 0.3)
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    read, write = os.pipe()
    os.set_inheritable(write, True)
    monkeypatch.setattr(clipboard.subprocess, "Popen", partial(subprocess.Popen, close_fds=False))
    install("wl-copy", "sleep 1000; echo")
    assert "with" not in pass_on(TEXT)
    os.close(write)
    assert os.read(read, 1) == b""  # which comes when nobody has the other end any more
    os.close(read)


def test_where_nothing_surely_has_it_a_private_file_has(install: Install, tmp_path: Path) -> None:
    path = tmp_path / "state" / "tui-gen" / "clipboard.txt"
    for text in (TEXT, "x"):
        assert pass_on(text) == f"to {path}, and through the terminal if it allows that"
        assert path.read_text(encoding="utf-8") == text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.unlink()
    path.with_name("clipboard.txt.tmp").mkdir()
    assert pass_on(TEXT) == f"through the terminal if it allows that; {path} cannot be written: Is a directory"


@pytest.mark.parametrize(("variables", "does"), [
    ({"TERM": "xterm-kitty"}, True),
    ({"TERM": "xterm-256color", "WT_SESSION": "1"}, True),
    ({"TERM": "xterm-256color", "TERM_PROGRAM": "vscode"}, True),
    ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, False),
    ({"TERM": "xterm-kitty", "TMUX": "x"}, False),
    ({}, False),
])  # fmt: skip
def test_some_terminals_are_known_to_copy_for_a_program(variables: dict[str, str], does: bool) -> None:
    assert obeys(variables) == does


async def test_what_is_selected_in_the_prompt_takes_the_same_ways(
    models: Path, install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    install("wl-copy", f"cat > {tmp_path}/copied")
    async with on_screen(models / "cats", prompt="the cat") as driver:
        await driver.press("shift+home", "ctrl+c")
        await driver.says("copied 7 characters with wl-copy, and through the terminal if it allows that")
        assert driver.app.clipboard == (tmp_path / "copied").read_text() == "the cat"
