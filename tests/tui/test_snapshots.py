"""The screen as a person sees it. After a wanted change: UPDATE_SNAPSHOTS=1 pytest tests/tui, and read the diff."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.support.driver import ScreenDriver, on_screen
from tui_gen.generation.branch import StepBuffer
from tui_gen.tui.widgets.run_view import Meter

SNAPSHOTS = Path(__file__).parent / "snapshots"
SIZES = [(80, 24), (120, 40), (200, 60)]


@pytest.fixture(autouse=True)
def steady_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Meter, "rate", lambda self: 1234.0)
    monkeypatch.setattr(Meter, "average_rate", lambda self: 1234.0)
    count = Meter.count

    def counted(self: Meter, made: StepBuffer) -> None:
        count(self, made)
        self.step_seconds = 0.00025

    monkeypatch.setattr(Meter, "count", counted)
    monkeypatch.setattr("tui_gen.runtime.placement.cuda_trouble", lambda device: "no NVIDIA driver found")


async def check(name: str, driver: ScreenDriver) -> None:
    """Waits until the screen is as it is kept."""
    path = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        await asyncio.sleep(0.5)
        path.write_text(driver.screen(), encoding="utf-8")
    kept = path.read_text(encoding="utf-8")
    for _ in range(200):
        if driver.screen() == kept:
            return
        await asyncio.sleep(0.05)
    assert driver.screen() == kept


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_person_reads_what_the_model_is(models: Path, size: tuple[int, int]) -> None:
    async with on_screen(models / "stripes", size=size) as (driver, _):
        await check(f"about-{size[0]}x{size[1]}", driver)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_person_reads_a_finished_text(models: Path, size: tuple[int, int]) -> None:
    async with on_screen(models / "cats", size=size, temperature=0.8, seed=5, prompt="the cat", pace=4096) as (
        driver,
        _,
    ):
        await driver.run_to_end()
        await check(f"text-{size[0]}x{size[1]}", driver)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_person_looks_at_finished_pictures(models: Path, size: tuple[int, int]) -> None:
    async with on_screen(models / "stripes", size=size, samples=2, seed=5, prompt="bright", pace=4096) as (driver, _):
        await driver.run_to_end()
        await driver.press("f2")
        await check(f"picture-{size[0]}x{size[1]}", driver)


async def test_a_person_reads_the_help(models: Path) -> None:
    async with on_screen(models / "cats", size=(100, 46)) as (driver, _):
        await driver.press("f1")
        await check("help-100x46", driver)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_person_walks_through_a_text_and_has_chosen_otherwise(models: Path, size: tuple[int, int]) -> None:
    settings = {"temperature": 0.8, "seed": 5, "prompt": "the cat", "length": 30}
    async with on_screen(models / "endless", size=size, pace=4096, **settings) as (driver, _):
        await driver.run_to_end()
        await driver.press(*["left"] * 12)
        await driver.press("enter", "down", "enter")
        await driver.until(lambda: driver.says_end_of("2"))
        await driver.press(*["left"] * 4)
        await driver.press("plus", "plus")
        await check(f"walk-{size[0]}x{size[1]}", driver)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_person_stands_on_a_pixel(models: Path, size: tuple[int, int]) -> None:
    async with on_screen(models / "stripes", size=size, samples=2, seed=5, prompt="bright", pace=4096) as (driver, _):
        await driver.run_to_end()
        await driver.press("f2", "home", "right", "right", "right", "right", "down")
        await check(f"pixel-{size[0]}x{size[1]}", driver)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_person_compares_five_temperatures(models: Path, size: tuple[int, int]) -> None:
    async with on_screen(models / "endless", size=size, seed=5, prompt="the", pace=4096, length=60) as (driver, _):
        await driver.press("f5")
        await driver.until(driver.says_end)
        await check(f"sweep-{size[0]}x{size[1]}", driver)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_person_sees_what_surprised_the_model(models: Path, size: tuple[int, int]) -> None:
    async with on_screen(models / "endless", size=size, seed=5, prompt="the", pace=4096, length=60) as (driver, _):
        await driver.run_to_end()
        await driver.press("f6")
        await driver.shows("bits")
        await check(f"surprise-{size[0]}x{size[1]}", driver)
