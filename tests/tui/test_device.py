"""A model on a GPU on the screen: the first line says where and why, and trouble is told once while the run goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.devices import failing_after
from tests.support.driver import headless_text, on_screen
from tests.support.instrument import branch, panel, tokens, told
from tui_gen.errors import DeviceLostError
from tui_gen.runtime import placement
from tui_gen.runtime.cuda import Driver
from tui_gen.runtime.cuda_model import CudaModel
from tui_gen.runtime.model import Model
from tui_gen.runtime.session import Place

WIDE = (160, 40)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU, in whose place the processor does the work, twice as fast."""
    opened: Callable[[Model, Place], CudaModel] = Model._open_device
    monkeypatch.setattr(placement, "cuda_trouble", lambda device: "")
    monkeypatch.setattr(placement, "device_name", lambda device: "NVIDIA H100")
    monkeypatch.setattr(placement, "driver", lambda: Driver((13, 0), ("NVIDIA H100",)))
    monkeypatch.setattr(placement, "median_seconds", lambda turns: [2.0, 1.0])
    monkeypatch.setattr(Model, "_open_device", lambda self, place: opened(self, Place("cpu")))
    monkeypatch.setattr(CudaModel, "providers", property(lambda self: ["CUDAExecutionProvider"]))


def heading(screen: str) -> str:
    return screen.split("\n", maxsplit=1)[0]


@pytest.mark.usefixtures("gpu")
async def test_the_first_line_says_where_the_model_runs_and_why(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", size=WIDE, seed=3) as (driver, _):
        await driver.shows("CUDA · NVIDIA H100, 2 times as fast as the CPU for 1 sample")
        await driver.run_to_end()
        assert heading(driver.screen()).count("CUDA") == 1
        expected = headless_text(models / "cats", "the", seed=3, temperature=driver.params.temperature)
        assert driver.page.endswith(expected)


@pytest.mark.usefixtures("gpu")
async def test_where_there_is_little_room_the_reason_is_left_out(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", size=(60, 24)) as (driver, _):
        await driver.shows("CUDA")
        assert "times as fast" not in heading(driver.screen())


@pytest.mark.usefixtures("gpu")
async def test_what_ran_there_can_be_walked_through_and_changed(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", length=90, size=WIDE) as (driver, _):
        await driver.run_to_end()
        for _ in range(3):
            await driver.press("left")
        await driver.until(lambda: driver.view.cursor is not None and "▸" in panel(driver))
        before = tokens(branch(driver))
        assert np.isfinite(branch(driver).look(70).logits).all()
        await driver.press("ctrl+g")
        await driver.until(lambda: branch(driver).name != "1")
        await driver.until(lambda: driver.says_end() and len(branch(driver)) > 80)
        assert tokens(branch(driver))[:85] == before[:85]


@pytest.mark.usefixtures("gpu")
async def test_a_gpu_that_fails_is_told_and_the_run_goes_on(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_screen(models / "endless", prompt="the", length=200, seed=7, size=WIDE) as (driver, _):
        failing_after(monkeypatch, 60, DeviceLostError("CUDA failure 700: an illegal memory access was encountered"))
        await driver.run_to_end()
        await driver.until(lambda: "the CPU goes on with the run" in told(driver))
        assert "CPU · the GPU failed: " in heading(driver.screen())
        assert "CUDA failure 700" in heading(driver.screen())
        assert driver.page.endswith(headless_text(models / "endless", "the", seed=7, length=200))
