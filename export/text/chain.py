"""The order of the parts of a network, as their sizes allow it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from export.text.parts import Part
from tui_gen.errors import TuiGenError

_TRIES = 20_000
"""Orders that are begun before the search is given up; an honest file needs a few."""


def orders(
    parts: Sequence[Part], told: Sequence[str], *, reads: int, ends: Callable[[Part], bool]
) -> list[tuple[Part, ...]]:
    """One or two ways to chain all parts, the nearest to their order first; none if their sizes allow none.

    Each part must read as many numbers as the one before it gives, the first as many as `reads`. Parts whose names
    differ only in numbers stand in the order of these. told: the names of all parts in the one order that is allowed.
    """
    found: list[tuple[Part, ...]] = []
    earlier = {part.name: _told_earlier(part, told) if told else _earlier(part, parts) for part in parts}
    pending: list[tuple[Part, ...]] = [()]
    for _ in range(_TRIES):
        if not pending or len(found) == 2:
            break
        chain = pending.pop()
        if len(chain) == len(parts):
            found += [chain] if chain and ends(chain[-1]) else []
            continue
        width, names = chain[-1].outputs if chain else reads, {part.name for part in chain}
        fitting = [p for p in parts if p.name not in names and p.inputs == width and earlier[p.name] <= names]
        pending += [(*chain, part) for part in reversed(fitting)]
    return found


def _told_earlier(part: Part, told: Sequence[str]) -> set[str]:
    if part.name not in told:
        raise TuiGenError(f"--assume order=... must name every part, and {part.name} too")
    return set(told[: told.index(part.name)])


def _earlier(part: Part, parts: Sequence[Part]) -> set[str]:
    """The names of parts that must come before it."""
    pattern, number = _numbered(part.name)
    return {other.name for other in parts if _numbered(other.name)[0] == pattern and _numbered(other.name)[1] < number}


def _numbered(name: str) -> tuple[str, tuple[int, ...]]:
    """`layers.0.lstm2` -> (`layers.lstm`, (0, 2))."""
    return re.sub(r"[._]?\d+", "", name), tuple(int(number) for number in re.findall(r"\d+", name))
