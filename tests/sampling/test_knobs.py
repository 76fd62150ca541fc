"""What a person may turn, through which values and in which words; and sweeps, one knob at several values."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from tests.support.toys import DOG, END, THE
from tui_gen.card import ImageSpec, ModelCard
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.generation.generate import generate
from tui_gen.generation.protocol import RunStart
from tui_gen.library import LoadedModel
from tui_gen.sampling.knobs import Knob, knobs_for
from tui_gen.sampling.noise import Noise
from tui_gen.sampling.params import FREE, SamplingParams, Tokens, weights
from tui_gen.sampling.step import Step
from tui_gen.sampling.sweep import Sweep, default_values, read_sweep

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


def test_a_temperature_above_2_and_more_samples_than_16_may_only_fall() -> None:
    assert walk(knob("samples"), 1, 1) == [1, 2, 3, 4, 6, 8, 12, 16]
    assert [knob("samples").turned(100, direction) for direction in (1, -1)] == [100, 16]
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
def test_a_run_takes_every_value_that_a_knob_can_be_turned_to(name: str) -> None:
    for value in walk(knob(name), knob(name).lowest, 1):
        SamplingParams(**{name: value}).checked()  # type: ignore[arg-type]


def test_a_knob_tells_its_range_before_what_it_does() -> None:
    assert knob("temperature").explanation.startswith("0.00 to 10.00. p ∝ exp(logit / T): 0 always")
    assert knob("top_p").explanation.startswith(
        "0.00 to off. Keeps the fewest of the likeliest tokens with Σ p ≥ top-p"
    )
    assert knob("top_k").explanation.startswith("off to 7734. p = 0 unless rank ≤ k")
    assert knob("min_p").explanation.startswith("off to 1.00. p = 0 unless p ≥ min-p · max p")
    assert knob("seed").explanation.startswith("0 upwards. Where")
    assert knob("pace").explanation.startswith("1 a second to 1,000,000 a second, or unlimited. How")
    assert knob("length").explanation.startswith("0 to 10,000,000. How")


VALUES: dict[str, tuple[float, ...]] = {
    "temperature": (0, 0.3, 0.7, 1, 1.6, 3),
    "top_k": (1, 2, 4, 0),
    "top_p": (0, 0.5, 0.9, 1),
    "min_p": (1, 0.3, 0.1, 0),
}
EVERY = np.ones(3, dtype=bool)


def run(
    loaded_model: LoadedModel,
    row: list[int],
    params: SamplingParams,
    sweep: Sweep | None = None,
    *,
    seed: int,
    length: int = 200,
) -> list[Step]:
    prompt = np.array([row] * (len(sweep) if sweep else 1), dtype=np.int64)
    return list(generate(loaded_model.model, prompt, params, length=length, seed=seed, sweep=sweep))


def temperatures(*values: float) -> Sweep:
    return Sweep("temperature", values)


def column(steps: list[Step], sample: int = 0) -> list[int]:
    return [int(step.tokens[sample]) for step in steps if step.live[sample]]


@pytest.mark.parametrize("knob", VALUES)
@pytest.mark.parametrize("seed", range(5))
def test_each_column_equals_a_run_of_one_sample_with_its_value(text: LoadedModel, knob: str, seed: int) -> None:
    params, sweep = SamplingParams(1.3), Sweep(knob, VALUES[knob])
    steps = run(text, [END, THE], params, sweep, seed=seed)
    alone = [run(text, [END, THE], sweep.column(params, sample), seed=seed) for sample in range(len(VALUES[knob]))]
    assert [column(steps, sample) for sample in range(len(alone))] == [column(one) for one in alone]
    assert len({tuple(column(one)) for one in alone}) > 1
    assert knob != "temperature" or len({len(column(one)) for one in alone}) > 1  # some end while the others go on


def test_free_positions_of_a_prompt_take_the_same_numbers_in_every_column(endless: LoadedModel) -> None:
    row = [END, FREE, FREE, DOG, FREE]
    steps = run(endless, row, SamplingParams(), temperatures(0.4, 2.5), seed=8, length=9)
    assert column(steps, 1) == column(run(endless, row, SamplingParams(2.5), seed=8, length=9))


def test_another_knob_turned_in_mid_run_counts_for_all_columns_at_the_next_token(endless: LoadedModel) -> None:
    params, sweep = SamplingParams(), temperatures(0.5, 1.0, 5.0)
    steps = generate(endless.model, np.full((3, 1), END), params, length=9, seed=0, sweep=sweep)
    before = next(steps)
    params.top_k = 1
    after = next(steps)
    assert (before.weights > 0).sum(axis=1).tolist() == [8, 8, 8]
    assert (after.weights > 0).sum(axis=1).tolist() == [1, 1, 1]
    assert (before.params.top_k, after.params.top_k) == (0, 1)


def test_the_swept_knobs_own_value_counts_for_nothing(endless: LoadedModel) -> None:
    still, turned = (SamplingParams(temperature) for temperature in (1.0, 99.0))
    assert [column(run(endless, [END], params, temperatures(0.5, 1.5), seed=1), 1) for params in (still, turned)] == [
        column(run(endless, [END], SamplingParams(1.5), seed=1))
    ] * 2


def test_a_step_that_is_looked_at_again_has_the_distribution_of_each_column(endless: LoadedModel) -> None:
    sweep = temperatures(0.0, 1.0)
    step = run(endless, [END], SamplingParams(), sweep, seed=0, length=1)[0]
    assert np.array_equal(weights(step.logits, sweep.rows(step.params)), step.weights)
    assert np.array_equal(replace(step, draw_weights=None).weights, step.weights)
    assert step.likeliest(2, sample=0).tolist()[0] == THE
    assert step.probs[0].max() == 1 > step.probs[1].max()


def test_a_sweep_goes_on_from_a_point_as_if_it_had_never_stopped(endless: LoadedModel) -> None:
    params, sweep, prompt = SamplingParams(), temperatures(0.5, 1.5, 4.0), np.full((3, 1), END)
    whole = list(generate(endless.model, prompt, params, length=20, seed=2, sweep=sweep))
    at = whole[7]
    point = RunStart(at.index, at.tokens, at.state, at.live, np.full(3, 8))
    rest = generate(endless.model, prompt, params, length=20, seed=2, start=point, sweep=sweep)
    assert [step.tokens.tolist() for step in islice(rest, 5)] == [step.tokens.tolist() for step in whole[8:13]]


def test_shared_noise_is_the_first_samples_stream_at_a_place_of_its_own_for_each() -> None:
    first = Noise(7, 1)
    numbers = [first.uniform(EVERY[:1]).item() for _ in range(4)]
    noise = Noise(7, 3, shared=True)
    assert noise.uniform(EVERY).tolist() == [numbers[0]] * 3
    assert noise.uniform(np.array([True, False, True])).tolist() == [numbers[1], 0, numbers[1]]
    assert noise.uniform(EVERY).tolist() == [numbers[2], numbers[1], numbers[2]]
    resumed = Noise(7, 3, np.array([3, 2, 3]), shared=True)
    assert resumed.uniform(EVERY).tolist() == noise.uniform(EVERY).tolist() == [numbers[3], numbers[2], numbers[3]]


@pytest.mark.parametrize(
    ("sweep", "params", "reason"),
    [
        (Sweep("temperature", (0.5, 11)), SamplingParams(), "temperature must be from 0 to 10, not 11"),
        (Sweep("top_k", (1, -1)), SamplingParams(), "top-k must be 0"),
        (Sweep("top_k", (1.5,)), SamplingParams(), "top-k must be a whole number, not 1.5"),
        (Sweep("top_k", (float("nan"),)), SamplingParams(), "top-k must be a whole number, not nan"),
        (Sweep("temperature", (0.5, 1)), SamplingParams(top_p=2), "top-p must be from 0 to 1"),
        (Sweep("seed", (1,)), SamplingParams(), "temperature, top-k, top-p or min-p, not 1 of 'seed'"),
        (Sweep("temperature", ()), SamplingParams(), "not 0 of 'temperature'"),
    ],
)
def test_what_cannot_be_swept_is_refused_with_its_reason(sweep: Sweep, params: SamplingParams, reason: str) -> None:
    with pytest.raises(TuiGenError, match=reason):
        sweep.checked(params)


def test_a_sweep_takes_as_many_samples_as_it_has_values(endless: LoadedModel) -> None:
    prompt: Tokens = np.full((2, 1), END)
    with pytest.raises(TuiGenError, match="a sweep of 3 values needs as many samples, not 2"):
        next(generate(endless.model, prompt, SamplingParams(), length=3, seed=0, sweep=temperatures(0.5, 1, 2)))


def test_a_sweep_tells_its_values_and_what_else_is_turned() -> None:
    sweep = Sweep("top_p", (0.5, 0.925, 1))
    assert sweep.describe(SamplingParams(0.7, 40)) == "top-p 0.50/0.925/off, temperature 0.7, top-k 40"
    assert sweep.headings() == ["top-p 0.50", "top-p 0.925", "top-p off"]
    assert temperatures(0.2, 1).describe(SamplingParams(0.7)) == "temperature 0.20/1.00"


@pytest.mark.parametrize("present", [0, 0.1, 0.45, 0.7, 1, 1.3, 1.85, 2])
def test_five_temperatures_lie_evenly_around_the_present_one_and_within_what_can_be_turned(present: float) -> None:
    values = default_values("temperature", SamplingParams(present), 100)
    assert present in values
    assert np.diff(values) == pytest.approx([0.3] * 4)
    assert 0 <= values[0] < values[-1] <= 2


def test_the_present_temperature_is_in_the_middle_unless_it_is_near_an_end() -> None:
    assert default_values("temperature", SamplingParams(0.8), 100) == (0.2, 0.5, 0.8, 1.1, 1.4)
    assert default_values("temperature", SamplingParams(0), 100) == (0, 0.3, 0.6, 0.9, 1.2)
    assert default_values("temperature", SamplingParams(5), 100) == (1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("present", "vocab_size", "values"),
    [
        (0, 7734, (1, 5, 20, 100, 0)),
        (40, 7734, (1, 5, 40, 100, 0)),
        (0, 27, (1, 2, 5, 12, 0)),
        (500, 27, (1, 2, 5, 12, 0)),
        (0, 3, (1, 2, 0)),
        (0, 1, (0,)),
    ],
)
def test_values_of_top_k_suit_the_vocabulary(present: int, vocab_size: int, values: tuple[int, ...]) -> None:
    assert default_values("top_k", SamplingParams(top_k=present), vocab_size) == values


def test_values_of_top_p_and_min_p_hold_the_present_one_and_end_with_off() -> None:
    assert default_values("top_p", SamplingParams(), 100) == (0.3, 0.5, 0.7, 0.9, 1.0)
    assert default_values("top_p", SamplingParams(top_p=0.95), 100) == (0.3, 0.5, 0.7, 0.95, 1.0)
    assert default_values("min_p", SamplingParams(min_p=0.2), 100) == (0.2, 0.1, 0.05, 0.02, 0.0)


def test_a_knob_that_cannot_be_swept_has_no_values() -> None:
    with pytest.raises(TuiGenError, match="a sweep turns temperature, top-k, top-p or min-p, not 'pace'"):
        default_values("pace", SamplingParams(), 100)


def test_a_sweep_is_read_with_its_values_or_gets_five() -> None:
    knobs = SamplingParams(0.8, min_p=0.1)
    assert read_sweep("temperature", knobs, 100) == temperatures(0.2, 0.5, 0.8, 1.1, 1.4)
    assert read_sweep("top-k = 1, 5,off", knobs, 100) == Sweep("top_k", (1, 5, 0))
    assert read_sweep("top_p=off", knobs, 100).values == (1.0,)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "turns temperature, top-k, top-p or min-p, not ''"),
        ("seed=1,2", "not 'seed'"),
        ("temperature=", "takes numbers between commas, not ''"),
        ("temperature=off", "takes numbers between commas, not 'off'"),
        ("top_k=1.5", "top-k takes whole numbers between commas, not '1.5'"),
        ("min_p=nan", "min-p must be from 0 to 1, not nan"),
        ("top-p=0.5,2", "top-p must be from 0 to 1, not 2.0"),
    ],
)
def test_a_sweep_that_cannot_be_read_is_wrong_usage(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        read_sweep(text, SamplingParams(), 100)
