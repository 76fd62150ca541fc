"""The keys of the app, the screen and its lists: one table for bindings, help, palette and key bar."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from typing import Literal

from textual import actions
from textual.binding import Binding, BindingsMap, BindingType
from textual.dom import DOMNode
from textual.keys import format_key

_WALK = "one token back or on; at the end, → makes one"
_JUMP = "to the first token, to the last"
_SAMPLE = "the sample before, the next one: cursor and panels go there"
_HEAT = "temperature up or down by 0.05; over a picture with a cursor in it, a row up or down"
_TURN = "the selected knob up or down"
_PACE = "half or twice the pace, up to unlimited"
_SCROLL = "scroll what was made"
_RECALL = "a prompt that was used before, in this session or another; back to what was typed"
Owner = Literal["app", "screen", "TourScreen", "BranchList", "ModelList", "InsideView"]
Pair = tuple[str, str]
"""Key and meaning."""
_SHOWN = {"enter": "enter", "backspace": "backspace"}
"""Where Textual has a sign that few people know."""
_FEW = 2
_TYPES_NOTHING = {"up", "down", "left", "right", "enter", "backspace"}
_COMPARING = ("scroll", "stop", "branches", "style", "save", "copy")
_WALKING = (
    "load anew",
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
_WALKING_PICTURE = ("load anew", "token", "temperature", "choose", "pause", "sample", "stop", "anew", "branches",
                    "surprise", "save")  # fmt: skip
_PAUSED = ("load anew", "pause", "token", "temperature", "stop", "seed", "pace", "knob", "style", "save")
_RUNNING = ("load anew", "stop", "pause", "temperature", "pace", "token", "style", "knob", "generate", "seed")
_RESTING = ("load anew", "generate", "pause", "token", "temperature", "seed", "style", "save", "surprise",
            "five values", "branches", "complete", "models", "learned", "knobs", "copy", "command",
            "actions")  # fmt: skip
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
    in_inside: bool = False
    """In the panel of what goes on inside the network."""
    inside_view: str = ""
    """What is drawn there."""
    in_search: bool = False
    """In the line of the text that is searched for."""
    can_yank: bool = False
    """In the prompt, what its keys have cut can be put back."""
    several: bool = False
    """There are several samples."""
    drawing: bool = False
    """The model draws pictures."""
    made: bool = False
    """Something that a model made is on the screen."""
    comparing: bool = False
    """Two branches are on the screen."""
    beside: bool = False
    """Branches of several models are on the screen."""
    before: bool = False
    """Another branch was on the screen."""
    played: bool = False
    """Other models were played too."""
    converted: bool = False
    """The model was made of a checkpoint."""
    outdated: bool = False
    """The folder of the model was written anew."""

    def always(self) -> bool:
        """For keys that mean the same everywhere."""
        return True

    def on_output(self) -> bool:
        """The keys go to what was made, or to the page about a model."""
        aside = (
            self.in_list or self.in_branches or self.in_panel or self.in_knobs or self.in_surprisal or self.in_inside
        )
        return not (self.in_prompt or self.in_search or aside)

    def outside_prompt(self) -> bool:
        """A letter is no text of a prompt, nor one that is searched for."""
        return not (self.in_prompt or self.in_search)

    def can_recall(self) -> bool:
        """An earlier prompt can take the place of this one."""
        return self.in_prompt or self.on_output()

    def can_copy(self) -> bool:
        """There is something to copy, and the key is not the prompt's."""
        return self.made and not self.can_yank

    def can_generate(self) -> bool:
        """Enter generates: the focus is in the prompt, or on the output with no cursor and no comparison."""
        return self.in_prompt or (self.on_output() and not self.walking and not self.comparing)

    def can_pause(self) -> bool:
        """There is something to pause or to go on with."""
        return (self.running or self.unfinished) and (self.on_output() or self.in_inside)

    def can_walk(self) -> bool:
        """There are tokens to walk through; the prompt, lists and the knobs have arrows of their own."""
        return self.made and not self.comparing and (self.on_output() or self.in_panel or self.in_inside)

    def can_jump(self) -> bool:
        """Home and end move the cursor: as `can_walk`, but not while the panel of the next token has the focus."""
        return self.can_walk() and not self.in_panel

    def has_several(self) -> bool:
        """There is another sample to go to."""
        return self.several and self.outside_prompt() and not self.comparing

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

    def can_turn_back(self) -> bool:
        """There is another branch that was on the screen."""
        return self.before and not self.comparing and (self.on_output() or self.in_inside)

    def has_made(self) -> bool:
        """There is something to look at and to keep."""
        return self.made

    def can_list(self) -> bool:
        """There are branches, of this model or of another one."""
        return self.made or self.played

    def can_load_anew(self) -> bool:
        """There is a newer model in the folder of this one, or another one can be made of its checkpoint."""
        return self.outdated or self.converted

    def draws(self) -> bool:
        """For what only pictures have."""
        return self.drawing

    def looks_inside(self) -> bool:
        """For the keys of what goes on inside the network."""
        return self.in_inside

    def ranks_units(self) -> bool:
        """For those of units that follow something."""
        return self.in_inside and self.inside_view == "units"

    def reads_text(self) -> bool:
        """For those of what only a text has."""
        return self.in_inside and not self.drawing

    def marks_text(self) -> bool:
        """For those of units that follow something in a text alone."""
        return self.ranks_units() and not self.drawing

    def chooses_units(self) -> bool:
        """For those of the units of a layer."""
        return self.in_inside and self.inside_view in ("state", "cell", "units")

    def shows_states(self) -> bool:
        """For those of strips of units."""
        return self.in_inside and self.inside_view == "state"

    def splits_text(self) -> bool:
        """For those of the tokens of a text."""
        return self.reads_text() and self.inside_view == "tokens"

    def lists_branches(self) -> bool:
        """For the keys of the list of branches."""
        return self.in_branches

    def lists_models(self) -> bool:
        """For the keys of the list of models."""
        return self.in_list


