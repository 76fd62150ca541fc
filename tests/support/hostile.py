"""Graphs that keep the contract and harm whoever runs them: each crashes, hangs, or takes all memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.support import toys

_CONSTANTS = {
    "table": toys.BIGRAMS,
    "one": np.array([[1]]),
    "nought": np.array(0, dtype=np.float32),
    "axis": np.array([1]),
}


def step(
    nodes: Sequence[onnx.NodeProto], constants: Mapping[str, NDArray[Any]] | None = None, *, result: str = "harm"
) -> onnx.ModelProto:
    """The words of the toys, with what these nodes compute added to the logits. They may read `token`, the logits
    `row` and `next.position`, the number of tokens so far.
    """
    every = [
        helper.make_node("Gather", ["table", "token"], ["row"]),
        helper.make_node("Add", ["state.position", "one"], ["next.position"]),
        *nodes,
        helper.make_node("Add", ["row", result], ["logits"]),
    ]
    ports = [
        [
            helper.make_tensor_value_info(name, kind, ["batch", *rest])
            for name, kind, rest in ((first, kind, rest), (second, TensorProto.INT64, [1]))
        ]
        for first, kind, rest, second in (
            ("token", TensorProto.INT64, [], "state.position"),
            ("logits", TensorProto.FLOAT, [len(toys.WORDS)], "next.position"),
        )
    ]
    weights = [numpy_helper.from_array(value, name) for name, value in {**_CONSTANTS, **(constants or {})}.items()]
    graph = helper.make_graph(every, "harm", *ports, weights)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def abort() -> onnx.ModelProto:
    """Opens cleanly, and ends the process at its first step: a negative number of batch dimensions where onnxruntime
    cannot know the rank beforehand.
    """
    flat = numpy_helper.from_array(np.array([-1], dtype=np.int64))
    return step(
        [
            helper.make_node("Shape", ["token"], ["batch"]),
            helper.make_node("Mul", ["batch", "axis"], ["rank"]),
            helper.make_node("ConstantOfShape", ["rank"], ["shape"], value=flat),
            helper.make_node("Reshape", ["row", "shape"], ["values"]),
            helper.make_node("GatherND", ["values", "next.position"], ["chosen"], batch_dims=-5),
            helper.make_node("ReduceSum", ["chosen"], ["harm"], keepdims=0),
        ]
    )


def endless(position: int) -> onnx.ModelProto:
    """A Loop that has no end after so many tokens; each time before, it turns once."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["before"], ["after"]), helper.make_node("Identity", ["sum"], ["same"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("before", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("after", TensorProto.BOOL, []),
            helper.make_tensor_value_info("same", TensorProto.FLOAT, None),
        ],
    )
    constants = {"when": np.array(position), "many": np.array(2**62), "few": np.array(1), "true": np.array(True)}
    nodes = [
        helper.make_node("ReduceMax", ["next.position"], ["now"], keepdims=0),
        helper.make_node("Equal", ["now", "when"], ["late"]),
        helper.make_node("Where", ["late", "many", "few"], ["turns"]),
        helper.make_node("Loop", ["turns", "true", "nought"], ["harm"], body=body),
    ]
    return step(nodes, constants)


def _at(position: int, nodes: Sequence[onnx.NodeProto], constants: Mapping[str, NDArray[Any]]) -> onnx.ModelProto:
    """Computes the nodes after so many tokens, and next to nothing before and later."""
    result = helper.make_tensor_value_info("harm", TensorProto.FLOAT, [])
    other = [helper.make_node("Identity", ["nought"], ["harm"])]
    branches = {
        "then_branch": helper.make_graph(nodes, "harmful", [], [result]),
        "else_branch": helper.make_graph(other, "harmless", [], [result]),
    }
    condition = [
        helper.make_node("ReduceMax", ["next.position"], ["now"], keepdims=0),
        helper.make_node("Equal", ["now", "when"], ["late"]),
    ]
    return step(
        [*condition, helper.make_node("If", ["late"], ["harm"], **branches)],
        {**constants, "when": np.array(position)},
    )


def stubborn(position: int) -> onnx.ModelProto:
    """After so many tokens one operation takes hours, which nothing can end but the end of the process: it compares
    each of two million boxes with all others.
    """
    count = 2 * 10**6
    nodes = [
        helper.make_node("ConstantOfShape", ["places"], ["boxes"]),
        helper.make_node("ConstantOfShape", ["counts"], ["scores"]),
        helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "overlap"], ["chosen"]),
        helper.make_node("ReduceMax", ["chosen"], ["last"], keepdims=0),
        helper.make_node("Cast", ["last"], ["harm"], to=TensorProto.FLOAT),
    ]
    sizes = {"places": np.array([1, count, 4]), "counts": np.array([1, 1, count]), "most": np.array([count])}
    return _at(position, nodes, {**sizes, "overlap": np.array([1.0], dtype=np.float32)})


def late(position: int) -> onnx.ModelProto:
    """After so many tokens, and not before, it takes more memory than there is."""
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["harm"], keepdims=0),
    ]
    return _at(position, nodes, {"size": np.array([2**38])})


def large(numbers: int) -> onnx.ModelProto:
    """Takes so many numbers of memory at each step."""
    return step(
        [
            helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
            helper.make_node("ReduceSum", ["zeros"], ["harm"], keepdims=0),
        ],
        {"size": np.array([numbers])},
    )


def sudden(samples: int) -> onnx.ModelProto:
    """Takes next to nothing for fewer samples, and more than there is for so many: for n samples, 2**36 times
    (n - 1) (n - 2) ... numbers.
    """
    factors = [f"less{number}" for number in range(1, samples)]
    nodes = [helper.make_node("Sub", ["batch", f"number{at}"], [name]) for at, name in enumerate(factors, 1)]
    products = ["huge", *(f"product{at}" for at in range(1, samples))]
    nodes += [
        helper.make_node("Mul", [before, name], [after])
        for before, name, after in zip(products, factors, products[1:], strict=False)
    ]
    return step(
        [
            helper.make_node("Shape", ["token"], ["batch"]),
            *nodes,
            helper.make_node("ConstantOfShape", [products[-1]], ["zeros"]),
            helper.make_node("ReduceSum", ["zeros"], ["harm"], keepdims=0),
        ],
        {"huge": np.array([2**36]), **{f"number{at}": np.array([at]) for at in range(1, samples)}},
    )


def growing(numbers: int) -> onnx.ModelProto:
    """Takes so many numbers more of memory with every token."""
    return step(
        [
            helper.make_node("Mul", ["next.position", "growth"], ["sizes"]),
            helper.make_node("ReduceMax", ["sizes"], ["largest"]),
            helper.make_node("Squeeze", ["largest", "axis"], ["size"]),
            helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
            helper.make_node("ReduceSum", ["zeros"], ["harm"], keepdims=0),
        ],
        {"growth": np.array([[numbers]])},
    )
