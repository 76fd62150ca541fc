"""A tour: stops at which the screen does what a few sentences say. Read from a TOML file, and checked."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tui_gen.config import SETTINGS
from tui_gen.errors import TuiGenError
from tui_gen.files import read_text
from tui_gen.json_fields import JsonFields
from tui_gen.library import locate, read_card
from tui_gen.terminal_text import did_you_mean, scrub, scrub_line
from tui_gen.tui.bindings import KEYS, Key, key_of

SHIPPED = Path(__file__).with_name("tour.toml")
_MAX_BYTES = 100_000
_MAX_STOPS, _MAX_ACTS, _MAX_BESIDE, _MAX_TIMES = 99, 40, 2, 999
_LONGEST = {"title": 60, "text": 700, "try": 300, "prompt": 2000, "model": 1000}
"""Characters of what stands in a stop."""
_KNOBS = {
    setting.name: setting.read
    for setting in SETTINGS
    if setting.name in ("temperature", "top_k", "top_p", "min_p", "pace", "samples", "length", "seed")
}
_FIELDS = ("title", "text", "try", "model", "with", "prompt", "do", *_KNOBS)
WALK, WAIT = "walk", "wait"
ANSWERS = {
    "inside_forget": "forget c of layer 1",
    "inside_hold": "h 1 4 0.5",
    "complete": "rows:14-27",
}
"""Actions that ask for something, and what could be answered; said along with them, nobody is asked."""
COMPARE = "compare_branch"
"""With the branch that it left."""
_ACTIONS = {key.id: key for key in KEYS if key.id and key.owner in ("screen", "InsideView") and key.id != "copy"}
_WORDS = (*_ACTIONS, COMPARE, WALK, WAIT)
_KEY = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Act:
    """Something that the screen does of itself."""

    name: str
    """The id of an action of the table of keys; else `WALK` to a token, or `WAIT` for one."""
    answer: str = ""
    """To what the action asks, for those of `ANSWERS`; empty lets it ask."""
    number: int = 1
    """Of the token, or how many times; 0 waits for the end."""

    @property
    def key(self) -> Key | None:
        """The action's row in the table."""
        return _ACTIONS.get(self.name)


@dataclass(frozen=True)
class Stop:
    """One stop: what is said, and what the screen does."""

    title: str
    text: str
    attempt: str
    """What a person may try; ids of actions in braces stand for their keys."""
    model: str
    """By name or as a folder; empty stays with the one that plays."""
    beside: tuple[str, ...] = ()
    """Models that are played beside it."""
    prompt: str = ""
    knobs: Mapping[str, float] = field(default_factory=dict)
    """By the names of the table of knobs; the others stand at their defaults."""
    acts: tuple[Act, ...] = ()

    def words(self, keys: Sequence[Key] = KEYS) -> tuple[str, str]:
        """What is said, and what to try, with the keys as they are bound."""
        return _with_keys(self.text, keys), _with_keys(self.attempt, keys)


@dataclass(frozen=True)
class Tour:
    """Stops in their order."""

    title: str
    stops: tuple[Stop, ...]

    def faults(self) -> Iterator[str]:
        """What is wrong with models, a line each; the tour goes on without them."""
        for number, stop in enumerate(self.stops, start=1):
            for key, names in (("model", [stop.model] if stop.model else []), ("with", stop.beside)):
                for name in names:
                    try:
                        read_card(locate(name))
                    except TuiGenError as fault:
                        yield f"{_place(number, stop.title)}: '{key}': {fault}"


def read_tour(path: Path) -> Tour:
    """Reads a tour. Raises TuiGenError, one line that names the file, the stop and the key, for a mistake."""
    try:
        return _tour(JsonFields(_content(path), ""), path.parent)
    except TuiGenError as fault:
        raise TuiGenError(f"{path}: {str(fault).removeprefix(f'{path} ')}") from fault


def _content(path: Path) -> dict[str, Any]:
    if path.is_file() and path.stat().st_size > _MAX_BYTES:
        raise TuiGenError(f"is larger than {_MAX_BYTES:,} bytes")
    try:
        return tomllib.loads(read_text(path).removeprefix("\ufeff"))
    except (tomllib.TOMLDecodeError, RecursionError) as fault:
        raise TuiGenError(f"is no TOML: {fault}") from fault


