"""A monkey at the real screen: any keys, pastes, sizes and movements of the mouse. It lives, answers, can be left."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS

from tests.support import toys
from tests.tui.test_leaving import is_as_found
from tui_gen.bench.screen import Terminal
from tui_gen.library import shipped_folder
from tui_gen.tui.bindings import KEYS
from tui_gen.tui.themes import DARK, LIGHT

from .texts import any_text

_SEQUENCES = {
    keys[0].value: sequence for sequence, keys in ANSI_SEQUENCES_KEYS.items() if isinstance(keys, tuple) and keys
}
_LEAVE, _THEME, _ESCAPE = "\x11", "\x14", "\x1b[27u"
_TABLE = sorted(
    {_SEQUENCES.get(name, name) for key in KEYS for name in key.names if len(name) == 1 or name in _SEQUENCES}
)
_KEYS = [key for key in _TABLE if key != _LEAVE]
_FREQUENT = [_SEQUENCES[name] for name in ("up", "down", "left", "right", "f10", "f4", "f3", "escape", "tab")]
_FREQUENT += [" ", "\r", "\r", "c", "n"]
_STRANGE = (
    "\x1b",
    "\x1b[",
    "\x1b[97;5u",
    "\x1b[<0;1",
    "\x1b[200~",
    "\x1b[201~",
    "\x1b[I",
    "\x1b[O",
    "\x1b[?1;2c",
    "\x9b",
)
_SIZES = (
    (1, 1),
    (2, 80),
    (500, 1),
    (20, 5),
    (80, 24),
    (80, 24),
    (120, 36),
    (160, 45),
    (200, 60),
    (300, 100),
    (1000, 500),
)
_PATHS = str.maketrans("/~\\\x11\x1a", "-----")
"""It writes no files elsewhere, and leaves in the end alone."""
_PASTE = _PATHS | {27: None}
"""Terminals let no escape character into a paste."""
_PROGRAMS = ("names", "text", "endless", "letters", "image", "colour", "tour", "")
_PATIENCE = 45
"""Seconds by the clock for an answer, on a machine that others use."""


def _background(*colours: str | None) -> str:
    """The codes that set one of these colours."""
    parts = ([int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in colours if colour)
    return "|".join("48;2;{};{};{}".format(*part) for part in parts)


_THEMES = [_background(theme.background, theme.surface, theme.panel).encode() for theme in (DARK, LIGHT)]


def monkey(folder: Path) -> Callable[[random.Random], object]:
    """A visit to the screen of a toy, of `names` or of the tour."""
    makers = {"text": toys.text_folder, "letters": toys.character_folder, "image": toys.image_folder}
    for name, make in {**makers, "colour": toys.colour_folder, "endless": toys.endless_text_folder}.items():
        make(folder / "models" / name)
    toys.learned(folder / "models" / "image", *[toys.STRIPES.tolist()] * 3)
    (folder / "models" / "names").symlink_to(shipped_folder() / "names")
    (folder / "here").mkdir()
    os.chdir(folder / "here")
    environment = {"TUI_GEN_MODELS": str(folder / "models"), "TERM": "xterm-256color", "PATH": os.defpath}

    def attempt(rng: random.Random) -> None:
        words = [word for word in (rng.choice(_PROGRAMS),) if word]
        with Terminal([sys.executable, "-m", "tui_gen", *words], environment, login=True) as screen:
            screen.until(rb"\x1b\[\?1049h", seconds=_PATIENCE)
            acts = list[str]()
            try:
                for _ in range(rng.choice((1, 3, 6))):
                    _play(screen, rng, acts)
                    _answers(screen)
                _leaves(screen, interrupted=any("\x03" in act for act in acts))
            except (TimeoutError, OSError, RuntimeError) as fault:
                raise RuntimeError(f"{words} {str(fault)[:300]} after {acts[-12:]}") from fault

    return attempt


def _play(screen: Terminal, rng: random.Random, acts: list[str]) -> None:
    for _ in range(rng.choice((5, 20, 60))):
        act, keys = _act(rng)
        acts.append(act or keys)
        if act == "resize":
            screen.resize(*rng.choice(_SIZES))
        else:
            screen.type(keys)
        screen.read(rng.choice((0, 0, 0.01, 0.05)))
        _go_on(screen)
        if screen.process.poll() is not None:
            return


def _act(rng: random.Random) -> tuple[str, str]:
    """What it does, where that is no key, and what it types."""
    kind = rng.random()
    if kind < 0.12:
        return "resize", ""
    if kind < 0.2:
        button, end = rng.choice((0, 0, 1, 2, 32, 35, 64, 65)), rng.choice("Mm")
        return "", f"\x1b[<{button};{rng.choice((1, 10, 40, 70, 999))};{rng.choice((1, 2, 12, 24, 500))}{end}"
    if kind < 0.24:
        return "", f"\x1b[200~{any_text(rng)[:5000].encode('utf-8', 'replace').decode().translate(_PASTE)}\x1b[201~"
    if kind < 0.27:
        return "", rng.choice(_STRANGE)
    if kind < 0.37:
        return "", any_text(rng)[:20].encode("utf-8", "replace").decode().translate(_PATHS)
    return "", rng.choice(_FREQUENT if kind < 0.6 else _KEYS)


def _go_on(screen: Terminal) -> None:
    """As the shell's `fg`, where it was stopped."""
    try:
        status = Path(f"/proc/{screen.process.pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return
    if status.rpartition(")")[2].split()[0] == "T":
        screen.process.send_signal(signal.SIGCONT)


def _answers(screen: Terminal) -> None:
    """Keys have their effect: they leave what is open, and the screen is drawn in the other colours."""
    screen.type("\x1b[201~")  # which ends a paste that was begun
    screen.resize(90, 30)
    seen, used, end = len(screen.output), screen.processor_seconds() or 0, time.monotonic() + _PATIENCE
    while screen.process.poll() is None:
        for keys in (_ESCAPE, _THEME):
            screen.type(keys)
            pause = time.monotonic() + 0.3
            while time.monotonic() < pause and screen.read(0.1):
                _go_on(screen)
        if all(re.search(colours, screen.output[seen:]) for colours in _THEMES):
            return
        if time.monotonic() > end:
            work = (screen.processor_seconds() or 0) - used
            raise TimeoutError(f"no key changes the colours, {work:.1f} s of work: {screen.output[-300:]!r}")


def _leaves(screen: Terminal, *, interrupted: bool) -> None:
    """It ends when it is asked to, and the terminal is as found. interrupted: whether ctrl+c was typed, which is no key
    to a terminal that has its line discipline back, as between ctrl+z and `fg`.
    """
    if screen.process.poll() is None:
        screen.type(_LEAVE)
    status = screen.wait(seconds=_PATIENCE)
    screen.settle(0.1)
    if status and not (interrupted and status == 128 + signal.SIGINT):
        told = re.findall(rb"tui-gen: [^\r\n]*", screen.output)[-1:]
        raise RuntimeError(f"status {status}: {told}")
    if not is_as_found(screen):
        raise RuntimeError(f"the terminal is not as found: {screen.output[-200:]!r}")
