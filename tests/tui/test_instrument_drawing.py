"""Pictures that are completed, swept, looked at for surprise, and kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import toys
from tests.support.driver import ScreenDriver, on_screen
from tests.support.instrument import branch, lines, told
from tui_gen.images.picture import heat
from tui_gen.scoring.branch_scores import BranchSurprisal
from tui_gen.tui.dialogs.completion import CompletionDialog
from tui_gen.tui.widgets.image_view import ImageView

WIDE = (120, 40)


def picture(driver: ScreenDriver, sample: int = 0) -> list[list[int]]:
    """The levels of a sample, row by row."""
    assert driver.view
    levels = driver.view.levels(sample)
    assert levels is not None
    found: list[list[int]] = levels.tolist()
    return found


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
    await driver.until(lambda: branch(driver).name == "2" and driver.says_end())


async def test_rows_of_the_present_picture_are_erased_and_drawn_three_times(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=2.0, seed=3, size=WIDE) as (driver, _):
        await driver.run_to_end()
        before = picture(driver)
        await erase(driver, "rows:1-2", 3)
        assert branch(driver).samples == 3
        several = [picture(driver, sample) for sample in range(3)]
        assert [rows[0] for rows in several] == [before[0]] * 3
        assert [rows[3] for rows in several] == [before[3]] * 3
        assert len({str(rows[1:3]) for rows in several}) == 3
        await driver.shows("▸ 2  completion")


async def test_a_row_and_a_rectangle_are_erased_with_the_cursor(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=2.0, seed=3, size=WIDE) as (driver, _):
        await driver.run_to_end()
        before = picture(driver)
        await driver.press("f7")
        await driver.shows("None of 24 pixels is free")
        await driver.press("down", "down", "delete")
        await driver.shows("6 of 24 pixels are free")
        await driver.shows("rows:2")
        await driver.press("up", "up", "space", "right", "space")
        await driver.shows("8 of 24 pixels are free")
        await driver.press("u", "enter")
        await driver.until(lambda: branch(driver).samples == 4 and driver.says_end())
        for sample in range(4):
            assert [picture(driver, sample)[row] for row in (0, 1, 3)] == [before[row] for row in (0, 1, 3)]


async def test_escape_leaves_the_dialog_and_the_picture_as_it_was(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=2.0, seed=3) as (driver, _):
        await driver.run_to_end()
        before = picture(driver)
        await driver.press("f7", "delete", "escape")
        await driver.until(lambda: not isinstance(driver.app.screen, CompletionDialog))
        assert picture(driver) == before
        assert branch(driver).name == "1"


async def test_the_surprise_of_a_picture_is_what_the_core_computes_and_a_heat_map(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=2.0, seed=3, size=WIDE) as (driver, _):
        await driver.run_to_end()
        await driver.press("f6")
        assert driver.playground.workspace
        surprise = BranchSurprisal(branch(driver), driver.workspace.loaded_model.codec)
        surprise.update()
        total = surprise.totals(0)
        await driver.shows(f"{total.bits:.0f} bits in 24 pixels")
        await driver.shows(f"{total.bits_per_unit:.2f} bits a pixel")
        canvas = driver.app.query_one(ImageView)
        hot = heat(surprise.pixels().reshape(toys.HEIGHT, toys.WIDTH))
        await driver.until(lambda: canvas._heat is not None and np.array_equal(canvas._heat[0], hot))
        strip = canvas.render_line(canvas._tiling.top)
        painted = [part.style.color.triplet for part in strip if part.style and part.style.color and part.text == "▀"]
        assert [tuple(colour) for colour in painted if colour][:: canvas._raster.scale] == [
            tuple(rgb) for rgb in hot[0].tolist()
        ]
        await driver.press("f6")
        await driver.shows("row 3, column 5")
        assert canvas._heat is None


async def test_one_of_the_most_surprising_pixels_is_walked_to(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=2.0, seed=3, size=WIDE) as (driver, _):
        await driver.run_to_end()
        await driver.press("f6")
        await driver.shows("bits a pixel")
        assert driver.playground.workspace
        surprise = BranchSurprisal(branch(driver), driver.workspace.loaded_model.codec)
        surprise.update()
        peak = surprise.top(0)[1]
        while not driver.playground.side.surprisal.has_focus_within:
            await driver.press("tab")
        await driver.press("down", "enter")
        await driver.until(lambda: driver.view.position == peak.position)


async def test_f5_draws_the_same_noise_at_five_temperatures_each_with_its_caption(models: Path) -> None:
    async with on_screen(models / "stripes", seed=3, size=WIDE) as (driver, _):
        await driver.press("f5")
        await driver.until(driver.says_end)
        several = [picture(driver, sample) for sample in range(5)]
        captions = [word for line in lines(driver, driver.app.query_one(ImageView)) for word in line.split()]
        values = ("0.40", "0.70", "1.00", "1.30", "1.60")
        assert [word for word in captions if word in values] == list(values)
        await driver.press("escape")
        for value, drawn in zip(values, several, strict=True):
            driver.params.temperature = float(value)
            await driver.run_to_end()
            assert picture(driver) == drawn
            await driver.press("escape")


@pytest.mark.parametrize("ending", ["png", "gif"])
async def test_a_picture_and_its_drawing_are_saved(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.chdir(tmp_path)
    async with on_screen(models / "stripes", temperature=0.0) as (driver, _):
        await driver.run_to_end()
        await driver.press("ctrl+s", *["down"] * (ending == "gif"))
        await driver.shows(f"stripes-1.{ending}")
        await driver.press("enter")
        await driver.until(lambda: told(driver) == f"saved as stripes-1.{ending}")
    with Image.open(tmp_path / f"stripes-1.{ending}") as image:
        image.seek(getattr(image, "n_frames", 1) - 1)
        grey = np.array(image.convert("L"))
    assert sorted(set(grey.ravel().tolist())) == [0, 128, 255]
    step = grey.shape[0] // toys.HEIGHT
    assert np.array_equal(grey[step // 2 :: step, step // 2 :: step][: toys.HEIGHT, : toys.WIDTH], toys.STRIPE_GREYS)
    if ending == "gif":
        assert getattr(image, "n_frames", 1) > 4


async def test_a_picture_is_copied_as_ascii_and_that_is_said(models: Path) -> None:
    async with on_screen(models / "stripes", temperature=0.0) as (driver, _):
        await driver.run_to_end()
        await driver.press("ctrl+y")
        await driver.until(lambda: "lines of ASCII" in told(driver))
        copied = driver.app.clipboard.splitlines()
        assert [len(line) for line in copied] == [toys.WIDTH] * (toys.HEIGHT // 2)  # a character is twice as high
        assert len(set("".join(copied))) == toys.LEVELS
