"""The eight knobs: each is selected, turned, typed and reset, counts from when it says so, and is swept by f5."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import toys
from tests.support.driver import ScreenDriver, headless_text, on_screen

NAMES = ("temperature", "top-k", "top-p", "min-p", "pace", "samples", "length", "seed")
EACH = [
    # knob, at first, turned up, typed, what typing shows, after a reset
    ("temperature", "1.00", "1.05", "0.7", "0.70", "1.00"),
    ("top-k", "off", "1", "4", "4", "off"),
    ("top-p", "off", "off", ".9", "0.90", "off"),
    ("min-p", "off", "0.01", "0.07", "0.07", "off"),
    ("pace", "64 a second", "128 a second", "100", "100 a second", "64 a second"),
    ("samples", "1", "2", "3", "3", "1"),
    ("length", "300", "500", "77", "77", "300"),
    ("seed", "42", "43", "1234", "1234", "42"),
]


def knob(driver: ScreenDriver, name: str) -> str:
    """What a knob's line says of its value, without the gauge."""
    line, *_ = (line for line in driver.lines(driver.playground.side.knobs) if line[2:].startswith(name))
    return line[2 + len(name) :].strip().split("  ")[0].rstrip("━●─╸ ")


async def select(driver: ScreenDriver, name: str) -> None:
    """Goes to a knob."""
    await driver.press("f8", *["down"] * NAMES.index(name))
    await driver.until(lambda: any(line.startswith(f"▸ {name}") for line in driver.lines(driver.playground.side.knobs)))


@pytest.mark.parametrize("at_first", EACH, ids=NAMES)
async def test_a_knob_is_turned_typed_and_reset(models: Path, at_first: tuple[str, ...]) -> None:
    name, before, turned, typed, shown, default = at_first
    async with on_screen(models / "endless", pace=64) as driver:
        await select(driver, name)
        await driver.until(lambda: knob(driver, name) == before)
        await driver.press("right")
        await driver.until(lambda: knob(driver, name) == turned)
        await driver.type(typed)
        await driver.until(lambda: knob(driver, name) == f"{typed}▌")
        await driver.press("enter")
        await driver.until(lambda: knob(driver, name) == shown)
        await driver.press("delete")
        await driver.until(lambda: knob(driver, name) == default)
        await driver.press("escape")
        await driver.until(lambda: "0-9 type" not in driver.footer)


async def test_a_value_that_cannot_be_is_refused_and_the_knob_stays(models: Path) -> None:
    async with on_screen(models / "endless") as driver:
        await select(driver, "top-p")
        await driver.type("3")
        await driver.press("enter")
        await driver.says("top-p goes from 0.00 to off")
        assert knob(driver, "top-p") == "off"


async def test_the_selected_knob_is_turned_from_everywhere(models: Path) -> None:
    async with on_screen(models / "endless", length=5) as driver:
        await driver.run_to_end()
        await select(driver, "min-p")
        await driver.press("escape", "+", "+", "-")
        await driver.until(lambda: knob(driver, "min-p") == "0.01")


