"""Looking into a picture: levels with their colours, a cursor on pixels, another level in the place of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import toys
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
from tests.support.stage import Stage, on_stage
from tui_gen.sampling.params import SamplingParams
from tui_gen.tui.widgets.image_view import ImageView

WIDE = (120, 40)
GREY = {0: "#000000", 1: "#808080", 2: "#ffffff"}


def levels(stage: Stage, sample: int = 0) -> list[int]:
    """The picture, pixel by pixel."""
    assert stage.player
    drawn = stage.player.levels(sample)
    assert drawn is not None
    found: list[int] = drawn.ravel().tolist()
    return found


def entries(stage: Stage) -> dict[int, str]:
    """How the panel's entries end, by level."""
    rows = [line for line in panel(stage).split("\n") if "██ " in line[:6]]
    return {int(line.split("██ ")[1].split()[0]): line[-14:] for line in rows}


async def looks_at(stage: Stage, sample: int) -> None:
    """Waits until the cursor stands in one of several pictures."""
    await stage.until(lambda: stage.app.walking.cursor is not None and stage.app.walking.sample == sample)


async def on_pixel(stage: Stage, row: int, column: int) -> None:
    """Walks there, from the beginning of the picture."""
    await stage.press("home", *["down"] * row, *["right"] * column)
    await stage.shows(f"row {row}, column {column} ─")


async def test_all_levels_are_shown_with_their_colours_and_probabilities(models: Path) -> None:
    async with on_stage(models / "stripes", temperature=0.5, seed=3, size=WIDE) as (stage, _):
        await stage.run_to_end()
        await on_pixel(stage, 1, 2)
        now, raw = (shares(stage, 9, SamplingParams(temperature)) for temperature in (0.5, 1.0))
        wanted = {level: f"{now[level]:>7}{raw[level]:>7}" for level in range(toys.LEVELS)}
        await stage.until(lambda: entries(stage) == wanted)
        rows = [stage.app.next_token.render_line(y) for y in range(3, 6)]
        swatches = [next(part for part in row if part.text == "██ ") for row in rows]
        shown = [int(row.text.split("██ ")[1].split()[0]) for row in rows]
        painted = [part.style.color.name for part in swatches if part.style and part.style.color]
        assert painted == [GREY[level] for level in shown]
        assert f"▸ ██ {levels(stage)[8]}" in panel(stage)


