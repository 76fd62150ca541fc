"""Choosing what of a picture is drawn anew, by keys, mouse and words, in the picture at hand or in one from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from textual import events
from textual.app import App

from tests.support import toys
from tests.support.served import DRIVER
from tests.support.widget_app import OPEN, DialogDriver, opened
from tui_gen.images.codec import ImageCodec
from tui_gen.images.completion import Rectangle
from tui_gen.library import LoadedModel
from tui_gen.sampling.params import FREE, Tokens
from tui_gen.tui.dialogs.completion import Completion, CompletionDialog, read_words, word_for
from tui_gen.tui.dialogs.image_picker import complete_path

STRIPES = toys.STRIPES.astype(np.int64)


@pytest.fixture
def codec(image: LoadedModel) -> ImageCodec:
    assert isinstance(image.codec, ImageCodec)
    return image.codec


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def free(*parts: tuple[slice, slice]) -> Tokens:
    """The stripes with these parts free."""
    levels = STRIPES.copy()
    for part in parts:
        levels[part] = FREE
    return levels


def returned(driver: DialogDriver, levels: Tokens) -> Completion:
    """What the dialog returned, which must have these levels."""
    result: Any = driver.result
    assert isinstance(result, Completion)
    np.testing.assert_array_equal(result.levels, levels)
    return result


async def test_in_a_browser_only_what_is_on_the_screen_is_completed(
    codec: ImageCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTUAL_DRIVER", DRIVER)
    async with opened(lambda: CompletionDialog(codec, None, "bright")) as driver:
        await driver.press("enter")
        await driver.shows("no file of the server is opened")
    async with opened(lambda: CompletionDialog(codec, STRIPES, "bright")) as driver:
        await driver.press("tab", *"rows:0", "enter")  # past the field of the file
        returned(driver, free((slice(0, 1), slice(None))))


async def test_delete_erases_the_row_of_the_cursor_and_enter_returns_the_rest(codec: ImageCodec) -> None:
    async with opened(lambda: CompletionDialog(codec, STRIPES, "bright")) as driver:
        await driver.press("down", "delete")
        await driver.shows("rows:1")
        await driver.press("delete", "up", "delete", "down", "delete")
        await driver.shows("rows:1 rows:0 ")
        await driver.press("u")
        await driver.shows("6 of 24 pixels are free")
        assert "·" in driver.screen()
        await driver.press("enter")
        completion = returned(driver, free((slice(1, 2), slice(None))))
        assert (completion.samples, completion.text) == (4, "bright")


async def test_space_begins_a_rectangle_and_erases_it(codec: ImageCodec) -> None:
    async with opened(lambda: CompletionDialog(codec, STRIPES, "")) as driver:
        await driver.press("right", "down", "space", "right", "right", "down")
        await driver.shows("▒")
        await driver.shows("space erase it")
        await driver.press("space")
        await driver.shows("rect:1,1,3,2")
        assert "▒" not in driver.screen()
        await driver.press("up", "up", "space", "space")
        await driver.shows("rect:1,1,3,2 pixel:3,0")
        await driver.press("enter")
        returned(driver, free((slice(1, 3), slice(1, 4)), (slice(0, 1), slice(3, 4))))


async def test_the_last_part_comes_back_and_escape_first_drops_the_rectangle(codec: ImageCodec) -> None:
    async with opened(lambda: CompletionDialog(codec, STRIPES, "")) as driver:
        await driver.press("delete", "down", "delete", "u", "space", "down", "escape")
        await driver.shows("6 of 24 pixels")
        assert "▒" not in driver.screen()
        assert driver.result is OPEN
        await driver.press("escape")
        assert driver.result is None


async def test_a_narrow_dialog_says_all_its_keys_at_once(codec: ImageCodec) -> None:
    app = App[None]()  # which gives the focus away by itself, as the program does, before anything is measured
    async with app.run_test(size=(55, 33)):
        app.push_screen(CompletionDialog(codec, STRIPES, ""))
        await DialogDriver(app).shows("esc cancel")


async def test_the_mouse_draws_a_rectangle(codec: ImageCodec) -> None:
    async with opened(lambda: CompletionDialog(codec, STRIPES, ""), size=(80, 24)) as driver:
        left, top = driver.place("[")
        await driver.mouse(events.MouseDown, (left, top))
        await driver.mouse(events.MouseMove, (left + 6, top + 4))
        await driver.mouse(events.MouseUp, (left + 6, top + 4))
        await driver.shows("rect:0,0,1,1")


async def test_parts_are_typed_as_on_the_command_line(codec: ImageCodec) -> None:
    async with opened(lambda: CompletionDialog(codec, STRIPES, "")) as driver:
        await driver.press("tab", "tab", *"rows:2-3 pixel:5,", "0", "enter")
        returned(driver, free((slice(2, 4), slice(None)), (slice(0, 1), slice(5, 6))))


async def test_a_wrong_part_is_told_and_nothing_is_lost(codec: ImageCodec) -> None:
    async with opened(lambda: CompletionDialog(codec, STRIPES, "")) as driver:
        await driver.press("tab", "tab", *"rows:2 rows:9")
        await driver.shows("! 9 is not inside the picture: columns 0-5, rows 0-3")
        await driver.press("enter")
        assert driver.result is OPEN
        await driver.shows("rows:2 rows:9")
        await driver.press("backspace", "3", "enter")
        returned(driver, free((slice(2, 4), slice(None))))


async def test_nothing_free_is_nothing_to_draw(codec: ImageCodec) -> None:
    async with opened(lambda: CompletionDialog(codec, STRIPES, "")) as driver:
        await driver.shows("None of 24 pixels is free")
        await driver.press("enter")
        await driver.shows("! no pixel is free")
        typing_pause = driver.app.screen._waiting._task
        await driver.until(lambda: typing_pause is None or typing_pause.done())
        await driver.shows("! no pixel is free")
        assert driver.result is OPEN


async def test_a_picture_that_is_drawn_in_part_can_be_finished_as_it_is(codec: ImageCodec) -> None:
    unfinished = free((slice(2, 4), slice(None)))
    async with opened(lambda: CompletionDialog(codec, unfinished, "")) as driver:
        await driver.press("enter")
        returned(driver, unfinished)


async def test_a_file_is_read_and_enter_waits_for_it(codec: ImageCodec, here: Path) -> None:
    Image.fromarray(toys.STRIPE_GREYS.astype(np.uint8)).save(here / "stripes.png")
    async with opened(lambda: CompletionDialog(codec, None, "")) as driver:
        await driver.shows("no picture yet")
        await driver.press(*"stripes.png", "tab", *"rows:0", "enter")
        await driver.closes()
        returned(driver, free((slice(0, 1), slice(None))))


async def test_a_file_takes_the_place_of_the_present_picture_until_its_name_is_gone(
    codec: ImageCodec, here: Path
) -> None:
    Image.fromarray(np.zeros((4, 6, 4), dtype=np.uint8)).save(here / "clear.png")
    async with opened(lambda: CompletionDialog(codec, STRIPES, "")) as driver:
        await driver.press("tab", *"clear.png")
        await driver.shows("All 24 pixels are free")
        await driver.press("ctrl+u")
        await driver.shows("None of 24 pixels is free")


async def test_a_problem_with_the_file_is_told_in_one_line(codec: ImageCodec, here: Path) -> None:
    (here / "text.png").write_text("no picture")
    async with opened(lambda: CompletionDialog(codec, None, "")) as driver:
        await driver.press("enter")
        await driver.shows("! type the path of an image file")
        await driver.press(*"none.png")
        await driver.shows("! none.png cannot be read: No such file or directory")
        await driver.press("ctrl+u", *"text.png", "enter")
        await driver.shows("! text.png is not an image")
        assert driver.result is OPEN


async def test_prompt_and_number_are_checked_like_everything_else(codec: ImageCodec) -> None:
    async with opened(lambda: CompletionDialog(codec, STRIPES, "")) as driver:
        await driver.press("delete", "tab", "tab", "tab", *"brigt")
        await driver.shows("cannot draw 'brigt'; it knows bright")
        await driver.press("backspace", *"ht", "tab", "ctrl+u", *"17")
        await driver.shows("! the number of completions is from 1 to 16, not '17'")
        await driver.press("backspace", "6", "enter")
        completion = returned(driver, free((slice(0, 1), slice(None))))
        assert (completion.samples, completion.text) == (16, "bright")


async def test_a_model_without_conditions_is_not_asked_for_a_prompt(colour: LoadedModel) -> None:
    assert isinstance(colour.codec, ImageCodec)
    codec, flag = colour.codec, toys.FLAG.astype(np.int64)
    async with opened(lambda: CompletionDialog(codec, flag, "")) as driver:
        assert "prompt" not in driver.screen()
        await driver.press("delete", "enter")
        expected = flag.copy()
        expected[0] = FREE
        returned(driver, expected)


@pytest.mark.parametrize("size", [(80, 24), (200, 60), (40, 12)])
async def test_everything_fits(codec: ImageCodec, size: tuple[int, int]) -> None:
    async with opened(lambda: CompletionDialog(codec, STRIPES, ""), size=size) as driver:
        assert size[0] < 80 or "esc cancel" in driver.screen()
        assert "▀" in driver.screen()
        await driver.press("tab", *"x\t[/y]\x1b")
        await driver.press("escape")
        assert driver.result is None


async def test_a_picture_larger_than_the_screen_is_seen_around_the_cursor(codec: ImageCodec) -> None:
    spec = type(codec.image)(height=300, width=400, levels=3)
    large = ImageCodec(type(codec._card)(**{**vars(codec._card), "image": spec}), None)
    levels = np.zeros((300, 400), dtype=np.int64)
    levels[290:, 390:] = FREE
    async with opened(lambda: CompletionDialog(large, levels, "")) as driver:
        assert "·" not in driver.screen()
        for key in (*["shift+down"] * 38, *["shift+right"] * 50):
            driver.post_key(key)
        await driver.shows("row 299, column 399")
        await driver.shows("·")


def test_words_for_parts_are_read_back_as_the_parts(codec: ImageCodec) -> None:
    parts = [Rectangle(0, 1, 5, 2), Rectangle(0, 3, 5, 3), Rectangle(2, 0, 4, 1), Rectangle(3, 2, 3, 2)]
    words = " ".join(word_for(part, codec.image) for part in parts)
    assert words == "rows:1-2 rows:3 rect:2,0,4,1 pixel:3,2"
    assert read_words(words, codec.image) == (parts, "")


def test_paths_are_completed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "pictures").mkdir()
    (here / "pictures" / "boat.png").touch()
    (here / ".hidden").touch()
    (here / "evil\x1b.png").touch()
    monkeypatch.setenv("HOME", str(here))
    assert complete_path("") == "pictures/"
    assert complete_path("pi") == "pictures/"
    assert complete_path("pictures/b") == "pictures/boat.png"
    assert complete_path("~/pictures/bo") == "~/pictures/boat.png"
    assert complete_path(".h") == ".hidden"
    assert complete_path("evil") is None
    assert complete_path("nothing/x") is None
