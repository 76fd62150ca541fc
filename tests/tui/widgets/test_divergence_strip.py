"""A line of bars for each model: what they stand for is said, and the cursor is always in sight."""

from __future__ import annotations

import math

import numpy as np

from tests.support.widget_app import WidgetDriver, alone
from tui_gen.tui.widgets.divergence_strip import DivergenceStrip, StripRow


def shown(driver: WidgetDriver) -> list[str]:
    return [" ".join(line.split()) for line in driver.lines()[1:]]


async def test_bars_have_a_scale_that_is_said_and_the_number_at_the_cursor_stands_beside_them() -> None:
    strip = DivergenceStrip("recipes", 2)
    bits = np.array([0.0, 0.01, 0.5, 1.0, 2.0, 9.0, math.nan])
    async with alone(strip, (80, 4)) as driver:
        strip.show([StripRow("gru", bits, 12.51), StripRow("rnn", bits / 4, 3.13)], 3, "token 4")
        await driver.settle()
        assert shown(driver) == [
            "divergence from recipes, in bits; █ from 8 on token 4 in all",
            "gru ▁▁▂█ 1.00 12.51",
            "rnn ▁▂ 0.25 3.13",
        ]


async def test_the_bars_around_the_cursor_are_in_sight_and_without_one_the_newest() -> None:
    strip, bits = DivergenceStrip("a", 1), np.zeros(500)
    bits[400:410] = 8.0
    async with alone(strip, (60, 4)) as driver:
        for at, full in ((0, 0), (405, 10), (None, 0)):
            strip.show([StripRow("b", bits, 80.0)], at, "")
            await driver.settle()
            assert shown(driver)[1].count("█") == full


async def test_a_model_with_other_tokens_has_no_bars_but_bits_a_character() -> None:
    strip = DivergenceStrip("grimm", 2)
    rows = [StripRow("grimm", None, math.nan, 1.72, "its own text"), StripRow("names", None, math.nan, 2.89, "others")]
    async with alone(strip, (70, 4)) as driver:
        strip.show(rows, 3, "token 4")
        await driver.settle()
        assert shown(driver) == [
            "the text of grimm as each reads it, in bits a character",
            "grimm its own text 1.72",
            "names others 2.89",
        ]