async def test_a_filter_cuts_levels_while_the_model_stands_still(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_stage(models / "stripes", temperature=2.0, pace=4, size=WIDE) as (stage, _):
        await stage.press("enter")
        await stage.until(lambda: grown(stage, 4))
        await stage.press("space")
        await stage.until(lambda: at_rest(stage))
        await stage.shows(f"column {len(branch(stage)) - 1}")
        made, steps = tokens(branch(stage)), counted_steps(monkeypatch)
        await stage.press("f8", "down", "right", "escape")
        await stage.until(lambda: sum("cut" in said for said in entries(stage).values()) == 2)
        assert steps == []
        assert tokens(branch(stage)) == made


async def test_the_arrows_walk_by_pixel_and_by_row(models: Path) -> None:
    async with on_stage(models / "stripes", temperature=0.0, size=WIDE) as (stage, _):
        await stage.run_to_end()
        await stage.press("home")
        await stage.shows("row 0, column 0 ─")
        for key, where in [
            ("right", (0, 1)),
            ("down", (1, 1)),
            ("down", (2, 1)),
            ("left", (2, 0)),
            ("left", (1, 5)),
            ("up", (0, 5)),
            ("end", (3, 5)),
        ]:
            await stage.press(key)
            await stage.shows(f"row {where[0]}, column {where[1]} ─")
            await reads(stage, f"▸ ██ {toys.STRIPES[where]}")
        assert stage.params.temperature == 0
        await stage.press("right", "right")
        await stage.shows("row 3, column 5 ─")
        assert levels(stage) == toys.STRIPES.ravel().tolist()


async def test_in_a_pause_right_draws_exactly_one_pixel(models: Path) -> None:
    async with on_stage(models / "stripes", temperature=0.0, pace=4, size=WIDE) as (stage, _):
        await stage.press("enter")
        await stage.until(lambda: grown(stage, 3))
        await stage.press("space")
        await stage.until(lambda: at_rest(stage))
        drawn = len(branch(stage)) - 1
        for more in (1, 2):
            await stage.press("right")
            await grows_to(stage, 1 + drawn + more)
        await stage.shows(f"paused at {drawn + 2} of 24")
        assert stage.app.query_one(ImageView).picture.drawn == drawn + 2
        await stage.press("left")
        await stage.until(lambda: f"▸ ██ {toys.STRIPES.ravel()[drawn + 1]}" in panel(stage))


async def test_a_click_on_a_pixel_puts_the_cursor_there(models: Path) -> None:
    async with on_stage(models / "stripes", temperature=0.0, samples=2, size=WIDE) as (stage, pilot):
        await stage.run_to_end()
        canvas = stage.app.query_one(ImageView)
        assert canvas._tiling.columns == 1
        scale, tiling = canvas._raster.scale, canvas._tiling
        tops = [tiling.top, tiling.top + tiling.height + 1]
        for sample, top in enumerate(tops):
            await pilot.click(canvas, offset=(tiling.left + 4 * scale, top + scale))
            await looks_at(stage, sample)
            await stage.shows("row 2, column 4")
            assert stage.app.walking.at() == 1 + 2 * toys.WIDTH + 4


async def test_another_level_is_chosen_and_the_rest_is_drawn_from_there(models: Path) -> None:
    async with on_stage(models / "stripes", temperature=1.0, seed=3, size=WIDE) as (stage, _):
        await stage.run_to_end()
        await on_pixel(stage, 1, 1)
        before = levels(stage)
        await stage.press("enter")
        await stage.shows("rank")
        await stage.press("end", "enter")
        await stage.until(lambda: branch(stage).name == "2" and stage.told_of_the_end())
        assert levels(stage)[:7] == before[:7]
        assert levels(stage)[7] != before[7]
        assert branch(stage).is_chosen(8, 0)
        await stage.shows("complete: 24")
        await stage.until(lambda: f"└ 2  pixel 7: {levels(stage)[7]}"[:12] in stage.screen())
        await on_pixel(stage, 1, 1)
        await stage.until(lambda: f"* ██ {levels(stage)[7]}" in panel(stage))


async def test_a_level_can_be_typed_and_one_that_there_is_not_is_refused(models: Path) -> None:
    async with on_stage(models / "stripes", temperature=0.0, size=WIDE) as (stage, _):
        await stage.run_to_end()
        await on_pixel(stage, 1, 1)
        await stage.type("7")
        await stage.press("enter")
        await stage.shows("a number from 0 to 2")
        await stage.press("backspace")
        await stage.type("0")
        await stage.press("enter")
        await stage.until(lambda: branch(stage).name == "2" and stage.told_of_the_end())
        assert levels(stage) == [0 if at == 7 else level for at, level in enumerate(toys.STRIPES.ravel())]


async def test_two_pictures_are_compared_with_their_differences_in_white(models: Path) -> None:
    async with on_stage(models / "stripes", temperature=0.0, size=WIDE) as (stage, _):
        await stage.run_to_end()
        await on_pixel(stage, 1, 1)
        await stage.press("enter", "down", "enter")
        await stage.until(lambda: branch(stage).name == "2" and stage.told_of_the_end())
        await stage.press("f4", "up", "c", "f2")
        await stage.shows("1 of 24 pixels differ; the first is pixel 7: row 1, column 1")
        await stage.shows("white: what differs")
        third = stage.app.query_one(ImageView).picture.rgb[2, :, :, 0]
        assert np.argwhere(third == 255).tolist() == [[1, 1]]
        await stage.press("escape")
        await stage.shows("complete: 24")


async def test_anew_from_a_pixel_keeps_what_stands_above_it(models: Path) -> None:
    async with on_stage(models / "stripes", temperature=2.0, seed=3, size=WIDE) as (stage, _):
        await stage.run_to_end()
        before = levels(stage)
        await on_pixel(stage, 2, 0)
        await stage.press("ctrl+g")
        await stage.until(lambda: branch(stage).name == "2" and stage.told_of_the_end())
        assert levels(stage)[:12] == before[:12]
        assert branch(stage).start.seed != 3
        assert told(stage) == f"a new branch: seed {branch(stage).start.seed}"
        assert len(workspace(stage).tree) == 2


async def test_a_picture_in_colour_is_walked_through_value_by_value(models: Path) -> None:
    async with on_stage(toys.colour_folder(models / "flag"), temperature=0.0, size=WIDE) as (stage, _):
        await stage.run_to_end()
        await stage.press("home", "right", "right", "right")
        await stage.shows("row 0, column 1 ─")
        await stage.press("down")
        await stage.shows("row 1, column 1 ─")
        assert stage.app.walking.at() == 1 + 3 * (toys.WIDTH + 1)
        assert sorted(entries(stage)) == [0, 1, 2]
