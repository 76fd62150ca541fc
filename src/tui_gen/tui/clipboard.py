"""Copying beside the terminal's own way: by a program of the system, else into a file."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from textual.message import Message

from tui_gen.files import replace_private, state_folder

PATIENCE = 2.0
"""Seconds after which a program that does not take the text is killed."""
_TERMS = ("alacritty", "contour", "foot", "foot-extra", "rio", "wezterm", "xterm-ghostty", "xterm-kitty")
_TERM_PROGRAMS = ("WezTerm", "ghostty", "rio", "vscode")


@dataclass
class CopyRequest(Message):
    """Asks the app to copy a text. what: what it is, for a person, as in `1,204 characters of text`."""

    text: str
    what: str


@dataclass(frozen=True)
class CopyProgram:
    """A program that reads what is to be copied from its standard input."""

    name: str
    command: tuple[str, ...]
    place: str = ""
    """The variable without which there is nowhere to copy to."""
    encoding: str = "utf-8"
    variables: Mapping[str, str] = field(default_factory=dict)
    """What must stand in its environment."""

    def path(self, variables: Mapping[str, str]) -> str | None:
        """Where it is; None where it is not, or of no use."""
        if self.place and not variables.get(self.place):
            return None
        return shutil.which(self.command[0], path=variables.get("PATH"))


PROGRAMS = (
    CopyProgram("tmux", ("tmux", "load-buffer", "-w", "-"), "TMUX"),
    CopyProgram("tmux (its own buffer)", ("tmux", "load-buffer", "-"), "TMUX"),  # before 3.2 there is no -w
    CopyProgram("wl-copy", ("wl-copy",), "WAYLAND_DISPLAY"),
    CopyProgram("xclip", ("xclip", "-selection", "clipboard"), "DISPLAY"),
    CopyProgram("xsel", ("xsel", "--clipboard", "--input"), "DISPLAY"),
    CopyProgram("pbcopy", ("pbcopy",), variables={"LC_CTYPE": "UTF-8"}),
    CopyProgram("clip.exe", ("clip.exe",), encoding="utf-16"),
)
"""In the order in which they are tried; the first one that takes the text has it."""


def clipboard_file() -> Path:
    """Where a text is written that may have gone nowhere else."""
    return state_folder() / "clipboard.txt"


def pass_on(text: str, variables: Mapping[str, str] = os.environ) -> str:
    """Copies a text that the terminal has got already; returns which ways it went, as in `with xclip`.

    Takes up to `PATIENCE` seconds for each program that hangs. variables: the environment.
    """
    program = next((each.name for each in PROGRAMS if _copies(each, text, variables)), "")
    if obeys(variables):
        return f"through the terminal and {program}" if program else "through the terminal"
    if program:
        return f"with {program}, and through the terminal if it allows that"
    try:
        path = _write(text)
    except OSError as fault:
        return f"through the terminal if it allows that; {clipboard_file()} cannot be written: {fault.strerror}"
    return f"to {path}, and through the terminal if it allows that"


def obeys(variables: Mapping[str, str]) -> bool:
    """Whether the terminal is one that lets a program copy (OSC 52) unless a person has forbidden it.

    Others, such as Terminal of macOS, those of GNOME and xterm, do not, or ask, and none says so.
    """
    if variables.get("TMUX") or variables.get("STY"):  # tmux and screen keep it to themselves
        return False
    known = variables.get("TERM") in _TERMS or variables.get("TERM_PROGRAM") in _TERM_PROGRAMS
    return known or bool(variables.get("WT_SESSION"))


def _copies(program: CopyProgram, text: str, variables: Mapping[str, str]) -> bool:
    """Whether a program is there and takes the text."""
    if not (path := program.path(variables)):
        return False
    try:
        process = subprocess.Popen(
            [path, *program.command[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # one that goes on in the background would keep a pipe open
            stderr=subprocess.DEVNULL,
            env={**variables, **program.variables},
            start_new_session=True,  # it may keep the text after this program has ended, or is suspended
        )
    except OSError:
        return False
    with _killed_at_last(process):
        process.communicate(text.encode(program.encoding, "replace"), timeout=PATIENCE)
        return process.returncode == 0
    return False


@contextlib.contextmanager
def _killed_at_last(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kills a program that takes too long, and what it has started."""
    try:
        yield
    except subprocess.TimeoutExpired:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.communicate()
    except OSError:  # it has ended without reading
        process.wait()


def _write(text: str) -> Path:
    """Into a file that nobody else can read. Raises OSError."""
    path = clipboard_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_private(path, text.encode("utf-8", "replace"))
    return path
