"""Completing the path of a file while it is typed."""

from __future__ import annotations

import asyncio
import itertools
import os

from textual.suggester import Suggester

from tui_gen.scrub import scrub_line

_LOOKED_AT = 5000
"""Entries of a folder, at most."""


class PathSuggester(Suggester):
    """The first file or folder, by name, that begins with what is typed; hidden ones only after a dot."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """Looks in a thread: a folder may be on a slow disk."""
        return await asyncio.to_thread(suggested, value)


def suggested(typed: str) -> str | None:
    """What a path may be meant to become; None where nothing fits."""
    folder, begun = os.path.split(typed)
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:
            fitting = [entry for entry in itertools.islice(entries, _LOOKED_AT) if _fits(entry.name, begun)]
            best = min(fitting, key=lambda entry: entry.name, default=None)
            return best and typed + best.name[len(begun) :] + ("/" if best.is_dir() else "")
    except (OSError, ValueError):
        return None


def _fits(name: str, begun: str) -> bool:
    """Whether a name, harmless to a terminal, goes on from what is typed."""
    hidden = name.startswith(".") and not begun
    return name.startswith(begun) and not hidden and name == scrub_line(name)