async def test_knobs_of_sampling_count_for_the_very_next_token(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", pace=64, length=100_000) as driver:
        await driver.grow_beyond(3)
        await select(driver, "top-k")
        await driver.press("right")
        await driver.until(lambda: driver.steps[-1].params.top_k == 1)
        await driver.press("down")
        await driver.type("0.5")
        await driver.press("enter")
        await driver.until(lambda: driver.steps[-1].params.top_p == 0.5)
        assert driver.steps[0].params.top_k == 0


async def test_a_longer_length_extends_a_run_under_way(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", pace=16, length=50) as driver:
        await driver.pause_beyond(3)
        await driver.shows("of 50")
        await select(driver, "length")
        await driver.type("60")
        await driver.press("enter")
        await driver.shows("of 60")
        await driver.press("up", "up", "delete", "escape", *"]]]]]]]]]", "space")
        await driver.until(driver.says_end)
        await driver.shows("complete: 60")
        assert driver.length == 62


async def test_a_shorter_length_ends_it_earlier_but_takes_nothing_back(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", pace=16, length=5000) as driver:
        await driver.pause_beyond(5)
        made = driver.tokens()
        await select(driver, "length")
        await driver.type("2")
        await driver.press("enter", "escape", "space")
        await driver.until(driver.says_end)
        assert driver.tokens()[: len(made)] == made
        assert driver.length <= len(made) + 1


async def test_samples_and_seed_say_that_they_count_for_the_next_run_while_one_goes_on(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", pace=16, length=100_000) as driver:
        await driver.grow_beyond(3)
        await select(driver, "samples")
        await driver.press("right", "down", "down", "right")
        await driver.until(lambda: knob(driver, "samples") == "2 next run")
        await driver.until(lambda: knob(driver, "seed") == "43 next run")
        assert driver.branch.samples == 1
        await driver.press("escape", "escape")
        await driver.until(driver.says_end)
        assert knob(driver, "seed") == "43"  # all knobs count for the next run now, so none says so
        await driver.press("enter")
        await driver.until(lambda: driver.branch.name == "2" and driver.running)
        await driver.until(lambda: knob(driver, "samples") == "2" and knob(driver, "seed") == "43")
        assert driver.branch.samples == 2
        assert driver.branch.start.seed == 43


async def test_the_pace_can_be_turned_in_mid_run(models: Path) -> None:
    async with on_screen(models / "endless", pace=2) as driver:
        await driver.grow_beyond(1)
        await driver.press(*"]]]]]]]]")
        await driver.shows("pace        512 a second")
        await driver.until(lambda: len(driver.steps) > 50)
        await driver.press("[")
        await driver.shows("pace        256 a second")


async def test_f5_shows_the_same_noise_at_five_temperatures(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", seed=5, size=(200, 40)) as driver:
        await driver.press("f5")
        await driver.until(driver.says_end)
        values = (0.4, 0.7, 1.0, 1.3, 1.6)
        for value in values:
            await driver.shows(f"temperature {value:.2f}──")
        pages = driver.pages
        assert pages == [headless_text(models / "cats", "the", seed=5, temperature=value) for value in values]
        assert len(set(pages)) > 2


async def test_f5_sweeps_the_selected_knob(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", seed=5, size=(200, 40)) as driver:
        await driver.press("f8", "down", "f5")
        await driver.until(driver.says_end)
        for value in (1, 2, 3, 5):
            await driver.shows(f"top-k {value}─")
        await driver.shows("top-k off─")
        pages = driver.pages
        assert pages[0] == "the " + toys.GREEDY_TEXT
        assert pages[4] == headless_text(models / "cats", "the", seed=5)


@pytest.mark.parametrize(("folder", "legend"), [("endless", "<1 1-3 3-6 6-10 10+ bits"), ("stripes", "█5 █8+ bits")])
async def test_surprise_in_a_sweep_says_what_its_marks_mean(models: Path, folder: str, legend: str) -> None:
    async with on_screen(models / folder, length=8) as driver:
        await driver.press("f5")
        await driver.until(driver.says_end)
        await driver.press("f6")
        await driver.shows(legend)
        await driver.resize(200, 40)
        await driver.until(lambda: "bits" in driver.surprisal and not driver.view.has_class("-legend"))
        await driver.resize(80, 24)
        await driver.shows(legend)
        await driver.press("f6")
        await driver.hides("bits")


async def test_a_column_of_a_sweep_is_left_like_any_run_and_keeps_its_value(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", seed=5, length=8, size=(200, 40)) as driver:
        await driver.press("f5")
        await driver.until(driver.says_end)
        await driver.press("home", "right", "right")
        await driver.shows("─ token 2")
        await driver.type("dog")
        await driver.press("enter")
        await driver.ends("2")
        await driver.shows("temperature 0.40──")
        assert driver.tokens(0)[3] == toys.DOG
        assert np.array_equal(driver.branch.tokens[:, 1:], driver.workspace.tree["1"].tokens[:, 1:])
