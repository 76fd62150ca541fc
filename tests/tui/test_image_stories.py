"""What a person does with a model that draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests import toys
from tests.tui.stage import on_stage
from tui_gen.tui.canvas import Canvas
from tui_gen.tui.prompt import Prompt


async def test_the_picture_appears_pixel_by_pixel_and_whole(models: Path) -> None:
    async with on_stage(models / "stripes", temperature=0.0) as (stage, _):
        await stage.run_to_end()
        canvas = stage.app.query_one(Canvas)
        np.testing.assert_array_equal(canvas.picture.grid(0), toys.STRIPES)
        assert "▀" in stage.screen()
        assert "·" not in stage.screen().replace(" · ", "")


async def test_the_prompt_decides_what_is_drawn(models: Path) -> None:
    async with on_stage(models / "stripes", temperature=0.0) as (stage, _):
        await stage.type("Bright")
        await stage.run_to_end()
        assert (stage.app.query_one(Canvas).picture.grid(0) == toys.LEVELS - 1).all()


async def test_a_phrase_that_is_not_known_is_refused_with_those_that_are(models: Path) -> None:
    async with on_stage(models / "stripes") as (stage, _):
        await stage.type("brigt")
        await stage.press("enter")
        await stage.until(lambda: stage.app._notifications)
        told = next(iter(stage.app._notifications)).message
        assert "brigt" in told
        assert "bright" in told
        assert stage.app.query_one(Prompt).value == "brigt"


async def test_a_phrase_is_completed_after_a_comma(models: Path) -> None:
    async with on_stage(models / "stripes") as (stage, _):
        await stage.type("bright, de")
        await stage.until(lambda: stage.app.query_one(Prompt)._suggestion)
        await stage.press("right")
        assert stage.app.query_one(Prompt).value == "bright, deep dark"


async def test_a_phrase_that_a_terminal_would_obey_is_not_suggested(models: Path) -> None:
    hostile = toys.phrase_tokenizer(("bright", "da\x1b]0;owned\x07"), first_id=toys.BRIGHT).to_str()
    async with on_stage(toys.image_folder(models / "hostile", tokenizer=hostile)) as (stage, pilot):
        await stage.type("da")
        await pilot.pause(0.1)
        assert not stage.app.prompt_line._suggestion
        assert "\x1b" not in stage.screen()


async def test_one_key_goes_through_the_ways_of_drawing(models: Path) -> None:
    async with on_stage(models / "stripes", temperature=0.0) as (stage, _):
        await stage.run_to_end()
        assert "▀" in stage.screen()
        await stage.press("f2")
        assert "@" in stage.screen()
        assert "▀" not in stage.screen()
        await stage.press("f2")
        assert any(0x2800 < ord(character) < 0x2900 for character in stage.screen())
        await stage.press("f2")
        assert "▀" in stage.screen()


async def test_the_way_of_drawing_can_be_chosen_before_a_run(models: Path) -> None:
    async with on_stage(models / "stripes", temperature=0.0) as (stage, _):
        await stage.press("f2")
        assert "ASCII" in next(iter(stage.app._notifications)).message
        await stage.run_to_end()
        assert stage.app.query_one(Canvas).rendering == "ascii"


async def test_the_scale_is_the_largest_that_fits_also_after_a_resize(models: Path) -> None:
    async with on_stage(models / "stripes", temperature=0.0, size=(80, 24)) as (stage, pilot):
        await stage.run_to_end()
        canvas = stage.app.query_one(Canvas)
        small = canvas._raster.scale
        await pilot.resize_terminal(200, 60)
        await pilot.pause()
        width, height = canvas._raster.size(toys.HEIGHT, toys.WIDTH)
        assert canvas._raster.scale > small
        assert width <= canvas.size.width
        assert height <= canvas.size.height
        assert width + toys.WIDTH > canvas.size.width or height + toys.HEIGHT / 2 > canvas.size.height


async def test_several_samples_stand_side_by_side(models: Path) -> None:
    async with on_stage(models / "stripes", temperature=0.0, samples=3, size=(120, 30)) as (stage, _):
        await stage.run_to_end()
        tiling = stage.app.query_one(Canvas)._tiling
        rows = [line for line in stage.screen().splitlines() if "▀" in line]
        assert tiling.columns > 1
        assert rows[0].count("▀") == tiling.columns * tiling.width


async def test_the_bars_show_pixel_values_with_their_colour(models: Path) -> None:
    async with on_stage(models / "stripes", temperature=0.0) as (stage, _):
        await stage.run_to_end()
        assert "next pixel" in stage.screen()
        assert "▸ ██ 2" in stage.screen()
