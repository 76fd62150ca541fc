"""Looking into a text: the distribution at a token, and walking from token to token."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support import toys
from tests.support.driver import ScreenDriver, on_screen
from tests.support.instrument import (
    at_rest,
    branch,
    counted_steps,
    footer,
    grown,
    grows_to,
    panel,
    place,
    reads,
    shares,
    tokens,
)
from tui_gen.sampling.params import SamplingParams
from tui_gen.tui.widgets.text_view import TextView

BOTH = pytest.mark.parametrize("key", ["space", "left"])


def rows(now: list[str], raw: list[str]) -> list[str]:
    """How the panel's entries end."""
    return [f"{share:>7}{before:>7}" for share, before in zip(now, raw, strict=True)]


def entries(driver: ScreenDriver) -> dict[str, str]:
    """The ends of the panel's entries, by token."""
    found = {line[2:].split(" ")[0]: line[-14:] for line in panel(driver).split("\n")[1:] if line[2:3].strip()}
    return {word: found[word] for word in toys.WORDS if word in found}


def bits(shares: list[float]) -> float:
    return -sum(share * math.log2(share) for share in shares if share)


async def test_the_panel_says_what_the_model_gave_each_token_and_what_the_knobs_make_of_it(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", length=3, temperature=0.5, size=(110, 40)) as (driver, _):
        await driver.run_to_end()
        await driver.press("left")
        await driver.shows("─ token 4 ─")
        now, raw = (shares(driver, 4, SamplingParams(temperature)) for temperature in (0.5, 1.0))
        assert entries(driver) == dict(zip(toys.WORDS, rows(now, raw), strict=True))
        logits = branch(driver).look(4).logits[0].astype(np.float64)
        weights = [np.exp(logits / temperature) for temperature in (0.5, 1.0)]
        entropy = [bits((weight / weight.sum()).tolist()) for weight in weights]
        [said] = [line for line in panel(driver).split("\n") if "bits" in line]
        assert said.split()[-2:] == [f"{value:.2f}" for value in entropy]
        assert f"▸ {toys.WORDS[tokens(branch(driver))[4]]} " in panel(driver)


async def test_a_filter_cuts_tokens_and_says_so(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", length=3, size=(110, 40)) as (driver, _):
        await driver.run_to_end()
        await driver.press("left")
        await driver.shows("─ token 4 ─")
        assert "cut" not in panel(driver)
        await driver.press("f8", "down", "right", "right")
        await driver.shows("top-k       2")
        cut = SamplingParams(1.0, top_k=2)
        wanted = dict(zip(toys.WORDS, rows(shares(driver, 4, cut), shares(driver, 4, SamplingParams())), strict=True))
        await driver.until(lambda: entries(driver) == wanted)
        assert panel(driver).count("cut") == len(toys.WORDS) - 2


@BOTH
async def test_a_knob_turned_in_a_pause_redraws_the_panel_and_the_model_stands_still(
    models: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    async with on_screen(models / "endless", prompt="the", pace=16, length=100_000, size=(110, 40)) as (driver, _):
        await driver.press("enter")
        await driver.until(lambda: grown(driver, 3))
        await driver.press(key)
        await driver.until(lambda: at_rest(driver))
        position = len(branch(driver)) - (key == "left")
        await driver.shows(f"─ token {position} ─")
        raw, steps = shares(driver, position, SamplingParams()), counted_steps(monkeypatch)
        await driver.press("up", "up", "up", "up")
        await driver.shows("temperature 1.20")
        made = len(branch(driver))
        monkeypatch.undo()
        now = dict(zip(toys.WORDS, rows(shares(driver, position, SamplingParams(1.2)), raw), strict=True))
        await driver.until(lambda: entries(driver) == now)
        assert steps == []
        assert len(branch(driver)) == made


async def test_what_a_knob_shows_is_what_the_next_token_is_drawn_from(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", pace=16, length=100_000, size=(110, 40)) as (driver, _):
        await driver.press("enter")
        await driver.until(lambda: grown(driver, 3))
        await driver.press("space")
        await driver.until(lambda: at_rest(driver))
        await driver.press(*["down"] * 20)
        await driver.shows("temperature 0.00")
        before = len(branch(driver))
        await driver.until(lambda: "100.0%" in panel(driver) and panel(driver).count("cut") == 7)
        [only] = [word for word, said in entries(driver).items() if "100.0%" in said]
        await driver.press("right")
        await grows_to(driver, before + 1)
        assert toys.WORDS[tokens(branch(driver))[-1]] == only


async def test_space_holds_the_run_and_right_makes_exactly_one(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", pace=16, length=100_000) as (driver, _):
        await driver.press("enter")
        await driver.until(lambda: grown(driver, 3))
        await driver.press("space")
        await driver.until(lambda: at_rest(driver))
        made = len(branch(driver))
        for more in range(1, 4):
            await driver.press("right")
            await grows_to(driver, made + more)
            await driver.shows(f"─ token {made + more} ─")
        await driver.shows(f"paused at {made + 3 - 2} of 100,000")
        assert driver.page == "".join(_written(tokens(branch(driver))))
        await driver.press("space")
        await driver.until(lambda: len(branch(driver)) > made + 4)


async def test_left_pauses_and_goes_back_and_home_and_end_jump(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the cat", pace=16, length=100_000) as (driver, _):
        await driver.press("enter")
        await driver.until(lambda: grown(driver, 7))
        await driver.press("left")
        await driver.until(lambda: at_rest(driver))
        made = tokens(branch(driver))
        for position in (len(made) - 1, len(made) - 2, len(made) - 3):
            await driver.shows(f"─ token {position} ─")
            await reads(driver, f"▸ {toys.WORDS[made[position]]} ")
            assert _walked(driver) == toys.WORDS[made[position]]
            await driver.press("left")
        await driver.press("home")
        await driver.shows("─ token 1 ─")
        await driver.until(lambda: "= given" in panel(driver) and "= the" in panel(driver))
        assert _walked(driver) == "the"
        await driver.press("left")
        await driver.shows("─ token 1 ─")
        await driver.press("end")
        await driver.shows(f"─ token {len(made)} ─")
        assert tokens(branch(driver)) == made


async def test_the_end_of_a_run_is_where_right_makes_one_more(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", length=3) as (driver, _):
        await driver.run_to_end()
        await driver.shows("complete: 3")
        await driver.press("end", "right")
        await driver.until(lambda: len(branch(driver)) == 6 and driver.says_end())
        await driver.shows("─ token 6 ─")
        await driver.shows("complete: 4")


async def test_a_text_that_has_come_to_its_end_stays_as_it_is(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=0.0) as (driver, _):
        await driver.run_to_end()
        made = len(branch(driver))
        await driver.press("end")
        await driver.shows(f"─ token {made - 1} ─")
        await reads(driver, "▸ <end>")
        await driver.press("right", "right")
        await driver.shows(f"─ token {made - 1} ─")
        assert "go on" not in footer(driver)
        assert len(branch(driver)) == made


async def test_a_click_on_a_word_puts_the_cursor_there(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=0.0) as (driver, pilot):
        await driver.run_to_end()
        x, y = place(driver, "sat.")
        await pilot.click(offset=(x + 1, y))
        await driver.shows("─ token 3 ─")
        await reads(driver, "▸ sat")
        assert _walked(driver) == "sat"
        x, y = place(driver, "the cat")
        await pilot.click(offset=(x + 1, y))
        await driver.shows("─ token 1 ─")


async def test_a_click_on_the_first_letter_of_all_puts_the_cursor_there(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=0.0) as (driver, pilot):
        await driver.run_to_end()
        await pilot.click(offset=place(driver, "the cat"))
        await pilot.pause(0.2)
        assert "─ token 1 ─" in driver.screen()


async def test_a_click_in_another_sample_shows_what_that_one_was_drawn_from(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", length=8, samples=2, seed=3, size=(110, 40)) as (
        driver,
        pilot,
    ):
        await driver.run_to_end()
        second = list(driver.app.query(TextView))[1]
        await pilot.click(second, offset=(2, 1))
        await driver.until(lambda: driver.view.cursor and driver.view.sample == 1)
        at = driver.view.position
        assert at
        now = shares(driver, at, replace(driver.params), sample=1)
        await driver.until(lambda: entries(driver) == dict(zip(toys.WORDS, rows(now, now), strict=True)))
        assert tokens(branch(driver), 0) != tokens(branch(driver), 1)


def _walked(driver: ScreenDriver) -> str:
    """What the cursor covers."""
    page = driver.app.query(TextView).first()
    style = page.get_component_rich_style("text-view--at-cursor")
    strips = [page.render_line(y) for y in range(page.size.height)]
    return "".join(segment.text for strip in strips for segment in strip if segment.style == style).strip()


def _written(made: list[int]) -> str:
    words = " ".join(toys.WORDS[token] for token in made[1:])
    return words.replace(" .", ".")
