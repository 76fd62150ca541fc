"""The whole app: choosing models, trouble, small screens, keys that come fast, the ways back, and leaving."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import textual.containers
import textual.widgets
from textual import events
from textual.message import Message

from tests.support import toys
from tests.support.driver import ScreenDriver, engines_end, on_screen
from tui_gen import tui
from tui_gen.library import find_models
from tui_gen.tui.app import TuiGen
from tui_gen.tui.knob_state import Settings
from tui_gen.tui.model_loader import ModelOpened
from tui_gen.tui.widgets.image_view import ImageView
from tui_gen.tui.widgets.text_view import TextView

WIDE = (150, 30)


def test_style_sheets_name_classes_that_exist() -> None:
    folder, known, css = Path(tui.__file__).parent, set[str](), ""
    for path in folder.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        known |= {*re.findall(r"^class (\w+)", text, re.MULTILINE)}
        css += "".join(re.findall(r'CSS = """(.*?)"""', text, re.DOTALL))
    css += (folder / "app.tcss").read_text(encoding="utf-8")
    known |= {
        *textual.widgets.__all__,
        *dir(textual.containers),
        "CommandList",
        "CommandPalette",
        "SearchIcon",
        "Screen",
    }
    assert {*re.findall(r"(?<![\w.$#-])([A-Z]\w+)", css)} <= known


async def test_prompt_and_turned_knobs_travel_and_each_model_keeps_its_branches(models: Path) -> None:
    async with on_screen(models / "cats", seed=9, size=WIDE) as driver:
        await driver.type("the")
        await driver.press("up")
        await driver.run_to_end()
        await driver.press("home", "right")
        page, temperature = driver.page, driver.params.temperature
        await driver.press("f3", "end", "enter")
        await driver.shows("Draws stripes.")
        assert (driver.playground.prompt.value, driver.playground.prompt.unknown()) == ("the", ["the"])
        assert (driver.params.temperature, driver.playground.knobs.seed) == (temperature, 9)
        assert driver.branches[-1:] == ["▸ cats (1)"]
        await driver.press("ctrl+u")
        await driver.type("bright")
        await driver.run_to_end()
        await driver.press("f3", "home", "enter", "space")
        await driver.until(lambda: driver.shown == "1" and driver.page == page)
        assert driver.playground.prompt.value == "bright"
        await driver.reads("token 1")
        await driver.press("f4", "r")
        await driver.shows("name of the branch")
        await driver.press("escape", "f4", "down", "r")
        await driver.says("that is a model with its branches: enter opens it, c compares it")
        await driver.press("enter")
        await driver.until(lambda: driver.workspace.loaded_model.card.name == "stripes" and driver.shown == "1")
        assert driver.branches[-1:] == ["▸ cats (1)"]


async def test_a_branch_that_is_switched_to_brings_its_prompt(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the") as driver:
        await driver.run_to_end()
        await driver.press("escape", "ctrl+u")
        await driver.type("dog")
        await driver.run_to_end()
        await driver.press("f4", "up", "enter")
        await driver.until(lambda: driver.shown == "1" and driver.playground.prompt.value == "the")
        await driver.press("f4", "delete", "delete")
        await driver.says("branch 1 is deleted")
        await driver.until(lambda: driver.shown == "2" and driver.playground.prompt.value == "dog")


async def test_a_model_that_is_written_anew_is_noticed_and_one_key_loads_it(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_gen.tui.model_loader._SECONDS_BETWEEN_LOOKS", 3600.0)
    async with on_screen(models / "cats", prompt="the", temperature=0.0, size=WIDE) as driver:
        await driver.run_to_end()
        before, loader = driver.page, driver.playground.loader
        await driver.press("ctrl+l")
        (models / "cats" / "model.onnx").write_bytes(b"half of it")
        loader.look()
        await driver.settle()
        assert driver.notice == ""
        for write in (lambda: None, lambda: toys.text_folder(models / "cats", graph=toys.text_graph(growth=9.0))):
            write()
            for _ in range(2):
                loader.look()
            await driver.says("cats was written anew; ^l loads it, and prompt and branches stay")
            await driver.press("ctrl+l")
            await driver.until(lambda: driver.workspace is loader.workspaces[-1] and not loader.folder)
        await driver.run_to_end()
        assert (driver.branch.start.text, driver.page) == ("the", "the")
        assert "^l" not in driver.footer
        assert (driver.branches[0], driver.branches[-1]) == ("▸ 1  seed 42: the", "▸ cats (before) (1)")
        await driver.press("f4", "down", "enter")
        await driver.until(lambda: driver.page == before)
        assert "^l load anew" in driver.footer
        await driver.press("ctrl+r")
        await driver.shows("its model's folder was written anew since")
        await driver.press("escape", "ctrl+l")
        await driver.until(lambda: driver.page == "the")
        await driver.press("f4", "down", "c")
        await driver.shows("cats (before)  differs from")
        await driver.until(lambda: driver.pages == ["the", before])


async def test_arrows_move_in_the_list_and_leave_the_temperature_alone(models: Path) -> None:
    async with on_screen(models / "cats") as driver:
        before = driver.params.temperature
        await driver.press("f3", "down", "down")
        assert driver.params.temperature == before
        await driver.press("escape", "up")
        assert driver.params.temperature > before


async def test_choosing_another_model_ends_the_run(models: Path) -> None:
    async with on_screen(models / "endless", pace=64, length=100_000) as driver:
        await driver.press("enter")
        await driver.until(lambda: driver.steps)
        await driver.press("f3", "home", "enter")
        await driver.until(lambda: driver.workspace.loaded_model.card.name == "cats")
        await engines_end()


async def test_a_damaged_model_is_listed_and_told_and_the_other_stays(models: Path) -> None:
    toys.spoil(models / "letters", "model.onnx", b"rubbish")
    async with on_screen(models / "cats") as driver:
        driver.playground.open(models / "letters")
        await driver.until(lambda: "letters" in driver.notice)
        await driver.run_to_end()
        assert driver.page


async def test_a_first_model_that_cannot_be_opened_is_told(models: Path) -> None:
    toys.spoil(models / "cats", "model.onnx", b"rubbish")
    async with on_screen(models / "cats", size=(120, 30)) as driver:
        await driver.shows("Choose another model with f3.")
        await driver.press("enter", "ctrl+n", "space", "escape", "f2", "pageup")
        await driver.press("f3", "end", "enter")
        await driver.shows("Draws stripes.")


async def test_an_enter_that_comes_before_the_first_model_is_obeyed(models: Path) -> None:
    app = TuiGen(Settings(models / "cats"), find_models())
    await app.playground.action_generate()
    async with app.run_test():
        await ScreenDriver(app).until(lambda: app.playground.run_view)


async def test_trouble_in_mid_run_is_told_and_what_was_made_stays(models: Path) -> None:
    table = toys.BIGRAMS.copy()
    table[toys.SAT] = np.nan
    toys.text_folder(models / "broken", graph=toys.text_graph(table))
    async with on_screen(models / "broken", temperature=0.0) as driver:
        await driver.type("the")
        await driver.run_to_end()
        assert driver.page == "the cat sat"
        assert "position 4" in driver.notice


HOSTILE = "x[/y] [bold]\x1b]0;owned\x07\x9b2J\u202e\x00"


async def test_foreign_text_is_shown_and_never_obeyed(models: Path) -> None:
    hostile = toys.text_folder(models / "hostile", name=HOSTILE, description=HOSTILE, prompt_example=HOSTILE)
    async with on_screen(hostile, prompt=HOSTILE) as driver:
        await driver.run_to_end()
        await driver.press("f3", "escape")
        screen = driver.screen()
        assert "x[/y] [bold]" in screen
        assert not any(ord(character) < 32 or 127 <= ord(character) < 160 or character == "\u202e" for character in
                       screen.replace("\n", ""))  # fmt: skip


async def test_a_notice_is_no_markup(models: Path) -> None:
    async with on_screen(models / "stripes", prompt='["x [/] [b]') as driver:
        await driver.press("enter")
        await driver.until(lambda: '["x [/] [b]' in driver.notice)


@pytest.mark.parametrize(("key", "text"), [("f1", "─ help ─"), ("ctrl+p", "Search for commands")])
async def test_what_is_answered_twice_closes_nothing_else(models: Path, key: str, text: str) -> None:
    async with on_screen(models / "cats") as driver:
        await driver.press(key)
        await driver.shows(text)
        dialog = driver.app.screen
        await driver.press("escape")
        await driver.hides(text)
        dialog.dismiss()
        await driver.press("f8")
        await driver.shows("─ knobs ─")
        dialog.dismiss()
        await driver.settle()
        assert "─ knobs ─" in driver.screen()


@pytest.mark.parametrize("size", [(40, 12), (20, 6), (5, 3)])
async def test_small_screens_are_usable_and_no_size_harms_a_run(models: Path, size: tuple[int, int]) -> None:
    async with on_screen(models / "stripes", size=size, temperature=0.0) as driver:
        await driver.run_to_end()
        np.testing.assert_array_equal(driver.app.query_one(ImageView).picture.rgb[0, :, :, 0], toys.STRIPE_GREYS)
        assert size == (5, 3) or "▀" in driver.screen()


async def test_a_model_chosen_later_wins_over_one_that_opens_slowly(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, is_opening, may_go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def check(graph: bytes, sha256: str, *, trust: bool) -> None:
        if graph == (models / "letters" / "model.onnx").read_bytes():
            loop.call_soon_threadsafe(is_opening.set)
            may_go_on.wait(60)

    async with on_screen(models / "cats") as driver:
        monkeypatch.setattr("tui_gen.runtime.probe.check", check)
        driver.playground.open(models / "letters")
        await is_opening.wait()
        driver.playground.open(models / "stripes")
        await driver.until(lambda: driver.workspace.loaded_model.card.name == "stripes")
        may_go_on.set()
        await engines_end()
        await driver.settle()
        assert driver.workspace.loaded_model.card.name == "stripes"


async def test_a_narrow_screen_folds_the_list_away_and_f3_brings_it_back(models: Path) -> None:
    async with on_screen(models / "cats", size=(60, 20)) as driver:
        assert not driver.playground.lists.display
        await driver.press("f3", "f3")
        await driver.until(lambda: driver.playground.lists.display and driver.app.focused is driver.playground.models)
        await driver.press("escape")
        await driver.until(lambda: not driver.playground.lists.display)


async def test_a_resize_in_mid_run_wraps_anew_and_loses_nothing(models: Path) -> None:
    async with on_screen(models / "endless", pace=512, length=100_000) as driver:
        await driver.press("enter")
        await driver.until(lambda: len(driver.page) > 200)
        await driver.resize(50, 15)
        await driver.until(lambda: len(driver.page) > 400)
        await driver.resize(140, 40)
        await driver.stop()
        page = driver.app.query_one(TextView)
        assert all(len(line.text) <= page._body.width for line in page._body.lines)
        assert " ".join(line.text for line in page._body.lines) == page.text


@pytest.mark.parametrize("keys", [(), ("space",), ("escape",), ("f1",)])
async def test_leaving_at_any_moment_ends_the_engine(models: Path, keys: tuple[str, ...]) -> None:
    async with on_screen(models / "endless", pace=64, length=100_000) as driver:
        await driver.press("enter")
        await driver.until(lambda: driver.steps)
        await driver.press(*keys, "ctrl+q")
        await driver.until(lambda: not driver.app.is_running)
    await engines_end()


@pytest.mark.parametrize("turns", range(3))
async def test_what_comes_while_the_screen_is_left_is_no_failure(models: Path, turns: int) -> None:
    app, messages = TuiGen(Settings(models / "cats"), find_models()), list[Message]()
    async with app.run_test(message_hook=messages.append):
        while not any(isinstance(message, ModelOpened) for message in messages):
            await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        app.exit()
        app.post_message(events.Key("a", "a"))
    assert app.failure is None


@pytest.mark.parametrize("turns", range(8, 20, 2))
async def test_a_run_that_begins_while_the_screen_is_left_is_no_failure(models: Path, turns: int) -> None:
    app = TuiGen(Settings(models / "cats"), find_models())
    async with app.run_test():
        while not app.playground.workspace:
            await asyncio.sleep(0)
        app.post_message(events.Key("enter", "\r"))
        for _ in range(turns):
            await asyncio.sleep(0)
        app.exit()
    assert app.failure is None


async def test_a_whole_visit_by_keyboard_alone_on_80_columns_and_24_lines(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with on_screen(models / "endless", pace=64, length=100_000, size=(80, 24)) as driver:
        await driver.type("the")
        await driver.pause_beyond(6)
        await driver.press("left", "left", "enter", "down", "enter")
        await driver.until(lambda: driver.shown == "2" and driver.length > 8)
        await driver.stop()
        await driver.press("f4")
        await driver.shows("└ 2")
        assert driver.place("└ 2")[0] < 20
        await driver.press("up", "enter")
        await driver.until(lambda: driver.shown == "1")
        await driver.press("f8", "down", "right", "escape", "f5")
        await driver.until(lambda: driver.branch.samples == 5 and driver.running)
        await driver.press("escape", "f6", "f6", "ctrl+s", "enter")
        await driver.says("saved as endless-1.txt")
        assert len(driver.workspace.tree) == 3


WAYS = {
    "actions": ["ctrl+p"],
    "knobs": ["f8"],
    "save": ["ctrl+s"],
    "command": ["ctrl+r"],
    "learned": ["f9"],
    "panel": ["left", "enter"],
    "word": ["left", "d"],
    "rename": ["f4", "r"],
    "cursor": ["home"],
    "prompt": ["tab", "tab", "tab"],
}


async def test_escape_always_leads_back_to_the_text_and_then_to_the_prompt(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=0.0) as driver:
        await driver.run_to_end()
        page = driver.page
        for name, keys in WAYS.items():
            driver.app.query_one(TextView).focus()
            await driver.until(lambda: isinstance(driver.app.focused, TextView))
            await driver.press(*keys)
            await driver.press("escape", "escape", "escape")
            await driver.until(lambda: driver.app.focused is driver.playground.prompt)
            assert len(driver.app.screen_stack) == 1, name
            assert driver.view.cursor is None, name
        assert driver.page == page
        assert len(driver.workspace.tree) == 1


@pytest.mark.parametrize(("words", "prompt"), [("the dog", "the dog"), ("道可道", "道可道")])
async def test_keys_that_come_in_one_chunk_all_arrive_after_a_run(models: Path, words: str, prompt: str) -> None:
    async with on_screen(models / "cats", prompt="the cat", temperature=0.0) as driver:
        await driver.run_to_end()
        await driver.type(words)
        assert driver.playground.prompt.value == prompt


async def test_a_prompt_and_enter_in_one_chunk_make_a_text_from_all_of_it(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the cat", temperature=0.0) as driver:
        await driver.run_to_end()
        await driver.type("the dog\r")
        await driver.ends("2")
        assert driver.branch.start.text == "the dog"
        assert driver.page.startswith("the dog ")


async def test_keys_in_one_chunk_find_the_focus_where_the_key_before_left_it(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=0.0, size=(120, 30)) as driver:
        await driver.run_to_end()
        for key in ("home", "enter", "down", "enter", "f4", "up", "enter"):  # choose otherwise, and back to the first
            driver.post_key(key)
        await driver.until(lambda: len(driver.workspace.tree) == 2 and driver.shown == "1" and driver.says_end())
        assert driver.workspace.tree["2"].start.at == 1
