"""The help names every key and explains the words of the screen; the palette finds actions by what they are called."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.command import CommandList
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Input

from tests.support.driver import AppDriver, on_screen
from tui_gen.tui.bindings import KEYS, keys_of
from tui_gen.tui.dialogs.help import Actions, help_text

NAMES = {
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


def test_the_help_names_every_key_and_explains_the_words_of_the_screen() -> None:
    text = help_text()
    lines = text.splitlines()
    for key in KEYS:
        assert any(line.startswith("  ") and f" {key.shown} " in line for line in lines), key
        assert " ".join(key.meaning.split()) in " ".join(text.split())
    for word in ("raw", "now", "bits", "cut", "branch", "surprise", "same noise"):
        assert any(line.startswith(f"  {word} ") for line in lines), word
    assert max(map(len, lines)) <= 72


async def test_the_help_can_be_read_to_its_end_and_keeps_the_keys_for_itself(models: Path) -> None:
    async with on_screen(models / "cats") as driver:
        before, visible = driver.params.temperature, set[str]()
        await driver.press("f1")
        await driver.shows("WRITE OR DRAW")
        assert "esc closes" in driver.screen()
        scroll = driver.app.screen.query_one(VerticalScroll)
        for page in range(1, 13):
            visible |= {line.strip(" │╭╮╰╯▁▂▃▄▅▆▇█▎▊") for line in driver.lines()}
            y = min(scroll.max_scroll_y, page * scroll.size.height)
            await driver.press("pagedown")
            await driver.until(partial(lambda y: scroll.scroll_y == y, y))
        lines = [line.strip() for line in help_text().split("\n")]
        assert [line for line in lines if not any(line in each for each in visible)] == []
        await driver.press("up", "escape")
        await driver.shows("enter generate")
        assert driver.params.temperature == before


class PaletteApp(App[None]):
    """Finds actions of its screen."""

    COMMANDS = {Actions}  # noqa: RUF012

    def get_default_screen(self) -> PaletteScreen:
        return PaletteScreen()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action == "command_palette"


class PaletteScreen(Screen[None]):
    """Notes which actions are done."""

    def __init__(self) -> None:
        super().__init__()
        self.actions: list[object] = []

    def compose(self) -> ComposeResult:
        yield Input()

    def note(self, action: object) -> None:
        assert self.app.screen is self
        self.actions.append(action)

    async def action_save(self) -> None:
        self.note("save")

    def action_walk(self, by: int) -> None:
        self.note(("walk", by))

    def action_sweep(self) -> None:
        self.note("sweep")


@asynccontextmanager
async def palette(size: tuple[int, int]) -> AsyncIterator[AppDriver]:
    """The palette, open."""
    driver = AppDriver(PaletteApp())
    async with driver.app.run_test(size=size):
        await driver.press("ctrl+p")
        yield driver


@pytest.mark.parametrize(("typed", "action"), [
    ("png", "save"), ("compare temp", "sweep"), ("token back", ("walk", -1)), ("same noise", "sweep"),
])  # fmt: skip
async def test_an_action_is_found_by_its_name_and_done_wherever_the_focus_is(typed: str, action: object) -> None:
    async with palette((100, 40)) as driver:
        await driver.press(*typed)
        await driver.until(lambda: driver.app.screen.query_one(CommandList).option_count > 0)
        await driver.press("enter")
        await driver.until(lambda: driver.app.screen_stack[0].actions == [action])


async def test_every_action_is_found_by_what_a_person_would_call_it() -> None:
    async with palette((100, 40)) as driver:
        for typed, name in NAMES.items():
            await driver.press("ctrl+u", *typed)
            await driver.shows(name)


async def test_all_actions_are_listed_with_their_keys_before_anything_is_typed() -> None:
    async with palette((100, 140)) as driver:
        await driver.until(lambda: driver.app.screen.query_one(CommandList).option_count > 20)
        screen = driver.screen()
    for key in (*keys_of("app"), *keys_of("screen")):
        assert not key.name or f"{key.name}  {key.shown}" in screen


async def test_what_is_found_is_done_on_the_real_screen(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=0.0) as driver:
        await driver.run_to_end()
        await driver.press("ctrl+p")
        await driver.type("surprise")
        await driver.shows("the most surprising ones")
        await driver.press("down", "enter")
        await driver.shows("bits a token")
