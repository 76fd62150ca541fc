"""Keys as a person binds them: their names, two actions on one key, and the real screen with other keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events

from tests.support.driver import on_screen
from tui_gen.errors import TuiGenError
from tui_gen.tui.bindings import KEYS, Context, is_letter, key_of, pairs_now, shown_key
from tui_gen.tui.dialogs.help import help_text
from tui_gen.tui.keymap import Keymap, read_keys

RELEASED = """
generate pause stop new_seed token_back token_on first_token last_token previous_sample next_sample choose resample
branches compare_branch rename_branch delete_branch temperature_up temperature_down knob_up knob_down slower faster
knobs sweep surprisal training scroll_up scroll_down next_part rendering complete save command copy models help palette
theme quit
"""
"""Names in configurations that people have."""


@pytest.mark.parametrize(("text", "names", "shown"), [
    ("f2,ctrl+g", "f2 ctrl+g", "f2 ^g"),
    (" f2 , F2", "f2", "f2"),
    ("^G", "ctrl+g", "^g"),
    ("Shift+Ctrl+Left", "ctrl+shift+left", "ctrl+shift+←"),
    ("alt+↑", "alt+up", "alt+↑"),
    ("esc,PgUp,del", "escape pageup delete", "esc pgup del"),
    ("[,+,ctrl++", "left_square_bracket plus ctrl+plus", "[ + ^+"),
    ("ctrl+i,ctrl+m,ctrl+[", "tab enter escape", "tab enter esc"),
    ("ctrl+space,space,é,G", "ctrl+@ space é G", "^@ space é G"),
    ("", "", ""),
])  # fmt: skip
def test_a_key_is_read_as_people_and_textual_write_it(text: str, names: str, shown: str) -> None:
    assert list(read_keys(text)) == names.split()
    assert [shown_key(name) for name in names.split()] == shown.split()


@pytest.mark.parametrize(("text", "advice"), [
    ("ctl+g", ""), ("ctrl+", ""), ("f2 f3", ""), ("escpae", "; did you mean escape?"), ("ctrl+\x1b", ""),
])  # fmt: skip
def test_what_is_no_key_is_told(text: str, advice: str) -> None:
    with pytest.raises(TuiGenError, match="there is no key") as told:
        list(read_keys(text))
    assert str(told.value).endswith(advice or repr(text))


def test_keys_as_they_are_shown_in_the_table_can_be_written_in_the_configuration() -> None:
    for key in KEYS:
        assert not key.id or list(read_keys(key.shown)) == [key.names[0]]
    assert {name for key in KEYS for name in key.names if is_letter(name)} >= {"space", "plus", "minus", "c"}


def test_every_action_has_a_name_that_a_person_can_read_and_released_names_stay() -> None:
    names = [key.id for key in KEYS if key.action]
    assert len({*names}) == len(names)
    assert all(name.replace("_", "").isalpha() for name in names)
    assert {*names} >= {*RELEASED.split()}


@pytest.mark.parametrize(("changes", "faults", "keys"), [
    ({"generate": "f2,enter", "rendering": ""}, [], {"generate": "f2 enter", "choose": "enter", "rendering": ""}),
    ({"complete": "f2"}, ["keys.complete: f2 was rendering's key too; bind rendering to another key, or to none"],
     {"complete": "f2", "rendering": ""}),
    ({"save": "f12", "copy": "^y,f12"}, ["keys.save: f12 was copy's key too; bind copy to another key, or to none"],
     {"save": "f12", "copy": "^y"}),
    ({"theme": "f5"}, ["keys.theme: f5 was sweep's key too; bind sweep to another key, or to none"],
     {"theme": "f5", "sweep": ""}),
    ({"save": "c"}, [], {"save": "c", "compare_branch": "c"}),
    ({"help": "f2", "rendering": "f1"}, [], {"help": "f2", "rendering": "f1"}),
    ({"genrate": "f2"}, ["keys.genrate: there is no such action; did you mean generate?"], {"rendering": "f2"}),
    ({"save": "f99"}, ["keys.save: there is no key 'f99'; did you mean f9?"], {"save": "^s"}),
])  # fmt: skip
def test_what_a_person_binds_wins_and_two_actions_on_one_key_are_told(
    changes: dict[str, str], faults: list[str], keys: dict[str, str]
) -> None:
    keymap = Keymap(changes)
    assert keymap.faults == faults
    assert {key.id: key.shown for key in keymap.keys}.items() >= keys.items()


def test_the_last_line_shows_the_keys_as_they_are_bound_where_they_work() -> None:
    keys = Keymap({"new_seed": "n,f12", "models": "m", "help": "ctrl+b", "quit": "", "stop": "f11", "sweep": ""}).keys
    in_prompt, elsewhere = (dict(map(reversed, pairs_now(now, keys))) for now in (Context(in_prompt=True), Context()))
    assert (in_prompt["seed"], elsewhere["seed"]) == ("f12", "n")
    assert "models" not in in_prompt
    assert elsewhere["models"] == "m"
    assert (in_prompt["help"], elsewhere["help"]) == ("^b", "^b")
    assert not {"quit", "five values"} & {*in_prompt, *elsewhere}
    assert ("f11", "back") in pairs_now(Context(in_knobs=True), keys)
    assert (key_of("models", keys), key_of("sweep", keys)) == ("m", "^p sweep")


async def test_other_keys_do_what_they_are_bound_to_and_the_old_ones_nothing(models: Path) -> None:
    keys = {"generate": "f12", "theme": "ctrl+b", "next_part": "f11", "help": "alt+h", "delete_branch": "x",
            "new_seed": "n", "palette": "alt+p"}  # fmt: skip
    async with on_screen(models / "cats", prompt="the", temperature=0.0, keys=keys, size=(120, 30)) as driver:
        await driver.press("enter", "f1", "ctrl+t", "tab", "ctrl+p")
        assert not driver.playground.run_view
        assert driver.app.focused is driver.playground.prompt
        assert (len(driver.app.screen_stack), driver.app.current_theme.dark) == (1, True)
        await driver.shows("f12 generate")
        await driver.press("ctrl+c")
        await driver.says("^q quits")
        await driver.press("ctrl+b", "f12")
        await driver.ends("1")
        assert not driver.app.current_theme.dark
        await driver.press("n")  # outside of the prompt a letter is a key
        await driver.ends("2")
        await driver.press("f4", "x")
        await driver.says("x once more deletes branch 2")
        driver.app.post_message(events.Key("alt+h", "h"))  # as terminals send it
        await driver.shows("  f12          make a text or a picture from the prompt")
        await driver.press("alt+h", "alt+p")
        await driver.shows("another seed  n")


async def test_letters_are_typed_into_the_prompt_and_dialogs_whatever_they_are_bound_to(models: Path) -> None:
    keys = {"new_seed": "n", "save": "s", "quit": "q", "pause": "p,space", "temperature_up": "+,5", "knob_up": ""}
    async with on_screen(models / "endless", keys=keys, pace=64, length=100_000) as driver:
        before = driver.params.temperature
        await driver.type("spqn +5")
        assert driver.playground.prompt.value == "spqn +5"
        assert driver.params.temperature == before
        await driver.pause_beyond(3, key="p")
        await driver.press("s")
        await driver.shows("save")
        await driver.type("qns")
        await driver.shows("qns")
        await driver.press("escape", "f8", "5")  # a digit types a knob's value
        await driver.shows("temperature 5▌")
        assert driver.params.temperature == before


def test_what_a_browser_keeps_has_another_key_there_and_a_persons_own_wins() -> None:
    keymap = Keymap({}, browser=True)
    assert keymap.faults == []
    shown = [key_of(action, keymap.keys) for action in ("new_seed", "theme", "quit")]
    assert shown == ["^b", "^d", "alt+q"]
    assert {*shown[::2]} <= {key for key, _ in pairs_now(Context(in_prompt=True), keymap.keys)}
    assert "ctrl+n" in next(key for key in keymap.keys if key.id == "new_seed").names  # where one lets it through
    assert "alt+backspace" in help_text(keymap.tasks)
    own = Keymap({"quit": "ctrl+x", "help": "ctrl+d,?", "new_seed": "ctrl+n"}, browser=True)
    assert own.faults == []
    assert [key_of(action, own.keys) for action in ("quit", "help", "new_seed", "theme")] == ["^x", "^d ?", "^n", "^t"]
