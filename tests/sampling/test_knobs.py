"""What can be turned, through which values, and how it is shown."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tui_gen.card import ImageSpec, ModelCard
from tui_gen.generation.generate import generate
from tui_gen.library import LoadedModel
from tui_gen.sampling.knobs import Knob, knobs_for
from tui_gen.sampling.params import SamplingParams

WORDS = ModelCard("words", "text", "LSTM 128", vocab_size=7734, bos=0, temperature=0.7)
LETTERS = replace(WORDS, vocab_size=27)
GREYS = ModelCard("greys", "image", "PixelCNN", vocab_size=16, bos=16, image=ImageSpec(28, 28, 16))
COLOURS = replace(GREYS, image=ImageSpec(4, 6, 16, channels=3))


def knob(name: str, card: ModelCard = WORDS) -> Knob:
    return knobs_for(card)[name]


def walk(turnable: Knob, value: float, direction: int) -> list[float]:
    """All values from one on, until the knob turns no further."""
    values = [value]
    while (following := turnable.turned(values[-1], direction)) != values[-1]:
        values.append(following)
    return values


@pytest.mark.parametrize("card", [WORDS, GREYS, COLOURS])
@pytest.mark.parametrize("name", ["temperature", "top_k", "top_p", "min_p", "pace", "samples", "length"])
def test_every_knob_goes_up_to_its_end_and_back_the_same_way(card: ModelCard, name: str) -> None:
    turnable = knob(name, card)
    up = walk(turnable, turnable.lowest, 1)
    assert up[-1] == turnable.highest
    assert walk(turnable, turnable.highest, -1) == up[::-1]
    assert len({turnable.shown(value) for value in up}) == len(up)


def test_the_temperature_goes_by_a_twentieth_from_0_to_2() -> None:
    values = walk(knob("temperature"), 0, 1)
    assert values == [round(step * 0.05, 2) for step in range(41)]
    assert knob("temperature").shown(0.8) == "0.80"
    assert knob("temperature").shown(0.725) == "0.725"


def test_a_temperature_between_two_stops_goes_to_the_next_one() -> None:
    assert [knob("temperature").turned(0.72, direction) for direction in (1, -1)] == [0.75, 0.7]


def test_a_temperature_above_2_may_only_fall_and_falls_step_by_step() -> None:
    assert [knob("temperature").turned(3.0, direction) for direction in (1, -1)] == [3.0, 2.95]
    assert knob("temperature").highest == 2


def test_top_k_is_off_or_a_round_number_below_the_vocabulary() -> None:
    assert walk(knob("top_k", LETTERS), 0, 1) == [0, 1, 2, 3, 5, 10, 20]
    assert walk(knob("top_k"), 0, 1) == [0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]
    assert [knob("top_k").turned(40, direction) for direction in (1, -1)] == [50, 20]
    assert [knob("top_k").shown(value) for value in (0, 40, 5000)] == ["off", "40", "5000"]


def test_top_p_falls_from_off_and_finer_near_0() -> None:
    values = walk(knob("top_p"), 1.0, -1)
    assert values[:3] == [1.0, 0.95, 0.9]
    assert values[-4:] == [0.1, 0.05, 0.02, 0.01]
    assert [knob("top_p").shown(value) for value in (1.0, 0.9, 0.925)] == ["off", "0.90", "0.925"]


def test_min_p_rises_from_off() -> None:
    assert walk(knob("min_p"), 0.0, 1) == [0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5]
    assert [knob("min_p").shown(value) for value in (0.0, 0.05)] == ["off", "0.05"]


def test_the_pace_of_text_doubles_up_to_unlimited() -> None:
    assert walk(knob("pace"), 1, 1) == [*(2**power for power in range(13)), math.inf]
    assert [knob("pace").shown(value) for value in (16.0, 4096, math.inf)] == [
        "16 a second",
        "4096 a second",
        "unlimited",
    ]


def test_the_pace_of_pictures_goes_on_in_whole_rows() -> None:
    values = walk(knob("pace", GREYS), 1, 1)
    assert values == [1, 2, 4, 8, 16, 28, 56, 112, 224, 448, math.inf]
    assert [knob("pace", GREYS).shown(value) for value in values[4:7]] == [
        "16 a second",
        "1 row a second",
        "2 rows a second",
    ]
    assert walk(knob("pace", COLOURS), 16, 1) == [16, 18, 36, 72, math.inf]


def test_the_length_of_a_picture_is_in_rows_and_by_default_all_of_them() -> None:
    length = knob("length", GREYS)
    assert length.shown(length.default) == "whole picture"
    assert length.shown(length.turned(length.default, -1)) == "27 rows"
    assert [length.shown(value) for value in (28, 100, 0)] == ["1 row", "100", "0"]


def test_more_samples_than_can_be_turned_up_to_may_only_fall() -> None:
    assert walk(knob("samples"), 1, 1) == [1, 2, 3, 4, 6, 8, 12, 16]
    assert [knob("samples").turned(100, direction) for direction in (1, -1)] == [100, 16]


def test_a_seed_can_be_turned_to_its_neighbours_but_not_below_0() -> None:
    seed = knob("seed")
    assert [seed.turned(42, 1), seed.turned(42, -1), seed.turned(0, -1)] == [43, 41, 0]
    assert seed.shown(123456789) == "123456789"


def test_the_defaults_are_what_the_model_and_the_screen_begin_with() -> None:
    defaults = {name: turnable.default for name, turnable in knobs_for(WORDS).items()}
    assert defaults == {
        "temperature": 0.7, "top_k": 0, "top_p": 1.0, "min_p": 0.0,
        "pace": 16, "samples": 1, "length": 300, "seed": 42,
    }  # fmt: skip
    assert [knob("pace", card).default for card in (LETTERS, GREYS, COLOURS)] == [64, 224, 18]
    assert knob("length", COLOURS).default == 72


@pytest.mark.parametrize("name", ["temperature", "top_k", "top_p", "min_p"])
def test_a_run_takes_every_value_that_a_knob_can_be_turned_to(text: LoadedModel, name: str) -> None:
    prompt = text.codec.prompt(["the"])
    for value in walk(knob(name, text.card), knob(name, text.card).lowest, 1):
        params = SamplingParams()
        setattr(params, name, value)
        assert len(list(generate(text.model, prompt, params, length=1, seed=0))) == 2


def test_a_knob_tells_its_range_before_what_it_does() -> None:
    assert knob("temperature").explanation.startswith("0.00 to 2.00. Divides")
    assert knob("top_p").explanation.startswith("0.01 to off. Draws from")
    assert knob("seed").explanation.startswith("0 or more. Where")
