"""The list of knobs, as a person reads and turns it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from textual.widget import Widget

from tests.support.panel import SIZES, alone, arguments, check_kept
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


def heard(app: Any) -> list[Any]:
    return [(type(message).__name__, *arguments(message)) for message in app.heard]


async def test_a_person_reads_how_all_knobs_are_turned() -> None:
    screens = {}
    for size in SIZES:
        panel = knobs_panel()
        panel.show(VALUES, changed_for_next={"samples"})
        async with alone(panel, size, focus=True) as (app, pilot):
            await pilot.press("down")
            screens[size] = app.lines()
    check_kept("knob-panel", screens)


async def test_up_and_down_select_and_left_and_right_turn_what_is_selected() -> None:
    panel = knobs_panel()
    async with alone(panel, (28, 12), focus=True) as (app, pilot):
        await pilot.press("right", "down", "down", "left", "up", "backspace", "delete")
        assert heard(app) == [
            ("Turned", "temperature", 1),
            ("Turned", "top_p", -1),
            ("Reset", "top_k"),
            ("Reset", "top_k"),
        ]
        assert panel.selected == "top_k"
        assert app.reversed_lines()[0].startswith("▸ top-k       40")


async def test_the_selection_ends_at_the_first_and_the_last_knob() -> None:
    panel = knobs_panel()
    async with alone(panel, (28, 6), focus=True) as (app, pilot):
        await pilot.press("up")
        assert panel.selected == "temperature"
        await pilot.press(*["down"] * 12)
        assert panel.selected == "seed"
        assert app.reversed_lines()[0].startswith("▸ seed        42")
        assert app.lines()[-1] == "  token 31 of 300"


async def test_what_is_selected_is_marked_without_the_focus_too() -> None:
    panel = knobs_panel()
    async with alone(panel, (28, 12)) as (app, _):
        assert not app.reversed_lines()
        assert app.lines()[1].startswith("▸ temperature 0.80 ━━━●────")


async def test_a_click_selects_a_line() -> None:
    panel = knobs_panel()
    async with alone(panel, (28, 12)) as (app, pilot):
        await pilot.click(KnobPanel, offset=(8, 5))
        assert panel.selected == "pace"
        await pilot.click(KnobPanel, offset=(8, 9))  # the progress
        assert panel.selected == "pace"
        assert not app.heard


async def test_digits_type_a_value_and_enter_asks_for_it() -> None:
    panel = knobs_panel()
    async with alone(panel, (28, 12), focus=True) as (app, pilot):
        await pilot.press("1", "full_stop", "full_stop", "2", "7", "backspace")
        assert app.reversed_lines()[0].startswith("▸ temperature 1.2▌")
        assert panel.typing
        assert not app.heard
        await pilot.press("enter")
        assert heard(app) == [("Typed", "temperature", "1.2")]
        assert app.reversed_lines()[0].startswith("▸ temperature 0.80")


@pytest.mark.parametrize("leave", ["escape", "down", "tab"])
async def test_what_is_typed_can_be_left(leave: str) -> None:
    panel = knobs_panel()
    async with alone(panel, (28, 12), focus=True) as (app, pilot):
        await app.mount(_Other())
        await pilot.press("9", leave)
        assert not panel.typing
        assert not app.heard
        assert "9▌" not in "\n".join(app.lines())


class _Other(Widget, can_focus=True):
    DEFAULT_CSS = "_Other { display: block; height: 1; dock: bottom; }"


async def test_enter_and_escape_are_left_to_others_while_nothing_is_typed() -> None:
    panel = knobs_panel()
    async with alone(panel, (28, 12), focus=True) as (app, pilot):
        pressed = []
        app.bind("enter,escape", "note")
        app.action_note = lambda: pressed.append(1)  # type: ignore[attr-defined]
        await pilot.press("enter", "escape")
        assert len(pressed) == 2
        assert not app.heard


async def test_a_change_that_waits_for_the_next_run_says_so_whatever_room_there_is() -> None:
    table = knobs_for(ModelCard("dots", "image", "toy", 3, 0, image=ImageSpec(28, 28, 3)))
    panel = knobs_panel(table, length=784, seed=2**62 - 1)
    panel.show({**VALUES, "length": 784, "seed": 2**62 - 1}, changed_for_next={"samples", "length", "seed"})
    async with alone(panel, (28, 12)) as (app, _):
        assert "  samples     4 next run" in app.lines()
        assert "  length whole picture next" in app.lines()
        assert "  seed 461168601842738… next" in app.lines()


async def test_the_selected_knob_is_explained_where_there_is_room() -> None:
    panel = knobs_panel()
    async with alone(panel, (40, 16), focus=True) as (app, pilot):
        assert " ".join(" ".join(app.lines()[10:]).split()) == TABLE["temperature"].explanation
        await pilot.press("down")
        assert " ".join(" ".join(app.lines()[10:]).split()) == TABLE["top_k"].explanation
    async with alone(knobs_panel(), (28, 12), focus=True) as (app, _):
        assert app.lines()[-1].endswith("…")


async def test_another_model_keeps_what_is_selected() -> None:
    panel = knobs_panel()
    async with alone(panel, (28, 12), focus=True) as (_, pilot):
        panel.select("min_p")
        panel.serve(knobs_for(ModelCard("dots", "image", "toy", 3, 0, image=ImageSpec(4, 4, 3))))
        await pilot.pause()
        assert panel.selected == "min_p"


async def test_the_progress_is_shown_before_there_are_knobs_and_cannot_break_the_screen() -> None:
    panel = KnobPanel()
    async with alone(panel, (28, 6), focus=True) as (app, pilot):
        panel.show_progress("[/b]\x1b[2J" + "x" * 40)
        await pilot.press("down", "right", "1", "enter")
        assert app.lines()[1] == "  [/b]␛[2Jxxxxxxxxxxxxxxxxx…"
        assert panel.selected == "temperature"
        assert not app.heard
