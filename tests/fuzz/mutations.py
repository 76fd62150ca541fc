"""Values changed at random by structure: fields of other types, out of range, lost, doubled, exchanged."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Callable
from typing import Any

Container = dict[Any, Any] | list[Any]


def nested(depth: int) -> Any:
    """Lists in lists."""
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


STRANGE: tuple[Callable[[], Any], ...] = (
    *(lambda value=value: value for value in (None, True, False, -1, 0, 1, 2, 2**31 - 1, 2**31, 2**63, -(2**63))),
    *(lambda value=value: value for value in (0.5, -0.0, 1e308, math.nan, math.inf, -math.inf, 10**400)),
    *(lambda value=value: value for value in ("", "0", "1e999", "\x1b[31m\x1b]0;x\x07", "\ud800", "..", "/", "a\nb")),
    lambda: "x" * 20_000,
    list,
    dict,
    lambda: [[]],
    lambda: {"": None},
    lambda: [0] * 5_000,
    lambda: ["a", 1, None],
    lambda: {"a": {"b": [1, "c"]}},
    lambda: nested(90),
    lambda: nested(200),
)
"""What no field should be, or one at least."""


def changed(value: Any, rng: random.Random, *, most: int = 3) -> Any:
    """A copy with up to so many changes. value: of dicts, lists, texts, numbers."""
    result = copy.deepcopy(value)
    for _ in range(rng.randint(1, most)):
        containers = _containers(result)
        if not containers:
            return rng.choice(STRANGE)()
        _change(rng.choice(containers), containers, rng)
    return result


def _containers(value: Any) -> list[Container]:
    """Every dict and list with something in it."""
    found, pending = list[Container](), [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict | list) and item and len(found) < 10_000:
            found.append(item)
            pending.extend(item.values() if isinstance(item, dict) else item)
    return found


def _change(container: Container, others: list[Container], rng: random.Random) -> None:
    keys = list(container) if isinstance(container, dict) else range(len(container))
    key, kind = rng.choice(keys), rng.random()
    if kind < 0.55:
        container[key] = rng.choice(STRANGE)()
    elif kind < 0.7:
        del container[key]
    elif kind < 0.8:
        container[key] = _near(container[key], rng)
    elif kind < 0.9:
        other = rng.choice(others)
        container[key] = copy.deepcopy(rng.choice(list(other.values()) if isinstance(other, dict) else other))
    elif isinstance(container, list):
        container.extend(copy.deepcopy(container[:100]))
    else:
        container[rng.choice(("", "x", key)) if isinstance(key, str) else 0] = rng.choice(STRANGE)()


def _near(value: Any, rng: random.Random) -> Any:
    """A value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return rng.choice((value + 1, value - 1, -value, value * 1000, value // 2))
    if isinstance(value, str):
        return rng.choice((value[: len(value) // 2], value * 2, value.upper(), f"{value}\x00"))
    return value


def toml(facts: dict[Any, Any]) -> str:
    """A TOML file of values such as `changed` makes; what TOML has no word for becomes a text."""
    try:
        return "".join(f"{_toml(str(key))} = {_toml(value)}\n" for key, value in facts.items())
    except RecursionError:  # here, and not in what reads it
        return f"x = {'[' * 2000}{']' * 2000}\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(str(key))} = {_toml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(str(value)).replace("\\ud800", "?").replace("\x7f", "")
