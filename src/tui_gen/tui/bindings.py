"""The keys of the app, the screen and the list of branches: one table for bindings, help, palette and key bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Literal

from textual import actions
from textual.binding import Binding, BindingType

_WALK = "one token back or on; at the end, → makes one"
_JUMP = "to the first token, to the last"
_SAMPLE = "the sample before, the next one: cursor and panels go there"
_HEAT = "temperature up or down by 0.05; over a picture with a cursor in it, a row up or down"
_TURN = "the selected knob up or down"
_PACE = "half or twice the pace, up to unlimited"
_SCROLL = "scroll what was made"
Owner = Literal["app", "screen", "BranchList"]
Pair = tuple[str, str]
"""Key and meaning."""
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


@dataclass(frozen=True)
class Context:
    """The state of the screen. At most one of the `in_` facts holds; where none does, the output has the focus."""

    running: bool = False
    """Tokens are being made, be it paused."""
    paused: bool = False
    unfinished: bool = False
    """What is on the screen rests, and could go on."""
    walking: bool = False
    """The cursor stands on a token."""
    in_prompt: bool = False
    in_list: bool = False
    """Of models."""
    in_branches: bool = False
    in_panel: bool = False
    """In the distribution, to choose another token."""
    in_knobs: bool = False
    in_surprisal: bool = False
    """In the list of the most surprising tokens."""
    several: bool = False
    """There are several samples."""
    drawing: bool = False
    """The model draws pictures."""
    made: bool = False
    """Something that a model made is on the screen."""
    comparing: bool = False
    """Two branches are on the screen."""

    def always(self) -> bool:
        """For keys that mean the same everywhere."""
        return True

    def on_output(self) -> bool:
        """The keys go to what was made, or to the page about a model."""
        inside = self.in_list or self.in_branches or self.in_panel or self.in_knobs or self.in_surprisal
        return not (self.in_prompt or inside)

    def outside_prompt(self) -> bool:
        """A letter is no text of a prompt."""
        return not self.in_prompt

    def can_generate(self) -> bool:
        """Enter generates: the focus is in the prompt, or on the output with no cursor and no comparison."""
        return self.in_prompt or (self.on_output() and not self.walking and not self.comparing)

    def can_pause(self) -> bool:
        """There is something to pause or to go on with."""
        return (self.running or self.unfinished) and self.on_output()

    def can_walk(self) -> bool:
        """There are tokens to walk through; the prompt, lists and the knobs have arrows of their own."""
        return self.made and not self.comparing and (self.on_output() or self.in_panel)

    def can_jump(self) -> bool:
        """Home and end move the cursor: as `can_walk`, but not while the panel of the next token has the focus."""
        return self.can_walk() and not self.in_panel

    def has_several(self) -> bool:
        """There is another sample to go to."""
        return self.several and not self.in_prompt and not self.comparing

    def can_choose(self) -> bool:
        """Another token can take the place of the one at the cursor."""
        return self.walking and self.on_output() and not self.comparing

    def can_type_over(self) -> bool:
        """A word can; pixels have none."""
        return self.can_choose() and not self.drawing

    def can_begin_anew(self) -> bool:
        """There is a token from which to begin."""
        return self.walking and not self.comparing

    def can_heat(self) -> bool:
        """The arrows turn the temperature, or move the cursor; lists and what scrolls keep them."""
        return self.in_prompt or (self.on_output() and not self.comparing)

    def can_scroll(self) -> bool:
        """The panel and the lists have pages of their own."""
        return self.in_prompt or self.on_output()

    def has_made(self) -> bool:
        """There is something to look at and to keep."""
        return self.made

    def draws(self) -> bool:
        """For what only pictures have."""
        return self.drawing

    def lists_branches(self) -> bool:
        """For the keys of the list of branches."""
        return self.in_branches


@cache
def _parts(action: str) -> tuple[str, tuple[object, ...]]:
    _, name, arguments = actions.parse(action)
    return name, arguments


@dataclass(frozen=True)
class Key:
    """A key and what it does. Keys that stand together with the same meaning are explained together."""

    key: str
    """As Textual names it; several between commas; empty for typing."""
    shown: str
    action: str
    """A method of the owner, with its arguments; empty for typing."""
    name: str
    """What a person would type to find it; empty for what only a key can do."""
    meaning: str
    brief: str
    """For the last line of the screen."""
    when: Callable[[Context], bool] = Context.always
    """Where it does something; elsewhere, what has the focus keeps the key."""
    priority: bool = True
    """Whether it goes before what has the focus."""
    owner: Owner = "screen"
    """The class whose binding it is."""

    def binding(self) -> Binding:
        """For Textual."""
        return Binding(self.key, self.action, self.meaning, show=False, priority=self.priority)

    @property
    def parts(self) -> tuple[str, tuple[object, ...]]:
        """The action and its arguments."""
        return _parts(self.action)


TASKS: dict[str, tuple[Key, ...]] = {
    "write or draw": (
        Key("enter", "enter", "generate", "generate from the prompt", "make a text or a picture from the prompt",
            "generate", Context.can_generate, priority=False),
        Key("space", "space", "pause", "pause or go on", "hold the run; go on with it", "pause", Context.can_pause,
            priority=False),
        Key("escape", "esc", "stop", "stop the run", "leave the cursor, a list or a comparison; stop the run", "stop"),
        Key("ctrl+n", "^n", "new_seed", "another seed", "draw another seed and generate", "seed"),
    ),
    "walk through what was made": (
        Key("left", "←", "walk(-1)", "one token back", _WALK, "token", Context.can_walk),
        Key("right", "→", "walk(1)", "one token on", _WALK, "token", Context.can_walk),
        Key("home", "home", "walk_to('first')", "to the first token", _JUMP, "first", Context.can_jump),
        Key("end", "end", "walk_to('last')", "to the last token", _JUMP, "last", Context.can_jump),
        Key("less_than_sign", "<", "turn_sample(-1)", "previous sample", _SAMPLE, "sample", Context.has_several,
            priority=False),
        Key("greater_than_sign", ">", "turn_sample(1)", "next sample", _SAMPLE, "sample", Context.has_several,
            priority=False),
    ),
    "choose otherwise at the cursor": (
        Key("enter", "enter", "choose", "choose another token here", "into the list of tokens; enter there takes one",
            "choose", Context.can_choose, priority=False),
        Key("", "type", "", "", "another word in the token's place", "a word", Context.can_type_over),
        Key("ctrl+g", "^g", "resample", "generate anew from here",
            "a branch from here with the knobs as they are now", "anew", Context.can_begin_anew),
        Key("f4", "f4", "unfold('branches')", "branches: switch, compare, rename, delete",
            "the list of branches; enter switches",
            "branches", Context.has_made),
        Key("c", "c", "compare", "", "in that list: compare with what is on the screen", "compare",
            Context.lists_branches, priority=False, owner="BranchList"),
        Key("r", "r", "rename", "", "in that list: rename",
            "rename", Context.lists_branches, priority=False, owner="BranchList"),
        Key("delete,backspace", "del", "delete", "", "in that list: delete", "delete", Context.lists_branches,
            priority=False, owner="BranchList"),
    ),
    "turn the knobs": (
        Key("up", "↑", "temperature(1)", "temperature up", _HEAT, "temperature", Context.can_heat),
        Key("down", "↓", "temperature(-1)", "temperature down", _HEAT, "temperature", Context.can_heat),
        Key("plus,equals_sign", "+", "turn(1)", "selected knob up", _TURN, "knob", Context.outside_prompt,
            priority=False),
        Key("minus", "-", "turn(-1)", "selected knob down", _TURN, "knob", Context.outside_prompt, priority=False),
        Key("left_square_bracket", "[", "turn(-1, 'pace')", "slower: half the pace", _PACE,
            "pace", Context.outside_prompt,
            priority=False),
        Key("right_square_bracket", "]", "turn(1, 'pace')", "faster: twice the pace", _PACE,
            "pace", Context.outside_prompt,
            priority=False),
        Key("f8", "f8", "unfold('knobs')", "knobs: top-k, top-p, min-p, samples, length, seed",
            "all knobs: select one, turn it, or type its value", "knobs"),
        Key("f5", "f5", "sweep", "compare temperatures: five values of the selected knob",
            "five values of the selected knob at once, with the same noise", "five values"),
    ),
    "look": (
        Key("f6", "f6", "surprisal", "surprise: bits per token, the most surprising ones",
            "how surprised the model was by each token", "surprise", Context.has_made),
        Key("f9", "f9", "training", "how the model learned, epoch by epoch",
            "how the model learned: losses and samples of every epoch", "learned"),
        Key("pageup", "pgup", "scroll_output(-1)", "scroll up", _SCROLL, "scroll", Context.can_scroll),
        Key("pagedown", "pgdn", "scroll_output(1)", "scroll down", _SCROLL, "scroll", Context.can_scroll),
        Key("tab", "tab", "app.focus_next", "next part of the screen", "to the next part of the screen", "focus",
            priority=False, owner="app"),
    ),
    "pictures": (
        Key("f2", "f2", "rendering", "picture style: half blocks, ASCII, braille",
            "draw in half blocks, ASCII or braille", "style", Context.draws),
        Key("f7", "f7", "complete", "complete a picture (inpainting)",
            "complete a picture: a file, or this one with parts erased", "complete"),
    ),
    "keep": (
        Key("ctrl+s", "^s", "save", "save as text, PNG, GIF or session",
            "save, by the name's ending: text, PNG, GIF of the drawing, or the session", "save", Context.has_made),
        Key("ctrl+r", "^r", "command", "show the command that reproduces this", "the command that makes this again",
            "command", Context.has_made),
        Key("ctrl+y", "^y", "copy", "copy the output", "copy what was made", "copy", Context.has_made),
    ),
    "program": (
        Key("f3", "f3", "unfold('models')", "models: choose another one", "choose a model: arrows, then enter",
            "models"),
        Key("f1,question_mark", "f1", "help", "help: keys and words", "this help; outside of the prompt also ?",
            "help", priority=False, owner="app"),
        Key("ctrl+p", "^p", "command_palette", "", "find any action by its name", "actions", owner="app"),
        Key("ctrl+t", "^t", "theme", "theme: light or dark", "light or dark", "theme", owner="app"),
        Key("ctrl+q", "^q", "quit", "quit", "quit", "quit", owner="app"),
    ),
}  # fmt: skip
"""What a person wants to do, and the keys for it."""


KEYS = tuple(key for keys in TASKS.values() for key in keys)
"""All of them, as the help lists them."""


def keys_of(owner: Owner) -> tuple[Key, ...]:
    """The keys that are bound by a class."""
    return tuple(key for key in KEYS if key.key and key.owner == owner)


def bindings_of(owner: Owner) -> list[BindingType]:
    """The `BINDINGS` of a class."""
    return [key.binding() for key in keys_of(owner)]


def owns(owner: Owner, action: str) -> bool:
    """Whether a class has a key for an action of its own; Textual's, such as `app.focus_next`, work everywhere."""
    return any(key.action == action for key in keys_of(owner))


