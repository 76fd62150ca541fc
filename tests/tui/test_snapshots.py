"""The screen as a person sees it. After an intended change: UPDATE_SNAPSHOTS=1 pytest tests/tui, and read the diff."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.driver import ScreenDriver, check_snapshot, on_screen
from tui_gen.generation.branch import StepBuffer
from tui_gen.tui.widgets.run_view import Meter

SIZES = [(80, 24), (120, 40), (200, 60)]


@pytest.fixture(autouse=True)
def steady_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Meter, "rate", lambda self: 1234.0)
    monkeypatch.setattr(Meter, "average_rate", lambda self: 1234.0)
    count = Meter.count

    def count_steadily(self: Meter, buffer: StepBuffer) -> None:
        count(self, buffer)
        self.step_seconds = 0.00025

    monkeypatch.setattr(Meter, "count", count_steadily)
    monkeypatch.setattr("tui_gen.runtime.placement.cuda_trouble", lambda device: "no NVIDIA driver found")


async def check(name: str, driver: ScreenDriver) -> None:
    """Compares the screen with the snapshot of that name and size."""
    await driver.app.workers.wait_for_complete()
    await driver.settle()
    width, height = driver.app.size
    check_snapshot(f"{name}-{width}x{height}", driver.screen())


async def test_a_person_reads_what_the_model_is(models: Path) -> None:
    async with on_screen(models / "stripes") as driver:
        await check("about", driver)


async def test_a_person_reads_a_finished_text(models: Path) -> None:
    async with on_screen(models / "cats", temperature=0.8, seed=5, prompt="the cat", pace=4096) as driver:
        await driver.run_to_end()
        await check("text", driver)


async def test_a_person_looks_at_finished_pictures(models: Path) -> None:
    async with on_screen(models / "stripes", samples=2, seed=5, prompt="bright", pace=4096) as driver:
        await driver.run_to_end()
        await driver.press("f2")
        await check("picture", driver)


async def test_a_person_reads_the_help(models: Path) -> None:
    async with on_screen(models / "cats", size=(100, 46)) as driver:
        await driver.press("f1")
        await check("help", driver)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_person_walks_through_a_text_and_has_chosen_otherwise(models: Path, size: tuple[int, int]) -> None:
    settings = {"temperature": 0.8, "seed": 5, "prompt": "the cat", "length": 30}
    async with on_screen(models / "endless", size=size, pace=4096, **settings) as driver:
        await driver.run_to_end()
        await driver.press(*["left"] * 12)
        await driver.press("enter", "down", "enter")
        await driver.ends("2")
        await driver.press(*["left"] * 4)
        await driver.press("+", "+")
        await check("walk", driver)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_person_stands_on_a_pixel(models: Path, size: tuple[int, int]) -> None:
    async with on_screen(models / "stripes", size=size, samples=2, seed=5, prompt="bright", pace=4096) as driver:
        await driver.run_to_end()
        await driver.press("f2", "home", "right", "right", "right", "right", "down")
        await check("pixel", driver)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_person_compares_five_temperatures(models: Path, size: tuple[int, int]) -> None:
    async with on_screen(models / "endless", size=size, seed=5, prompt="the", pace=4096, length=60) as driver:
        await driver.press("f5")
        await driver.until(driver.says_end)
        await check("sweep", driver)


async def test_a_person_sees_what_surprised_the_model(models: Path) -> None:
    async with on_screen(models / "endless", seed=5, prompt="the", pace=4096, length=60) as driver:
        await driver.run_to_end()
        await driver.press("f6")
        await driver.shows("bits")
        await check("surprise", driver)
