"""What the last line of the screen says: what the keys do now, the most useful first."""

from __future__ import annotations

from itertools import groupby

from tui_gen.tui.context import Context
from tui_gen.tui.keys import BRANCH_KEYS, EXPLAINED_KEYS, Key

Pair = tuple[str, str]
"""Key and meaning."""

_PARTS: dict[str, tuple[Pair, ...]] = {
    "in_list": (("↑↓", "choose"), ("enter", "open"), ("esc", "back"), ("tab", "focus")),
    "in_branches": (
        ("↑↓", "choose"),
        ("enter", "switch"),
        *((key.shown, key.brief) for key in BRANCH_KEYS),
        ("esc", "back"),
    ),
    "in_panel": (("↑↓", "choose"), ("enter", "take"), ("←→", "token"), ("esc", "back")),
    "in_surprise": (("↑↓", "choose"), ("enter", "go there"), ("f6", "off"), ("esc", "back")),
    "in_knobs": (("↑↓", "select"), ("←→", "turn"), ("0-9", "type"), ("f5", "five values"), ("esc", "back")),
}
"""Where a part of the screen has keys of its own."""

_COMPARING = ("scroll", "stop", "branches", "style", "save", "copy")
_WALKING = (
    "token",
    "choose",
    "a word",
    "pause",
    "sample",
    "stop",
    "anew",
    "temperature",
    "branches",
    "surprise",
    "save",
)
_WALKING_PICTURE = ("token", "temperature", "choose", "pause", "sample", "stop", "anew", "branches", "surprise", "save")
_PAUSED = ("pause", "token", "temperature", "stop", "seed", "pace", "knob", "style", "save")
_RUNNING = ("stop", "pause", "temperature", "pace", "token", "style", "knob", "generate", "seed")
_RESTING = ("generate", "pause", "token", "temperature", "seed", "style", "save", "surprise", "five values", "branches",
            "complete", "models", "learned", "knobs", "copy", "command", "actions")  # fmt: skip
"""Briefs of keys; those that do nothing are left out."""


def pairs_now(now: Context) -> tuple[Pair, ...]:
    """Key and meaning for the last line of the screen, the most useful first; help and quit are always the last."""
    part = next((pairs for fact, pairs in _PARTS.items() if getattr(now, fact)), None)
    pairs = tuple(_pairs(_order(now), now)) if part is None else part
    return (*pairs, ("f1" if now.in_prompt else "?", "help"), ("^q", "quit"))


def _order(now: Context) -> tuple[str, ...]:
    if now.comparing and not now.in_prompt:
        return _COMPARING
    if now.walking and not now.in_prompt:
        return _WALKING_PICTURE if now.drawing else _WALKING
    if not now.running:
        return _RESTING
    return _PAUSED if now.paused and not now.in_prompt else _RUNNING


def _pairs(order: tuple[str, ...], now: Context) -> list[Pair]:
    working = [key for key in EXPLAINED_KEYS if key.brief in order and key.when(now)]
    working.sort(key=lambda key: order.index(key.brief))
    return [(_together(list(keys)), _said(brief, now)) for brief, keys in groupby(working, lambda key: key.brief)]


def _together(keys: list[Key]) -> str:
    return ("" if keys[0].shown in "←→↑↓" else " ").join(key.shown for key in keys)


def _said(brief: str, now: Context) -> str:
    """What a key is said to do where that depends on more than the key."""
    if brief == "pause" and (now.paused or not now.running):
        return "go on"
    if brief == "stop" and not now.in_prompt and (now.comparing or now.walking):
        return "back" if now.comparing else "leave"
    if now.drawing and (brief == "token" or (brief == "temperature" and now.walking and now.on_output())):
        return "pixel" if brief == "token" else "row"
    return brief