def shown_key(name: str) -> str:
    """A key as people read it: `ctrl+g` is `^g`, `left_square_bracket` is `[`, `alt+up` is `alt+↑`."""
    *modifiers, key = name.split("+")
    sign = _SHOWN.get(key) or format_key(key)
    return f"^{sign}" if modifiers == ["ctrl"] and len(sign) == 1 else "+".join([*modifiers, sign])


def is_letter(name: str) -> bool:
    """Whether a key types something: a letter, a digit, a sign or a space."""
    sign = format_key(name)
    return name == "space" or (name not in _TYPES_NOTHING and len(sign) == 1 and sign.isprintable())


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
    alias: str = ""
    """What the configuration calls it, where that is not the name of the action."""
    browser_key: str = ""
    """What does the same in a browser, which keeps this key for itself."""

    @property
    def id(self) -> str:
        """What the configuration calls it; empty for typing."""
        return self.alias or self.action

    @property
    def names(self) -> tuple[str, ...]:
        """The keys one by one, as Textual names them; none for typing, and where a person has taken them away."""
        return tuple(filter(None, self.key.split(",")))

    def bindings(self) -> Iterator[Binding]:
        """For Textual. What can be typed goes to what has the focus first, so that no letter of a text is lost.

        With alt a letter goes there last: it comes with its character, and would be typed.
        """
        for name in self.names:
            priority = name.startswith("alt+") or (self.priority and not is_letter(name))
            yield Binding(name, self.action, self.meaning, show=False, priority=priority)

    def brief_key(self, now: Context) -> str:
        """The shortest of the keys, as it is shown, that works where the focus is; empty where none does."""
        if not self.action:
            return self.shown
        if self.browser_key in self.names:
            return shown_key(self.browser_key)
        return min(
            (shown_key(name) for name in self.names if now.outside_prompt() or not is_letter(name)), key=len, default=""
        )

    @property
    def parts(self) -> tuple[str, tuple[object, ...]]:
        """The action and its arguments."""
        return _parts(self.action)


