"""The keys do what the table, the help, the list of actions and the last line say, and never two things at once."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest
from textual.app import App, ComposeResult
from textual.command import CommandList
from textual.screen import Screen
from textual.widgets import Input

from tests.support.driver import until
from tui_gen.tui.app import TuiGen
from tui_gen.tui.bindings import KEYS, Context, Owner, is_bound, keys_of, markdown_table, pairs_now, works
from tui_gen.tui.dialogs.help import Actions, help_text
from tui_gen.tui.playground import PlaygroundScreen
from tui_gen.tui.widgets.header import KeyBar
from tui_gen.tui.widgets.lists import BranchList

OWNERS: dict[Owner, type] = {"app": TuiGen, "screen": PlaygroundScreen, "BranchList": BranchList}
FOCUS = ("in_prompt", "in_list", "in_branches", "in_panel", "in_knobs")
CONTEXTS = [
    Context(**dict.fromkeys(facts, True), **({focus: True} if focus else {}))
    for focus in ("", *FOCUS)
    for count in range(7)
    for facts in combinations(("running", "paused", "walking", "drawing", "made", "comparing"), count)
]
"""Also some that never are."""


def said(now: Context) -> str:
    return "  ".join(f"{key} {meaning}" for key, meaning in pairs_now(now))


@pytest.mark.parametrize("owner", OWNERS)
def test_every_action_has_a_key_and_every_key_an_action_of_its_owner(owner: Owner) -> None:
    actions = {key.parts[0] for key in keys_of(owner)}
    assert actions <= {name.removeprefix("action_") for name in dir(OWNERS[owner]) if name.startswith("action_")}
    own = {name.removeprefix("action_") for name in vars(OWNERS[owner]) if name.startswith("action_")}
    assert own <= actions


def test_no_key_means_two_things_at_once() -> None:
    for now in CONTEXTS:
        bound = Counter(name for key in KEYS if key.when(now) for name in key.key.split(",") if name)
        assert [name for name, count in bound.items() if count > 1] == []


def test_keys_are_left_to_what_has_the_focus_and_needs_them() -> None:
    prompt, branches = Context(in_prompt=True, made=True), Context(in_branches=True, made=True)
    panel, knobs = Context(in_panel=True, walking=True, made=True), Context(in_knobs=True, made=True)
    elsewhere = {
        prompt: {"walk", "walk_to", "pause", "turn", "choose"},
        branches: {"walk", "walk_to", "temperature", "generate", "choose", "scroll_output"},
        panel: {"walk_to", "temperature", "generate", "choose", "scroll_output"},
        knobs: {"walk", "walk_to", "temperature", "generate", "scroll_output"},
    }
    for now, actions in elsewhere.items():
        assert [key for key in keys_of("screen") if key.parts[0] in actions and works(*key.parts, now)] == []
    assert works("temperature", (1,), prompt)
    assert works("walk", (-1,), panel)
    assert works("help_quit", (), prompt)  # Textual's own actions are none of our business


def test_letters_of_a_prompt_are_typed_and_not_obeyed() -> None:
    printable = ("space", "plus", "equals_sign", "minus", "left_square_bracket", "right_square_bracket",
                 "question_mark", "less_than_sign", "greater_than_sign")  # fmt: skip
    in_prompt = [key for key in keys_of("screen") + keys_of("app") if set(key.key.split(",")) & set(printable)]
    assert len(in_prompt) == 8
    assert not any(key.priority for key in in_prompt)
    assert all(is_bound(key) for key in printable)
    assert not any(is_bound(letter) for letter in "acdr1.")


def test_the_help_names_every_key_and_explains_the_words_of_the_screen() -> None:
    text = help_text()
    lines = text.splitlines()
    for key in KEYS:
        assert any(line.startswith("  ") and f" {key.shown} " in line for line in lines), key
        assert " ".join(key.meaning.split()) in " ".join(text.split())
    for word in ("raw", "now", "bits", "cut", "branch", "surprise", "same noise"):
        assert any(line.startswith(f"  {word} ") for line in lines), word
    assert max(map(len, lines)) <= 72


def test_a_page_can_list_the_keys() -> None:
    rows = markdown_table().splitlines()
    assert rows[:2] == ["| key | does |", "|---|---|"]
    assert any(row.startswith("| ctrl+s | save") for row in rows)
    assert any(row.startswith("| ← → | one token back or on") for row in rows)
    assert all(row.count("|") == 3 for row in rows)


def test_every_action_that_a_name_can_find_has_a_name_of_its_own() -> None:
    names = [key.name for key in KEYS if key.name]
    assert len(set(names)) == len(names)
    assert {key.action for key in KEYS if key.key and key.owner != "BranchList" and not key.name} == {"command_palette"}


@pytest.mark.parametrize(("now", "first"), [
    (Context(in_prompt=True), "enter generate  ↑↓ temperature  ^n seed  f5 five values  f3 models"),
    (Context(in_prompt=True, drawing=True), "enter generate  ↑↓ temperature  ^n seed  f2 style"),
    (Context(running=True, made=True), "esc stop  space pause  ↑↓ temperature  [ ] pace"),
    (Context(running=True, made=True, in_prompt=True), "esc stop  ↑↓ temperature  enter generate  ^n seed"),
    (Context(running=True, paused=True, made=True), "space go on  ←→ token  ↑↓ temperature  esc stop"),
    (Context(running=True, paused=True, walking=True, made=True),
     "←→ token  enter choose  type a word  space go on  esc leave  ^g anew"),
    (Context(walking=True, made=True, drawing=True), "←→ pixel  ↑↓ row  enter choose  esc leave  ^g anew"),
    (Context(made=True), "enter generate  ←→ token  ↑↓ temperature  ^n seed  ^s save"),
    (Context(made=True, comparing=True), "pgup pgdn scroll  esc back  f4 branches"),
    (Context(in_list=True), "↑↓ choose  enter open  esc back  tab focus"),
    (Context(in_branches=True), "↑↓ choose  enter switch  c compare  r rename  del delete  esc back"),
    (Context(in_panel=True), "↑↓ choose  enter take  ←→ token  esc back"),
    (Context(in_knobs=True), "↑↓ select  ←→ turn  0-9 type  f5 five values  esc back"),
])  # fmt: skip
def test_the_last_line_says_what_the_keys_do_now(now: Context, first: str) -> None:
    assert said(now).startswith(first)
    assert said(now).endswith("f1 help  ^q quit" if now.in_prompt else "? help  ^q quit")


def test_the_last_line_never_offers_what_does_nothing() -> None:
    for now in CONTEXTS:
        if any(getattr(now, fact) for fact in FOCUS[1:]):
            continue
        offered = said(now)
        assert ("enter choose" in offered) <= now.walking
        assert ("space" in offered) <= (now.running and not now.in_prompt)
        assert ("f2 " in offered) <= now.drawing
        assert ("a word" in offered) <= (now.walking and not now.drawing)
        for key in ("^s", "^y", "f4", "f6", "←→"):
            assert (f"{key} " in offered) <= now.made


class Room(App[None]):
    """Finds actions of its screen."""

    COMMANDS = {Actions}  # noqa: RUF012

    def get_default_screen(self) -> Floor:
        return Floor()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action == "command_palette"


class Floor(Screen[None]):
    """Notes which actions are done."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[object] = []

    def compose(self) -> ComposeResult:
        yield Input()
        yield KeyBar()

    def note(self, what: object) -> None:
        assert self.app.screen is self
        self.done.append(what)

    async def action_save(self) -> None:
        self.note("save")

    def action_walk(self, by: int) -> None:
        self.note(("walk", by))

    def action_sweep(self) -> None:
        self.note("sweep")


