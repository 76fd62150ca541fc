"""Looking into a text: the distribution at a token, and walking from token to token."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support import toys
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
from tests.support.stage import Stage, on_stage
from tui_gen.sampling.params import SamplingParams
from tui_gen.tui.widgets.text_view import TextView

BOTH = pytest.mark.parametrize("key", ["space", "left"])


def rows(now: list[str], raw: list[str]) -> list[str]:
    """How the panel's entries end."""
    return [f"{share:>7}{before:>7}" for share, before in zip(now, raw, strict=True)]


def entries(stage: Stage) -> dict[str, str]:
    """The ends of the panel's entries, by token."""
    found = {line[2:].split(" ")[0]: line[-14:] for line in panel(stage).split("\n")[1:] if line[2:3].strip()}
    return {word: found[word] for word in toys.WORDS if word in found}


def bits(shares: list[float]) -> float:
    return -sum(share * math.log2(share) for share in shares if share)


async def test_the_panel_says_what_the_model_gave_each_token_and_what_the_knobs_make_of_it(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the", length=3, temperature=0.5, size=(110, 40)) as (stage, _):
        await stage.run_to_end()
        await stage.press("left")
        await stage.shows("─ token 4 ─")
        now, raw = (shares(stage, 4, SamplingParams(temperature)) for temperature in (0.5, 1.0))
        assert entries(stage) == dict(zip(toys.WORDS, rows(now, raw), strict=True))
        logits = branch(stage).look(4).logits[0].astype(np.float64)
        weights = [np.exp(logits / temperature) for temperature in (0.5, 1.0)]
        entropy = [bits((weight / weight.sum()).tolist()) for weight in weights]
        [said] = [line for line in panel(stage).split("\n") if "bits" in line]
        assert said.split()[-2:] == [f"{value:.2f}" for value in entropy]
        assert f"▸ {toys.WORDS[tokens(branch(stage))[4]]} " in panel(stage)


async def test_a_filter_cuts_tokens_and_says_so(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the", length=3, size=(110, 40)) as (stage, _):
        await stage.run_to_end()
        await stage.press("left")
        await stage.shows("─ token 4 ─")
        assert "cut" not in panel(stage)
        await stage.press("f8", "down", "right", "right")
        await stage.shows("top-k       2")
        cut = SamplingParams(1.0, top_k=2)
        wanted = dict(zip(toys.WORDS, rows(shares(stage, 4, cut), shares(stage, 4, SamplingParams())), strict=True))
        await stage.until(lambda: entries(stage) == wanted)
        assert panel(stage).count("cut") == len(toys.WORDS) - 2


@BOTH
async def test_a_knob_turned_in_a_pause_redraws_the_panel_and_the_model_stands_still(
    models: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    async with on_stage(models / "endless", prompt="the", pace=16, length=100_000, size=(110, 40)) as (stage, _):
        await stage.press("enter")
        await stage.until(lambda: grown(stage, 3))
        await stage.press(key)
        await stage.until(lambda: at_rest(stage))
        position = len(branch(stage)) - (key == "left")
        await stage.shows(f"─ token {position} ─")
        raw, steps = shares(stage, position, SamplingParams()), counted_steps(monkeypatch)
        await stage.press("up", "up", "up", "up")
        await stage.shows("temperature 1.20")
        made = len(branch(stage))
        monkeypatch.undo()
        now = dict(zip(toys.WORDS, rows(shares(stage, position, SamplingParams(1.2)), raw), strict=True))
        await stage.until(lambda: entries(stage) == now)
        assert steps == []
        assert len(branch(stage)) == made


async def test_what_a_knob_shows_is_what_the_next_token_is_drawn_from(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the", pace=16, length=100_000, size=(110, 40)) as (stage, _):
        await stage.press("enter")
        await stage.until(lambda: grown(stage, 3))
        await stage.press("space")
        await stage.until(lambda: at_rest(stage))
        await stage.press(*["down"] * 20)
        await stage.shows("temperature 0.00")
        before = len(branch(stage))
        await stage.until(lambda: "100.0%" in panel(stage) and panel(stage).count("cut") == 7)
        [only] = [word for word, said in entries(stage).items() if "100.0%" in said]
        await stage.press("right")
        await grows_to(stage, before + 1)
        assert toys.WORDS[tokens(branch(stage))[-1]] == only


async def test_space_holds_the_run_and_right_makes_exactly_one(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the", pace=16, length=100_000) as (stage, _):
        await stage.press("enter")
        await stage.until(lambda: grown(stage, 3))
        await stage.press("space")
        await stage.until(lambda: at_rest(stage))
        made = len(branch(stage))
        for more in range(1, 4):
            await stage.press("right")
            await grows_to(stage, made + more)
            await stage.shows(f"─ token {made + more} ─")
        await stage.shows(f"paused at {made + 3 - 2} of 100,000")
        assert stage.page == "".join(_written(tokens(branch(stage))))
        await stage.press("space")
        await stage.until(lambda: len(branch(stage)) > made + 4)


async def test_left_pauses_and_goes_back_and_home_and_end_jump(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the cat", pace=16, length=100_000) as (stage, _):
        await stage.press("enter")
        await stage.until(lambda: grown(stage, 7))
        await stage.press("left")
        await stage.until(lambda: at_rest(stage))
        made = tokens(branch(stage))
        for position in (len(made) - 1, len(made) - 2, len(made) - 3):
            await stage.shows(f"─ token {position} ─")
            await reads(stage, f"▸ {toys.WORDS[made[position]]} ")
            assert _walked(stage) == toys.WORDS[made[position]]
            await stage.press("left")
        await stage.press("home")
        await stage.shows("─ token 1 ─")
        await stage.until(lambda: "= given" in panel(stage) and "= the" in panel(stage))
        assert _walked(stage) == "the"
        await stage.press("left")
        await stage.shows("─ token 1 ─")
        await stage.press("end")
        await stage.shows(f"─ token {len(made)} ─")
        assert tokens(branch(stage)) == made


async def test_the_end_of_a_run_is_where_right_makes_one_more(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the", length=3) as (stage, _):
        await stage.run_to_end()
        await stage.shows("complete: 3")
        await stage.press("end", "right")
        await stage.until(lambda: len(branch(stage)) == 6 and stage.told_of_the_end())
        await stage.shows("─ token 6 ─")
        await stage.shows("complete: 4")


async def test_a_text_that_has_come_to_its_end_stays_as_it_is(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", temperature=0.0) as (stage, _):
        await stage.run_to_end()
        made = len(branch(stage))
        await stage.press("end")
        await stage.shows(f"─ token {made - 1} ─")
        await reads(stage, "▸ <end>")
        await stage.press("right", "right")
        await stage.shows(f"─ token {made - 1} ─")
        assert "go on" not in footer(stage)
        assert len(branch(stage)) == made


async def test_a_click_on_a_word_puts_the_cursor_there(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", temperature=0.0) as (stage, pilot):
        await stage.run_to_end()
        x, y = place(stage, "sat.")
        await pilot.click(offset=(x + 1, y))
        await stage.shows("─ token 3 ─")
        await reads(stage, "▸ sat")
        assert _walked(stage) == "sat"
        x, y = place(stage, "the cat")
        await pilot.click(offset=(x + 1, y))
        await stage.shows("─ token 1 ─")


async def test_a_click_on_the_first_letter_of_all_puts_the_cursor_there(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", temperature=0.0) as (stage, pilot):
        await stage.run_to_end()
        await pilot.click(offset=place(stage, "the cat"))
        await pilot.pause(0.2)
        assert "─ token 1 ─" in stage.screen()


async def test_a_click_in_another_sample_shows_what_that_one_was_drawn_from(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the", length=8, samples=2, seed=3, size=(110, 40)) as (
        stage,
        pilot,
    ):
        await stage.run_to_end()
        second = list(stage.app.query(TextView))[1]
        await pilot.click(second, offset=(2, 1))
        await stage.until(lambda: stage.app.walking.cursor and stage.app.walking.sample == 1)
        at = stage.app.walking.at()
        assert at
        now = shares(stage, at, replace(stage.params), sample=1)
        await stage.until(lambda: entries(stage) == dict(zip(toys.WORDS, rows(now, now), strict=True)))
        assert tokens(branch(stage), 0) != tokens(branch(stage), 1)


def _walked(stage: Stage) -> str:
    """What the cursor covers."""
    page = stage.app.query(TextView).first()
    style = page.get_component_rich_style("text-view--at-cursor")
    strips = [page.render_line(y) for y in range(page.size.height)]
    return "".join(segment.text for strip in strips for segment in strip if segment.style == style).strip()


def _written(made: list[int]) -> str:
    words = " ".join(toys.WORDS[token] for token in made[1:])
    return words.replace(" .", ".")
