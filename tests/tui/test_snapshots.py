"""The screen as a person sees it. After a wanted change: UPDATE_SNAPSHOTS=1 pytest tests/tui, and read the diff."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.support.stage import Stage, on_stage
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


async def check(name: str, stage: Stage) -> None:
    """Waits until the screen is as it is kept."""
    path = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        await asyncio.sleep(0.5)
        path.write_text(stage.screen(), encoding="utf-8")
    kept = path.read_text(encoding="utf-8")
    for _ in range(200):
        if stage.screen() == kept:
            return
        await asyncio.sleep(0.05)
    assert stage.screen() == kept


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_person_reads_what_the_model_is(models: Path, size: tuple[int, int]) -> None:
    async with on_stage(models / "stripes", size=size) as (stage, _):
        await check(f"about-{size[0]}x{size[1]}", stage)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_person_reads_a_finished_text(models: Path, size: tuple[int, int]) -> None:
    async with on_stage(models / "cats", size=size, temperature=0.8, seed=5, prompt="the cat", pace=4096) as (stage, _):
        await stage.run_to_end()
        await check(f"text-{size[0]}x{size[1]}", stage)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_person_looks_at_finished_pictures(models: Path, size: tuple[int, int]) -> None:
    async with on_stage(models / "stripes", size=size, samples=2, seed=5, prompt="bright", pace=4096) as (stage, _):
        await stage.run_to_end()
        await stage.press("f2")
        await check(f"picture-{size[0]}x{size[1]}", stage)


async def test_a_person_reads_the_help(models: Path) -> None:
    async with on_stage(models / "cats", size=(100, 46)) as (stage, _):
        await stage.press("f1")
        await check("help-100x46", stage)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_person_walks_through_a_text_and_has_chosen_otherwise(models: Path, size: tuple[int, int]) -> None:
    settings = {"temperature": 0.8, "seed": 5, "prompt": "the cat", "length": 30}
    async with on_stage(models / "endless", size=size, pace=4096, **settings) as (stage, _):
        await stage.run_to_end()
        await stage.press(*["left"] * 12)
        await stage.press("enter", "down", "enter")
        await stage.until(lambda: stage.told_of_the_end_of("2"))
        await stage.press(*["left"] * 4)
        await stage.press("plus", "plus")
        await check(f"walk-{size[0]}x{size[1]}", stage)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_person_stands_on_a_pixel(models: Path, size: tuple[int, int]) -> None:
    async with on_stage(models / "stripes", size=size, samples=2, seed=5, prompt="bright", pace=4096) as (stage, _):
        await stage.run_to_end()
        await stage.press("f2", "home", "right", "right", "right", "right", "down")
        await check(f"pixel-{size[0]}x{size[1]}", stage)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_person_compares_five_temperatures(models: Path, size: tuple[int, int]) -> None:
    async with on_stage(models / "endless", size=size, seed=5, prompt="the", pace=4096, length=60) as (stage, _):
        await stage.press("f5")
        await stage.until(stage.told_of_the_end)
        await check(f"sweep-{size[0]}x{size[1]}", stage)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_person_sees_what_surprised_the_model(models: Path, size: tuple[int, int]) -> None:
    async with on_stage(models / "endless", size=size, seed=5, prompt="the", pace=4096, length=60) as (stage, _):
        await stage.run_to_end()
        await stage.press("f6")
        await stage.shows("bits")
        await check(f"surprise-{size[0]}x{size[1]}", stage)
