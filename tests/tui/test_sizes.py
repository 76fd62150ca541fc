"""A terminal may be made smaller and larger at any moment, whatever is on the screen."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from tests.support import toys
from tests.support.driver import ScreenDriver, on_screen
from tests.support.panel import alone
from tui_gen.card import ModelCard
from tui_gen.sampling.knobs import knobs_for
from tui_gen.tui.widgets.cells import SteadyOptionList
from tui_gen.tui.widgets.knob_panel import KnobPanel

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
    async with on_screen(models / folder, prompt=prompt, length=40, seed=5, samples=2) as (driver, pilot):
        for key in OPENED_BY[opened]:
            await driver.press(key)
        await storm(driver, pilot, random.Random(opened))
        await pilot.resize_terminal(80, 24)
        assert driver.app.failure is None
        assert driver.screen()


async def storm(driver: ScreenDriver, pilot: Pilot[None], rng: random.Random) -> None:
    """Sizes from 1x1 to 300x100, and keys that come before the screen has taken note of them."""
    sizes = [*SIZES, *((rng.randint(1, 60), rng.randint(1, 16)) for _ in range(3))]
    rng.shuffle(sizes)
    for size in sizes:
        await pilot.resize_terminal(*size)
        for key in rng.choices(KEYS, k=2):
            driver.app.simulate_key(key)


class Deaf(KnobPanel):
    """Never hears of a size: drawing comes first."""

    async def on_event(self, event: events.Event) -> None:
        if not isinstance(event, events.Resize):
            await super().on_event(event)


async def test_knobs_are_drawn_for_the_room_that_there_is_now() -> None:
    panel = Deaf()
    panel.serve(knobs_for(ModelCard("words", "text", "toy", 10_000, 0)))
    async with alone(panel, (28, 4), focus=True) as (app, pilot):
        await pilot.press(*["down"] * 7)
        assert [line.split()[:2] for line in app.lines()[1:3]] == [["length"], ["▸", "seed"]]
        await pilot.resize_terminal(28, 16)
        assert [line[2:].split()[0] for line in app.lines()[1:9]] == [
            "temperature", "top-k", "top-p", "min-p", "pace", "samples", "length", "seed"
        ]  # fmt: skip
        await pilot.resize_terminal(28, 3)
        assert app.lines()[1].startswith("▸ seed")


async def test_page_keys_mean_nothing_in_a_list_without_room() -> None:
    options = SteadyOptionList(*"abcdefgh")
    async with alone(options, (10, 2), focus=True) as (_, pilot):
        options.add_options("xyz")
        options.highlighted = 9
        await pilot.press("pageup", "pagedown")
        assert options.highlighted == 9
        await pilot.resize_terminal(10, 8)
        await pilot.press("pageup")
        assert options.highlighted == 3


async def test_the_palette_survives_columns_in_which_nothing_has_room(models: Path) -> None:
    async with on_screen(models / "endless") as (driver, pilot):
        await driver.press("ctrl+p")
        await driver.shows("generate")
        for width in range(10, 0, -1):
            await pilot.resize_terminal(width, 3)
            await driver.press("down")
        await pilot.resize_terminal(80, 24)
        await driver.shows("generate")
