"""Sampling as an ONNX graph, for a GPU, from which fetching all logits would take too long.

It draws as `tui_gen.sampling.params` does: weights in float32, cumulated in float64, inverse CDF with one uniform
number for each sample. What is sent for a step is one small matrix, `control`, and what comes back is another,
`report`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tui_gen.runtime.onnx_graph import OPSET, Graph, GraphBuilder, UnknownFormError, name_of_port, port
from tui_gen.sampling.device_protocol import COLUMNS, TOP, report_shape

CONTROL, REPORT, LOGITS = "control", "report", "logits"
"""Names in the graphs; `tui_gen.sampling.device_protocol` says what the first two are."""
_PLAIN = 128
"""Numbers up to which a row is cumulated as a whole; a GPU computes each of the sums by itself."""


def with_sampler(model: bytes, vocab_size: int) -> bytes | None:
    """A step function that reads `control` in place of `token`, and gives `report` besides; it knows no filters.

    None for a graph of another version of ONNX's operators.
    """
    try:
        graph = Graph.read(model)
    except (UnknownFormError, ValueError):
        return None
    if graph.opset < OPSET:
        return None
    builder = GraphBuilder("sample.")
    token, *knobs = _columns(builder)
    one_by_one = builder.op("Squeeze", token, builder.ints(1))
    builder.name(builder.cast(one_by_one, "int64"), name_of_port(graph.inputs[0]))
    reading = builder.take_nodes()
    top = _top(builder, vocab_size)
    _report(builder, vocab_size, _temper(builder, top, knobs[1]), knobs[0], top)
    graph.nodes = [*reading, *graph.nodes, *builder.take_nodes()]
    graph.tensors += builder.constants()
    graph.inputs[0] = _control_port()
    graph.outputs.append(_report_port(vocab_size))
    return graph.to_bytes()


def sampler(vocab_size: int, *, most: int | None = None) -> bytes:
    """A graph from `logits` float32[batch, vocab_size] and `control` to `report`, with all the knobs.

    most: the largest top_k that it is for, which must then be on in every sample: to find the likeliest few takes much
    less than to sort all.
    """
    builder, graph = GraphBuilder("sample."), Graph.new("sampler")
    _, uniform, temperature, *filters = _columns(builder)
    top = _top(builder, vocab_size)
    weights = _temper(builder, top, temperature)
    filtered_weights = _filter(builder, vocab_size, min(most or vocab_size, vocab_size), weights, filters)
    _report(builder, vocab_size, filtered_weights, uniform, top)
    graph.nodes, graph.tensors = builder.take_nodes(), builder.constants()
    graph.inputs = [port(LOGITS, "float32", ("batch", vocab_size)), _control_port()]
    graph.outputs = [_report_port(vocab_size)]
    return graph.to_bytes()


def _columns(builder: GraphBuilder) -> list[str]:
    """Of control, float64[batch, 1] each."""
    return builder.split(CONTROL, *[1] * COLUMNS)


class _Likeliest(NamedTuple):
    """The largest logits, largest first, and their ids: [batch, at most 20]."""

    logits: str
    ids: str


def _top(builder: GraphBuilder, vocab_size: int) -> _Likeliest:
    return _Likeliest(*builder.ops(2, "TopK", LOGITS, builder.ints(min(TOP, vocab_size))))


def _temper(builder: GraphBuilder, top: _Likeliest, temperature: str) -> str:
    """Weights float32[batch, vocab] of the logits at a temperature; the likeliest token weighs 1."""
    largest = builder.op("Slice", top.logits, builder.ints(0), builder.ints(1), builder.ints(1))
    exponents = builder.op("Sub", LOGITS, largest)
    return builder.op("Exp", builder.op("Div", exponents, builder.cast(temperature, "float32")))


def _filter(builder: GraphBuilder, vocab_size: int, most: int, weights: str, filters: list[str]) -> str:
    """The weights that top_k, top_p and min_p leave, in this order, and 0 for the others.

    Each token's place in the order of the weights decides, so the tokens are sorted, cut, and put back.
    """
    top_k, top_p, min_p = filters
    values, places = builder.ops(2, "TopK", weights, builder.ints(most))
    ranks = builder.weights(np.arange(most, dtype=np.float64)[None])
    none, nothing = _zero(builder, np.float64), _zero(builder, np.float32)
    ranked = builder.op("Where", builder.op("Less", ranks, top_k), builder.cast(values, "float64"), none)
    cumulative = _cumulate(builder, most, ranked)
    before = builder.op("Sub", cumulative, ranked)
    in_nucleus = builder.op("Less", before, builder.op("Mul", top_p, _last(builder, most, cumulative)))
    likely = builder.op("GreaterOrEqual", values, builder.cast(min_p, "float32"))
    filtered_weights = builder.op(
        "Where", builder.op("And", in_nucleus, likely), builder.cast(ranked, "float32"), nothing
    )
    base = weights if most == vocab_size else builder.op("Mul", weights, nothing)
    return builder.op("ScatterElements", base, places, filtered_weights, axis=1)


def _zero(builder: GraphBuilder, kind: type[np.floating[Any]]) -> str:
    return builder.weights(np.zeros((1, 1), dtype=kind))


def _report(builder: GraphBuilder, vocab_size: int, weights: str, uniform: str, top: _Likeliest) -> None:
    """Samples by weights, and reports it."""
    cumulative = _cumulate(builder, vocab_size, builder.cast(weights, "float64"))
    total = _last(builder, vocab_size, cumulative)
    below = builder.op("LessOrEqual", cumulative, builder.op("Mul", uniform, total))
    token = builder.op("ReduceSum", builder.cast(below, "float32"), builder.ints(1))
    nought = builder.op("ReduceSum", builder.op("Mul", LOGITS, _zero(builder, np.float32)), builder.ints(1))
    facts = (token, builder.cast(total, "float32"), nought, builder.cast(top.ids, "float32"))
    of_top = builder.op("GatherElements", weights, top.ids, axis=1)
    builder.name(builder.op("Concat", *facts, of_top, axis=1), REPORT)


def _cumulate(builder: GraphBuilder, count: int, row: str) -> str:
    """Sums of a row [batch, count] up to each place, float64 like it. Of a long row, blocks are cumulated apart."""
    if count <= _PLAIN:
        return builder.op("CumSum", row, builder.scalar(1))
    width = _width(count)
    blocks = -(-count // width)
    if blocks * width > count:
        row = builder.op("Pad", row, builder.ints(0, 0, 0, blocks * width - count))
    inside = builder.op("CumSum", builder.op("Reshape", row, builder.ints(0, blocks, width)), builder.scalar(2))
    sums = builder.op("Slice", inside, builder.ints(width - 1), builder.ints(width), builder.ints(2))
    before = builder.op("CumSum", sums, builder.scalar(1), exclusive=1)
    whole = builder.op("Reshape", builder.op("Add", inside, before), builder.ints(0, blocks * width))
    if blocks * width == count:
        return whole
    return builder.op("Slice", whole, builder.ints(0), builder.ints(count), builder.ints(1))


def _width(count: int) -> int:
    """Of the blocks: about the square root, and a divisor where there is one near."""
    root = math.isqrt(count - 1) + 1
    near = sorted(range(root // 2, 2 * root), key=lambda width: abs(width - root))
    return next((width for width in near if not count % width), root)


def _last(builder: GraphBuilder, count: int, row: str) -> str:
    return builder.op("Slice", row, builder.ints(count - 1), builder.ints(count), builder.ints(1))


def _control_port() -> memoryview:
    return port(CONTROL, "float64", ("batch", COLUMNS))


def _report_port(vocab_size: int) -> memoryview:
    return port(REPORT, "float32", ("batch", report_shape(1, vocab_size)[1]))
