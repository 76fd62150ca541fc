"""What the step of a foreign file may contain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support import hostile, toys
from tui_gen.errors import TuiGenError
from tui_gen.runtime import operators
from tui_gen.runtime.onnx_graph import encode_field, encode_varint
from tui_gen.runtime.operators import check_operators

NODE = "harm"


def branches(inner: onnx.NodeProto) -> list[onnx.NodeProto]:
    """An If, by the number of samples, with a node in one branch."""
    value = helper.make_tensor_value_info("value", TensorProto.FLOAT, None)
    other = helper.make_graph([helper.make_node("Identity", ["nought"], ["value"])], "other", [], [value])
    branch = helper.make_graph([inner], "branch", [], [value])
    return [
        helper.make_node("Shape", ["token"], ["batch"]),
        helper.make_node("ReduceMax", ["batch"], ["samples"], keepdims=0),
        helper.make_node("Cast", ["samples"], ["several"], to=TensorProto.BOOL),
        helper.make_node("If", ["several"], [NODE], then_branch=branch, else_branch=other),
    ]


def constant(**facts: object) -> list[onnx.NodeProto]:
    return [helper.make_node("Constant", [], [NODE], **facts)]


def with_function() -> onnx.ModelProto:
    """Another meaning for an operator of ONNX."""
    model = hostile.step([helper.make_node("Relu", ["row"], [NODE])])
    loop = helper.make_node("Loop", ["x"], ["y"], body=helper.make_graph([], "body", [], []))
    model.functions.append(helper.make_function("", "Relu", ["x"], ["y"], [loop], [helper.make_opsetid("", 18)]))
    return model


def external() -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.zeros(3, dtype=np.float32))
    tensor.data_location = TensorProto.EXTERNAL
    return tensor


def sparse() -> onnx.SparseTensorProto:
    values = numpy_helper.from_array(np.ones(1, dtype=np.float32), "values")
    return helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([0])), [2**40])


def sparse_initializer() -> onnx.ModelProto:
    model = hostile.step([], result="values")
    model.graph.sparse_initializer.append(sparse())
    return model


def carrying_scan() -> onnx.ModelProto:
    """What goes from one turn to the next could grow."""
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y", "u", "v")]
    nodes = [helper.make_node("Add", ["x", "y"], ["u"]), helper.make_node("Identity", ["y"], ["v"])]
    body = helper.make_graph(nodes, "body", ports[:2], ports[2:])
    return hostile.step([helper.make_node("Scan", ["row", "row"], [NODE, "w"], body=body, num_scan_inputs=1)])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: hostile.endless(1), "operator Loop,"),
        (lambda: hostile.step(branches(helper.make_node("Loop", [], ["value"]))), "operator Loop,"),
        (lambda: hostile.step([helper.make_node("Run", ["row"], [NODE], domain="com.example")]), r"com\.example\.Run,"),
        (lambda: hostile.step([helper.make_node("SequenceConstruct", ["row"], [NODE])]), "operator SequenceConstruct,"),
        (lambda: hostile.step([helper.make_node("X" * 10**6, ["row"], [NODE])]), "operator X{60},"),
        (with_function, "defines operators of its own"),
        (carrying_scan, "Scan that keeps something"),
        (lambda: hostile.growing(1), r"how large something is \(its ConstantOfShape\) depends on the tokens"),
        (lambda: hostile.step([helper.make_node("NonZero", ["row"], [NODE])]), r"\(its NonZero\) depends"),
        (lambda: hostile.step(constant(value=external())), "keeps weights in another file"),
        (lambda: hostile.step(constant(sparse_value=sparse())), "sparse weights"),
        (sparse_initializer, "sparse weights"),
    ],
)
def test_what_a_step_has_no_need_of_is_refused_by_name(make: Callable[[], onnx.ModelProto], says: str) -> None:
    with pytest.raises(TuiGenError, match=f"refused.*{says}|{says}.*refused") as caught:
        check_operators(make().SerializeToString())
    assert len(str(caught.value)) < 300


def test_a_branch_that_the_number_of_samples_decides_is_not() -> None:
    check_operators(hostile.step(branches(helper.make_node("Neg", ["nought"], ["value"]))).SerializeToString())


def doubled(graph: bytes, name: bytes) -> bytes:
    """Another operator behind the first Gather's, which others would take."""
    node = encode_field(4, b"Gather")
    return graph.replace(node, node + encode_field(4, name), 1)


def hidden(graph: bytes) -> bytes:
    """A node in a field whose number others cut down to that of a node."""
    node = helper.make_node("Loop", [], ["value"]).SerializeToString()
    return graph + encode_varint((7 << 3 | 2) + 2**32) + encode_varint(len(node)) + node


def out_of_order() -> bytes:
    model = hostile.step([])
    model.graph.node.insert(0, helper.make_node("Neg", ["row"], [NODE]))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    "graph",
    [
        b"not a model",
        bytes(10**8),
        toys.text_graph()[:-1],
        hidden(toys.text_graph()),
        doubled(toys.text_graph(), b"Loop"),
        toys.text_graph().replace(b"Gather", b"\xff" * 6),
        out_of_order(),
    ],
    ids=["text", "zeros", "cut", "hidden", "doubled", "no text", "out of order"],
)
def test_what_may_be_read_in_another_way_counts_as_damaged(graph: bytes) -> None:
    with pytest.raises(TuiGenError, match=r"is not an ONNX file, or a damaged one|names that are no text"):
        check_operators(graph)


def test_there_are_only_so_many_nodes_and_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = toys.text_graph()
    for limit, says in (("MAX_NODES", "more than 3 nodes"), ("_MAX_FIELDS", "more than 3 parts")):
        with monkeypatch.context() as patch:
            patch.setattr(operators, limit, 3)
            with pytest.raises(TuiGenError, match=says):
                check_operators(graph)


def test_what_ships_and_what_the_exporter_of_the_first_version_wrote_passes() -> None:
    root = Path(__file__).parents[2]
    paths = [path for folder in ("models", "tests/fixtures") for path in (root / folder).rglob("*.onnx")]
    assert len(paths) > 10
    for path in paths:
        check_operators(path.read_bytes())