def works(action: str, parameters: tuple[object, ...], now: Context) -> bool:
    """Whether the key of an action of the screen means something now; otherwise it is left to what has the focus."""
    keys = [key for key in keys_of("screen") if key.parts == (action, parameters)]
    return not keys or any(key.when(now) for key in keys)


def is_bound(key: str) -> bool:
    """Whether a key, as Textual names it, means something outside of the prompt, so that it begins no word."""
    return any(key in other.key.split(",") for other in KEYS if other.owner != "BranchList")


def explained(keys: tuple[Key, ...]) -> Iterator[tuple[str, str]]:
    """Keys as they are shown and their meaning; those that mean the same stand together."""
    for meaning, group in groupby(keys, key=lambda key: key.meaning):
        yield " ".join(key.shown for key in group), meaning


def markdown_table() -> str:
    """The keys for a page: a table with a line per meaning."""
    rows = [f"| {_spell(shown)} | {meaning} |" for keys in TASKS.values() for shown, meaning in explained(keys)]
    return "\n".join(["| key | does |", "|---|---|", *rows]) + "\n"


def _spell(shown: str) -> str:
    return " ".join(f"ctrl+{part[1:]}" if part.startswith("^") else part for part in shown.split(" "))


_PARTS: dict[str, tuple[Pair, ...]] = {
    "in_list": (("↑↓", "choose"), ("enter", "open"), ("esc", "back"), ("tab", "focus")),
    "in_branches": (
        ("↑↓", "choose"),
        ("enter", "switch"),
        *((key.shown, key.brief) for key in keys_of("BranchList")),
        ("esc", "back"),
    ),
    "in_panel": (("↑↓", "choose"), ("enter", "take"), ("←→", "token"), ("esc", "back")),
    "in_surprisal": (("↑↓", "choose"), ("enter", "go there"), ("f6", "off"), ("esc", "back")),
    "in_knobs": (("↑↓", "select"), ("←→", "turn"), ("0-9", "type"), ("f5", "five values"), ("esc", "back")),
}
"""Where a part of the screen has keys of its own."""


