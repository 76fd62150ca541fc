"""Keys as a person binds them: how they are named in the configuration, and the table of keys with them in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from textual.binding import Binding
from textual.keys import Keys

from tui_gen.errors import TuiGenError
from tui_gen.terminal_text import did_you_mean, scrub_line
from tui_gen.tui.bindings import TASKS, Key, Tasks, browser_tasks, is_letter, shown_key

_MODIFIERS = {"alt", "ctrl", "hyper", "meta", "shift", "super"}
_NAMED = sorted({key.value.rpartition("+")[2] for key in Keys if not key.value.startswith("<")} - {"", "ctrl-at", "@"})
"""Keys that type nothing, as Textual names them."""
_OTHER_NAMES = {
    **{shown_key(name): name for name in ("up", "down", "left", "right", "escape", "delete", "pageup", "pagedown")},
    "return": "enter",
    "page_up": "pageup",
    "page_down": "pagedown",
    "ins": "insert",
    "ctrl+i": "tab",
    "ctrl+m": "enter",
    "ctrl+left_square_bracket": "escape",
    "ctrl+space": "ctrl+@",
}
"""What a person may write for a key, and what a terminal cannot tell from it."""


class Keymap:
    """The table of keys with a person's own in it."""

    def __init__(self, changes: Mapping[str, str], *, browser: bool = False) -> None:
        """changes: ids of actions with their keys, several between commas, none in an empty text.

        browser: whether the screen is in one, which keeps some keys.
        """
        self.faults: list[str] = []
        """What is wrong with the changes, with its place; there the default holds."""
        self._actions = {key.id: key for keys in TASKS.values() for key in keys if key.id}
        own = dict(self._changes(changes))
        tasks = browser_tasks({name for names in own.values() for name in names}) if browser else TASKS
        self._actions = {key.id: key for keys in tasks.values() for key in keys if key.id}
        self._names = {action: key.names for action, key in self._actions.items()} | own
        self._settle_clashes([action for action in changes if action in self._actions])
        self.tasks: Tasks = {task: tuple(map(self._bound, keys)) for task, keys in tasks.items()}
        self.keys = tuple(key for keys in self.tasks.values() for key in keys)

    def _changes(self, changes: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
        for action, text in changes.items():
            try:
                yield self._known(action), tuple(read_keys(text))
            except TuiGenError as fault:
                self.faults.append(scrub_line(f"keys.{action}: {fault}"))

    def _known(self, action: str) -> str:
        if action not in self._actions:
            advice = did_you_mean(action, self._actions) or "tui-gen config --init lists all"
            raise TuiGenError(f"there is no such action; {advice}")
        return action

    def _settle_clashes(self, changed: Iterable[str]) -> None:
        """A key that a person has given away is taken from what had it; of two that were given it, the first wins.

        The app and the screen are one place: both have their keys everywhere. A list has its own while it has the
        focus.
        """
        holders: dict[tuple[str, str], str] = {}
        for action in dict.fromkeys([*changed, *self._actions]):
            owner = self._actions[action].owner
            for name in self._names[action]:
                place = "screen" if owner in ("app", "TourScreen") else owner
                first = holders.setdefault((name, place), action)
                if first != action and not self._share_by_default(first, action):
                    self._names[action] = tuple(other for other in self._names[action] if other != name)
                    advice = f"bind {action} to another key, or to none"
                    self.faults.append(f"keys.{first}: {shown_key(name)} was {action}'s key too; {advice}")

    def _share_by_default(self, first: str, second: str) -> bool:
        """Whether they never work at the same time, and so have one key."""
        return bool({*self._actions[first].names} & {*self._actions[second].names})

    def _bound(self, key: Key) -> Key:
        if not key.id or self._names[key.id] == key.names:
            return key
        names = self._names[key.id]
        return replace(key, key=",".join(names), shown=" ".join(map(shown_key, names)), browser_key="")


def read_keys(text: str) -> Iterator[str]:
    """Keys between commas, each as Textual names it. Raises TuiGenError for one that there is not."""
    yield from dict.fromkeys(_read_key(part.strip()) for part in text.split(",") if part.strip())


def _read_key(text: str) -> str:
    spelled = re.sub(r"^\^(?=.)", "ctrl+", text)
    *modifiers, sign = re.split(r"\+(?=.)", spelled)  # of `ctrl++`, the first plus only
    modifiers = sorted(modifier.strip().lower() for modifier in modifiers)
    sign = sign.lower() if modifiers or len(sign) > 1 else sign
    sign = _OTHER_NAMES.get(sign, sign)
    if len(sign) == 1:
        sign = next(iter(Binding.make_bindings([(sign, "")]))).key
    if not {*modifiers} <= _MODIFIERS or not (sign in _NAMED or is_letter(sign)):
        meant = did_you_mean(sign, _NAMED, cutoff=0.8) if {*modifiers} <= _MODIFIERS else ""
        raise TuiGenError(f"there is no key {text!r:.40}" + (f"; {meant}" if meant else ""))
    name = "+".join([*modifiers, sign])
    return _OTHER_NAMES.get(name, name)
