"""Where the knobs stand and how they turn."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from tests.support import toys
from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.library import read_card
from tui_gen.sampling.params import SamplingParams
from tui_gen.tui.knob_state import KnobState


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    return read_card(toys.text_folder(tmp_path / "cats", temperature=0.8))


@pytest.fixture
def knobs(card: ModelCard) -> KnobState:
    knobs = KnobState(SamplingParams(), samples=1, seed=42, length=None)
    knobs.serve(card)
    return knobs


def test_a_model_brings_its_temperature_and_pace_unless_a_person_asked_for_another(card: ModelCard) -> None:
    for wanted, found in ((None, 0.8), (0.3, 0.3)):
        knobs = KnobState(SamplingParams(), samples=1, seed=42, length=None, temperature=wanted)
        knobs.serve(card)
        assert knobs.values() == {
            "temperature": found, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "pace": 64.0, "samples": 1, "length": 300,
            "seed": 42,
        }  # fmt: skip


@pytest.mark.parametrize("name", ["temperature", "top_k", "top_p", "min_p", "pace", "samples", "length", "seed"])
def test_every_knob_turns_both_ways_and_back_to_its_default(knobs: KnobState, name: str) -> None:
    knobs.reset(name)
    default = knobs.values()[name]
    for direction in (1, -1):
        for _ in range(3):
            knobs.turn(name, direction)
    knobs.turn(name, 1)
    assert knobs.values()[name] != default or knobs.turn(name, 1) is None
    knobs.reset(name)
    assert knobs.values()[name] == default


def test_the_engine_sees_a_turned_knob_at_once(knobs: KnobState) -> None:
    seen = knobs.params
    knobs.turn("temperature", 1)
    knobs.turn("top_k", 1)
    assert (seen.temperature, seen.top_k) == (0.85, 1)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("temperature", "1.37", 1.37), ("top_k", "7", 7), ("top_k", "off", 0), ("pace", "unlimited", math.inf),
     ("seed", "123", 123), ("length", "17", 17), ("top_p", "off", 1.0)],
)  # fmt: skip
def test_values_can_be_typed(knobs: KnobState, name: str, text: str, value: float) -> None:
    knobs.type(name, text)
    assert knobs.values()[name] == value


@pytest.mark.parametrize("name", ["temperature", "top_k", "top_p", "min_p", "pace", "samples", "length"])
def test_the_limits_that_are_told_are_those_that_can_be_typed(knobs: KnobState, name: str) -> None:
    knob = knobs.table[name]
    for value in knob.limits:
        knobs.type(name, repr(value))
        assert knobs.values()[name] == value
    with pytest.raises(TuiGenError, match=f"{knob.label} goes from {re.escape(knob.shown_limits)}"):
        knobs.type(name, repr(knob.limits[1] + 1))


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [("temperature", "hot", "takes a number"), ("temperature", "99", "goes from 0.00 to 10.00"),
     ("samples", "0", "goes from 1 to 4096"), ("top_p", "1.5", "top-p goes from"), ("seed", "nan", "goes from"),
     ("seed", "inf", "seed goes from 0 upwards")],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_changes_nothing(knobs: KnobState, name: str, text: str, fault: str) -> None:
    before = knobs.values()
    with pytest.raises(TuiGenError, match=fault):
        knobs.type(name, text)
    assert knobs.values() == before


def test_only_what_a_person_turned_travels_to_the_next_model(knobs: KnobState, tmp_path: Path) -> None:
    stripes = read_card(toys.image_folder(tmp_path / "stripes", temperature=1.1))
    knobs.serve(stripes)
    assert (knobs.params.temperature, knobs.values()["length"]) == (1.1, toys.HEIGHT * toys.WIDTH)
    for name, text in (("temperature", "0.3"), ("top_k", "2"), ("pace", "9"), ("samples", "3"), ("length", "7")):
        knobs.type(name, text)
    knobs.reset("length")
    before = knobs.values()
    knobs.serve(read_card(toys.text_folder(tmp_path / "dogs", temperature=0.9)))
    assert knobs.values() == {**before, "length": 300}
    knobs.reset("temperature")
    knobs.serve(stripes)
    assert knobs.values() == {**before, "temperature": 1.1}
