"""How people count and list things."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, unit: str) -> str:
    """A number of things that take an s in the plural, as in `1 word` and `1,204 words`."""
    return f"{number:,} {unit}{'' if number == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Alternatives, as in `a, b or c`."""
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
