"""Graphs made from graphs: sampling as a graph, recurrent cells as products, many tokens in one run."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support import toys
from tui_gen.bench import cases, networks
from tui_gen.library import shipped_folder
from tui_gen.runtime import model as model_module
from tui_gen.runtime import onnx_graph
from tui_gen.runtime.cell_unrolling import unroll_cells
from tui_gen.runtime.sampling_graph import sampler, with_sampler
from tui_gen.runtime.sequence_graph import sequence_graph
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


GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
INPUTS, HIDDEN, BATCH = 5, 6, 3


def cell(op: str, *, omit: int | None = None, whole: bool = False, **attributes: Any) -> bytes:
    """A step function of one recurrent operator. omit: an output that it lacks. whole: it also gives all tokens'."""
    rng = np.random.default_rng(3)
    gates = GATES[op] * HIDDEN
    shapes = {"W": (1, gates, INPUTS), "R": (1, gates, HIDDEN), "B": (1, 2 * gates)}
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    states = ["h", "c"] if op == "LSTM" else ["h"]
    outputs = ["all" if whole else "", *(f"next_{name}" for name in states)]
    if omit is not None:
        outputs[omit] = ""
    node = helper.make_node(op, ["x", "W", "R", "B", "", *states], outputs, hidden_size=HIDDEN, **attributes)
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "batch", INPUTS])]
    ports += [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, "batch", HIDDEN]) for name in states]
    shape = [1, "batch", HIDDEN]
    given = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *shape] if name == "all" else shape)
        for name in outputs
        if name
    ]
    constants = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    graph = helper.make_graph([node], "cell", ports, given, initializer=constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


def operators(graph: bytes) -> set[str]:
    return {node.op_type for node in onnx.load_from_string(graph).graph.node}


def outcome(graph: bytes) -> list[Any]:
    session, rng = OnnxSession(graph, 1, "CPUExecutionProvider"), np.random.default_rng(4)
    sizes = {port.name: [size if isinstance(size, int) else BATCH for size in port.shape] for port in session.inputs}
    feeds = {
        port.name: rng.integers(0, 20, sizes[port.name])
        if "int64" in port.type
        else rng.normal(size=sizes[port.name]).astype(np.float32)
        for port in session.inputs
    }
    return session.run(feeds)


@pytest.mark.parametrize(
    ("op", "facts"),
    [
        ("RNN", {}),
        ("RNN", {"activations": ["Relu"]}),
        ("RNN", {"activations": ["Sigmoid"]}),
        ("GRU", {"linear_before_reset": 1}),
        ("GRU", {"linear_before_reset": 0}),
        ("LSTM", {}),
        ("LSTM", {"whole": True}),
        ("LSTM", {"whole": True, "omit": 2}),
        ("LSTM", {"activations": ["Sigmoid", "Tanh", "Tanh"]}),
    ],
)
def test_a_cell_computes_the_same(op: str, facts: dict[str, Any]) -> None:
    graph = cell(op, **facts)
    made = unroll_cells(graph)
    assert made is not None
    assert op not in operators(made)
    onnx.checker.check_model(onnx.load_from_string(made), full_check=True)
    for ours, theirs in zip(outcome(made), outcome(graph), strict=True):
        assert ours.shape == theirs.shape
        assert np.allclose(ours, theirs, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", ["names", "recipes", "shakespeare", "lstm2"])
def test_whole_networks_compute_the_same(name: str) -> None:
    folder = shipped_folder() / name
    graph = (folder / "model.onnx").read_bytes() if folder.exists() else networks.graph(name)
    made = unroll_cells(graph)
    assert made is not None
    assert not operators(made) & {"RNN", "GRU", "LSTM", "Transpose"}
    for ours, theirs in zip(outcome(made), outcome(graph), strict=True):
        assert np.allclose(ours, theirs, rtol=0, atol=1e-5)


def test_a_graph_without_recurrent_operators_stays_as_it_is() -> None:
    graph = (shipped_folder() / "fashion" / "model.onnx").read_bytes()
    assert unroll_cells(graph) is graph


@pytest.mark.parametrize(
    ("op", "facts"),
    [("LSTM", {"clip": 1.0}), ("LSTM", {"input_forget": 1}), ("GRU", {"activations": ["Sigmoid", "Relu"]})],
)
def test_a_cell_of_another_form_is_left_alone(op: str, facts: dict[str, Any]) -> None:
    assert unroll_cells(cell(op, **facts)) is None


def test_a_graph_with_graphs_in_it_or_of_older_operators_is_left_alone() -> None:
    older = onnx.load_from_string(cell("LSTM"))
    older.opset_import[0].version = 12
    assert unroll_cells(older.SerializeToString()) is None
    looped = onnx.load_from_string(cell("LSTM"))
    inside = helper.make_graph([helper.make_node("Identity", ["W"], ["same"])], "inside", [], [])
    looped.graph.node.append(helper.make_node("If", ["yes"], ["chosen"], then_branch=inside, else_branch=inside))
    assert unroll_cells(looped.SerializeToString()) is None
    assert unroll_cells(b"\xffnonsense") is None


@pytest.mark.parametrize("scores", [False, True])
def test_a_graph_that_would_say_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch, *, scores: bool) -> None:
    rng = np.random.default_rng(5)
    other = networks.fill_graph("lstm", {"rnn.0.R": rng.normal(size=(1, 512, 128)).astype(np.float32)})
    monkeypatch.setattr(model_module, "sequence_graph", lambda _, scores: sequence_graph(other, scores=scores))
    model, prompt = cases.load_network("lstm", 1), rng.integers(1, 20, (1, 40))
    assert (model.score(prompt, prompt, model.start(1)) if scores else model.read(prompt, model.start(1))) is None


def test_what_is_no_graph_has_no_form_to_read_at_once() -> None:
    graph, rng = (Path(networks.FOLDER) / "lstm2.onnx").read_bytes(), random.Random(0)
    for _ in range(400):
        damaged = bytearray(graph[: rng.randrange(len(graph))] if rng.random() < 0.3 else graph)
        for _ in range(3 if damaged else 0):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        found = sequence_graph(bytes(damaged), scores=True)
        assert found is None or isinstance(found, bytes)
    assert sequence_graph(b"", scores=False) is None
    assert sequence_graph(b"not a graph", scores=False) is None


def test_messages_are_read_as_they_are_written() -> None:
    parts: list[onnx_graph.Field] = [(1, 0), (2, 300), (7, b"text"), (300, b"")]
    message = onnx_graph.encode_message(parts)
    read = [(key, value if isinstance(value, int) else bytes(value)) for key, value in onnx_graph.read_fields(message)]
    assert read == parts
    fixed = onnx_graph.read_fields(b"\x09" + bytes(8) + b"\x0d" + bytes(4))
    assert [bytes(memoryview(value)) for _, value in fixed] == [bytes(8), bytes(4)]  # type: ignore[arg-type]
    for damaged in (message[:-2], b"\x80", b"\x0b", b"\x09\x00", b"\x0a\x05abc", b"\x80" * 20):
        with pytest.raises(ValueError, match=r"a (message|number|field) is"):
            list(onnx_graph.read_fields(damaged))


def test_metadata_is_read_as_onnx_writes_it_and_written_as_onnx_reads_it() -> None:
    texts = {"name": "Zoë", "empty": ""}
    graph = onnx_graph.with_metadata(toys.text_graph(), texts)
    model = onnx.load_from_string(graph)
    assert {entry.key: entry.value for entry in model.metadata_props} == texts
    assert onnx_graph.read_metadata(model.SerializeToString()) == texts
    assert OnnxSession(graph, 1, "CPUExecutionProvider").inputs


def test_metadata_that_is_too_long_is_neither_written_nor_read(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = onnx_graph.with_metadata(toys.text_graph(), {"long": "a" * 100, "short": "b"})
    monkeypatch.setattr(onnx_graph, "MAX_METADATA", 99)
    assert onnx_graph.read_metadata(graph) == {"short": "b"}
    assert onnx_graph.with_metadata(b"", {"long": "a" * 100}) == b""


def test_metadata_of_endless_fields_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = onnx_graph.encode_message([(3, 0)] * 4 + [(1, b"key"), (2, b"text")])
    assert onnx_graph.read_metadata(onnx_graph.encode_message([(14, entry)])) == {"": ""}
    monkeypatch.setattr(onnx_graph, "_MOST_PARTS", 3)
    assert onnx_graph.read_metadata(onnx_graph.with_metadata(b"\x08\x0a" * 3, {"key": "text"})) == {}
