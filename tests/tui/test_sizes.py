"""A terminal may be made smaller and larger at any moment, whatever is on the screen."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support import toys
from tests.support.driver import ScreenDriver, on_screen
from tests.support.widget_app import alone
from tui_gen.tui.widgets.cells import SteadyOptionList

OPENED_BY: dict[str, tuple[str, ...]] = {
    "knobs": ("enter", "f8", *["down"] * 7),
    "next token": ("enter", "left", "left", "enter"),
    "surprisal": ("enter", "f6", "tab"),
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
PICTURES = ["comparison", "completion", "next token", "surprisal", "training"]
KEYS = ("up", "down", "pageup", "pagedown", "home", "end", "tab", "left", "right", "space", "f2", "ctrl+t")
SIZES = ((1, 1), (300, 100), (100, 12), (160, 50))


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
