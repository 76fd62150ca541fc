"""The strip draws the bits of every token on one scale, follows the newest or the cursor, and leads to a token."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from textual.geometry import Region

from tests.support.widget_app import WidgetDriver, alone
from tui_gen.tui.widgets.surprisal_strip import SurprisalStrip, TokenBits

SIZE = (60, 6)
FEW = TokenBits(np.array([2.0, 4.0, 0.0, 8.0, 11.0, np.inf, np.nan, 0.1]), "token", 1, None, 64, 4.62)


async def show(driver: WidgetDriver, shown: TokenBits | None) -> list[str]:
    driver.app.widget.show(shown)
    await driver.settle()
    return driver.lines()


def columns(lines: list[str]) -> list[str]:
    """What stands above each token, from the top."""
    rows = [line[5:].ljust(8) for line in lines[1:-1]]
    return ["".join(row[number] for row in rows) for number in range(8)]


async def test_every_token_has_a_column_of_its_bits_on_a_scale_with_a_unit() -> None:
    async with alone(SurprisalStrip(), SIZE) as driver:
        lines = await show(driver, FEW)
        assert lines[0].startswith(" ─ surprise of each token, in bits · 4.62 on average ─")
        assert [line[:5] for line in lines[1:-1]] == ["   8 ", "   6 ", "   4 ", "   2 "]
        assert columns(lines) == ["   █", "  ██", "    ", "████", "▲███", "▲███", "    ", "    "]


async def test_the_scale_is_that_of_the_model_and_not_of_the_run() -> None:
    async with alone(SurprisalStrip(), SIZE) as driver:
        lines = await show(driver, replace(FEW, choices=8000))
        assert lines[1].startswith("  16 ")
        assert columns(lines)[:4] == ["   ▄", "   █", "    ", "  ██"]


async def test_the_token_at_the_cursor_is_told_with_its_number_and_marked() -> None:
    async with alone(SurprisalStrip(), (66, 6)) as driver:
        lines = await show(driver, replace(FEW, cursor=1, sample="sample 2"))
        assert lines[0].startswith(" ─ bits a token of sample 2 · token 1: 4.0 · 4.62 on average ─")
        assert lines[-1] == "      ▲"
        assert "prompt token 1: 2.0" in (await show(driver, replace(FEW, cursor=0)))[0]


@pytest.mark.parametrize(("cursor", "in_sight"), [(None, 299), (3, 3), (150, 150), (299, 299)])
async def test_the_newest_token_or_the_one_at_the_cursor_is_in_sight(cursor: int | None, in_sight: int) -> None:
    bits = np.full(300, 0.0)
    bits[in_sight] = 8
    async with alone(SurprisalStrip(), SIZE) as driver:
        lines = await show(driver, TokenBits(bits, "token", 0, cursor, 64))
        assert lines[1].count("█") == 1
        at = lines[1].index("█")
        await driver.click(driver.app.widget, offset=(at, 2))
        assert driver.contents == [("Clicked", in_sight)]


async def test_a_new_token_draws_its_column_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = list[Region]()
    refresh = SurprisalStrip.refresh

    def note(self: SurprisalStrip, *regions: Region, **facts: Any) -> Any:
        drawn.extend(regions or [self.size.region])
        return refresh(self, *regions, **facts)

    async with alone(SurprisalStrip(), SIZE) as driver:
        await show(driver, FEW)
        monkeypatch.setattr(SurprisalStrip, "refresh", note)
        lines = await show(driver, replace(FEW, bits=np.append(FEW.bits, 4.62)))
        assert drawn == [Region(12, 1, 1, 5)]
        assert [line[13:] for line in lines[1:-1]] == ["", "▂", "█", "█"]


async def test_nothing_known_is_an_empty_strip_and_a_click_leads_nowhere() -> None:
    async with alone(SurprisalStrip(), SIZE) as driver:
        assert not any((await show(driver, replace(FEW, bits=np.array([]))))[1:])
        await driver.click(driver.app.widget, offset=(8, 2))
        assert not any((await show(driver, None))[1:])
        await driver.click(driver.app.widget, offset=(8, 2))
        assert not driver.messages
