"""Recurrent operators written out as products give what the operators give."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tui_gen.bench import networks
from tui_gen.library import shipped_folder
from tui_gen.runtime.cell_unrolling import unroll_cells
from tui_gen.runtime.session import OnnxSession

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


def test_what_is_no_graph_is_left_alone() -> None:
    assert unroll_cells(b"\xffnonsense") is None
