"""All actions by their names, for Textual's command palette."""

from __future__ import annotations

import inspect
from functools import partial

from textual import actions
from textual.app import App
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from tui_gen.tui.keys import KEYS, Key

_IN_MEANING = 0.1
"""How well a key matches whose meaning has what was typed, and whose name has not."""


class Actions(Provider):
    """Finds actions by what they are called and what they do, and shows the key beside the name."""

    async def discover(self) -> Hits:
        """All of them, in the order of the help."""
        for key in _named():
            yield DiscoveryHit(_with_key(Content(key.name), key), partial(run, self.app, key), key.name, key.meaning)

    async def search(self, query: str) -> Hits:
        """Those that match what was typed."""
        matcher = self.matcher(query)
        for key in _named():
            score = matcher.match(key.name) or _IN_MEANING * (query.lower() in key.meaning.lower())
            if score:
                shown = _with_key(matcher.highlight(key.name), key)
                yield Hit(score, shown, partial(run, self.app, key), key.name, key.meaning)


async def run(app: App[object], key: Key) -> None:
    """Does what a key does, also where the key itself would be left to what has the focus."""
    _, name, arguments = actions.parse(key.action)
    done = getattr(app, f"action_{name}")(*arguments)
    if inspect.isawaitable(done):
        await done


def _named() -> list[Key]:
    return [key for key in KEYS if key.name]


def _with_key(name: Content, key: Key) -> Content:
    return Content.assemble(name, "  ", (key.shown, "not bold dim"))
