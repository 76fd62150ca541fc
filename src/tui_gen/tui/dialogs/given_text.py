"""The dialog for a text that the model is to read: the name of a file, or what is pasted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from tui_gen.errors import TuiGenError
from tui_gen.launcher import in_browser
from tui_gen.sessions.workspace import Workspace
from tui_gen.text.tokenizer import BLOCK, text_blocks
from tui_gen.tui.browser import NO_FILES
from tui_gen.tui.dialogs.dialog import Ask, complaint_of
from tui_gen.tui.dialogs.image_picker import PathSuggester

_HINT = f"the name of a file, or a text that is pasted; of a long one, the first {BLOCK // 1024} KiB are read"
_HINT_IN_BROWSER = f"a text that is pasted, of which the first {BLOCK // 1024} KiB are read; {NO_FILES}"


class GivenText(NamedTuple):
    """A text that somebody else has written."""

    name: str
    """Of the file."""
    text: str
    is_cut: bool = False
    """Whether more stands in the file."""


def text_dialog(workspace: Workspace, line: str = "") -> Ask:
    """Asks for a text that the model can read. line: what stands there already."""
    codec = workspace.loaded_model.codec
    check = complaint_of(lambda line: codec.prompt([given_text(line).text]))
    return Ask("read a text", line, _HINT_IN_BROWSER if in_browser() else _HINT, check, suggester=PathSuggester())


def given_text(line: str) -> GivenText:
    """What was typed: the content of a file of this name, or else a text itself; in a browser always that. Raises
    TuiGenError.
    """
    path = Path(os.path.expanduser(line.strip()))
    if not line.strip():
        raise TuiGenError("paste a text" if in_browser() else "type the name of a file, or paste a text")
    if not in_browser() and os.path.isfile(path):
        return _read(path)
    if len(line.split()) < 2 and in_browser():
        raise TuiGenError(f"a text has more than one word, and {NO_FILES}")
    if len(line.split()) < 2:
        raise TuiGenError(f"there is no file {line.strip()!r:.60}, and a text has more than one word")
    return GivenText("text", line[:BLOCK], len(line) > BLOCK)


def _read(path: Path) -> GivenText:
    """Whole blocks of it, so that no word is cut."""
    text, is_cut = "", False
    try:
        with path.open("rb") as file:
            for block in text_blocks(file, path.name):
                is_cut = len(text) + len(block) > BLOCK
                if is_cut:
                    break
                text += block
    except OSError as fault:
        raise TuiGenError(f"{path.name} cannot be read: {fault.strerror}") from None
    if not text.strip():
        raise TuiGenError(f"{path.name} holds no text")
    return GivenText(path.name, text, is_cut)
