"""What is shown at which size; a terminal may be made smaller and larger at any moment, whatever is on the screen."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, get_args

import pytest
from textual import events
from textual.geometry import Offset, Size
from textual.screen import Screen
from textual.widgets import Static

from tests.support import toys
from tests.support.driver import ScreenDriver, on_screen
from tests.support.widget_app import alone
from tui_gen.images.raster import Raster
from tui_gen.tui.layout import Content, layout
from tui_gen.tui.widgets.candidates import Columns
from tui_gen.tui.widgets.cells import SteadyOptionList
from tui_gen.tui.widgets.image_view import tile
from tui_gen.tui.widgets.text_view import MEASURE, TextView

OPENED_BY: dict[str, tuple[str, ...]] = {
    "knobs": ("enter", "f8", *["down"] * 7),
    "next token": ("enter", "left", "left", "enter"),
    "surprisal": ("enter", "f6", "tab"),
    "inside": ("enter", "left", "f10"),
    "sweep": ("f5",),
    "comparison": ("enter", "left", "left", "ctrl+g", "f4", "down", "c"),
    "branches": ("enter", "f4"),
    "word": ("enter", "left", "left", "x"),
    "models": ("f3",),
    "help": ("f1",),
    "palette": ("ctrl+p",),
    "save": ("enter", "ctrl+s"),
    "command": ("enter", "ctrl+r"),
    "completion": ("enter", "f7"),
    "training": ("f9", "space"),
}
TEXT = sorted(OPENED_BY.keys() - {"completion"})
PICTURES = ["comparison", "completion", "inside", "next token", "surprisal", "training"]
KEYS = ("up", "down", "pageup", "pagedown", "home", "end", "tab", "left", "right", "space", "f2", "ctrl+t")
SIZES = ((1, 1), (300, 100), (100, 12), (160, 50))

LOOKED_AT = [(40, 12), (80, 24), (100, 30), (120, 36), (160, 45), (200, 60)]
BESIDE_MIDDLE, ABOVE_AND_BELOW = 4, 5
"""Cells beside a line of a text; lines of header, prompt and keys."""


@pytest.mark.parametrize("content", get_args(Content))
def test_a_larger_screen_shows_more_and_its_middle_always_has_room(content: Content) -> None:
    before = layout(Size(0, 0), content)
    for width in range(1, 301):
        now = layout(Size(width, 100), content)
        assert now.lists >= before.lists
        assert now.side >= before.side
        assert not now.side or Columns(now.side - 1).bar >= 8
        assert not now.side or width - now.lists - now.side >= 36
        assert content != "text" or not now.lists or width - now.lists - now.side >= 80 + BESIDE_MIDDLE
        before = now
    for height in range(1, 101):
        now = layout(Size(300, height), content)
        assert now.strip <= height // 4
        assert now.short == (height < 20)


@pytest.mark.parametrize("size", LOOKED_AT, ids=str)
@pytest.mark.parametrize("picture", [(28, 28), (32, 32)], ids=str)
def test_a_picture_is_never_drawn_smaller_for_the_strip(size: tuple[int, int], picture: tuple[int, int]) -> None:
    now = layout(Size(*size), "picture")
    width, height = size[0] - now.lists - now.side, size[1] - ABOVE_AND_BELOW
    scales = {tile(Raster(), picture, 1, Size(width, lines))[0].scale for lines in (height, height - now.strip)}
    assert len(scales) == 1


@pytest.mark.parametrize(("folder", "key"), [("endless", "enter"), ("endless", "f5"), ("stripes", "enter")])
async def test_the_screen_follows_the_table(models: Path, folder: str, key: str) -> None:
    content: Content = "picture" if folder == "stripes" else "sweep" if key == "f5" else "text"
    prompt = {"stripes": "bright", "endless": "the"}[folder]
    async with on_screen(models / folder, prompt=prompt, length=60, seed=5) as driver:
        await driver.press(key)
        await driver.until(driver.says_end)
        for size in LOOKED_AT:
            await driver.resize(*size)
            now, screen = layout(Size(*size), content), driver.playground
            assert (screen.lists.region.width, screen.side.region.width) == (now.lists, now.side)
            assert screen.side.strip.region.height == now.strip
            assert bool(screen.side.surprisal.region) == now.stacked
            longest = [max(len(line.text) for line in view._body.lines) for view in driver.app.query(TextView)]
            assert all(cells <= MEASURE for cells in longest)
            assert content != "text" or size[0] < 120 or longest[0] > MEASURE - 12


async def test_what_is_folded_away_lies_over_the_middle_while_it_has_the_focus(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", length=60, seed=5) as driver:
        await driver.run_to_end()
        width = driver.view.size.width
        await driver.press("f4")
        await driver.shows("─ branches ─")
        assert driver.view.size.width == width
        await driver.press("escape")
        await driver.hides("─ branches ─")
        await driver.resize(200, 60)
        await driver.shows("─ branches ─")
        await driver.press("ctrl+s")
        await driver.resize(80, 24)
        await driver.press("escape")
        await driver.hides("─ branches ─")


@pytest.mark.parametrize(
    ("folder", "opened"), [*(("endless", name) for name in TEXT), *(("stripes", name) for name in PICTURES)]
)
async def test_a_storm_of_sizes_is_survived(models: Path, folder: str, opened: str) -> None:
    epochs = [toys.STRIPES.tolist()] * 3 if folder == "stripes" else ["a sample"] * 30
    toys.learned(models / folder, *epochs)
    prompt = {"stripes": "bright", "endless": "the"}[folder]
    async with on_screen(models / folder, prompt=prompt, length=40, seed=5, samples=2) as driver:
        await driver.press(*OPENED_BY[opened])
        await storm(driver, random.Random(opened))
        await driver.resize(80, 24)
        assert driver.app.failure is None
        assert driver.screen()


async def storm(driver: ScreenDriver, rng: random.Random) -> None:
    """Sizes from 1x1 to 300x100, and keys that come before the screen has taken note of them."""
    sizes = [*SIZES, *((rng.randint(1, 60), rng.randint(1, 16)) for _ in range(3))]
    rng.shuffle(sizes)
    for size in sizes:
        await driver.resize(*size)
        for key in rng.choices(KEYS, k=2):
            driver.post_key(key)


async def test_a_terminal_of_any_size_is_drawn_as_far_as_a_person_need_not_wait(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", length=60) as driver:
        await driver.run_to_end()
        for size, part in (
            ((1000, 500), (1000, 100)),
            ((2000, 30), (1000, 30)),
            ((400, 250), (400, 250)),
            ((0, 0), (0, 0)),
        ):
            await driver.resize(*size)
            assert driver.app.size == part
            driver.app.post_message(events.MouseDown(None, *size, 0, 0, 1, False, False, False))
            driver.app.post_message(events.MouseMove(None, *size, 0, 0, 0, False, False, False))
            await driver.settle()
        await driver.resize(80, 24)
        await driver.shows("─ knobs ─")


async def test_two_sizes_in_one_queue_do_not_take_turns_for_ever(models: Path) -> None:
    async with on_screen(models / "endless") as driver:
        for size in (Size(60, 20), driver.app.size):
            driver.playground._message_queue.put_nowait(events.Resize(size, size))
            driver.playground._message_queue.put_nowait(events.Show())
        await driver.settle()
        assert driver.playground.message_queue_size == 0


async def test_page_keys_mean_nothing_in_a_list_without_room() -> None:
    options = SteadyOptionList(*"abcdefgh")
    async with alone(options, (10, 2), focus=True) as driver:
        options.add_options("xyz")
        options.highlighted = 9
        await driver.press("pageup", "pagedown")
        assert options.highlighted == 9
        await driver.resize(10, 8)
        await driver.press("pageup")
        assert options.highlighted == 3


async def test_the_palette_survives_columns_in_which_nothing_has_room(models: Path) -> None:
    async with on_screen(models / "endless") as driver:
        await driver.press("ctrl+p")
        await driver.shows("generate")
        for width in range(10, 0, -1):
            await driver.resize(width, 3)
            await driver.press("down")
        await driver.resize(80, 24)
        await driver.shows("generate")


@pytest.mark.parametrize("key", ["", "f1", "ctrl+s"])
async def test_a_size_that_the_terminal_has_no_longer_is_not_laid_out(
    models: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    async with on_screen(models / "cats", prompt="the") as driver:
        await driver.run_to_end()
        await driver.resize(90, 30)
        await driver.press(*filter(None, [key]))
        sizes = list[Size]()
        refresh = type(driver.app.screen)._refresh_layout

        def note(screen: Any, size: Size | None = None) -> None:
            sizes.append(size or screen.size)
            refresh(screen, size)

        monkeypatch.setattr(type(driver.app.screen), "_refresh_layout", note)
        for size in (Size(160, 45), Size(90, 30)):  # as it hears of them after it was busy
            driver.app.screen.post_message(events.Resize(size, size))
        await driver.settle()
        assert sizes
        assert set(sizes) == {Size(90, 30)}


@pytest.mark.parametrize("keys", [(), ("f1",)], ids=["screen", "help"])
async def test_a_press_on_what_is_gone_does_no_harm(
    keys: tuple[str, ...], models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with on_screen(models / "cats") as driver:
        await driver.press(*keys)
        gone = (Static(), Offset(0, 0))
        with monkeypatch.context() as patch:
            patch.setattr(Screen, "get_widget_and_offset_at", lambda *_: gone)
            await driver.mouse(events.MouseDown, (5, 5))
        await driver.press(*["escape"] * len(keys))
        await driver.run_to_end()
