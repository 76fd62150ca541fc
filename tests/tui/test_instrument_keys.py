"""Everything is found: by its name, in the last line, in the help; by keyboard alone, on 80 columns and 24 lines."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from textual.containers import VerticalScroll

from tests.support.driver import ScreenDriver, on_screen
from tests.support.instrument import at_rest, branch, footer, grown, place, told, workspace
from tui_gen.tui.bindings import KEYS
from tui_gen.tui.dialogs.help import help_text
from tui_gen.tui.widgets.text_view import TextView

FOUND = {
    "inpainting": "complete a picture (inpainting)",
    "top-k": "knobs: top-k, top-p, min-p, samples, length, seed",
    "compare temp": "compare temperatures: five values of the selected knob",
    "bits": "surprise: bits per token, the most surprising ones",
    "gif": "save as text, PNG, GIF or session",
    "reproduces": "show the command that reproduces this",
    "rename": "branches: switch, compare, rename, delete",
    "anew": "generate anew from here",
    "slower": "slower: half the pace",
    "learned": "how the model learned, epoch by epoch",
}


async def test_every_action_is_found_by_what_a_person_would_call_it(models: Path) -> None:
    async with on_screen(models / "cats") as (driver, _):
        for typed, name in FOUND.items():
            await driver.press("ctrl+p")
            await driver.shows("Search")
            await driver.type(typed)
            await driver.shows(name)
            await driver.press("escape")
            await driver.hides("Search")


async def test_what_is_found_is_done(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=0.0) as (driver, _):
        await driver.run_to_end()
        await driver.press("ctrl+p")
        await driver.type("surprise")
        await driver.shows("the most surprising ones")
        await driver.press("down", "enter")
        await driver.shows("bits a token")


@pytest.mark.parametrize("size", [(80, 24), (120, 30)], ids=str)
async def test_the_last_line_says_what_the_keys_do_now(models: Path, size: tuple[int, int]) -> None:
    async with on_screen(models / "endless", prompt="the", pace=16, length=100_000, size=size) as (driver, _):
        await _says(driver, "enter generate")
        await driver.press("enter")
        await _says(driver, "esc stop", "space pause")
        await driver.until(lambda: grown(driver, 4))
        await driver.press("space")
        await driver.until(lambda: at_rest(driver))
        await _says(driver, "space go on", "←→ token")
        await driver.press("left")
        await _says(driver, "enter choose", "type a word", "esc leave")
        await driver.press("enter")
        await _says(driver, "↑↓ choose", "enter take", "esc back")
        await driver.press("f8")
        await _says(driver, "↑↓ select", "←→ turn", "0-9 type", "esc back")
        await driver.press("f3")
        await _says(driver, "enter open", "esc back")
        await driver.press("f4")
        await _says(driver, "enter switch", "c compare", "r rename", "del delete")
        await driver.press("escape", "escape", "escape")
        await driver.until(driver.says_end)
        await _says(driver, "enter generate", "←→ token")
        assert "esc stop" not in footer(driver)


async def test_the_help_names_all_keys_and_can_be_read_to_its_end(models: Path) -> None:
    assert all(key.shown in help_text() and key.meaning in " ".join(help_text().split()) for key in KEYS)
    async with on_screen(models / "cats") as (driver, _):
        await driver.press("f1")
        seen = set[str]()
        await driver.shows("WRITE OR DRAW")
        scroll = driver.app.screen.query_one(VerticalScroll)
        for page in range(1, 13):
            seen |= {line.strip(" │╭╮╰╯▁▂▃▄▅▆▇█▎▊") for line in driver.screen().split("\n")}
            y = min(scroll.max_scroll_y, page * scroll.size.height)
            await driver.press("pagedown")
            await driver.until(partial(lambda y: scroll.scroll_y == y, y))
        missing = [
            line for line in help_text().split("\n") if line.strip() and not any(line.strip() in s for s in seen)
        ]
        assert missing == []
        await driver.press("escape")
        await driver.shows("enter generate")


async def test_a_whole_visit_by_keyboard_alone_on_80_columns_and_24_lines(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with on_screen(models / "endless", pace=64, length=100_000, size=(80, 24)) as (driver, _):
        await driver.type("the")
        await driver.press("enter")
        await driver.until(lambda: grown(driver, 6))
        await driver.press("space")
        await driver.until(lambda: at_rest(driver))
        await driver.press("left", "left", "enter", "down", "enter")
        await driver.until(lambda: branch(driver).name == "2" and grown(driver, 8))
        await driver.press("escape")
        await driver.until(driver.says_end)
        await driver.press("f4")
        await driver.shows("└ 2")
        assert place(driver, "└ 2")[0] < 20
        await driver.press("up", "enter")
        await driver.until(lambda: branch(driver).name == "1")
        await driver.press("f8", "down", "right", "escape", "f5")
        await driver.until(lambda: branch(driver).samples == 5 and driver.running)
        await driver.press("escape", "f6", "f6", "ctrl+s", "enter")
        await driver.until(lambda: told(driver) == "saved as endless-1.txt")
        assert len(workspace(driver).tree) == 3


OPENED = {
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
    async with on_screen(models / "cats", prompt="the", temperature=0.0) as (driver, _):
        await driver.run_to_end()
        page = driver.page
        for name, keys in OPENED.items():
            driver.app.query_one(TextView).focus()
            await driver.until(lambda: isinstance(driver.app.focused, TextView))
            await driver.press(*keys)
            await driver.press("escape", "escape", "escape")
            await driver.until(lambda: driver.app.focused is driver.playground.prompt)
            assert len(driver.app.screen_stack) == 1, name
            assert driver.view.cursor is None, name
        assert driver.page == page
        assert list(workspace(driver).tree._branches) == ["1"]


async def _says(driver: ScreenDriver, *wanted: str) -> None:
    await driver.until(lambda: all(each in footer(driver) for each in (*wanted, "help", "^q quit")))
    assert len(footer(driver)) <= driver.app.size.width
