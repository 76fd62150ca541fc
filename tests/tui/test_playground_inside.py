"""Looking inside the network at the cursor: states, gates and the cell, beside the text or over it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from textual.events import Paste

from tests.support.driver import GUARD_SECONDS, ScreenDriver, on_screen
from tui_gen.generation.surgery import Forget, Hold, Take
from tui_gen.images.picture import first_pixel
from tui_gen.inspection.branch_trace import BranchTrace
from tui_gen.inspection.influence import Influence, PictureExchanges
from tui_gen.inspection.inside import Inside, neighbours, trace
from tui_gen.inspection.receptive_field import taps_field
from tui_gen.inspection.units import phrase_matches, similar_places
from tui_gen.sessions.workspace import Workspace
from tui_gen.tui.widgets import inside_panel
from tui_gen.tui.widgets.inside_window import Measurement, Place, Window, read_window

SHIPPED = Path(__file__).parents[2] / "models"


def figures(driver: ScreenDriver) -> list[float]:
    """The values at the cursor, of all units in sight."""
    return [float(value) for value in re.findall(r" {2}([+-]\d+\.\d\d)\s*(?:▏|$)", driver.screen(), re.MULTILINE)]


def unit_shown(driver: ScreenDriver, pattern: str) -> int:
    """The unit that a part of the screen names."""
    match = re.search(pattern, driver.screen())
    assert match, driver.screen()
    return int(match[1])


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
        unit = unit_shown(driver, r">(\d+) ")
        await driver.press("2")
        await driver.shows(f"layer 1 of 2, LSTM · unit {unit} of 192")
        await driver.press("up")
        await driver.shows(f"layer 1 of 2, LSTM · unit {unit - 1} of 192")
        cell = values["layer0.cell"][position - 1, unit - 1]
        await driver.shows(f"──── c {cell:+.2f}")
        assert "x is the token; h goes to layer 2" in driver.screen()
        await driver.press("l")
        await driver.shows("layer 2 of 2, LSTM")
        assert "x is h of layer 1; h goes to the prediction" in driver.screen()
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
        [whole] = [exchange.bits for part in influence.measure([np.arange(1, 8)]) for exchange in part]
        await driver.shows(f"the whole prompt: {whole:.2f} bits")
        await driver.press("home")
        await driver.shows("it reaches 1 token back")


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_what_a_pixel_rests_on_is_drawn_on_the_picture(size: tuple[int, int]) -> None:
    async with on_screen(SHIPPED / "fashion", prompt="coat", size=size) as driver:
        await driver.run_to_end()
        await driver.press("f10", "3")
        await driver.shows("@ row 27, column 27: its prediction")
        await driver.press(*["left"] * 30)
        await driver.shows("@ row 26, column 25: its prediction")
        tokens, loaded_model = np.array(driver.tokens()), driver.workspace.loaded_model
        card, prompt = loaded_model.card, driver.branch.start.prompt
        assert card.image
        past = first_pixel(prompt, card.image) + 26 * 28 + 25
        influence = Influence(loaded_model.model, tokens[:past], card.vocab_size)
        *_, last = PictureExchanges(influence, card).measure()
        await driver.shows(f"the prompt: {last.prompt:.2f} bits")
        await driver.shows(f"{last.largest(1)[0][1]:.2f}")
        await driver.hides("measured")


async def test_measuring_ends_where_the_cursor_moves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, begun, moved = list[tuple[int, int]](), Event(), Event()

    def measure(trace: BranchTrace, place: Place, _: int) -> Iterator[Measurement]:
        for part in range(3):
            asked.append((place.position, part))
            if len(asked) == 2:
                begun.set()
                moved.wait(GUARD_SECONDS)
            yield Measurement(np.full(place.position + 1 - place.first, 0.5), 9)

    monkeypatch.setattr(inside_panel, "measure", measure)
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
        await driver.press("a")
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
        await driver.press("a")
        await driver.until(lambda: f"unit {second} of" not in driver.screen())
        [closest] = re.findall(r"unit (\d+) of 256", driver.screen())
        await driver.press("h")
        await driver.shows(f"h 1 {closest} ")


async def test_keys_that_are_pressed_before_anything_is_known_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, known = Event(), Event()

    def read(trace: BranchTrace, place: Place, workspace: Workspace) -> Window:
        asked.set()
        known.wait(GUARD_SECONDS)
        return read_window(trace, place, workspace)

    monkeypatch.setattr(inside_panel, "read_window", read)
    async with on_screen(SHIPPED / "shakespeare", prompt="ROMEO: ", length=40, seed=3) as driver:
        await driver.run_to_end()
        await driver.press("f10")
        await asyncio.to_thread(asked.wait, GUARD_SECONDS)
        await driver.press("2", "down", "down", "4", "a")
        known.set()
        await driver.shows("follow: word length so far (2 of ")
        unit = unit_shown(driver, r"> unit +(\d+)")
        await driver.press("2")
        await driver.shows(f"unit {unit} of 256")


async def test_a_phrase_is_marked_and_the_cursor_goes_to_other_places_where_its_units_are_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = Event()
    free.set()

    def read(trace: BranchTrace, place: Place, workspace: Workspace) -> Window:
        free.wait(GUARD_SECONDS)
        return read_window(trace, place, workspace)

    monkeypatch.setattr(inside_panel, "read_window", read)
    async with on_screen(SHIPPED / "shakespeare", prompt="ROMEO: ", length=250, seed=3) as driver:
        await driver.run_to_end()
        await driver.press("f10", "4")
        await driver.shows("by chance 0.")
        assert "m phrase" in driver.footer
        free.clear()  # a person marks where the cursor stands, also where nothing is known yet
        await driver.press("left", "left", "m", "left", "left", "left")
        position = driver.view.position
        assert position is not None
        await driver.press("m", "left", "left")
        free.set()
        await driver.shows("on throughout, off around it")
        looked = BranchTrace(driver.branch, Inside(driver.workspace.loaded_model.model))
        hidden = looked.values(0, len(driver.branch))["state.h.0"][1:]
        first = phrase_matches(hidden, range(position - 1, position + 3))[0]
        assert first.is_throughout
        await driver.shows(f"> unit {first.unit:>4} {first.correlation:+.2f}")
        await driver.press("down", "up", "s")
        sign = 1 if first.correlation > 0 else -1
        places = similar_places(hidden, [first.unit], [sign])
        await driver.shows(f"{len(places)} places with unit {first.unit}")
        await driver.press("down", "enter")
        await driver.until(lambda: driver.view.position == places[1].start + 1)
        await driver.shows(">       here")
        await driver.press("s", "m")
        await driver.shows("follow: the word at the cursor")


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_a_text_of_a_file_is_read_walked_through_and_left_again(size: tuple[int, int], tmp_path: Path) -> None:
    text = "JULIET:\nWhat's in a name? that which we call a rose\nBy any other name would smell as sweet;\n" * 4
    (tmp_path / "play.txt").write_text(text)
    async with on_screen(SHIPPED / "shakespeare", prompt="ROMEO: ", length=20, seed=3, size=size) as driver:
        await driver.run_to_end()
        await driver.press("f10", "4", "r")
        await driver.shows("read a text")
        await driver.type("nowhere.txt\r")
        await driver.shows("there is no file 'nowhere.txt'")
        await driver.press("ctrl+u")
        await driver.type(f"{tmp_path}/play.txt\r")
        await driver.ends("play.txt")
        await driver.shows(f"prompt token {len(text)} of play.txt")
        assert driver.notice == "reads play.txt; backspace leads back"
        await driver.shows("follow: place in the line")
        assert driver.page == text
        await driver.press("backspace")
        await driver.ends("1")
        assert driver.playground.inside.has_focus_within
        driver.app.post_message(Paste("O Romeo, Romeo!\r\nwherefore art thou?"))
        await driver.shows("O Romeo, Romeo!␊wherefore")
        await driver.press("enter")
        await driver.ends("text")
        assert driver.page == "O Romeo, Romeo!\nwherefore art thou?"
        assert driver.branch.start.text == driver.page


async def test_a_text_that_takes_the_tokenizer_a_while_is_accepted_once_it_is_known(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_gen.tui.model_loader._PATIENCE", 0.0)
    async with on_screen(models / "endless", length=4) as driver:
        await driver.press("enter")
        await driver.until(lambda: driver.playground.run_view and driver.says_end())
        await driver.press("f10")
        driver.app.post_message(Paste("the dog sat. the cat ran"))
        await driver.shows("read a text")
        await driver.press("enter")
        await driver.ends("text")
        assert driver.page == "the dog sat. the cat ran"


async def test_a_fault_of_what_looks_inside_is_told_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("odd")

    async with on_screen(SHIPPED / "names", prompt="anna", length=4) as driver:
        await driver.run_to_end()
        with monkeypatch.context() as patch:
            patch.setattr(inside_panel, "read_window", fail)
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
        await driver.press("w")
        await driver.shows("near which word")
        await driver.type("xyzzy\r")
        await driver.shows("does not know 'xyzzy'")
        await driver.press("ctrl+u")
        await driver.type("apple pie\r")
        await driver.shows("near apple, the first")
        [apple, _] = driver.workspace.tokens_of("apple pie")
        nearest = neighbours(table, apple)[0]
        assert f"{nearest.cosine:+.2f} " in driver.screen()
        await driver.press("left")
        await driver.shows("near for (cosine)")


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
        await driver.until(driver.says_end)
        await driver.press("left", "left", "h")
        await driver.until(lambda: "a unit of h or c can be held" in driver.notice)
        await driver.press("f")
        await driver.shows("forget before token")
        await driver.press("enter")
        await driver.until(lambda: driver.branch.start.interventions == (Forget(),))


async def looking_inside(driver: ScreenDriver) -> None:
    """Stands on the last token but one, with its inside in sight."""
    await driver.run_to_end()
    await driver.press("left", "left", "f10")
    await driver.shows("inside: state")
    await driver.until(lambda: "while it reads token" in driver.screen())


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_at_the_cursor_a_layer_forgets_and_the_text_goes_on_with_the_same_noise(size: tuple[int, int]) -> None:
    async with on_screen(SHIPPED / "recipes", prompt="roasted vegetables", length=20, seed=3, size=size) as driver:
        await driver.run_to_end()
        await driver.press("home", *["right"] * 9, "f10")
        await driver.shows("inside: state")
        first = driver.branch
        assert "f h t change" in driver.footer
        await driver.press("f")
        await driver.shows("forget the state of layer 1")
        await driver.press("escape")
        await driver.hides("forget the state of layer 1")
        assert len(driver.workspace.tree) == 1
        await driver.press("f", "down", "down", "down")
        await driver.press("enter")
        await driver.ends("2")
        start = driver.branch.start
        assert start.interventions == (Forget(),)
        assert (start.at, start.seed) == (11, first.start.seed)
        assert np.array_equal(driver.branch.tokens[:11], first.tokens[:11])
        await driver.until(lambda: "a new branch, same noise: forget the state at" in driver.notice)
        beside = size[0] >= 150
        assert driver.playground.inside.has_focus_within == beside
        await driver.press("f4")
        await driver.until(lambda: any(line.startswith("▸ └ 2  forget the state") for line in driver.branches))
        await driver.press("escape", "home", *["right"] * 9)
        if driver.playground.inside.display:
            await driver.press("f10")
            await driver.until(lambda: not driver.playground.inside.display)
        await driver.press("f10", "2")
        await driver.until(lambda: "c before +0.00" in driver.screen() and "h before +0.00" in driver.screen())


async def test_a_unit_is_held_at_a_value_that_is_typed_and_its_own_is_proposed() -> None:
    async with on_screen(SHIPPED / "recipes", prompt="roasted vegetables", length=20, seed=3, size=(200, 60)) as driver:
        await looking_inside(driver)
        await driver.press("left", "left", "2", "l")
        await driver.shows("layer 2 of 2, LSTM · unit")
        unit = unit_shown(driver, r"· unit (\d+)")
        position = driver.view.position
        assert position is not None
        now = float(driver.branch.donation(position + 1)[0][0, 1, unit])
        await driver.press("h")
        await driver.shows(f"h 2 {unit} {now:.2f}")
        await driver.press("ctrl+u")
        await driver.type("h 2 400 1")
        await driver.press("enter")
        await driver.shows("h of layer 2 has units 0 to 191, not 400")
        await driver.press("ctrl+u")
        await driver.type(f"c 2 {unit} 2.5")
        await driver.press("enter")
        await driver.ends("2")
        assert driver.branch.start.interventions == (Hold("c", 1, unit, 2.5),)
        await driver.shows("c before +2.50")


async def test_the_state_of_another_branch_is_taken_at_its_end_or_where_its_cursor_stood() -> None:
    async with on_screen(SHIPPED / "recipes", prompt="roasted vegetables", length=20, seed=3, size=(200, 60)) as driver:
        await looking_inside(driver)
        donor, position = driver.branch, driver.view.position
        assert position is not None
        await driver.press("t")
        await driver.says("there is no other branch whose state could be taken; another prompt or token begins one")
        await driver.press("escape", "escape", "ctrl+n")
        await driver.ends("2")
        await driver.press("left", "left", "f10")
        await driver.until(lambda: not driver.playground.inside.display)
        await driver.press("f10")
        await driver.until(lambda: driver.playground.inside.has_focus_within)
        await driver.press("t")
        await driver.shows("branch 1, at its end")
        await driver.press("enter")
        await driver.ends("3")
        assert driver.branch.start.interventions == (Take(donor, position),)
        await driver.press("backspace")
        await driver.ends("2")
        assert driver.playground.inside.has_focus_within
        await driver.press("backspace")
        await driver.ends("3")


async def test_only_branches_of_as_many_samples_that_have_not_ended_have_a_state_to_give() -> None:
    async with on_screen(SHIPPED / "names", prompt="ma", length=30, seed=3, samples=2, size=(200, 60)) as driver:
        await driver.run_to_end()
        await driver.press("home", "right", "right", "f10")
        await driver.shows("inside: state")
        driver.playground.knobs.type("samples", "1")
        await driver.press("ctrl+n")
        await driver.ends("2")
        await driver.press("home", "right", "f10", "f10", "t")
        await driver.until(lambda: "there is no other branch of one sample whose state" in driver.notice)
        driver.playground.knobs.type("samples", "2")
        await driver.press("ctrl+n")
        await driver.ends("3")
        await driver.press("home", "right", "f10", "f10", "t")
        await driver.shows("branch 1, 2 samples, before token 1, where its cursor stood")
        assert "branch 2" not in driver.screen().split("take before")[1]


async def test_a_picture_has_nothing_to_operate_on_and_says_so_in_a_line(models: Path) -> None:
    async with on_screen(models / "stripes", prompt="bright", size=(100, 30)) as driver:
        await driver.run_to_end()
        await driver.press("left", "f10")
        await driver.shows("nothing inside has a name")
        await driver.press("2")
        await driver.shows("the card does not tell")
        for key in "fht":
            await driver.press(key)
            await driver.until(lambda: "this is for recurrent models" in driver.notice)
            assert driver.app.screen is driver.playground
            driver.app.clear_notifications()


async def test_of_several_samples_it_says_which_and_a_value_is_proposed_from_that_one() -> None:
    async with on_screen(
        SHIPPED / "recipes-gru", prompt="roasted vegetables", length=20, seed=3, samples=3, size=(200, 60)
    ) as driver:
        await driver.run_to_end()
        await driver.press("left", "left", "left", "f10", "2", "greater_than_sign")
        await driver.until(lambda: re.search(r"while it reads token \d+ #2", driver.screen()))
        position = driver.view.position
        assert position is not None
        unit = unit_shown(driver, r"· unit (\d+)")
        now = float(driver.branch.donation(position + 1)[0][1, 0, unit])
        await driver.press("h")
        await driver.shows(f"h 1 {unit} {now:.2f}")
        await driver.press("enter")
        await driver.ends("2")
        [hold] = driver.branch.start.interventions
        assert isinstance(hold, Hold)
        assert hold.value == pytest.approx(now, abs=0.006)


async def test_where_two_branches_are_compared_or_a_card_stands_it_makes_room_and_comes_back() -> None:
    async with on_screen(SHIPPED / "recipes-rnn", prompt="roasted vegetables", length=20, size=(200, 60)) as driver:
        await looking_inside(driver)
        inside = driver.playground.inside
        await driver.press("ctrl+g")
        await driver.ends("2")
        assert inside.display
        await driver.press("f4", "up", "c")
        await driver.until(lambda: driver.playground.output.compared)
        await driver.until(lambda: not inside.display)
        await driver.press("escape")
        await driver.until(lambda: inside.display and "inside: state" in driver.screen())
        await driver.press("f3", "up", "enter")
        await driver.until(lambda: driver.workspace.loaded_model.card.name == "recipes-lstm")
        await driver.until(lambda: not inside.display)
        await driver.run_to_end()
        await driver.until(lambda: inside.display and "inside: state" in driver.screen())


async def test_a_run_that_pauses_is_operated_on_at_its_newest_token() -> None:
    async with on_screen(SHIPPED / "grimm", prompt="once upon a time", length=400, pace=60, size=(200, 60)) as driver:
        await driver.pause_beyond(8)
        first, newest = driver.branch, len(driver.branch)
        await driver.press("f10", "f")
        await driver.shows("forget before token")
        await driver.press("enter")
        await driver.until(lambda: driver.branch.start.interventions)
        assert driver.branch.start.at == newest
        assert np.array_equal(driver.branch.tokens[:newest], first.tokens[:newest])
        await driver.grow_beyond(newest + 3)


@pytest.mark.parametrize("size", [(80, 24), (40, 12), (200, 60)])
async def test_a_picture_is_seen_from_inside_while_it_is_drawn(size: tuple[int, int]) -> None:
    async with on_screen(SHIPPED / "fashion", prompt="coat", pace=400, size=size) as driver:
        await driver.pause_beyond(60)
        await driver.press("f10")
        await driver.shows("inside: features")
        await driver.shows("layer 1 of 20 · above")
        await driver.press("l")
        await driver.shows("layer 2 of 20 · blocks.0.vertical")
        await driver.press("5")
        await driver.shows("inside: prompt")
        await driver.press("4")
        await driver.shows("inside: units")
        await driver.press("2")
        await driver.shows("after step 7 of 7")
        await driver.press("l")
        await driver.shows("after step 1 of 7")
        await driver.press("up", "left")
        await driver.shows("after step 7 of 7")
        image, position = driver.workspace.loaded_model.card.image, driver.view.position
        assert image
        assert position is not None
        pixel = position - driver.view.head
        await driver.shows(f"sees {taps_field(image, pixel).sum()} of {pixel}")
        await driver.press("f")
        await driver.until(lambda: "this is for recurrent models" in driver.notice)
        assert "change" not in driver.footer


async def test_features_are_the_models_own_and_grow_with_the_drawing() -> None:
    async with on_screen(SHIPPED / "fashion-book", length=130) as driver:
        await driver.run_to_end()
        await driver.press("left", "left", "f10", "o")
        values = trace(driver.workspace.loaded_model.model, driver.branch.tokens[:, 0].astype(np.int64)).values
        position = driver.view.position
        assert position is not None
        await driver.shows(f"0 {values['input.features'][position - 1, 0]:+.2f}")
        blank = driver.screen().count("·")
        await driver.press("end", "right", "right", "right", "right")
        await driver.until(lambda: driver.screen().count("·") < blank)


async def test_what_a_prompt_moves_is_measured_once_the_model_has_time() -> None:
    async with on_screen(SHIPPED / "fashion", prompt="coat", pace=200) as driver:
        await driver.press("enter")
        await driver.grow_beyond(40)
        await driver.press("f10", "5")
        await driver.shows("paused or rests; space pauses it")
        await driver.press("space")
        await driver.stands_still()
        await driver.shows("where it counts: up to")
        await driver.shows(".vertical ")


async def test_in_characters_a_picture_reads_without_colour() -> None:
    async with on_screen(SHIPPED / "fashion-book") as driver:
        await driver.run_to_end()
        await driver.press("left", *["up"] * 3, *["left"] * 6, "f10", "2")
        await driver.shows("blind spot 10")
        assert "#####@" not in driver.screen()
        await driver.press("f2")
        await driver.shows("#####@")
        await driver.press("1")
        await driver.until(lambda: re.search("[-=≡·+*#]{16}", driver.screen()))
