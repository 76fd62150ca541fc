"""The eight knobs: each is selected, turned, typed and reset, and counts from the moment that it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.instrument import at_rest, branch, footer, grown, lines, tokens, told
from tests.support.stage import Stage, headless_text, on_stage

NAMES = ("temperature", "top-k", "top-p", "min-p", "pace", "samples", "length", "seed")
EACH = [
    # knob, at first, turned up, typed, what typing shows, after a reset
    ("temperature", "1.00", "1.05", "0.7", "0.70", "1.00"),
    ("top-k", "off", "1", "4", "4", "off"),
    ("top-p", "off", "off", ".9", "0.90", "off"),
    ("min-p", "off", "0.01", "0.07", "0.07", "off"),
    ("pace", "64 a second", "128 a second", "100", "100 a second", "64 a second"),
    ("samples", "1", "2", "3", "3", "1"),
    ("length", "300", "500", "77", "77", "300"),
    ("seed", "42", "43", "1234", "1234", "42"),
]


def knob(stage: Stage, name: str) -> str:
    """What a knob's line says of its value, without the gauge."""
    [line] = [line for line in lines(stage, stage.app.knobs) if line[2:].startswith(name)]
    return line[2 + len(name) :].strip().split("  ")[0].rstrip("━●─╸ ")


async def select(stage: Stage, name: str) -> None:
    """Goes to a knob."""
    await stage.press("f8", *["down"] * NAMES.index(name))
    await stage.until(lambda: any(line.startswith(f"▸ {name}") for line in lines(stage, stage.app.knobs)))


@pytest.mark.parametrize("at_first", EACH, ids=NAMES)
async def test_a_knob_is_turned_typed_and_reset(models: Path, at_first: tuple[str, ...]) -> None:
    name, before, turned, typed, shown, default = at_first
    async with on_stage(models / "endless", pace=64) as (stage, _):
        await select(stage, name)
        await stage.until(lambda: knob(stage, name) == before)
        await stage.press("right")
        await stage.until(lambda: knob(stage, name) == turned)
        await stage.type(typed)
        await stage.until(lambda: knob(stage, name) == f"{typed}▌")
        await stage.press("enter")
        await stage.until(lambda: knob(stage, name) == shown)
        await stage.press("delete")
        await stage.until(lambda: knob(stage, name) == default)
        await stage.press("escape")
        await stage.until(lambda: "0-9 type" not in footer(stage))


async def test_a_value_that_cannot_be_is_refused_and_the_knob_stays(models: Path) -> None:
    async with on_stage(models / "endless") as (stage, _):
        await select(stage, "top-p")
        await stage.type("3")
        await stage.press("enter")
        await stage.until(lambda: told(stage) == "top-p goes from 0.01 to off")
        assert knob(stage, "top-p") == "off"


async def test_escape_drops_what_is_typed_and_then_leaves_the_knobs(models: Path) -> None:
    async with on_stage(models / "endless") as (stage, _):
        await select(stage, "seed")
        await stage.type("77")
        await stage.press("escape")
        await stage.until(lambda: knob(stage, "seed") == "42")
        await stage.press("escape")
        await stage.until(lambda: stage.app.focused is stage.app.prompt_line)


async def test_the_selected_knob_is_turned_from_everywhere(models: Path) -> None:
    async with on_stage(models / "endless", length=5) as (stage, _):
        await stage.run_to_end()
        await select(stage, "min-p")
        await stage.press("escape", "plus", "plus", "minus")
        await stage.until(lambda: knob(stage, "min-p") == "0.01")


async def test_knobs_of_sampling_count_for_the_very_next_token(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the", pace=64, length=100_000) as (stage, _):
        await stage.press("enter")
        await stage.until(lambda: grown(stage, 3))
        await select(stage, "top-k")
        await stage.press("right")
        await stage.until(lambda: stage.steps[-1].params.top_k == 1)
        await stage.press("down")
        await stage.type("0.5")
        await stage.press("enter")
        await stage.until(lambda: stage.steps[-1].params.top_p == 0.5)
        assert stage.steps[0].params.top_k == 0


async def test_a_longer_length_extends_a_run_under_way(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the", pace=16, length=50) as (stage, _):
        await stage.press("enter")
        await stage.until(lambda: grown(stage, 3))
        await stage.press("space")
        await stage.until(lambda: at_rest(stage))
        await stage.shows("of 50")
        await select(stage, "length")
        await stage.type("60")
        await stage.press("enter")
        await stage.shows("of 60")
        await stage.press("up", "up", "delete", "escape", *["right_square_bracket"] * 9, "space")
        await stage.until(stage.told_of_the_end)
        await stage.shows("complete: 60")
        assert len(branch(stage)) == 62


async def test_a_shorter_length_ends_it_earlier_but_takes_nothing_back(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the", pace=16, length=5000) as (stage, _):
        await stage.press("enter")
        await stage.until(lambda: grown(stage, 5))
        await stage.press("space")
        await stage.until(lambda: at_rest(stage))
        made = tokens(branch(stage))
        await select(stage, "length")
        await stage.type("2")
        await stage.press("enter", "escape", "space")
        await stage.until(stage.told_of_the_end)
        assert tokens(branch(stage))[: len(made)] == made
        assert len(branch(stage)) <= len(made) + 1


async def test_samples_and_seed_say_that_they_count_for_the_next_run(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the", pace=16, length=100_000) as (stage, _):
        await stage.press("enter")
        await stage.until(lambda: grown(stage, 3))
        await select(stage, "samples")
        await stage.press("right", "down", "down", "right")
        await stage.until(lambda: knob(stage, "samples") == "2 next run")
        await stage.until(lambda: knob(stage, "seed") == "43 next run")
        assert branch(stage).samples == 1
        await stage.press("escape", "escape")
        await stage.until(stage.told_of_the_end)
        await stage.press("enter")
        await stage.until(lambda: branch(stage).name == "2" and stage.running)
        await stage.until(lambda: knob(stage, "samples") == "2" and knob(stage, "seed") == "43")
        assert branch(stage).samples == 2
        assert branch(stage).start.seed == 43


async def test_when_a_run_is_over_all_knobs_count_for_the_next_one_and_none_says_so(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the", pace=16, length=100_000) as (stage, _):
        await stage.press("enter")
        await stage.until(lambda: grown(stage, 3))
        await select(stage, "seed")
        await stage.press("right")
        await stage.until(lambda: knob(stage, "seed") == "43 next run")
        await stage.press("escape", "escape")
        await stage.until(stage.told_of_the_end)
        assert knob(stage, "seed") == "43"


async def test_a_seed_that_was_typed_is_what_the_command_line_makes_of_it(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the") as (stage, _):
        await select(stage, "seed")
        await stage.type("1234")
        await stage.press("enter", "escape")
        await stage.run_to_end()
        assert stage.page == headless_text(models / "cats", "the", seed=1234)


async def test_a_click_on_the_very_beginning_of_the_first_knob_selects_it(models: Path) -> None:
    async with on_stage(models / "endless") as (stage, pilot):
        await select(stage, "seed")
        await pilot.click(stage.app.knobs, offset=(0, 1))
        await pilot.pause(0.2)
        assert stage.app.knobs.selected == "temperature"
