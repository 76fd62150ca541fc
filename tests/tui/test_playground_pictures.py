"""Pictures: how they are drawn, walked through pixel by pixel, changed, completed, swept, looked at and saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import toys
from tests.support.driver import ScreenDriver, on_screen
from tui_gen.images.picture import heat
from tui_gen.sampling.params import SamplingParams
from tui_gen.scoring.branch_scores import BranchSurprisal
from tui_gen.tui.dialogs.completion import CompletionDialog
from tui_gen.tui.widgets.image_view import ImageView
from tui_gen.tui.widgets.prompt import Prompt

WIDE = (120, 40)
GREY = {0: "#000000", 1: "#808080", 2: "#ffffff"}
RED, GREEN = {"#000000", "#800000", "#ff0000"}, {"#000000", "#008000", "#00ff00"}


def picture(driver: ScreenDriver, sample: int = 0) -> list[list[int]]:
    """The levels of a sample, row by row."""
    levels = driver.view.levels(sample)
    assert levels is not None
    rows: list[list[int]] = levels.tolist()
    return rows


def levels(driver: ScreenDriver) -> list[int]:
    """The picture, pixel by pixel."""
    return [level for row in picture(driver) for level in row]


def surprisal(driver: ScreenDriver) -> BranchSurprisal:
    """Of what is on the screen, read at once by the core."""
    surprisal = BranchSurprisal(driver.branch, driver.workspace.loaded_model.codec)
    surprisal.update()
    return surprisal


def entries(driver: ScreenDriver) -> dict[int, str]:
    """How the panel's entries end, by level."""
    rows = [line for line in driver.panel.split("\n") if "██ " in line[:6]]
    return {int(line.split("██ ")[1].split()[0]): line[-14:] for line in rows}


def swatches(driver: ScreenDriver) -> list[str]:
    """The colours that the panel shows beside the levels."""
    panel = driver.playground.side.next_token
    parts = [part for y in range(panel.size.height) for part in panel.render_line(y) if part.text == "██ "]
    return [part.style.color.name for part in parts if part.style and part.style.color]


async def on_pixel(driver: ScreenDriver, row: int, column: int) -> None:
    """Walks there, from the beginning of the picture."""
    await driver.press("home", *["down"] * row, *["right"] * column)
    await driver.shows(f"row {row}, column {column} ─")


async def test_the_picture_appears_pixel_by_pixel_and_whole(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0) as driver:
        await driver.run_to_end()
        canvas = driver.app.query_one(ImageView)
        np.testing.assert_array_equal(canvas.picture.rgb[0, :, :, 0], toys.STRIPE_GREYS)
        await driver.shows("▀")
        assert "·" not in driver.screen().replace(" · ", "")


async def test_the_prompt_decides_what_is_drawn(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0) as driver:
        await driver.type("Bright")
        await driver.run_to_end()
        assert (driver.app.query_one(ImageView).picture.rgb[0] == 255).all()


async def test_a_phrase_that_is_not_known_is_refused_with_those_that_are(models: Path) -> None:
    async with on_screen(models / "stripes") as driver:
        await driver.type("brigt")
        await driver.press("enter")
        await driver.until(lambda: "brigt" in driver.notice and "bright" in driver.notice)
        assert driver.app.query_one(Prompt).value == "brigt"


async def test_one_key_goes_through_the_ways_of_drawing(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0) as driver:
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
    async with on_screen(models / "stripes", temperature=0.0) as driver:
        await driver.press("f2")
        assert "ASCII" in driver.notice
        await driver.run_to_end()
        assert driver.app.query_one(ImageView).rendering == "ascii"


async def test_a_larger_screen_has_a_larger_picture(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0, size=(80, 24)) as driver:
        await driver.run_to_end()
        canvas = driver.app.query_one(ImageView)
        small = canvas._raster.scale
        await driver.resize(200, 60)
        assert canvas._raster.scale > small


async def test_the_cursor_stays_in_sight_when_the_screen_becomes_smaller(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0, samples=12, size=(200, 60)) as driver:
        await driver.run_to_end()
        await driver.press("left", "<")
        await driver.resize(40, 12)
        canvas = driver.app.query_one(ImageView)
        await driver.until(lambda: canvas.scroll_offset.y == canvas.max_scroll_y > 0)


