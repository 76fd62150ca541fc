"""The list of knobs, as a person reads, selects and turns them, in the room that there is."""

from __future__ import annotations

import math

import pytest
from textual import events
from textual.widget import Widget

from tests.support.widget_app import PANEL_SIZES, alone, check_panel
from tui_gen.card import ImageSpec, ModelCard
from tui_gen.sampling.knobs import Knob, knobs_for
from tui_gen.tui.widgets.knob_panel import KnobPanel

TABLE = knobs_for(ModelCard("words", "text", "toy", 10_000, 0))
VALUES: dict[str, float] = {
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 1.0,
    "min_p": 0.05,
    "pace": math.inf,
    "samples": 4,
    "length": 300,
    "seed": 42,
}


def knobs_panel(table: dict[str, Knob] = TABLE, **changes: float) -> KnobPanel:
    panel = KnobPanel()
    panel.serve(table)
    panel.show({**VALUES, **changes})
    panel.show_progress("token 31 of 300")
    return panel


async def test_a_person_reads_how_all_knobs_are_turned() -> None:
    screens = {}
    for size in PANEL_SIZES:
        panel = knobs_panel()
        panel.show(VALUES, changed_for_next={"samples"})
        async with alone(panel, size, focus=True) as driver:
            await driver.press("down")
            screens[size] = driver.lines()
    check_panel("knob-panel", screens)


async def test_up_and_down_select_and_left_and_right_turn_what_is_selected() -> None:
    panel = knobs_panel()
    async with alone(panel, (28, 12), focus=True) as driver:
        await driver.press("right", "down", "down", "left", "up", "backspace", "delete")
        assert driver.contents == [
            ("Turned", "temperature", 1),
            ("Turned", "top_p", -1),
            ("Reset", "top_k"),
            ("Reset", "top_k"),
        ]
        assert panel.selected == "top_k"
        assert driver.reversed_lines()[0].startswith("▸ top-k       40")


async def test_the_selection_ends_at_the_first_and_the_last_knob() -> None:
    panel = knobs_panel()
    async with alone(panel, (28, 6), focus=True) as driver:
        await driver.press("up")
        assert panel.selected == "temperature"
        await driver.press(*["down"] * 12)
        assert panel.selected == "seed"
        assert driver.reversed_lines()[0].startswith("▸ seed        42")
        assert driver.lines()[-1] == "  token 31 of 300"


async def test_what_is_selected_is_marked_without_the_focus_too() -> None:
    panel = knobs_panel()
    async with alone(panel, (28, 12)) as driver:
        assert not driver.reversed_lines()
        assert driver.lines()[1].startswith("▸ temperature 0.80 ━━━●────")


async def test_a_click_selects_a_line() -> None:
    panel = knobs_panel()
    async with alone(panel, (28, 12)) as driver:
        await driver.click(panel, (8, 5))
        assert panel.selected == "pace"
        await driver.click(panel, (0, 1))
        assert panel.selected == "temperature"
        await driver.click(panel, (8, 5))
        await driver.click(panel, (8, 9))  # the progress
        assert panel.selected == "pace"
        assert not driver.messages


async def test_digits_type_a_value_and_enter_asks_for_it() -> None:
    panel = knobs_panel()
    async with alone(panel, (28, 12), focus=True) as driver:
        await driver.press("1", ".", ".", "2", "7", "backspace")
        assert driver.reversed_lines()[0].startswith("▸ temperature 1.2▌")
        assert panel.typing
        assert not driver.messages
        await driver.press("enter")
        assert driver.contents == [("Typed", "temperature", "1.2")]
        assert driver.reversed_lines()[0].startswith("▸ temperature 0.80")


@pytest.mark.parametrize("leave", ["escape", "down", "tab"])
async def test_what_is_typed_can_be_left(leave: str) -> None:
    panel = knobs_panel()
    async with alone(panel, (28, 12), focus=True) as driver:
        await driver.app.mount(_Other())
        await driver.press("9", leave)
        assert not panel.typing
        assert not driver.messages
        assert "9▌" not in "\n".join(driver.lines())


class _Other(Widget, can_focus=True):
    DEFAULT_CSS = "_Other { display: block; height: 1; dock: bottom; }"


async def test_enter_and_escape_are_left_to_others_while_nothing_is_typed() -> None:
    panel = knobs_panel()
    async with alone(panel, (28, 12), focus=True) as driver:
        pressed = []
        driver.app.bind("enter,escape", "note")
        driver.app.action_note = lambda: pressed.append(1)
        await driver.press("enter", "escape")
        assert len(pressed) == 2
        assert not driver.messages


async def test_a_change_that_waits_for_the_next_run_says_so_whatever_room_there_is() -> None:
    table = knobs_for(ModelCard("dots", "image", "toy", 3, 0, image=ImageSpec(28, 28, 3)))
    panel = knobs_panel(table, length=784, seed=2**62 - 1)
    panel.show({**VALUES, "length": 784, "seed": 2**62 - 1}, changed_for_next={"samples", "length", "seed"})
    async with alone(panel, (28, 12)) as driver:
        assert "  samples     4 next run" in driver.lines()
        assert "  length whole picture next" in driver.lines()
        assert "  seed 461168601842738… next" in driver.lines()


async def test_the_selected_knob_is_explained_where_there_is_room() -> None:
    panel = knobs_panel()
    async with alone(panel, (40, 16), focus=True) as driver:
        assert " ".join(" ".join(driver.lines()[10:]).split()) == TABLE["temperature"].explanation
        await driver.press("down")
        assert " ".join(" ".join(driver.lines()[10:]).split()) == TABLE["top_k"].explanation
    async with alone(knobs_panel(), (28, 12), focus=True) as driver:
        assert driver.lines()[-1].endswith("…")


async def test_another_model_keeps_what_is_selected() -> None:
    panel = knobs_panel()
    async with alone(panel, (28, 12), focus=True) as driver:
        panel.select("min_p")
        panel.serve(knobs_for(ModelCard("dots", "image", "toy", 3, 0, image=ImageSpec(4, 4, 3))))
        await driver.settle()
        assert panel.selected == "min_p"


async def test_the_progress_is_shown_before_there_are_knobs_and_cannot_break_the_screen() -> None:
    panel = KnobPanel()
    async with alone(panel, (28, 6), focus=True) as driver:
        panel.show_progress("[/b]\x1b[2J" + "x" * 40)
        await driver.press("down", "right", "1", "enter")
        assert driver.lines()[1] == "  [/b]␛[2Jxxxxxxxxxxxxxxxxx…"
        assert panel.selected == "temperature"
        assert not driver.messages


class Deaf(KnobPanel):
    """Never hears of a size: drawing comes first."""

    async def on_event(self, event: events.Event) -> None:
        if not isinstance(event, events.Resize):
            await super().on_event(event)


async def test_knobs_are_drawn_for_the_room_that_there_is_now() -> None:
    panel = Deaf()
    panel.serve(TABLE)
    async with alone(panel, (28, 4), focus=True) as driver:
        await driver.press(*["down"] * 7)
        assert [line.split()[:2] for line in driver.lines()[1:3]] == [["length"], ["▸", "seed"]]
        await driver.resize(28, 16)
        assert [line[2:].split()[0] for line in driver.lines()[1:9]] == [
            "temperature", "top-k", "top-p", "min-p", "pace", "samples", "length", "seed"
        ]  # fmt: skip
        await driver.resize(28, 3)
        assert driver.lines()[1].startswith("▸ seed")
