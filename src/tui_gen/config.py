"""A person's configuration: one TOML file. A mistake in it is listed with its place, and the default holds there."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tui_gen.card import LIMITS
from tui_gen.errors import TuiGenError
from tui_gen.files import read_text
from tui_gen.terminal_text import did_you_mean, listed, scrub_line

VARIABLE = "TUI_GEN_CONFIG"
"""Of the environment; names another file."""
_LONGEST, _LONGEST_LINE = 2**16, 1000
"""Characters: a key of so many parts is read in a time that grows with their square."""


@dataclass(frozen=True)
class Setting:
    """What can be set, and what it is where nobody does."""

    name: str
    example: str
    """As TOML; the default, where that is a value."""
    meaning: str
    read: Callable[[object], object]
    """From what stands in the file. Raises TuiGenError that says what it should be."""


@dataclass
class Config:
    """What a person has set, checked; what is missing is not set."""

    values: dict[str, Any] = field(default_factory=dict)
    """By the names of `SETTINGS`."""
    keys: dict[str, str] = field(default_factory=dict)
    """Ids of actions, not checked, and keys, several between commas; none in an empty text."""
    themes: dict[str, dict[str, object]] = field(default_factory=dict)
    """Names of a person's own themes and their fields, not checked."""
    faults: list[str] = field(default_factory=list)
    """Mistakes, each with its place, in one line."""


def config_path() -> Path:
    """Where the configuration is, or would be."""
    import platformdirs  # here, for the help of every command reads this module

    other = os.environ.get(VARIABLE)
    return Path(other or Path(platformdirs.user_config_dir("tui-gen", appauthor=False)) / "config.toml")


def read_config() -> Config:
    """Reads the file; what is wrong with it stands in `faults`. Without a file nothing is set."""
    config, path = Config(), config_path()
    try:
        content = tomllib.loads(_text_of(path))
    except (ValueError, RecursionError) as fault:
        config.faults.append(scrub_line(f"{fault}; nothing in the file counts"))
        return config
    except TuiGenError as fault:
        config.faults.append(scrub_line(f"the file {str(fault).removeprefix(f'{path} ')}; nothing is set"))
        return config
    for name, value in content.items():
        _take(config, name, value)
    return config


def _text_of(path: Path) -> str:
    """Windows puts a mark before UTF-8 text; an empty file, such as the null device, sets nothing."""
    if not os.path.lexists(path) and not os.environ.get(VARIABLE):
        return ""
    if os.path.exists(path) and not os.path.isdir(path) and not os.path.getsize(path):
        return ""
    text = read_text(path)
    if len(text) > _LONGEST or max(map(len, text.splitlines()), default=0) > _LONGEST_LINE:
        raise TuiGenError(f"has more than {_LONGEST >> 10} KiB, or a line of more than {_LONGEST_LINE} characters")
    return text.removeprefix("\ufeff")


def _take(config: Config, name: str, value: object) -> None:
    readers = {setting.name: setting.read for setting in SETTINGS}
    if name == "keys":
        config.keys = _section(config, name, value, _keys)
    elif name == "themes":
        config.themes = _section(config, name, value, _theme)
    elif name in readers:
        config.values |= _entry(config, name, value, readers[name], name)
    else:
        meant = did_you_mean(name.replace("-", "_"), [*readers, "keys", "themes"])
        advice = meant or "tui-gen config --init lists all"
        config.faults.append(scrub_line(f"{name} is no setting; {advice}"))


def _section(config: Config, section: str, value: object, read: Callable[[object], Any]) -> dict[str, Any]:
    if isinstance(value, dict):
        entries = (_entry(config, name, entry, read, f"{section}.{name}") for name, entry in value.items())
        return {name: entry for pair in entries for name, entry in pair.items()}
    config.faults.append(f"{section} must be a section, [{section}]")
    return {}


def _entry(config: Config, name: str, value: object, read: Callable[[object], Any], place: str) -> dict[str, Any]:
    """The value by its name; nothing if it is wrong, which is told with its place."""
    try:
        return {name: read(value)}
    except TuiGenError as fault:
        config.faults.append(scrub_line(f"{place} {fault}; the default counts"))
        return {}


def _keys(value: object) -> str:
    if isinstance(value, str):
        return value
    raise TuiGenError(f'must be keys in quotes, such as "f2,ctrl+g", not {value!r:.40}')


def _theme(value: object) -> dict[str, object]:
    if isinstance(value, dict):
        return value
    raise TuiGenError("must be a section of colours, such as [themes.mine]")


def _word(value: object) -> str:
    if isinstance(value, str) and value:
        return value
    raise TuiGenError(f"must be a name in quotes, not {value!r:.40}")


def _one_of(value: object, *, names: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in names:
        return value
    raise TuiGenError(f"must be {listed(names)}, not {value!r:.40}")


def _number(value: object, *, name: str, kind: type[int] | type[float] = float) -> float:
    """Within its `LIMITS`."""
    lowest, highest = LIMITS[name]
    if isinstance(value, int | kind) and not isinstance(value, bool) and lowest <= value <= highest:
        return kind(value)
    what = "a whole number" if kind is int else "a number"
    limits = f"of at least {lowest:g}" if math.isinf(highest) else f"from {lowest:g} to {highest:.0f}"
    raise TuiGenError(f"must be {what} {limits}, not {value!r:.40}")


def _pace(value: object) -> float:
    try:
        return math.inf if value == "unlimited" else _number(value, name="pace")
    except TuiGenError as fault:
        raise TuiGenError(f'must be "unlimited" or {str(fault).removeprefix("must be ")}') from fault


SETTINGS = (
    Setting("theme", '"tui-gen-dark"', "or tui-gen-light, a theme of Textual (nord, gruvbox ...), one of yours", _word),
    Setting("model", '"recipes"', "the first model, by its name or folder", _word),
    Setting("temperature", "1.0", "for every model; if it is not set, what the model's card says",
            partial(_number, name="temperature")),
    Setting("top_k", "0", "only the so many likeliest tokens; 0 is off", partial(_number, name="top_k", kind=int)),
    Setting("top_p", "1.0", "only the likeliest tokens that add up to this; 1.0 is off",
            partial(_number, name="top_p")),
    Setting("min_p", "0.0", "only tokens this many times as likely as the likeliest; 0.0 is off",
            partial(_number, name="min_p")),
    Setting("length", "300", "tokens at most; if it is not set, as many as fit the model",
            partial(_number, name="length", kind=int)),
    Setting("samples", "1", "how many at once", partial(_number, name="samples", kind=int)),
    Setting("seed", "42", "where the random numbers begin", partial(_number, name="seed", kind=int)),
    Setting("pace", '"unlimited"', 'tokens a second; if it is not set, slow enough to read', _pace),
    Setting("provider", '"auto"', "where models run: auto (measures once), cpu, cuda",
            partial(_one_of, names=("auto", "cpu", "cuda"))),
    Setting("device", "0", "which GPU, of several", partial(_number, name="device", kind=int)),
    Setting("threads", "2", "at most so many on the CPU; if it is not set, the fastest number is measured",
            partial(_number, name="threads", kind=int)),
)  # fmt: skip
"""All settings outside of the sections for keys and themes."""