async def test_a_picture_in_colour_appears_in_colour_and_shows_what_each_value_is(models: Path) -> None:
    async with on_screen(toys.colour_folder(models / "flag"), temperature=0.0, samples=2, size=(140, 30)) as driver:
        await driver.run_to_end()
        canvas = driver.app.query_one(ImageView)
        strip = canvas.render_line(canvas._tiling.top)
        painted = [segment.style.color.name for segment in strip if segment.style and segment.text == "▀"]
        scale, colours = canvas._raster.scale, ["#ff0000", "#00ff00", "#0000ff"]
        assert painted == [colour for colour in colours * 2 for _ in range(scale)] * 2
        await driver.shows("complete: 72")
        await driver.shows("row 3, column 5")


async def test_tokens_that_warm_a_model_up_are_no_pixels(models: Path) -> None:
    async with on_screen(toys.warm_up_folder(models / "warmed"), temperature=0.0) as driver:
        await driver.run_to_end()
        np.testing.assert_array_equal(driver.app.query_one(ImageView).picture.rgb[0, :, :, 0], toys.STRIPE_GREYS)
        await driver.shows("complete: 24")


async def test_the_keyboard_reaches_every_picture(models: Path) -> None:
    async with on_screen(models / "stripes", samples=3, pace=4096) as driver:
        await driver.run_to_end()
        await driver.press("home", ">", ">")
        await driver.shows("row 0, column 0 #3")
        await driver.press(">", "<", "<")
        await driver.shows("row 0, column 0 #2")


async def test_all_levels_are_shown_with_their_colours_and_probabilities(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.5, seed=3, size=WIDE) as driver:
        await driver.run_to_end()
        await on_pixel(driver, 1, 2)
        now, raw = (driver.shares(9, SamplingParams(temperature)) for temperature in (0.5, 1.0))
        wanted = {level: f"{now[level]:>7}{raw[level]:>7}" for level in range(toys.LEVELS)}
        await driver.until(lambda: entries(driver) == wanted)
        assert swatches(driver) == [GREY[level] for level in entries(driver)]
        assert f"▸ ██ {levels(driver)[8]}" in driver.panel


async def test_the_arrows_walk_by_pixel_and_by_row(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0, size=WIDE) as driver:
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
            await driver.reads(f"▸ ██ {toys.STRIPES[where]}")
        assert driver.params.temperature == 0
        await driver.press("right", "right")
        await driver.shows("row 3, column 5 ─")
        assert levels(driver) == toys.STRIPES.ravel().tolist()


async def test_a_click_on_a_pixel_puts_the_cursor_there(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0, samples=2, size=WIDE) as driver:
        await driver.run_to_end()
        canvas = driver.app.query_one(ImageView)
        assert canvas._tiling.columns == 1
        scale, tiling = canvas._raster.scale, canvas._tiling
        tops = [tiling.top, tiling.top + tiling.height + 1]
        for sample, top in enumerate(tops):
            await driver.click(canvas, offset=(tiling.left + 4 * scale, top + scale))
            await driver.until(lambda sample=sample: driver.view.cursor and driver.view.sample == sample)
            await driver.shows("row 2, column 4")
            assert driver.view.position == 1 + 2 * toys.WIDTH + 4


async def test_another_level_is_chosen_and_the_rest_is_drawn_from_there(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=1.0, seed=3, size=WIDE) as driver:
        await driver.run_to_end()
        await on_pixel(driver, 1, 1)
        before = levels(driver)
        await driver.press("enter")
        await driver.shows("rank")
        await driver.press("end", "enter")
        await driver.ends("2")
        assert levels(driver)[:7] == before[:7]
        assert levels(driver)[7] != before[7]
        assert driver.branch.is_chosen(8, 0)
        await driver.shows("complete: 24")
        await driver.until(lambda: f"└ 2  pixel 8: {levels(driver)[7]}"[:12] in driver.screen())
        await on_pixel(driver, 1, 1)
        await driver.until(lambda: f"* ██ {levels(driver)[7]}" in driver.panel)


async def test_a_level_can_be_typed_and_one_that_there_is_not_is_refused(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0, size=WIDE) as driver:
        await driver.run_to_end()
        await on_pixel(driver, 1, 1)
        await driver.type("7")
        await driver.press("enter")
        await driver.shows("a number from 0 to 2")
        await driver.press("backspace")
        await driver.type("0")
        await driver.press("enter")
        await driver.ends("2")
        assert levels(driver) == [0 if at == 7 else level for at, level in enumerate(toys.STRIPES.ravel())]


async def test_a_picture_in_colour_is_walked_through_value_by_value(models: Path) -> None:
    async with on_screen(toys.colour_folder(models / "flag"), temperature=0.0, size=WIDE) as driver:
        await driver.run_to_end()
        for key, colours in {"home": RED, "right": GREEN}.items():
            await driver.press(key)
            await driver.until(lambda colours=colours: set(swatches(driver)) == colours)
        await driver.press("right", "right")
        await driver.shows("row 0, column 1 ─")
        await driver.press("down")
        await driver.shows("row 1, column 1 ─")
        assert driver.view.position == 1 + 3 * (toys.WIDTH + 1)
        assert sorted(entries(driver)) == [0, 1, 2]


