"""Looking into a picture: levels with their colours, a cursor on pixels, another level in the place of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import toys
from tests.support.driver import ScreenDriver, on_screen
from tests.support.instrument import (
    at_rest,
    branch,
    counted_steps,
    grown,
    grows_to,
    panel,
    reads,
    shares,
    tokens,
    told,
    workspace,
)
from tui_gen.sampling.params import SamplingParams
from tui_gen.tui.widgets.image_view import ImageView

WIDE = (120, 40)
GREY = {0: "#000000", 1: "#808080", 2: "#ffffff"}


def levels(driver: ScreenDriver, sample: int = 0) -> list[int]:
    """The picture, pixel by pixel."""
    assert driver.view
    drawn = driver.view.levels(sample)
    assert drawn is not None
    found: list[int] = drawn.ravel().tolist()
    return found


def entries(driver: ScreenDriver) -> dict[int, str]:
    """How the panel's entries end, by level."""
    rows = [line for line in panel(driver).split("\n") if "██ " in line[:6]]
    return {int(line.split("██ ")[1].split()[0]): line[-14:] for line in rows}


async def looks_at(driver: ScreenDriver, sample: int) -> None:
    """Waits until the cursor stands in one of several pictures."""
    await driver.until(lambda: driver.view.cursor is not None and driver.view.sample == sample)


async def on_pixel(driver: ScreenDriver, row: int, column: int) -> None:
    """Walks there, from the beginning of the picture."""
    await driver.press("home", *["down"] * row, *["right"] * column)
    await driver.shows(f"row {row}, column {column} ─")


async def test_all_levels_are_shown_with_their_colours_and_probabilities(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.5, seed=3, size=WIDE) as (driver, _):
        await driver.run_to_end()
        await on_pixel(driver, 1, 2)
        now, raw = (shares(driver, 9, SamplingParams(temperature)) for temperature in (0.5, 1.0))
        wanted = {level: f"{now[level]:>7}{raw[level]:>7}" for level in range(toys.LEVELS)}
        await driver.until(lambda: entries(driver) == wanted)
        rows = [driver.playground.side.next_token.render_line(y) for y in range(3, 6)]
        swatches = [next(part for part in row if part.text == "██ ") for row in rows]
        shown = [int(row.text.split("██ ")[1].split()[0]) for row in rows]
        painted = [part.style.color.name for part in swatches if part.style and part.style.color]
        assert painted == [GREY[level] for level in shown]
        assert f"▸ ██ {levels(driver)[8]}" in panel(driver)