Tasks = Mapping[str, tuple[Key, ...]]
TASKS: Tasks = {
    "write or draw": (
        Key("enter", "enter", "generate", "generate from the prompt", "make a text or a picture from the prompt",
            "generate", Context.can_generate, priority=False),
        Key("space", "space", "pause", "pause or go on", "hold the run; go on with it", "pause", Context.can_pause,
            priority=False),
        Key("escape", "esc", "stop", "stop the run", "leave the cursor, a list or a comparison; stop the run", "stop"),
        Key("ctrl+n", "^n", "new_seed", "another seed", "draw another seed and generate", "seed",
            browser_key="ctrl+b"),
        Key("alt+up", "alt+↑", "recall(-1)", "prompt history: the prompt before", _RECALL, "earlier",
            Context.can_recall, alias="earlier_prompt"),
        Key("alt+down", "alt+↓", "recall(1)", "prompt history: the prompt after", _RECALL, "later",
            Context.can_recall, alias="later_prompt"),
        Key("", "→ end", "", "", "at the end of the prompt: take the word that is suggested", "take"),
        Key("", "^space", "", "", "another suggestion", "suggestion"),
        Key("", "^a ^e", "", "", "in the prompt, as in a shell: to its beginning, to its end", "edit"),
        Key("", "^k ^u ^w", "", "",
            "there, cut what follows the cursor, what stands before it, a word; ctrl+y then puts it back", "cut",
            browser_key="^k ^u alt+backspace"),
    ),
    "walk through what was made": (
        Key("left", "←", "walk(-1)", "one token back", _WALK, "token", Context.can_walk, alias="token_back"),
        Key("right", "→", "walk(1)", "one token on", _WALK, "token", Context.can_walk, alias="token_on"),
        Key("home", "home", "walk_to('first')", "to the first token", _JUMP, "first", Context.can_jump,
            alias="first_token"),
        Key("end", "end", "walk_to('last')", "to the last token", _JUMP, "last", Context.can_jump, alias="last_token"),
        Key("less_than_sign", "<", "turn_sample(-1)", "previous sample", _SAMPLE, "sample", Context.has_several,
            priority=False, alias="previous_sample"),
        Key("greater_than_sign", ">", "turn_sample(1)", "next sample", _SAMPLE, "sample", Context.has_several,
            priority=False, alias="next_sample"),
    ),
    "choose otherwise at the cursor": (
        Key("enter", "enter", "choose", "choose another token here", "into the list of tokens; enter there takes one",
            "choose", Context.can_choose, priority=False),
        Key("", "type", "", "", "another word in the token's place", "a word", Context.can_type_over),
        Key("ctrl+g", "^g", "resample", "generate anew from here",
            "a branch from here with the knobs as they are now", "anew", Context.can_begin_anew),
        Key("backspace", "backspace", "turn_back", "the branch before, and back again",
            "the branch that was on the screen before; again: this one", "before", Context.can_turn_back,
            priority=False),
        Key("f4", "f4", "unfold('branches')", "branches: switch, compare, rename, delete",
            "the list of branches; enter switches",
            "branches", Context.can_list, alias="branches"),
        Key("c", "c", "compare", "", "in that list: compare with what is on the screen", "compare",
            Context.lists_branches, priority=False, owner="BranchList", alias="compare_branch"),
        Key("r", "r", "rename", "", "in that list: rename",
            "rename", Context.lists_branches, priority=False, owner="BranchList", alias="rename_branch"),
        Key("delete,backspace", "del", "delete", "", "in that list: delete", "delete", Context.lists_branches,
            priority=False, owner="BranchList", alias="delete_branch"),
    ),
    "turn the knobs": (
        Key("up", "↑", "temperature(1)", "temperature up", _HEAT, "temperature", Context.can_heat,
            alias="temperature_up"),
        Key("down", "↓", "temperature(-1)", "temperature down", _HEAT, "temperature", Context.can_heat,
            alias="temperature_down"),
        Key("plus,equals_sign", "+", "turn(1)", "selected knob up", _TURN, "knob", Context.outside_prompt,
            priority=False, alias="knob_up"),
        Key("minus", "-", "turn(-1)", "selected knob down", _TURN, "knob", Context.outside_prompt, priority=False,
            alias="knob_down"),
        Key("left_square_bracket", "[", "turn(-1, 'pace')", "slower: half the pace", _PACE,
            "pace", Context.outside_prompt,
            priority=False, alias="slower"),
        Key("right_square_bracket", "]", "turn(1, 'pace')", "faster: twice the pace", _PACE,
            "pace", Context.outside_prompt,
            priority=False, alias="faster"),
        Key("f8", "f8", "unfold('knobs')", "knobs: top-k, top-p, min-p, samples, length, seed",
            "all knobs: select one, turn it, or type its value", "knobs", alias="knobs"),
        Key("f5", "f5", "sweep", "compare temperatures: five values of the selected knob",
            "five values of the selected knob at once, with the same noise", "five values"),
    ),
    "look": (
        Key("f6", "f6", "surprisal", "surprise: bits per token, the most surprising ones",
            "how surprised the model was by each token", "surprise", Context.has_made),
        Key("f10,ctrl+o", "f10", "inside", "look inside: states, gates, the cell with its numbers",
            "what goes on inside the network while it reads the token at the cursor", "inside", Context.has_made),
        Key("1", "1", "draw('state')", "", "there: the state of each layer, units over tokens; of a picture the "
            "features of a layer", "view", Context.looks_inside, priority=False, owner="InsideView",
            alias="inside_state"),
        Key("2", "2", "draw('cell')", "", "there: a cell as it is drawn in books, with this token's numbers; of a "
            "picture what the pixel sees, layer by layer, and the masks", "view", Context.looks_inside,
            priority=False, owner="InsideView", alias="inside_cell"),
        Key("3", "3", "draw('influence')", "", "there: which tokens the prediction after this one rests on, and how "
            "far back; of a picture which pixels", "view", Context.looks_inside, priority=False, owner="InsideView",
            alias="inside_influence"),
        Key("4", "4", "draw('units')", "", "there: the text, or the picture, by the activation of one unit, and "
            "which units follow what", "view", Context.looks_inside, priority=False, owner="InsideView",
            alias="inside_units"),
        Key("5", "5", "draw('tokens')", "", "there: how the prompt was split, input and target, neighbours in the "
            "embedding; of a picture what the prompt moves", "view", Context.looks_inside, priority=False,
            owner="InsideView", alias="inside_tokens"),
        Key("a", "a", "property", "", "there: units that follow something else", "property",
            Context.ranks_units, priority=False, owner="InsideView", alias="inside_property"),
        Key("m", "m", "mark", "", "there: a phrase begins at the cursor, ends there: units that are on in it alone",
            "phrase", Context.marks_text, priority=False, owner="InsideView", alias="inside_mark"),
        Key("s", "s", "places", "", "there: other places where the same units are on; enter goes to one", "places",
            Context.marks_text, priority=False, owner="InsideView", alias="inside_places"),
        Key("enter", "enter", "go", "", "there: other places where the same units are on; enter goes to one", "go",
            Context.marks_text, priority=False, owner="InsideView", alias="inside_go"),
        Key("w", "w", "ask('word')", "", "there: neighbours in the embedding of a word that is typed", "word",
            Context.splits_text, priority=False, owner="InsideView", alias="inside_word"),
        Key("r", "r", "ask('text')", "", "there: read a file or a text that is pasted, in place of what was made",
            "read", Context.reads_text, priority=False, owner="InsideView", alias="inside_read"),
        Key("down", "↓", "units(1)", "", "there: other units", "units", Context.chooses_units, priority=False,
            owner="InsideView", alias="inside_next_unit"),
        Key("up", "↑", "units(-1)", "", "there: other units", "units", Context.chooses_units, priority=False,
            owner="InsideView", alias="inside_previous_unit"),
        Key("f", "f", "operate('forget')", "", "there: a branch from here whose state forgets h, c or both",
            "change", Context.reads_text, priority=False, owner="InsideView", alias="inside_forget"),
        Key("h", "h", "operate('hold')", "", "there: a branch from here in which a unit is held at a value", "change",
            Context.reads_text, priority=False, owner="InsideView", alias="inside_hold"),
        Key("t", "t", "operate('take')", "", "there: a branch from here that takes the state of another branch",
            "change", Context.reads_text, priority=False, owner="InsideView", alias="inside_take"),
        Key("l", "l", "layer", "", "there: the next layer", "layer", Context.chooses_units,
            priority=False, owner="InsideView", alias="inside_layer"),
        Key("o", "o", "order", "", "there: units that move most first, or by number", "order", Context.shows_states,
            priority=False, owner="InsideView", alias="inside_order"),
        Key("ctrl+f", "^f", "search", "search what was made",
            "search all samples and branches; there, enter or ↓ goes to the next one, ↑ to the one before", "search"),
        Key("f9", "f9", "training", "how the model learned, epoch by epoch",
            "how the model learned: losses and samples of every epoch", "learned"),
        Key("pageup", "pgup", "scroll_output(-1)", "scroll up", _SCROLL, "scroll", Context.can_scroll,
            alias="scroll_up"),
        Key("pagedown", "pgdn", "scroll_output(1)", "scroll down", _SCROLL, "scroll", Context.can_scroll,
            alias="scroll_down"),
        Key("tab", "tab", "app.focus_next", "next part of the screen", "to the next part of the screen", "focus",
            priority=False, owner="app", alias="next_part"),
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
        Key("ctrl+y", "^y", "copy", "copy the output", "copy what was made", "copy", Context.can_copy),
    ),
    "a tour": (
        Key("n", "n", "tour(1)", "", "in a tour: the next stop", "next stop", Context.outside_prompt, priority=False,
            owner="TourScreen", alias="next_stop"),
        Key("p", "p", "tour(-1)", "", "in a tour: the stop before", "stop before", Context.outside_prompt,
            priority=False, owner="TourScreen", alias="stop_before"),
        Key("x", "x", "leave_tour", "", "in a tour: leave it; everything stays as it is", "leave the tour",
            Context.outside_prompt, priority=False, owner="TourScreen"),
    ),
    "program": (
        Key("f3", "f3", "unfold('models')", "models: choose another one", "choose a model: arrows, then enter",
            "models", alias="models"),
        Key("c", "c", "compare", "", "in that list: the same prompt and random numbers beside the present model, up to "
            "three", "compare", Context.lists_models, priority=False, owner="ModelList", alias="compare_model"),
        Key("ctrl+l", "^l", "load_anew", "load the model anew, or change what a checkpoint was taken for",
            "where a model was written anew, or a training has gone on: load it; of a checkpoint: say what it does not",
            "load anew", Context.can_load_anew),
        Key("f1,question_mark", "f1", "help", "help: keys and words", "this help; outside of the prompt also ?",
            "help", priority=False, owner="app"),
        Key("ctrl+p", "^p", "command_palette", "", "find any action by its name", "actions", owner="app",
            alias="palette"),
        Key("ctrl+t", "^t", "theme", "theme: light or dark", "light or dark", "theme", owner="app",
            browser_key="ctrl+d"),
        Key("ctrl+z", "^z", "suspend", "suspend: back to the shell", "back to the shell; `fg` there comes back here",
            "shell", owner="app"),
        Key("ctrl+q", "^q", "quit", "quit", "quit", "quit", owner="app", browser_key="alt+q"),
    ),
}  # fmt: skip
"""What a person wants to do, and the keys for it."""


