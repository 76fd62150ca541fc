"""What the opcodes of a pickle put into the objects that they build: items, entries, attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from export.loading.stubs import Global, LazyArray, Stub
from tui_gen.errors import TuiGenError

_MAX_KEY = 100
"""Values inside of a key: Python hashes a tuple anew each time, and tuples of tuples can be made to take for ever."""
_MAX_WHOLE = 2**60
"""Larger whole numbers can be chosen so that they all fall into one place of a dict."""


def add_items(made: Any, items: Sequence[Any]) -> None:
    """Puts items into a list or set, or into an object whose class extends one."""
    if isinstance(made, Stub):
        made.items.extend(items)
    elif isinstance(made, list):
        made.extend(items)
    else:
        raise TuiGenError("its pickle is damaged: it adds items to something that is no list")


def add_entries(made: Any, alternating: Sequence[Any]) -> None:
    """Puts entries, given as key, value, key, value, into a dict or an object whose class extends it."""
    entries = made.entries if isinstance(made, Stub) else made
    if not isinstance(entries, dict) or len(alternating) % 2:
        raise TuiGenError("its pickle is damaged: it adds entries to something that is no dict")
    for at in range(0, len(alternating), 2):
        entries[checked_key(alternating[at])] = alternating[at + 1]


def checked_key(key: Any) -> Any:
    """A key that a dict can find quickly. Raises TuiGenError for any other."""
    if type(key) is str:
        return key
    pending = [key]
    for _ in range(_MAX_KEY):
        if not pending:
            return key
        part = pending.pop()
        if isinstance(part, tuple):
            pending.extend(part[:_MAX_KEY])
        elif isinstance(part, int) and abs(part) > _MAX_WHOLE:
            raise TuiGenError("it has a dict with an impossibly large number as a key")
    raise TuiGenError("it has a dict with a key that is nested without end")


def set_state(made: Any, state: Any) -> None:
    """Gives an object its attributes; those of plain containers and tensors say nothing about a network."""
    if isinstance(made, Global):
        raise TuiGenError(f"it asks to change {made.name}, which is refused")
    if isinstance(made, (Stub, LazyArray)):
        made.state = state