async def test_a_filter_cuts_levels_while_the_model_stands_still(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_screen(models / "stripes", temperature=2.0, pace=4, size=WIDE) as (driver, _):
        await driver.press("enter")
        await driver.until(lambda: grown(driver, 4))
        await driver.press("space")
        await driver.until(lambda: at_rest(driver))
        await driver.shows(f"column {len(branch(driver)) - 1}")
        made, steps = tokens(branch(driver)), counted_steps(monkeypatch)
        await driver.press("f8", "down", "right", "escape")
        await driver.until(lambda: sum("cut" in said for said in entries(driver).values()) == 2)
        assert steps == []
        assert tokens(branch(driver)) == made


async def test_the_arrows_walk_by_pixel_and_by_row(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0, size=WIDE) as (driver, _):
        await driver.run_to_end()
        await driver.press("home")
        await driver.shows("row 0, column 0 ─")
        for key, where in [
            ("right", (0, 1)),
            ("down", (1, 1)),
            ("down", (2, 1)),
            ("left", (2, 0)),
            ("left", (1, 5)),
            ("up", (0, 5)),
            ("end", (3, 5)),
        ]:
            await driver.press(key)
            await driver.shows(f"row {where[0]}, column {where[1]} ─")
            await reads(driver, f"▸ ██ {toys.STRIPES[where]}")
        assert driver.params.temperature == 0
        await driver.press("right", "right")
        await driver.shows("row 3, column 5 ─")
        assert levels(driver) == toys.STRIPES.ravel().tolist()


async def test_in_a_pause_right_draws_exactly_one_pixel(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0, pace=4, size=WIDE) as (driver, _):
        await driver.press("enter")
        await driver.until(lambda: grown(driver, 3))
        await driver.press("space")
        await driver.until(lambda: at_rest(driver))
        drawn = len(branch(driver)) - 1
        for more in (1, 2):
            await driver.press("right")
            await grows_to(driver, 1 + drawn + more)
        await driver.shows(f"paused at {drawn + 2} of 24")
        assert driver.app.query_one(ImageView).picture.drawn == drawn + 2
        await driver.press("left")
        await driver.until(lambda: f"▸ ██ {toys.STRIPES.ravel()[drawn + 1]}" in panel(driver))


async def test_a_click_on_a_pixel_puts_the_cursor_there(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0, samples=2, size=WIDE) as (driver, pilot):
        await driver.run_to_end()
        canvas = driver.app.query_one(ImageView)
        assert canvas._tiling.columns == 1
        scale, tiling = canvas._raster.scale, canvas._tiling
        tops = [tiling.top, tiling.top + tiling.height + 1]
        for sample, top in enumerate(tops):
            await pilot.click(canvas, offset=(tiling.left + 4 * scale, top + scale))
            await looks_at(driver, sample)
            await driver.shows("row 2, column 4")
            assert driver.view.position == 1 + 2 * toys.WIDTH + 4


async def test_another_level_is_chosen_and_the_rest_is_drawn_from_there(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=1.0, seed=3, size=WIDE) as (driver, _):
        await driver.run_to_end()
        await on_pixel(driver, 1, 1)
        before = levels(driver)
        await driver.press("enter")
        await driver.shows("rank")
        await driver.press("end", "enter")
        await driver.until(lambda: branch(driver).name == "2" and driver.says_end())
        assert levels(driver)[:7] == before[:7]
        assert levels(driver)[7] != before[7]
        assert branch(driver).is_chosen(8, 0)
        await driver.shows("complete: 24")
        await driver.until(lambda: f"└ 2  pixel 7: {levels(driver)[7]}"[:12] in driver.screen())
        await on_pixel(driver, 1, 1)
        await driver.until(lambda: f"* ██ {levels(driver)[7]}" in panel(driver))


async def test_a_level_can_be_typed_and_one_that_there_is_not_is_refused(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0, size=WIDE) as (driver, _):
        await driver.run_to_end()
        await on_pixel(driver, 1, 1)
        await driver.type("7")
        await driver.press("enter")
        await driver.shows("a number from 0 to 2")
        await driver.press("backspace")
        await driver.type("0")
        await driver.press("enter")
        await driver.until(lambda: branch(driver).name == "2" and driver.says_end())
        assert levels(driver) == [0 if at == 7 else level for at, level in enumerate(toys.STRIPES.ravel())]


async def test_two_pictures_are_compared_with_their_differences_in_white(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0, size=WIDE) as (driver, _):
        await driver.run_to_end()
        await on_pixel(driver, 1, 1)
        await driver.press("enter", "down", "enter")
        await driver.until(lambda: branch(driver).name == "2" and driver.says_end())
        await driver.press("f4", "up", "c", "f2")
        await driver.shows("1 of 24 pixels differ; the first is pixel 7: row 1, column 1")
        await driver.shows("white: what differs")
        third = driver.app.query_one(ImageView).picture.rgb[2, :, :, 0]
        assert np.argwhere(third == 255).tolist() == [[1, 1]]
        await driver.press("escape")
        await driver.shows("complete: 24")


async def test_anew_from_a_pixel_keeps_what_stands_above_it(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=2.0, seed=3, size=WIDE) as (driver, _):
        await driver.run_to_end()
        before = levels(driver)
        await on_pixel(driver, 2, 0)
        await driver.press("ctrl+g")
        await driver.until(lambda: branch(driver).name == "2" and driver.says_end())
        assert levels(driver)[:12] == before[:12]
        assert branch(driver).start.seed != 3
        assert told(driver) == f"a new branch: seed {branch(driver).start.seed}"
        assert len(workspace(driver).tree) == 2


async def test_a_picture_in_colour_is_walked_through_value_by_value(models: Path) -> None:
    async with on_screen(toys.colour_folder(models / "flag"), temperature=0.0, size=WIDE) as (driver, _):
        await driver.run_to_end()
        await driver.press("home", "right", "right", "right")
        await driver.shows("row 0, column 1 ─")
        await driver.press("down")
        await driver.shows("row 1, column 1 ─")
        assert driver.view.position == 1 + 3 * (toys.WIDTH + 1)
        assert sorted(entries(driver)) == [0, 1, 2]