KEYS = tuple(key for keys in TASKS.values() for key in keys)
"""All of them, as the help lists them."""


def browser_tasks(taken: Container[str]) -> Tasks:
    """With the keys that reach a page; those that browsers keep go on working where one lets them through.

    taken: keys that a person has given to other actions.
    """
    return {task: tuple(_for_browser(key, taken) for key in keys) for task, keys in TASKS.items()}


def _for_browser(key: Key, taken: Container[str]) -> Key:
    other = key.browser_key
    if not key.key and other:
        return replace(key, shown=other)
    return key if not other or other in taken else replace(key, key=f"{other},{key.key}", shown=shown_key(other))


def keys_of(owner: Owner, keys: Sequence[Key] = KEYS) -> tuple[Key, ...]:
    """The keys that are bound by a class."""
    return tuple(key for key in keys if key.key and key.owner == owner)


def bindings_of(owner: Owner, keys: Sequence[Key] = KEYS) -> list[BindingType]:
    """The `BINDINGS` of a class."""
    return [binding for key in keys_of(owner, keys) for binding in key.bindings()]


def bind(node: DOMNode, owner: Owner, keys: Sequence[Key], *others: Owner) -> None:
    """Gives a widget, screen or app the keys that a person wants in place of those of its class.

    Textual's own keymap is not enough: it cannot take a key away, it takes letters from what is typed into, and of two
    actions on one key it loses one. Keys of the table that Textual binds too, such as tab, are taken from it.
    others: whose keys it has as well.
    """
    owners = (owner, *others)
    free = {name for key in KEYS if key.owner in {*owners, "app"} for name in key.names}
    kept = {name: bound for name, bound in node._bindings.key_to_bindings.items() if name not in free}
    own = BindingsMap([binding for each in owners for binding in bindings_of(each, keys)]).key_to_bindings
    node._bindings = BindingsMap.from_keys({**kept, **own})


