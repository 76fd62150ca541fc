"""Sampling as a graph draws the tokens that sampling in NumPy draws, knob by knob, tie by tie."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.support import toys
from tui_gen.runtime.sampling_graph import sampler, with_sampler
from tui_gen.runtime.session import OnnxSession
from tui_gen.sampling.device_protocol import TOP, DeviceParams, SampleReport, StepInput
from tui_gen.sampling.params import Floats, Logits, SamplingParams, draw_tokens, weights

VOCABULARIES = (2, 16, 65, 512, 513, 7734, 10_000)
"""Pixels, characters, words; both sides of the length from which a row is cumulated block by block."""
KNOBS = (
    SamplingParams(),
    SamplingParams(0),
    SamplingParams(1e-40),
    SamplingParams(2, top_k=1),
    SamplingParams(0.5, top_k=5),
    SamplingParams(1.3, top_p=0.9),
    SamplingParams(top_p=0),
    SamplingParams(min_p=0.05),
    SamplingParams(0.7, 40, 0.8, 0.02),
    SamplingParams(top_k=100_000),
)


def opened(vocab: int) -> OnnxSession:
    graph = sampler(vocab)
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)
    return OnnxSession(graph, 1, "CPUExecutionProvider")


def rows(*params: SamplingParams) -> Floats:
    return np.concatenate([one.row() for one in params])


def drawn(session: OnnxSession, logits: Logits, uniform: Floats, knobs: Floats) -> SampleReport:
    sent = StepInput(len(logits)).sample(np.zeros(len(logits), dtype=np.int64), uniform, DeviceParams.from_rows(knobs))
    return SampleReport(session.run({"logits": logits, "control": sent})[0])


@pytest.mark.parametrize("vocab", VOCABULARIES)
def test_it_draws_what_numpy_draws(vocab: int) -> None:
    session, rng, batch = opened(vocab), np.random.default_rng(vocab), 32
    for params in KNOBS:
        logits = (rng.normal(size=(batch, vocab)) * 3).astype(np.float32)
        uniform = np.append(rng.random(batch - 2), [0.0, np.nextafter(1, 0)])
        report, made = drawn(session, logits, uniform, rows(*[params] * batch)), weights(logits, params.row())
        assert report.tokens.tolist() == draw_tokens(made, uniform).tolist(), params
        assert report.finite
        assert np.allclose(report.total, made.sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("vocab", [5, 20, 10_000])
def test_the_likeliest_come_with_what_they_were_drawn_by(vocab: int) -> None:
    rng = np.random.default_rng(1)
    logits, params = rng.normal(size=(3, vocab)).astype(np.float32), SamplingParams(0.8, top_k=4)
    report = drawn(opened(vocab), logits, rng.random(3), rows(*[params] * 3))
    assert np.array_equal(report.top, np.argsort(-logits, axis=1)[:, :20])
    assert np.allclose(report.weights, np.take_along_axis(weights(logits, params.row()), report.top, axis=1), rtol=1e-5)


def test_among_equals_the_lower_ids_stay_and_the_lowest_is_the_greedy_choice() -> None:
    logits = np.zeros((4, 600), dtype=np.float32)
    uniform = np.array([0.0, 0.5, 0.99, 0.7])
    session = opened(600)
    kept = drawn(session, logits, uniform, rows(*[SamplingParams(top_k=3)] * 4))
    assert kept.tokens.tolist() == [0, 1, 2, 2]
    assert drawn(session, logits, uniform, rows(*[SamplingParams(0)] * 4)).tokens.tolist() == [0] * 4


def test_each_sample_has_knobs_of_its_own() -> None:
    rng = np.random.default_rng(2)
    logits, uniform = rng.normal(size=(3, 50)).astype(np.float32), rng.random(3)
    params = (SamplingParams(0), SamplingParams(2, top_p=0.5), SamplingParams(0.3, min_p=0.2))
    alone = [
        draw_tokens(weights(row[None], one.row()), part[None])[0]
        for row, one, part in zip(logits, params, uniform, strict=True)
    ]
    assert drawn(opened(50), logits, uniform, rows(*params)).tokens.tolist() == alone


@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_are_found_out(fault: float) -> None:
    logits = np.zeros((2, 30), dtype=np.float32)
    logits[1, 7] = fault
    assert not drawn(opened(30), logits, np.array([0.5, 0.5]), rows(*[SamplingParams()] * 2)).finite


def test_knobs_that_only_change_the_temperature_need_no_filters() -> None:
    assert not DeviceParams.from_rows(rows(SamplingParams(), SamplingParams(0.2))).has_filters
    for params in (SamplingParams(top_k=3), SamplingParams(top_p=0.9), SamplingParams(min_p=0.1)):
        assert DeviceParams.from_rows(rows(SamplingParams(), params)).has_filters


def test_a_step_function_with_a_sampler_reads_its_token_from_what_is_sent() -> None:
    graph = with_sampler(toys.text_graph(), len(toys.WORDS))
    assert graph is not None
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)
    session = OnnxSession(graph, 1, "CPUExecutionProvider")
    uniform, count = np.array([0.2, 0.9]), np.zeros((2, 1), dtype=np.float32)
    sent = StepInput(2).sample(
        np.array([toys.THE, toys.CAT]), uniform, DeviceParams.from_rows(rows(*[SamplingParams(0.7)] * 2))
    )
    logits, after, report = session.run({"control": sent, "state.count": count})
    assert np.array_equal(logits, toys.BIGRAMS[[toys.THE, toys.CAT]])
    assert after.tolist() == [[1], [1]]
    assert (
        SampleReport(report).tokens.tolist()
        == draw_tokens(weights(logits, SamplingParams(0.7).row()), uniform).tolist()
    )


def test_a_graph_of_older_operators_gets_no_sampler() -> None:
    older = onnx.load_from_string(toys.text_graph())
    older.opset_import[0].version = 17
    assert with_sampler(older.SerializeToString(), len(toys.WORDS)) is None
    assert with_sampler(b"\xffnonsense", 8) is None


def test_few_of_many_are_found_without_sorting_all() -> None:
    session = OnnxSession(sampler(10_000, most=256), 1, "CPUExecutionProvider")
    rng, params = (
        np.random.default_rng(6),
        (SamplingParams(0.8, 40), SamplingParams(1.5, 256, 0.7), SamplingParams(1, 1)),
    )
    logits, uniform = rng.normal(size=(3, 10_000)).astype(np.float32), rng.random(3)
    alone = [
        draw_tokens(weights(logits[at : at + 1], one.row()), uniform[at : at + 1])[0] for at, one in enumerate(params)
    ]
    assert drawn(session, logits, uniform, rows(*params)).tokens.tolist() == alone
    assert not DeviceParams.from_rows(rows(*params)).needs_sort
    assert DeviceParams.from_rows(rows(*params, SamplingParams(top_p=0.5))).needs_sort


def test_what_goes_to_the_device_and_back_is_small() -> None:
    sent = StepInput(1).read(np.array([1]))
    back = opened(10_000).run({"logits": np.zeros((1, 10_000), dtype=np.float32), "control": sent})[0]
    assert sent.nbytes + back.nbytes <= 256
    assert back.shape == (1, TOP * 2 + 3)
