"""The first and the last line keep what matters when there is little room."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.driver import on_screen


@pytest.mark.parametrize("width", [30, 40, 50, 60, 80, 120])
async def test_no_fact_of_the_header_is_cut(models: Path, width: int) -> None:
    async with on_screen(models / "cats", size=(width, 16)) as (driver, _):
        driver.playground.header.show_rate(12345.6, 0.00012)
        await driver.hides("opening")
        line = driver.screen().splitlines()[0]
        facts = line.split("─ ")[-1].split(" · ")
        assert set(facts) <= {"cats", "toy bigrams", "CPU", "12,346 tokens/s", "0.12 ms/step"}
        assert facts[0] == "cats"


@pytest.mark.parametrize("width", [30, 40, 50, 60, 80])
async def test_help_and_quit_are_always_offered(models: Path, width: int) -> None:
    async with on_screen(models / "stripes", size=(width, 16)) as (driver, _):
        line = driver.screen().splitlines()[-1]
        assert line.endswith("f1 help  ^q quit")