def key_of(action: str, keys: Sequence[Key]) -> str:
    """How the key of an action, by its id, is shown; where it has none, the way to every action."""
    shown = {key.id: key.shown for key in keys}
    return shown[action] or f"{shown['palette']} {action}".strip()


def owns(owner: Owner, action: str) -> bool:
    """Whether a class has a key for an action of its own; Textual's, such as `app.focus_next`, work everywhere."""
    return any(key.action == action for key in keys_of(owner))


def works(action: str, parameters: tuple[object, ...], now: Context) -> bool:
    """Whether the key of an action of the screen means something now; otherwise it is left to what has the focus."""
    keys = [key for key in keys_of("screen") if key.parts == (action, parameters)]
    return not keys or any(key.when(now) for key in keys)


def is_bound(key: str, keys: Sequence[Key] = KEYS, *others: Owner) -> bool:
    """Whether a key, as Textual names it, means something outside of the prompt, so that it begins no word.

    others: whose keys count besides those of app and screen.
    """
    return any(key in other.names for other in keys if other.owner in ("app", "screen", *others))


def explained(keys: tuple[Key, ...]) -> Iterator[tuple[str, str]]:
    """Keys as they are shown and their meaning; those that mean the same stand together."""
    for meaning, group in groupby(keys, key=lambda key: key.meaning):
        if shown := " ".join(key.shown for key in group if key.shown):
            yield shown, meaning


