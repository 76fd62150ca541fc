"""The screen as a person sees it. After a wanted change: UPDATE_SNAPSHOTS=1 pytest tests/tui, and read the diff."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.tui.stage import Stage, on_stage
from tui_gen.tui.meter import Meter

SNAPSHOTS = Path(__file__).parent / "snapshots"
SIZES = [(80, 24), (200, 60)]


@pytest.fixture(autouse=True)
def steady_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Meter, "rate", lambda self: 1234.0)
    monkeypatch.setattr(Meter, "average_rate", lambda self: 1234.0)
    monkeypatch.setattr("statistics.median", lambda values: 0.00025)
    monkeypatch.setattr("tui_gen.runtime.missing_driver", lambda: "no NVIDIA driver found")


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
