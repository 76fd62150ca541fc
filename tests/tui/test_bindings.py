"""The table of keys: every key has an action, never two at once, and the last line says what they do now."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from tests.support.driver import on_screen
from tui_gen.tui.app import TuiGen
from tui_gen.tui.bindings import KEYS, Context, Owner, is_bound, keys_of, markdown_table, pairs_now, works
from tui_gen.tui.playground import PlaygroundScreen
from tui_gen.tui.tour_screen import TourScreen
from tui_gen.tui.widgets.inside_panel import InsideView
from tui_gen.tui.widgets.lists import BranchList, ModelList

OWNERS: dict[Owner, type] = {
    "app": TuiGen,
    "screen": PlaygroundScreen,
    "TourScreen": TourScreen,
    "BranchList": BranchList,
    "ModelList": ModelList,
    "InsideView": InsideView,
}
FOCUS = ("in_prompt", "in_list", "in_branches", "in_panel", "in_knobs", "in_inside", "in_search")
CONTEXTS = [
    Context(**dict.fromkeys(facts, True), **({focus: True} if focus else {}))
    for focus in ("", *FOCUS)
    for count in range(7)
    for facts in combinations(("running", "paused", "walking", "drawing", "made", "comparing"), count)
]
"""Also some that never are."""


def hints(now: Context) -> str:
    return "  ".join(f"{key} {meaning}" for key, meaning in pairs_now(now))


@pytest.mark.parametrize("owner", OWNERS)
def test_every_action_has_a_key_and_every_key_an_action_of_its_owner(owner: Owner) -> None:
    actions = {key.parts[0] for key in keys_of(owner)}
    assert actions <= {name.removeprefix("action_") for name in dir(OWNERS[owner]) if name.startswith("action_")}
    own = {name.removeprefix("action_") for name in vars(OWNERS[owner]) if name.startswith("action_")}
    assert own <= actions | {"help_quit"}  # which is on a key of Textual's, ctrl+c


def test_no_key_means_two_things_at_once() -> None:
    for now in CONTEXTS:
        bound = Counter(name for key in KEYS if key.when(now) for name in key.key.split(",") if name)
        assert [name for name, count in bound.items() if count > 1] == []


def test_keys_are_left_to_what_has_the_focus_and_needs_them() -> None:
    prompt, branches = Context(in_prompt=True, made=True), Context(in_branches=True, made=True)
    panel, knobs = Context(in_panel=True, walking=True, made=True), Context(in_knobs=True, made=True)
    search, yanking = Context(in_search=True, walking=True, several=True, made=True), replace(prompt, can_yank=True)
    elsewhere = {
        prompt: {"walk", "walk_to", "pause", "turn", "choose"},
        branches: {"walk", "walk_to", "temperature", "generate", "choose", "scroll_output"},
        panel: {"walk_to", "temperature", "generate", "choose", "scroll_output"},
        knobs: {"walk", "walk_to", "temperature", "generate", "scroll_output"},
        search: {"walk", "walk_to", "temperature", "pause", "turn", "turn_sample", "choose", "recall"},
        yanking: {"copy"},
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


def test_a_page_can_list_the_keys() -> None:
    rows = markdown_table().splitlines()
    assert rows[:2] == ["| key | does |", "|---|---|"]
    assert any(row.startswith("| ctrl+s | save") for row in rows)
    assert any(row.startswith("| ← → | one token back or on") for row in rows)
    assert all(row.count("|") == 3 for row in rows)


def test_every_action_that_a_name_can_find_has_a_name_of_its_own() -> None:
    names = [key.name for key in KEYS if key.name]
    assert len(set(names)) == len(names)
    assert {key.action for key in KEYS if key.key and key.owner in ("app", "screen") and not key.name} == {
        "command_palette"
    }


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
    (Context(in_list=True), "↑↓ choose  enter open  c compare  esc back  tab focus"),
    (Context(in_branches=True), "↑↓ choose  enter switch  c compare  r rename  del delete  esc back"),
    (Context(in_panel=True), "↑↓ choose  enter take  ←→ token  esc back"),
    (Context(in_inside=True, inside_view="units", made=True),
     "←→ token  1-5 view  esc back  ↑↓ choose  a property  m phrase  s places  enter go  r read  f h t change"),
    (Context(in_inside=True, inside_view="tokens", made=True, before=True),
     "←→ token  1-5 view  esc back  w word  r read  f h t change  backspace before"),
    (Context(in_inside=True, inside_view="state", made=True, drawing=True),
     "←→ pixel  1-5 view  esc back  ↑↓ choose  l layer  o order"),
    (Context(in_search=True, walking=True, made=True), "enter ↓ next  ↑ the one before  esc leave"),
    (Context(in_panel=True, drawing=True), "↑↓ choose  enter take  ←→ pixel  esc back"),
    (Context(in_knobs=True), "↑↓ select  ←→ turn  0-9 type  f5 five values  esc back"),
])  # fmt: skip
def test_the_last_line_says_what_the_keys_do_now(now: Context, first: str) -> None:
    assert hints(now).startswith(first)
    assert hints(now).endswith("f1 help  ^q quit" if now.in_prompt or now.in_search else "? help  ^q quit")


def test_the_last_line_never_offers_what_does_nothing() -> None:
    for now in CONTEXTS:
        if any(getattr(now, fact) for fact in FOCUS[1:]):
            continue
        offered = hints(now)
        assert ("enter choose" in offered) <= now.walking
        assert ("space" in offered) <= (now.running and not now.in_prompt)
        assert ("f2 " in offered or "f7 " in offered) <= now.drawing
        assert ("a word" in offered) <= (now.walking and not now.drawing)
        for key in ("^s", "^y", "f4", "f6", "←→"):
            assert (f"{key} " in offered) <= now.made


async def test_the_last_line_follows_a_person_from_place_to_place(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", pace=16, length=100_000) as driver:

        async def offers(*hints: str) -> None:
            await driver.until(lambda: all(hint in driver.footer for hint in (*hints, "help", "^q quit")))

        await offers("enter generate")
        await driver.press("enter")
        await offers("esc stop", "space pause")
        await driver.until(lambda: driver.length > 4)
        await driver.press("space")
        await driver.stands_still()
        await offers("space go on", "←→ token")
        for keys, hints in {
            "left": ["enter choose", "type a word", "esc leave"],
            "enter": ["↑↓ choose", "enter take", "esc back"],
            "f8": ["↑↓ select", "←→ turn", "0-9 type", "esc back"],
            "f3": ["enter open", "esc back"],
            "f4": ["enter switch", "c compare", "r rename", "del delete"],
        }.items():
            await driver.press(keys)
            await offers(*hints)
        await driver.press("escape", "escape", "escape")
        await driver.until(driver.says_end)
        await offers("enter generate", "←→ token")
        assert "esc stop" not in driver.footer
