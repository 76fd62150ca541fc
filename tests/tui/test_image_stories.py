"""What a person does with a model that draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support import toys
from tests.support.driver import on_screen
from tui_gen.library import open_model
from tui_gen.sampling.knobs import starting_pace
from tui_gen.tui.widgets.image_view import ImageView
from tui_gen.tui.widgets.prompt import Prompt


async def test_the_picture_appears_pixel_by_pixel_and_whole(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0) as (driver, _):
        await driver.run_to_end()
        canvas = driver.app.query_one(ImageView)
        np.testing.assert_array_equal(canvas.picture.rgb[0, :, :, 0], toys.STRIPE_GREYS)
        await driver.shows("▀")
        assert "·" not in driver.screen().replace(" · ", "")


async def test_the_prompt_decides_what_is_drawn(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0) as (driver, _):
        await driver.type("Bright")
        await driver.run_to_end()
        assert (driver.app.query_one(ImageView).picture.rgb[0] == 255).all()


async def test_a_phrase_that_is_not_known_is_refused_with_those_that_are(models: Path) -> None:
    async with on_screen(models / "stripes") as (driver, _):
        await driver.type("brigt")
        await driver.press("enter")
        await driver.until(lambda: driver.app._notifications)
        told = next(iter(driver.app._notifications)).message
        assert "brigt" in told
        assert "bright" in told
        assert driver.app.query_one(Prompt).value == "brigt"


async def test_a_phrase_is_completed_after_a_comma(models: Path) -> None:
    async with on_screen(models / "stripes") as (driver, _):
        await driver.type("bright, de")
        await driver.until(lambda: driver.app.query_one(Prompt)._suggestion)
        await driver.press("right")
        assert driver.app.query_one(Prompt).value == "bright, deep dark"


async def test_a_phrase_that_a_terminal_would_obey_is_not_suggested(models: Path) -> None:
    hostile = toys.phrase_tokenizer(("bright", "da\x1b]0;owned\x07"), first_id=toys.BRIGHT).to_str()
    async with on_screen(toys.image_folder(models / "hostile", tokenizer=hostile)) as (driver, pilot):
        await driver.type("da")
        await pilot.pause(0.1)
        assert not driver.playground.prompt._suggestion
        await driver.hides("\x1b")


async def test_one_key_goes_through_the_ways_of_drawing(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0) as (driver, _):
        await driver.run_to_end()
        await driver.shows("▀")
        await driver.press("f2")
        await driver.shows("@")
        await driver.hides("▀")
        await driver.press("f2")
        await driver.until(lambda: any(0x2800 < ord(character) < 0x2900 for character in driver.screen()))
        await driver.press("f2")
        await driver.shows("▀")


async def test_the_way_of_drawing_can_be_chosen_before_a_run(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0) as (driver, _):
        await driver.press("f2")
        assert "ASCII" in next(iter(driver.app._notifications)).message
        await driver.run_to_end()
        assert driver.app.query_one(ImageView).rendering == "ascii"


async def test_the_scale_is_the_largest_that_fits_also_after_a_resize(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0, size=(80, 24)) as (driver, pilot):
        await driver.run_to_end()
        canvas = driver.app.query_one(ImageView)
        small = canvas._raster.scale
        await pilot.resize_terminal(200, 60)
        await pilot.pause()
        width, height = canvas._raster.size(toys.HEIGHT, toys.WIDTH)
        assert canvas._raster.scale > small
        assert width <= canvas.size.width
        assert height <= canvas.size.height
        assert width + toys.WIDTH > canvas.size.width or height + toys.HEIGHT / 2 > canvas.size.height


async def test_several_samples_stand_side_by_side(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0, samples=3, size=(120, 30)) as (driver, _):
        await driver.run_to_end()
        tiling = driver.app.query_one(ImageView)._tiling
        rows = [line for line in driver.screen().splitlines() if "▀" in line]
        assert tiling.columns > 1
        assert rows[0].count("▀") == tiling.columns * tiling.width


async def test_the_bars_show_pixel_values_with_their_colour(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0) as (driver, _):
        await driver.run_to_end()
        await driver.shows("row 3, column 5")
        await driver.shows("▸ ██ 2")


async def test_a_picture_in_colour_appears_in_colour_and_shows_what_each_value_is(models: Path) -> None:
    async with on_screen(toys.colour_folder(models / "flag"), temperature=0.0, samples=2, size=(140, 30)) as (
        driver,
        _,
    ):
        await driver.run_to_end()
        canvas = driver.app.query_one(ImageView)
        strip = canvas.render_line(canvas._tiling.top)
        painted = [segment.style.color.name for segment in strip if segment.style and segment.text == "▀"]
        scale, colours = canvas._raster.scale, ["#ff0000", "#00ff00", "#0000ff"]
        assert painted == [colour for colour in colours * 2 for _ in range(scale)] * 2
        await driver.shows("complete: 72")
        await driver.shows("row 3, column 5")


async def test_the_bars_show_values_as_so_much_of_their_colour(models: Path) -> None:
    async with on_screen(toys.colour_folder(models / "flag"), temperature=0.0, length=2) as (driver, _):
        await driver.run_to_end()
        row = driver.playground.side.next_token.render_line(3)
        swatch = next(segment for segment in row if segment.text == "██ ")
        assert "▸ ██ 0" in row.text
        assert swatch.style
        assert swatch.style.color
        assert swatch.style.color.name == "#000000"
        row = driver.playground.side.next_token.render_line(5)
        assert [s.style.color.name for s in row if s.text == "██ " and s.style and s.style.color] == ["#00ff00"]


async def test_tokens_that_warm_a_model_up_are_no_pixels(models: Path) -> None:
    async with on_screen(toys.warm_up_folder(models / "warmed"), temperature=0.0) as (driver, _):
        await driver.run_to_end()
        np.testing.assert_array_equal(driver.app.query_one(ImageView).picture.rgb[0, :, :, 0], toys.STRIPE_GREYS)
        await driver.shows("complete: 24")


def test_a_picture_in_colour_is_drawn_in_some_four_seconds_too(models: Path) -> None:
    assert starting_pace(open_model(toys.colour_folder(models / "flag")).card) == 18
    assert starting_pace(open_model(models / "stripes").card) == 6


async def test_the_cursor_stands_on_pixels_alone_and_each_can_be_changed(models: Path) -> None:
    async with on_screen(models / "stripes", prompt="bright", pace=4096) as (driver, _):
        await driver.run_to_end()
        await driver.press("home")
        await driver.shows("row 0, column 0")
        await driver.press("enter", "down", "enter")
        await driver.until(lambda: driver.says_end_of("2"))
        await driver.press("end", "right")
        await driver.shows("row 3, column 5")
        await driver.press("enter", "down", "enter")
        await driver.until(lambda: driver.says_end_of("3"))
        assert driver.view
        assert len(driver.view.branch) == 2 + toys.HEIGHT * toys.WIDTH
        await driver.shows("complete: 24")


async def test_a_number_typed_over_a_pixel_is_its_level(models: Path) -> None:
    async with on_screen(models / "stripes", prompt="bright", pace=4096) as (driver, _):
        await driver.run_to_end()
        await driver.press("home")
        await driver.type("1")
        await driver.shows("instead of this token")
        await driver.press("enter")
        await driver.until(lambda: driver.says_end_of("2"))
        assert driver.view
        assert driver.view.branch.tokens[2].tolist() == [1]


async def test_the_keyboard_reaches_every_picture(models: Path) -> None:
    async with on_screen(models / "stripes", samples=3, pace=4096) as (driver, _):
        await driver.run_to_end()
        await driver.press("home", "greater_than_sign", "greater_than_sign")
        await driver.shows("row 0, column 0 #3")
        await driver.press("greater_than_sign", "less_than_sign", "less_than_sign")
        await driver.shows("row 0, column 0 #2")
