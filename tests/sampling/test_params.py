"""From logits and knobs to probabilities to tokens: temperature, filters, draws, noise."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tui_gen.errors import TuiGenError
from tui_gen.sampling.noise import Noise
from tui_gen.sampling.params import (
    Floats,
    Logits,
    SamplingParams,
    draw_tokens,
    entropy_bits,
    gather,
    likeliest,
    log_softmax,
    own_weights,
    probabilities,
    token_logprobs,
    weights,
)


def logits_of(*probs: float) -> Logits:
    return np.log(np.array([probs], dtype=np.float32))


def kept(probs: Floats) -> list[int]:
    return [int(token) for token in np.flatnonzero(probs[0])]


def test_temperature_0_takes_the_likeliest_token_and_the_lowest_id_among_equals() -> None:
    probs = probabilities(np.array([[1, 3, 3, 2], [5, 1, 5, 5]], dtype=np.float32), SamplingParams(temperature=0))
    assert probs.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0]]
    assert probs.dtype == np.float64


@pytest.mark.parametrize("temperature", [1e-3, 1e-30, 1e-308, 5e-324])
def test_a_tiny_temperature_is_stable_even_with_huge_logits(temperature: float) -> None:
    logits = np.array([[-3e38, 3e38, 0, 2.9e38]], dtype=np.float32)
    assert probabilities(logits, SamplingParams(temperature)).tolist() == [[0, 1, 0, 0]]


def test_top_k_keeps_exactly_k_and_the_lower_ids_among_equals() -> None:
    logits = np.array([[1, 2, 2, 2, 3, 0]], dtype=np.float32)
    assert [kept(probabilities(logits, SamplingParams(top_k=k))) for k in (1, 2, 3)] == [[4], [1, 4], [1, 2, 4]]


@pytest.mark.parametrize("top_k", [0, 4, 99])
def test_top_k_of_0_or_of_the_whole_vocabulary_keeps_all(top_k: int) -> None:
    assert len(kept(probabilities(logits_of(0.4, 0.3, 0.2, 0.1), SamplingParams(top_k=top_k)))) == 4


@pytest.mark.parametrize(
    ("top_p", "survivors"), [(0, [2]), (0.5, [2]), (0.51, [0, 2]), (0.85, [0, 1, 2]), (1, [0, 1, 2, 3])]
)
def test_top_p_keeps_the_smallest_set_that_reaches_p(top_p: float, survivors: list[int]) -> None:
    assert kept(probabilities(logits_of(0.3, 0.15, 0.5, 0.05), SamplingParams(top_p=top_p))) == survivors


def test_min_p_counts_from_the_likeliest_token() -> None:
    probs = probabilities(logits_of(0.5, 0.3, 0.15, 0.05), SamplingParams(min_p=0.25))
    assert probs == pytest.approx(np.array([[0.5, 0.3, 0.15, 0]]) / 0.95)


def test_temperature_acts_before_the_filters() -> None:
    # At temperature 0.5 the first token has 0.69 of all and reaches p alone; before, it would have needed the second.
    assert kept(probabilities(logits_of(0.5, 0.3, 0.2), SamplingParams(temperature=0.5, top_p=0.6))) == [0]
    assert kept(probabilities(logits_of(0.5, 0.3, 0.2), SamplingParams(top_p=0.6))) == [0, 1]


def test_top_p_sees_what_top_k_left_renormalised() -> None:
    # Of 0.4 and 0.3 alone, the first has 0.57 and reaches 0.5; of all four it would not.
    assert kept(probabilities(logits_of(0.4, 0.3, 0.2, 0.1), SamplingParams(top_k=2, top_p=0.5))) == [0]
    assert kept(probabilities(logits_of(0.4, 0.3, 0.2, 0.1), SamplingParams(top_p=0.5))) == [0, 1]


def test_at_least_one_token_survives_every_combination() -> None:
    logits = np.array([[0, 0, 0, 0, 0], [9, 1, 1, -9, 9]], dtype=np.float32)
    knobs = itertools.product((0, 1e-9, 0.5, 1, 10), (0, 1, 3), (0, 1e-12, 0.5, 1), (0, 0.5, 1))
    for temperature, top_k, top_p, min_p in knobs:
        probs = probabilities(logits, SamplingParams(temperature, top_k, top_p, min_p))
        assert probs.sum(axis=1) == pytest.approx(1), (temperature, top_k, top_p, min_p)


@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("temperature", [0, 1])
def test_a_logit_that_is_not_finite_is_refused(fault: float, temperature: float) -> None:
    logits = np.array([[0, 1], [fault, 1]], dtype=np.float32)
    with pytest.raises(FloatingPointError, match="non-finite"):
        probabilities(logits, SamplingParams(temperature))


def test_draw_is_the_inverse_of_the_cumulated_distribution() -> None:
    probs, uniform = np.tile([0.25, 0.5, 0.25], (5, 1)), np.array([0.0, 0.2, 0.25, 0.74, 0.75])
    assert draw_tokens(probs, uniform).tolist() == [0, 0, 1, 1, 2]


@pytest.mark.parametrize("uniform", [0.0, 0.5, np.nextafter(1.0, 0.0)])
def test_draw_never_takes_a_token_of_probability_0(uniform: float) -> None:
    probs = np.array([[0, 0.3, 0, 0.7, 0], [0, 0, 1, 0, 0], [1 / 3, 0, 1 / 3, 1 / 3, 0]])
    tokens = draw_tokens(probs, np.full(3, uniform))
    assert (probs[np.arange(3), tokens] > 0).all()
    assert tokens.dtype == np.int64


def test_log_softmax_is_right_and_finite_for_large_logits() -> None:
    assert log_softmax(logits_of(0.5, 0.25, 0.25)) == pytest.approx(np.log([[0.5, 0.25, 0.25]]))
    assert log_softmax(np.array([[1000, 0]], dtype=np.float32)).tolist() == [[0, -1000]]


def test_entropy_is_in_bits_and_exactly_0_for_certainty() -> None:
    largest = np.finfo(np.float32).max
    logits = np.array([[3, 3, 3, 3], [7, 7, -200, -200], [0, largest, -largest, 0]], dtype=np.float32)
    bits = entropy_bits(logits, own_weights(logits))
    assert bits == pytest.approx([2, 1, 0])
    assert str(bits[2]) == "0.0"


def test_logprobs_of_tokens_are_those_of_the_whole_distribution() -> None:
    logits = np.random.default_rng(0).normal(0, 5, (9, 8000)).astype(np.float32)
    tokens = np.array([*logits.argmax(axis=1)[:4], *logits.argmin(axis=1)[4:8], 8000])
    assert token_logprobs(logits, tokens) == pytest.approx(gather(log_softmax(logits), tokens), abs=1e-6)


def test_noise_spends_one_number_per_sampled_token_and_none_otherwise() -> None:
    spent, paused = Noise(7, 1), Noise(7, 1)
    first, second = (spent.uniform(np.array([True]))[0] for _ in range(2))
    assert [paused.uniform(np.array([wanted]))[0] for wanted in (True, False, False, True)] == [first, 0, 0, second]


def test_noise_of_a_sample_depends_on_neither_the_batch_nor_the_others() -> None:
    small, large = (Noise(7, samples).uniform(np.ones(samples, dtype=bool)) for samples in (3, 8))
    assert small.tolist() == large[:3].tolist()
    assert len(set(large)) == 8
    assert Noise(8, 1).uniform(np.array([True]))[0] != small[0]


@pytest.mark.parametrize(
    ("knobs", "name"),
    [
        (SamplingParams(temperature=-0.1), "temperature"),
        (SamplingParams(temperature=10.5), "temperature"),
        (SamplingParams(temperature=float("nan")), "temperature"),
        (SamplingParams(top_k=-1), "top-k"),
        (SamplingParams(top_p=1.01), "top-p"),
        (SamplingParams(top_p=float("nan")), "top-p"),
        (SamplingParams(min_p=-0.5), "min-p"),
    ],
)
def test_a_knob_out_of_range_is_refused_by_name(knobs: SamplingParams, name: str) -> None:
    with pytest.raises(TuiGenError, match=name):
        knobs.checked()


def test_checked_knobs_are_a_copy_that_later_turning_leaves_alone() -> None:
    knobs = SamplingParams(temperature=10, top_p=0, min_p=1)
    copy = knobs.checked()
    knobs.temperature = 0
    assert copy == SamplingParams(temperature=10, top_p=0, min_p=1)


def test_knobs_describe_what_was_turned() -> None:
    assert SamplingParams().describe() == "temperature 1"
    assert SamplingParams(temperature=0, top_k=40, min_p=0.05).describe() == "temperature 0, top-k 40, min-p 0.05"


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(TuiGenError, match="seed"):
        Noise(-1, 1)


@pytest.mark.parametrize("vocab", [2, 16, 512, 513, 640, 10_000])
@pytest.mark.parametrize("samples", [1, 3])
def test_the_fast_way_draws_what_the_plain_one_draws(vocab: int, samples: int) -> None:
    rng = np.random.default_rng(vocab)
    for temperature in (0.3, 1.0, 1.7):
        for spread in (0.1, 3, 30):
            logits = (rng.normal(size=(samples, vocab)) * spread).astype(np.float32)
            knobs, scaled = SamplingParams(temperature), logits.astype(np.float64) / temperature
            exact = np.exp(scaled - scaled.max(axis=1, keepdims=True))
            exact /= exact.sum(axis=1, keepdims=True)
            np.testing.assert_allclose(probabilities(logits, knobs), exact, rtol=2e-5, atol=1e-30)
            for uniform in rng.random((40, samples)):
                cumulated = exact.cumsum(axis=1)
                plain = (cumulated <= (uniform * cumulated[:, -1])[:, None]).sum(axis=1)
                assert draw_tokens(weights(logits, knobs.row()), uniform).tolist() == plain.tolist()


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_nucleus_is_what_sorting_everything_finds(p: float) -> None:
    rng = np.random.default_rng(0)
    for spread in (0.0, 0.5, 4):
        logits = (rng.normal(size=(2, 2_000)) * spread).astype(np.float32)
        whole = probabilities(logits, SamplingParams())
        for row, found in zip(whole, probabilities(logits, SamplingParams(top_p=p)), strict=True):
            order = np.argsort(-row, kind="stable")
            count = max(1, int((row[order].cumsum() - row[order] < p).sum()))
            assert sorted(order[:count].tolist()) == kept(found[None])


def test_a_draw_at_the_very_end_takes_the_last_token_with_a_weight_whatever_all_add_up_to() -> None:
    end = np.array([np.nextafter(1.0, 0.0)])
    tenths, few = np.full((1, 10), 0.1), np.zeros((1, 1_000), dtype=np.float32)
    few[0, [3, 700]] = 1, 1e-7
    assert tenths.cumsum()[-1] < 1
    assert [draw_tokens(tenths, end).item(), draw_tokens(few, end).item()] == [9, 700]
    assert draw_tokens(few, np.array([0.0])).tolist() == [3]


@pytest.mark.parametrize("vocab", [3, 500, 513, 1000, 10_000])
def test_a_sample_is_drawn_alike_alone_and_beside_others_number_for_number(vocab: int) -> None:
    rng = np.random.default_rng(vocab)
    logits = (rng.normal(size=(40, vocab)) * 3).astype(np.float32)
    uniform = np.append(rng.random(37), [0.0, 0.999999999, np.nextafter(1, 0)])
    for params in (SamplingParams(), SamplingParams(0.3, top_k=9), SamplingParams(1.2, top_p=0.7, min_p=0.01)):
        together = weights(logits, params.row())
        alone = [weights(row[None], params.row()) for row in logits]
        assert np.array_equal(together, np.concatenate(alone))
        drawn = [draw_tokens(row, part[None]).item() for row, part in zip(alone, uniform, strict=True)]
        assert draw_tokens(together, uniform).tolist() == drawn


@pytest.mark.parametrize("vocab", [1, 20, 27, 512, 1000, 10_000, 50_257])
@pytest.mark.parametrize("kind", ["distinct", "tied", "cut", "greedy"])
def test_the_likeliest_tokens_are_those_of_a_sort(vocab: int, kind: str) -> None:
    row = np.random.default_rng(vocab).normal(size=vocab).astype(np.float32)
    weights = {
        "distinct": row,
        "tied": np.round(row, 1),
        "cut": np.maximum(row - 1.5, 0),
        "greedy": (np.arange(vocab) == vocab // 2).astype(np.float32),
    }[kind]
    for count in (1, 3, 20, 100):
        assert np.array_equal(likeliest(weights, count), np.argsort(-weights, kind="stable")[:count])
