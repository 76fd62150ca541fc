"""Looking inside the network at the cursor: states, gates and the cell, beside the text or over it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from tests.support.driver import GUARD_SECONDS, ScreenDriver, on_screen
from tui_gen.inspection.branch_trace import BranchTrace
from tui_gen.inspection.influence import Influence
from tui_gen.inspection.inside import Inside, neighbours, trace
from tui_gen.tui.widgets import inside_panel
from tui_gen.tui.widgets.inside_drawing import Measurement

SHIPPED = Path(__file__).parents[2] / "models"


def figures(driver: ScreenDriver) -> list[float]:
    """The values at the cursor, of all units in sight."""
    return [float(value) for value in re.findall(r" {2}([+-]\d+\.\d\d)\s*(?:▏|$)", driver.screen(), re.MULTILINE)]


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_states_and_gates_follow_the_cursor_and_are_the_models_own(size: tuple[int, int]) -> None:
    async with on_screen(SHIPPED / "recipes", prompt="roasted vegetables", length=20, seed=3, size=size) as driver:
        await driver.run_to_end()
        await driver.press("left", "left", "f10")
        await driver.shows("inside: state")
        await driver.shows("layer 1 h · 192 units")
        branch = driver.branch
        values = trace(driver.workspace.loaded_model.model, branch.tokens[:, 0].astype(np.int64)).values
        position = len(branch) - 2
        await driver.until(lambda: figures(driver))
        hidden = [round(float(value), 2) for value in values["layer0.hidden"][position]]
        assert set(figures(driver)[:3]) <= set(hidden)
        before = driver.screen()
        await driver.press("left")
        await driver.until(lambda: driver.screen() != before and "layer 1 h" in driver.screen())
        await driver.press("2", "down")
        await driver.shows("layer 1 of 2, LSTM · unit 1 of 192")
        cell = values["layer0.cell"][position - 1, 1]
        await driver.shows(f"──── c {cell:+.2f}")
        await driver.press("l")
        await driver.shows("layer 2 of 2, LSTM")
        await driver.press("f10")
        await driver.until(lambda: "inside:" not in driver.screen())
        assert driver.view.has_focus_within


async def test_what_a_prediction_rests_on_is_seen_on_the_text_once_the_model_has_time() -> None:
    async with on_screen(SHIPPED / "shakespeare", prompt="ROMEO: ", length=400, seed=3, pace=40) as driver:
        await driver.grow_beyond(20)
        await driver.press("f10", "3")
        await driver.shows("paused or rests; space pauses it")
        await driver.press("space")
        await driver.stands_still()
        await driver.shows("tokens back with 0.01 bits")
        branch, card = driver.branch, driver.workspace.loaded_model.card
        await driver.press("left", "left")
        past = len(branch) - 1
        influence = Influence(
            driver.workspace.loaded_model.model, branch.tokens[:past, 0].astype(np.int64), card.vocab_size
        )
        parts = influence.measure([np.array([position]) for position in influence.exchangeable])
        largest = max(exchange.bits for part in parts for exchange in part)
        await driver.shows(f" {largest:.2f} (")
        await driver.until(lambda: "measured" not in driver.screen())
        await driver.press("home")
        await driver.shows("it reaches 1 token back")


async def test_measuring_ends_where_the_cursor_moves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, begun, moved = list[tuple[int, int]](), Event(), Event()

    def measure(trace: BranchTrace, place: inside_panel.Place, _: int) -> Iterator[Measurement]:
        for part in range(3):
            asked.append((place.position, part))
            if len(asked) == 2:
                begun.set()
                moved.wait(GUARD_SECONDS)
            yield Measurement(np.full(place.position + 1 - place.first, 0.5), 9)

    monkeypatch.setattr(inside_panel, "_measure", measure)
    async with on_screen(SHIPPED / "names", prompt="anna", length=4) as driver:
        await driver.run_to_end()
        await driver.press("home", "right", "right", "f10", "3")
        await asyncio.to_thread(begun.wait, GUARD_SECONDS)
        await driver.press("left")
        await driver.settle()
        moved.set()
        await driver.shows("while it reads prompt token 2")
        await driver.until(lambda: asked[-1] == (2, 2))
    assert (3, 2) not in asked


async def test_units_that_follow_something_are_ranked_and_colour_the_text() -> None:
    async with on_screen(SHIPPED / "shakespeare", prompt="ROMEO: ", length=250, seed=3) as driver:
        await driver.run_to_end()
        await driver.press("f10", "4")
        await driver.shows("follow: place in the line (1 of ")
        before = driver.screen()
        await driver.press("p")
        await driver.shows("follow: word length so far (2 of ")
        [first] = re.findall(r"> unit +(\d+)", driver.screen())
        await driver.press("down")
        await driver.until(lambda: re.findall(r"> unit +(\d+)", driver.screen()) not in ([first], []))
        [second] = re.findall(r"> unit +(\d+)", driver.screen())
        position = len(driver.branch) - 1
        values = trace(driver.workspace.loaded_model.model, driver.branch.tokens[:, 0].astype(np.int64)).values
        await driver.shows(f"unit {second} of 256 · {values['layer0.hidden'][position, int(second)]:+.2f} here")
        assert before != driver.screen()
        await driver.press("left", "left")
        there = values["layer0.hidden"][position - 1, int(second)]
        await driver.shows(f"unit {second} of 256 · {there:+.2f} here")


async def test_a_fault_of_what_looks_inside_is_told_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("odd")

    async with on_screen(SHIPPED / "names", prompt="anna", length=4) as driver:
        await driver.run_to_end()
        with monkeypatch.context() as patch:
            patch.setattr(inside_panel, "_window", fail)
            await driver.press("f10")
            await driver.says("looking inside failed: ValueError('odd')")
        await driver.press("home")
        await driver.shows("layer 1 h")


async def test_a_prompt_is_seen_as_the_model_reads_it() -> None:
    async with on_screen(SHIPPED / "recipes", prompt="Roasted xyzzy", length=5, seed=3) as driver:
        await driver.run_to_end()
        await driver.press("home", "right", "right", "f10", "5")
        await driver.shows("prompt: 4 tokens for 24 characters, begins with recipe for")
        await driver.shows("near roasted (cosine)")
        await driver.shows("unknown: xyzzy")
        await driver.shows("typed Roasted")
        driver.place("> prompt   961  roasted    <unk>")
        table = Inside(driver.workspace.loaded_model.model).embedding
        assert table is not None
        [first, *_] = neighbours(table, driver.tokens()[3])
        name = driver.workspace.loaded_model.codec.token_text(first.token)
        assert f" {name:10} {first.cosine:+.2f} " in driver.screen()


async def test_it_stands_beside_the_text_where_there_is_room_and_over_it_where_there_is_none() -> None:
    async with on_screen(SHIPPED / "names", prompt="anna", length=4, size=(200, 50)) as driver:
        await driver.run_to_end()
        await driver.press("f10")
        await driver.shows("inside: state")
        assert driver.view.region.width > 40
        await driver.resize(80, 24)
        await driver.shows("inside: state")
        assert driver.playground.inside.region.width == 80
        await driver.press("escape")
        await driver.until(lambda: not driver.playground.inside.display)
        await driver.resize(200, 50)
        await driver.shows("inside: state")


async def test_it_follows_a_run_and_a_model_without_names_shows_its_states_alone(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", length=200, rate=60, size=(100, 30)) as driver:
        await driver.press("enter")
        await driver.until(lambda: driver.playground.run_view and len(driver.branch) > 3)
        await driver.press("f10")
        await driver.shows("layer 1 count · 1 units")
        await driver.press("2")
        await driver.shows("nothing inside has a name")
