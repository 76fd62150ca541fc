"""`tui-gen config`: where a person's configuration is, what is wrong with it, and a file to begin with."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tui_gen.config import SETTINGS, Config, config_path, read_config
from tui_gen.errors import TuiGenError
from tui_gen.files import write_new
from tui_gen.terminal_text import say, show

if TYPE_CHECKING:
    from tui_gen.tui.bindings import Key

_HEAD = """\
# The configuration of tui-gen. Take the sign # away from a line to change it; here stand defaults and examples.
# The screen obeys all of it. Of the commands, those that run a model obey provider, device and threads alone, so that
# what they make depends on their command line. What the command line says always wins.
"""
_THEMES = """\
# Themes of your own, with the fields of Textual's `Theme`; all but primary may be left out. Say theme = "mine" above.
#[themes.mine]
#primary = "#ffb454"
#accent = "#ffb454"
#foreground = "#d8d8d8"
#background = "#101418"
#surface = "#181d23"
#dark = true
#[themes.mine.variables]
#input-selection-background = "#ffb454 35%"
"""
_KEYS = """\
# An action's keys, several between commas; "" takes them away. Keys are f5, ctrl+g, alt+up, shift+f2, home, space, [ or
# a letter; a terminal may keep some for itself, or not tell ctrl+plus from plus. In the prompt letters are only typed.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describes the command's options."""
    parser.description = "Prints where the configuration is, and says what is wrong with it."
    parser.add_argument("--init", action="store_true", help="write one with every setting and key, commented out")


def run(args: argparse.Namespace) -> int:
    """Prints the path; returns the exit status: 1 if something is wrong with what stands there."""
    path = config_path()
    if args.init:
        _write(path)
    show(str(path))
    if args.init:
        say("written, with everything commented out")
    elif path.exists():
        faults = faults_of(read_config())
        say(*faults)
        return 1 if faults else 0
    else:
        say("there is no such file yet; tui-gen config --init writes one")
    return 0


def _write(path: Path) -> None:
    """Raises TuiGenError where it is already, or cannot be."""
    from tui_gen.tui.bindings import KEYS

    if path.exists():
        raise TuiGenError(f"{path} is there already and is left as it is; move it away to have a new one")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise TuiGenError(f"{path.parent} cannot be made: {fault.strerror}") from fault
    write_new(path, default_text(KEYS).encode())


def faults_of(config: Config) -> list[str]:
    """Those that only the screen knows too."""
    from tui_gen.cli.play import configured_model
    from tui_gen.tui.keymap import Keymap
    from tui_gen.tui.themes import Themes

    configured_model(config)
    themes = Themes(config.values.get("theme", ""), config.themes)
    return [*config.faults, *themes.faults, *Keymap(config.keys).faults]


def default_text(keys: Iterable[Key]) -> str:
    """A file with every setting and every key, commented out, at its default."""
    settings = _aligned((f"#{setting.name} = {setting.example}", setting.meaning) for setting in SETTINGS)
    bound = _aligned((f"#{key.id} = {_quoted(key)}", key.name or key.meaning) for key in keys if key.id)
    return "\n".join([_HEAD, *settings, "", "[keys]", _KEYS.rstrip(), *bound, "", _THEMES])


def _aligned(rows: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(rows)
    width = max(len(line) for line, _ in rows)
    return [f"{line:{width}}  # {meaning}" for line, meaning in rows]


def _quoted(key: Key) -> str:
    from tui_gen.tui.bindings import is_letter, shown_key

    return json.dumps(",".join(shown_key(name) if is_letter(name) else name for name in key.names))