def pairs_now(now: Context) -> tuple[Pair, ...]:
    """Key and meaning for the last line of the screen, the most useful first; help and quit are always the last."""
    part = next((pairs for fact, pairs in _PARTS.items() if getattr(now, fact)), None)
    pairs = tuple(_pairs(_order(now), now)) if part is None else [(key, _word(meaning, now)) for key, meaning in part]
    return (*pairs, ("f1" if now.in_prompt else "?", "help"), ("^q", "quit"))


def _order(now: Context) -> tuple[str, ...]:
    if now.comparing and not now.in_prompt:
        return _COMPARING
    if now.walking and not now.in_prompt:
        return _WALKING_PICTURE if now.drawing else _WALKING
    if not now.running:
        return _RESTING if now.drawing else tuple(brief for brief in _RESTING if brief != "complete")
    return _PAUSED if now.paused and not now.in_prompt else _RUNNING


def _pairs(order: tuple[str, ...], now: Context) -> list[Pair]:
    working = [key for key in KEYS if key.brief in order and key.when(now)]
    working.sort(key=lambda key: order.index(key.brief))
    return [(_together(list(keys)), _word(brief, now)) for brief, keys in groupby(working, lambda key: key.brief)]


def _together(keys: list[Key]) -> str:
    return ("" if keys[0].shown in "←→↑↓" else " ").join(key.shown for key in keys)


def _word(brief: str, now: Context) -> str:
    """What a key is said to do where that depends on more than the key."""
    if brief == "pause" and (now.paused or not now.running):
        return "go on"
    if brief == "stop" and not now.in_prompt and (now.comparing or now.walking):
        return "back" if now.comparing else "leave"
    if now.drawing and (brief == "token" or (brief == "temperature" and now.walking and now.on_output())):
        return "pixel" if brief == "token" else "row"
    return brief