def markdown_table() -> str:
    """The keys for a page: a table with a line per meaning."""
    rows = [f"| {_spell(shown)} | {meaning} |" for keys in TASKS.values() for shown, meaning in explained(keys)]
    return "\n".join(["| key | does |", "|---|---|", *rows]) + "\n"


def _spell(shown: str) -> str:
    return " ".join(f"ctrl+{part[1:]}" if part.startswith("^") else part for part in shown.split(" "))


def _parts_of_screen(keys: Sequence[Key], now: Context) -> dict[str, tuple[Pair, ...]]:
    """Where a part of the screen has keys of its own."""
    shown = {key.id: key.shown for key in keys}
    inside = [key for key in keys_of("InsideView", keys) if key.when(now)]
    back, walk = (shown["stop"], "back"), _beside(shown["token_back"], shown["token_on"])
    return {
        "in_list": (
            ("↑↓", "choose"),
            ("enter", "open"),
            (shown["compare_model"], "compare"),
            back,
            (shown["next_part"], "focus"),
        ),
        "in_branches": (
            ("↑↓", "choose"),
            ("enter", "switch"),
            *((key.brief_key(Context()), key.brief) for key in keys_of("BranchList", keys)),
            back,
        ),
        "in_panel": (("↑↓", "choose"), ("enter", "take"), (walk, "token"), back),
        "in_inside": (
            (walk, "token"),
            *_groups([key for key in inside if key.parts[0] == "draw"]),
            back,
            *([("↑↓", "choose")] if now.chooses_units() else []),
            *_groups([key for key in inside if key.parts[0] not in ("draw", "units")]),
            *([(shown["turn_back"], "before")] if now.before else []),
        ),
        "in_surprisal": (("↑↓", "choose"), ("enter", "go there"), (shown["surprisal"], "off"), back),
        "in_search": (("enter ↓", "next"), ("↑", "the one before"), (shown["stop"], "leave")),
        "in_knobs": (("↑↓", "select"), ("←→", "turn"), ("0-9", "type"), (shown["sweep"], "five values"), back),
    }