def _tour(content: JsonFields, folder: Path) -> Tour:
    content.refuse_others(("title", "stops"))
    rows = content.items("stops")
    if not 1 <= len(rows) <= _MAX_STOPS:
        raise TuiGenError(f"a tour has 1 to {_MAX_STOPS} stops, [[stops]] each, not {len(rows)}")
    stops = []
    for number, row in enumerate(rows, start=1):
        title = str(row.get("title", "")) if isinstance(row, dict) else ""
        try:
            if not isinstance(row, dict):
                raise TuiGenError(f"must be a section, [[stops]], not {row!r:.40}")
            stops.append(_stop(JsonFields(row, ""), folder))
        except TuiGenError as fault:
            raise TuiGenError(f"{_place(number, title)}: {fault}") from fault
    return Tour(_text(content, "title", "a tour"), tuple(stops))


def _place(number: int, title: str) -> str:
    return f"stop {number}" + (f" ({scrub_line(title):.40})" if title else "")


def _stop(row: JsonFields, folder: Path) -> Stop:
    row.refuse_others(_FIELDS)
    text, attempt = (_checked(row, key, _sentences, _text(row, key)) for key in ("text", "try"))
    beside = [_checked(row, "with", partial(_model, folder=folder), name) for name in row.items("with")]
    acts = [_checked(row, "do", _act, words) for words in row.items("do")]
    for key, entries, most in (("with", beside, _MAX_BESIDE), ("do", acts, _MAX_ACTS)):
        if len(entries) > most:
            raise row.fault(key, f"has {len(entries)} entries; {most} are the most")
    return Stop(
        title=scrub_line(_text(row, "title", None)),
        text=text,
        attempt=attempt,
        model=_checked(row, "model", partial(_model, folder=folder), _text(row, "model")),
        beside=tuple(beside),
        prompt=_text(row, "prompt"),
        knobs={name: _checked(row, name, read, row.value(name)) for name, read in _KNOBS.items() if row.has(name)},
        acts=tuple(acts),
    )


def _text(row: JsonFields, key: str, default: str | None = "") -> str:
    """In one line, whatever lines it is written in."""
    text = " ".join(row.text(key, default).split())
    if len(text) > _LONGEST[key]:
        raise row.fault(key, f"has {len(text):,} characters; {_LONGEST[key]} are the most")
    return text


def _checked(row: JsonFields, key: str, read: Any, value: object) -> Any:
    """What `read` makes of a value; what it complains about is told with the key."""
    try:
        return read(value)
    except TuiGenError as fault:
        raise row.fault(key, str(fault)) from fault


def _model(name: object, *, folder: Path) -> str:
    """The path of a model beside the file, else a name or path as it stands."""
    if not isinstance(name, str):
        raise TuiGenError(f"must be the name or folder of a model, not {name!r:.40}")
    return str(folder / name) if name and os.path.exists(folder / name) else name


def _act(words: object) -> Act:
    """What a line such as `generate`, `walk 12` or `inside_forget c 1` means."""
    name, _, rest = words.strip().partition(" ") if isinstance(words, str) else ("", "", "")
    if name not in _WORDS:
        advice = did_you_mean(name, _WORDS) or "docs/tours.md lists what can be done"
        raise TuiGenError(f"has {words!r:.40}, which is nothing that the screen does; {advice}")
    if name in ANSWERS:
        return Act(name, rest.strip())
    if not rest:
        return Act(name, number=0 if name == WAIT else 1)
    if not rest.strip().isdecimal() or not 1 <= int(rest.strip()[:9]) <= _MAX_TIMES:
        raise TuiGenError(f"has {words!r:.40}; after {name} stands a number from 1 to {_MAX_TIMES}")
    return Act(name, number=int(rest))


def _sentences(text: str) -> str:
    """Refuses ids of actions that there are not."""
    ids = {key.id for key in KEYS if key.id}
    if unknown := next((name for name in _KEY.findall(text) if name not in ids), ""):
        meant = did_you_mean(unknown, ids)
        raise TuiGenError(f"names an action {{{unknown}}} that there is not" + (f"; {meant}" if meant else ""))
    return scrub(text)


def _with_keys(text: str, keys: Sequence[Key]) -> str:
    return _KEY.sub(lambda match: key_of(match[1], keys), text)
