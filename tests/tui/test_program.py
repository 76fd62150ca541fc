"""Choosing models, help, trouble, small screens and leaving."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from tests.support import toys
from tests.support.driver import on_screen
from tui_gen.tui.bindings import KEYS
from tui_gen.tui.dialogs.help import HelpScreen, help_text
from tui_gen.tui.widgets.image_view import ImageView
from tui_gen.tui.widgets.prompt import Prompt
from tui_gen.tui.widgets.text_view import TextView


async def test_another_model_is_chosen_by_keyboard_and_each_keeps_its_prompt(models: Path) -> None:
    async with on_screen(models / "cats") as (driver, _):
        await driver.type("the")
        await driver.press("f3", "end", "enter")
        await driver.shows("Draws stripes.")
        assert driver.app.query_one(Prompt).value == ""
        await driver.press("f3", "home", "enter")
        await driver.shows("Writes about cats.")
        assert driver.app.query_one(Prompt).value == "the"


async def test_arrows_move_in_the_list_and_leave_the_temperature_alone(models: Path) -> None:
    async with on_screen(models / "cats") as (driver, _):
        before = driver.params.temperature
        await driver.press("f3", "down", "down")
        assert driver.params.temperature == before
        await driver.press("escape", "up")
        assert driver.params.temperature > before


async def test_choosing_another_model_ends_the_run(models: Path) -> None:
    async with on_screen(models / "endless", pace=64, length=100_000) as (driver, _):
        await driver.press("enter")
        await driver.until(lambda: driver.steps)
        await driver.press("f3", "home", "enter")
        await driver.until(lambda: driver.playground.workspace and driver.workspace.loaded_model.card.name == "cats")
        await driver.until(lambda: not _engine_threads())


async def test_a_damaged_model_is_listed_and_told_and_the_other_stays(models: Path) -> None:
    toys.spoil(models / "letters", "model.onnx", b"rubbish")
    async with on_screen(models / "cats") as (driver, _):
        driver.playground.open(models / "letters")
        await driver.until(lambda: driver.app._notifications)
        assert "letters" in next(iter(driver.app._notifications)).message
        await driver.run_to_end()
        assert driver.page


async def test_a_first_model_that_cannot_be_opened_is_told(models: Path) -> None:
    toys.spoil(models / "cats", "model.onnx", b"rubbish")
    async with on_screen(models / "cats", size=(120, 30)) as (driver, _):
        await driver.shows("Choose another model with f3.")
        await driver.press("enter", "ctrl+n", "space", "escape", "f2", "pageup")
        await driver.press("f3", "end", "enter")
        await driver.shows("Draws stripes.")


async def test_trouble_in_mid_run_is_told_and_what_was_made_stays(models: Path) -> None:
    table = toys.BIGRAMS.copy()
    table[toys.SAT] = np.nan
    toys.text_folder(models / "broken", graph=toys.text_graph(table))
    async with on_screen(models / "broken", temperature=0.0) as (driver, _):
        await driver.type("the")
        await driver.run_to_end()
        assert driver.page == "the cat sat"
        assert "token 4" in next(iter(driver.app._notifications)).message


async def test_help_names_every_key_and_keeps_the_keys_for_itself(models: Path) -> None:
    assert all(key.shown in help_text() for key in KEYS)
    async with on_screen(models / "cats") as (driver, _):
        before = driver.params.temperature
        await driver.press("f1")
        assert isinstance(driver.app.screen, HelpScreen)
        await driver.shows("esc closes")
        await driver.press("up", "escape")
        assert not isinstance(driver.app.screen, HelpScreen)
        assert driver.params.temperature == before


HOSTILE = "x[/y] [bold]\x1b]0;owned\x07\x9b2J\u202e\x00"


async def test_foreign_text_is_shown_and_never_obeyed(models: Path) -> None:
    hostile = toys.text_folder(models / "hostile", name=HOSTILE, description=HOSTILE, prompt_example=HOSTILE)
    async with on_screen(hostile, prompt=HOSTILE) as (driver, _):
        await driver.run_to_end()
        await driver.press("f3", "escape")
        screen = driver.screen()
        assert "x[/y] [bold]" in screen
        assert not any(ord(character) < 32 or 127 <= ord(character) < 160 or character == "\u202e" for character in
                       screen.replace("\n", ""))  # fmt: skip


async def test_a_screen_too_small_for_anything_harms_no_run(models: Path) -> None:
    async with on_screen(models / "stripes", size=(5, 3), temperature=0.0) as (driver, _):
        await driver.run_to_end()
        np.testing.assert_array_equal(driver.app.query_one(ImageView).picture.rgb[0, :, :, 0], toys.STRIPE_GREYS)


@pytest.mark.parametrize("size", [(80, 24), (60, 16), (40, 12), (20, 6)])
async def test_small_screens_are_usable(models: Path, size: tuple[int, int]) -> None:
    async with on_screen(models / "stripes", size=size, temperature=0.0) as (driver, _):
        await driver.run_to_end()
        np.testing.assert_array_equal(driver.app.query_one(ImageView).picture.rgb[0, :, :, 0], toys.STRIPE_GREYS)
        await driver.shows("▀")


async def test_a_model_chosen_later_wins_over_one_that_opens_slowly(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = threading.Event()

    def check(graph: bytes, sha256: str, runtime: str) -> None:
        if graph == (models / "letters" / "model.onnx").read_bytes():
            slow.wait(5)

    async with on_screen(models / "cats") as (driver, pilot):
        monkeypatch.setattr("tui_gen.library.check", check)
        driver.playground.open(models / "letters")
        await pilot.pause(0.1)
        driver.playground.open(models / "stripes")
        await driver.until(lambda: driver.playground.workspace and driver.workspace.loaded_model.card.name == "stripes")
        slow.set()
        await pilot.pause(0.3)
        assert driver.playground.workspace
        assert driver.workspace.loaded_model.card.name == "stripes"


async def test_a_narrow_screen_folds_the_list_away_and_f3_brings_it_back(models: Path) -> None:
    async with on_screen(models / "cats", size=(60, 20)) as (driver, _):
        assert not driver.playground.lists.display
        await driver.press("f3")
        await driver.until(lambda: driver.playground.lists.display and driver.app.focused is driver.playground.models)
        await driver.press("escape")
        await driver.until(lambda: not driver.playground.lists.display)


async def test_a_resize_in_mid_run_wraps_anew_and_loses_nothing(models: Path) -> None:
    async with on_screen(models / "endless", pace=512, length=100_000) as (driver, pilot):
        await driver.press("enter")
        await driver.until(lambda: len(driver.page) > 200)
        await pilot.resize_terminal(50, 15)
        await driver.until(lambda: len(driver.page) > 400)
        await pilot.resize_terminal(140, 40)
        await driver.press("escape")
        await driver.until(lambda: not driver.running)
        page = driver.app.query_one(TextView)
        assert all(len(line.text) <= page._body.width for line in page._body.lines)
        assert " ".join(line.text for line in page._body.lines) == page.text


@pytest.mark.parametrize("keys", [(), ("space",), ("escape",), ("f1",)])
async def test_leaving_at_any_moment_ends_the_engine(models: Path, keys: tuple[str, ...]) -> None:
    async with on_screen(models / "endless", pace=64, length=100_000) as (driver, _):
        await driver.press("enter")
        await driver.until(lambda: driver.steps)
        await driver.press(*keys, "ctrl+q")
        await driver.until(lambda: not driver.app.is_running)
    assert not _engine_threads()


def _engine_threads() -> list[threading.Thread]:
    from tui_gen.tui.widgets import run_view

    return [t for t in threading.enumerate() if t.name.startswith(run_view.__name__)]