def _groups(keys: Sequence[Key]) -> Iterator[Pair]:
    """Keys that do alike, side by side."""
    for brief, group in groupby(keys, key=lambda key: key.brief):
        yield _beside(*(key.brief_key(Context()) for key in group)), brief


def pairs_now(now: Context, keys: Sequence[Key] = KEYS) -> tuple[Pair, ...]:
    """Key and meaning for the last line of the screen, the most useful first; help and quit are always the last."""
    part = next((pairs for fact, pairs in _parts_of_screen(keys, now).items() if getattr(now, fact)), None)
    own = _pairs(_order(now), now, keys) if part is None else [(key, _word(meaning, now)) for key, meaning in part]
    last = [(key.brief_key(now), key.brief) for key in keys if key.id in {"help", "quit"}]
    return tuple((key, meaning) for key, meaning in (*own, *last) if key)


def _order(now: Context) -> tuple[str, ...]:
    if now.comparing and not now.in_prompt:
        return _COMPARING
    if now.walking and not now.in_prompt:
        return _WALKING_PICTURE if now.drawing else _WALKING
    if not now.running:
        resting = _RESTING if now.drawing else tuple(brief for brief in _RESTING if brief != "complete")
        return ("stop", *resting) if now.beside and not now.in_prompt else resting
    return _PAUSED if now.paused and not now.in_prompt else _RUNNING


def _pairs(order: tuple[str, ...], now: Context, keys: Sequence[Key]) -> list[Pair]:
    working = [key for key in keys if key.brief in order and key.when(now)]
    working.sort(key=lambda key: order.index(key.brief))
    groups = groupby(working, lambda key: key.brief)
    return [(_beside(*(key.brief_key(now) for key in group)), _word(brief, now)) for brief, group in groups]


def _beside(*shown: str) -> str:
    """Keys that do alike; arrows stand close to each other, of many digits the first and the last."""
    if len(shown) > _FEW and all(map(str.isdigit, shown)):
        return f"{shown[0]}-{shown[-1]}"
    return ("" if all(key in "←→↑↓" for key in shown) else " ").join(filter(None, shown))


def _word(brief: str, now: Context) -> str:
    """What a key is said to do where that depends on more than the key."""
    if brief == "pause" and (now.paused or not now.running):
        return "go on"
    if brief == "load anew" and not now.outdated:
        return "change answers"
    if brief == "stop" and not now.in_prompt and (now.comparing or now.walking or not now.running):
        return "leave" if now.walking else "back"
    if now.drawing and (brief == "token" or (brief == "temperature" and now.walking and now.on_output())):
        return "pixel" if brief == "token" else "row"
    return brief