@pytest.mark.parametrize(("typed", "done"), [
    ("png", "save"), ("compare temp", "sweep"), ("token back", ("walk", -1)), ("same noise", "sweep"),
])  # fmt: skip
async def test_an_action_is_found_by_its_name_and_done_wherever_the_focus_is(typed: str, done: object) -> None:
    app = Room()
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.press("ctrl+p")
        await pilot.press(*(character if character != " " else "space" for character in typed))
        await until(lambda: app.screen.query_one(CommandList).option_count > 0)
        await pilot.press("enter")
        floor = app.screen_stack[0]
        assert isinstance(floor, Floor)
        await until(lambda: floor.done)
    assert floor.done == [done]


async def test_all_actions_are_listed_with_their_keys_before_anything_is_typed() -> None:
    app = Room()
    async with app.run_test(size=(100, 120)) as pilot:
        await pilot.press("ctrl+p")
        await until(lambda: app.screen.query_one(CommandList).option_count > 20)
        screen = "\n".join(strip.text for strip in app.screen._compositor.render_strips(app.size))
    for key in (*keys_of("app"), *keys_of("screen")):
        assert not key.name or f"{key.name}  {key.shown}" in screen


@pytest.mark.parametrize("width", [80, 60, 40])
@pytest.mark.parametrize("now", [Context(walking=True, running=True, paused=True, made=True), Context(made=True)])
async def test_the_last_line_cuts_no_key_and_keeps_help_and_quit(width: int, now: Context) -> None:
    app = Room()
    async with app.run_test(size=(width, 10)) as pilot:
        bar = app.query_one(KeyBar)
        bar.show(now)
        await pilot.pause()
        pairs = bar.render().plain.rstrip().split("  ")
    assert set(pairs) <= set(said(now).split("  "))
    assert pairs[-2:] == ["? help", "^q quit"]
    assert len("  ".join(pairs)) <= width