async def erase(driver: ScreenDriver, words: str, number: int) -> None:
    """Completes the picture on the screen so often, with these parts erased, and waits for it."""
    await driver.press("f7")
    await driver.shows("complete a picture")
    await driver.press("tab", "tab")
    await driver.type(words)
    await driver.press("tab", "tab", "end", "ctrl+u")
    await driver.type(f"{number}")
    await driver.shows("of 24 pixels are free")
    await driver.press("enter")
    await driver.until(lambda: not isinstance(driver.app.screen, CompletionDialog))
    await driver.ends("2")


async def test_rows_of_the_present_picture_are_erased_and_drawn_three_times(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=2.0, seed=3, size=WIDE) as driver:
        await driver.run_to_end()
        before = picture(driver)
        await erase(driver, "rows:1-2", 3)
        assert driver.branch.samples == 3
        several = [picture(driver, sample) for sample in range(3)]
        assert [rows[0] for rows in several] == [before[0]] * 3
        assert [rows[3] for rows in several] == [before[3]] * 3
        assert len({str(rows[1:3]) for rows in several}) == 3
        await driver.shows("▸ 2  completion")


async def test_the_surprise_of_a_picture_is_what_the_core_computes_and_a_heat_map(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=2.0, seed=3, size=WIDE) as driver:
        await driver.run_to_end()
        await driver.press("f6")
        total = surprisal(driver).totals(0)
        await driver.shows(f"{total.bits:.0f} bits in 24 pixels")
        await driver.shows(f"{total.bits_per_unit:.2f} bits a pixel")
        canvas = driver.app.query_one(ImageView)
        hot = heat(surprisal(driver).pixels().reshape(toys.HEIGHT, toys.WIDTH))
        await driver.until(lambda: canvas._heat is not None and np.array_equal(canvas._heat[0], hot))
        strip = canvas.render_line(canvas._tiling.top)
        painted = [part.style.color.triplet for part in strip if part.style and part.style.color and part.text == "▀"]
        assert [tuple(colour) for colour in painted if colour][:: canvas._raster.scale] == [
            tuple(rgb) for rgb in hot[0].tolist()
        ]
        await driver.press("f6")
        await driver.shows("row 3, column 5")
        assert canvas._heat is None


async def test_f5_draws_the_same_noise_at_five_temperatures_each_with_its_caption(models: Path) -> None:
    async with on_screen(models / "stripes", seed=3, size=WIDE) as driver:
        await driver.press("f5")
        await driver.until(driver.says_end)
        captions = [word for line in driver.lines(driver.app.query_one(ImageView)) for word in line.split()]
        values = ("0.40", "0.70", "1.00", "1.30", "1.60")
        assert [word for word in captions if word in values] == list(values)
        assert len({str(picture(driver, sample)) for sample in range(5)}) > 1


async def test_the_drawing_of_a_picture_is_saved(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with on_screen(models / "stripes", temperature=0.0) as driver:
        await driver.run_to_end()
        await driver.press("ctrl+s")
        await driver.shows("stripes-1.png")
        await driver.press("down")
        await driver.shows("stripes-1.gif")
        await driver.press("enter")
        await driver.says("saved as stripes-1.gif")
    with Image.open(tmp_path / "stripes-1.gif") as image:
        frames = getattr(image, "n_frames", 1)
        assert frames > 4
        image.seek(frames - 1)
        grey = np.array(image.convert("L"))
    step = grey.shape[0] // toys.HEIGHT
    assert np.array_equal(grey[step // 2 :: step, step // 2 :: step][: toys.HEIGHT, : toys.WIDTH], toys.STRIPE_GREYS)


async def test_a_picture_is_copied_as_ascii_and_that_is_said(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0) as driver:
        await driver.run_to_end()
        await driver.press("ctrl+y")
        await driver.until(lambda: "lines of ASCII" in driver.notice)
        copied = driver.app.clipboard.splitlines()
        assert [len(line) for line in copied] == [toys.WIDTH] * (toys.HEIGHT // 2)  # a character is twice as high
        assert len(set("".join(copied))) == toys.LEVELS


async def test_a_text_says_that_there_is_no_picture_to_complete(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the") as driver:
        await driver.press("f7")
        await driver.says("this completes pictures, and cats writes text")
        assert driver.app.screen is driver.playground
