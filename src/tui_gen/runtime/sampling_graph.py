"""Sampling as an ONNX graph, for where logits are too far away to be fetched: on a GPU.

It draws as `tui_gen.sampling.params` does: weights in float32, cumulated in float64, inverse CDF with one uniform
number for each sample. What is sent for a step is one small matrix, `control`, and what comes back is another,
`report`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tui_gen.runtime.onnx_graph import OPSET, Graph, UnknownFormError, Writer, name_of_port, port
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
    writer = Writer("sample.")
    token, *knobs = _columns(writer)
    one_by_one = writer.op("Squeeze", token, writer.ints(1))
    writer.name(writer.cast(one_by_one, "int64"), name_of_port(graph.inputs[0]))
    reading = writer.taken()
    top = _top(writer, vocab_size)
    _report(writer, vocab_size, _tempered(writer, top, knobs[1]), knobs[0], top)
    graph.nodes = [*reading, *graph.nodes, *writer.taken()]
    graph.tensors += writer.constants()
    graph.inputs[0] = _control_port()
    graph.outputs.append(_report_port(vocab_size))
    return graph.written()


def sampler(vocab_size: int, *, most: int | None = None) -> bytes:
    """A graph from `logits` float32[batch, vocab_size] and `control` to `report`, with all the knobs.

    most: the largest top_k that it is for, which must then be on in every sample: to find the likeliest few takes much
    less than to sort all.
    """
    writer, graph = Writer("sample."), Graph.new("sampler")
    _, uniform, temperature, *filters = _columns(writer)
    top = _top(writer, vocab_size)
    weights = _tempered(writer, top, temperature)
    kept = _filtered(writer, vocab_size, min(most or vocab_size, vocab_size), weights, filters)
    _report(writer, vocab_size, kept, uniform, top)
    graph.nodes, graph.tensors = writer.taken(), writer.constants()
    graph.inputs = [port(LOGITS, "float32", ("batch", vocab_size)), _control_port()]
    graph.outputs = [_report_port(vocab_size)]
    return graph.written()


def _columns(writer: Writer) -> list[str]:
    """Of control, float64[batch, 1] each."""
    return writer.split(CONTROL, *[1] * COLUMNS)


class _Likeliest(NamedTuple):
    """The largest logits, largest first, and their ids: [batch, at most 20]."""

    logits: str
    ids: str


def _top(writer: Writer, vocab_size: int) -> _Likeliest:
    return _Likeliest(*writer.ops(2, "TopK", LOGITS, writer.ints(min(TOP, vocab_size))))


def _tempered(writer: Writer, top: _Likeliest, temperature: str) -> str:
    """Weights float32[batch, vocab] of the logits at a temperature; the likeliest token weighs 1."""
    largest = writer.op("Slice", top.logits, writer.ints(0), writer.ints(1), writer.ints(1))
    shifted = writer.op("Sub", LOGITS, largest)
    return writer.op("Exp", writer.op("Div", shifted, writer.cast(temperature, "float32")))


def _filtered(writer: Writer, vocab_size: int, most: int, weights: str, filters: list[str]) -> str:
    """The weights that top_k, top_p and min_p leave, in this order, and 0 for the others.

    Each token's place in the order of the weights decides, so the tokens are sorted, cut, and put back.
    """
    top_k, top_p, min_p = filters
    values, places = writer.ops(2, "TopK", weights, writer.ints(most))
    ranks = writer.weights(np.arange(most, dtype=np.float64)[None])
    none, nothing = _zero(writer, np.float64), _zero(writer, np.float32)
    ranked = writer.op("Where", writer.op("Less", ranks, top_k), writer.cast(values, "float64"), none)
    cumulated = _cumulated(writer, most, ranked)
    before = writer.op("Sub", cumulated, ranked)
    reached = writer.op("Less", before, writer.op("Mul", top_p, _last(writer, most, cumulated)))
    likely = writer.op("GreaterOrEqual", values, writer.cast(min_p, "float32"))
    kept = writer.op("Where", writer.op("And", reached, likely), writer.cast(ranked, "float32"), nothing)
    base = weights if most == vocab_size else writer.op("Mul", weights, nothing)
    return writer.op("ScatterElements", base, places, kept, axis=1)


def _zero(writer: Writer, kind: type[np.floating[Any]]) -> str:
    return writer.weights(np.zeros((1, 1), dtype=kind))


def _report(writer: Writer, vocab_size: int, weights: str, uniform: str, top: _Likeliest) -> None:
    """Draws by weights, and says with what."""
    cumulated = _cumulated(writer, vocab_size, writer.cast(weights, "float64"))
    total = _last(writer, vocab_size, cumulated)
    passed = writer.op("LessOrEqual", cumulated, writer.op("Mul", uniform, total))
    token = writer.op("ReduceSum", writer.cast(passed, "float32"), writer.ints(1))
    nought = writer.op("ReduceSum", writer.op("Mul", LOGITS, _zero(writer, np.float32)), writer.ints(1))
    facts = (token, writer.cast(total, "float32"), nought, writer.cast(top.ids, "float32"))
    of_top = writer.op("GatherElements", weights, top.ids, axis=1)
    writer.name(writer.op("Concat", *facts, of_top, axis=1), REPORT)


def _cumulated(writer: Writer, count: int, row: str) -> str:
    """Sums of a row [batch, count] up to each place, float64 like it. Of a long row, blocks are cumulated apart."""
    if count <= _PLAIN:
        return writer.op("CumSum", row, writer.scalar(1))
    width = _width(count)
    blocks = -(-count // width)
    if blocks * width > count:
        row = writer.op("Pad", row, writer.ints(0, 0, 0, blocks * width - count))
    inside = writer.op("CumSum", writer.op("Reshape", row, writer.ints(0, blocks, width)), writer.scalar(2))
    sums = writer.op("Slice", inside, writer.ints(width - 1), writer.ints(width), writer.ints(2))
    before = writer.op("CumSum", sums, writer.scalar(1), exclusive=1)
    whole = writer.op("Reshape", writer.op("Add", inside, before), writer.ints(0, blocks * width))
    if blocks * width == count:
        return whole
    return writer.op("Slice", whole, writer.ints(0), writer.ints(count), writer.ints(1))


def _width(count: int) -> int:
    """Of the blocks: about the square root, and a divisor where there is one near."""
    root = math.isqrt(count - 1) + 1
    near = sorted(range(root // 2, 2 * root), key=lambda width: abs(width - root))
    return next((width for width in near if not count % width), root)


def _last(writer: Writer, count: int, row: str) -> str:
    return writer.op("Slice", row, writer.ints(count - 1), writer.ints(count), writer.ints(1))


def _control_port() -> memoryview:
    return port(CONTROL, "float64", ("batch", COLUMNS))


def _report_port(vocab_size: int) -> memoryview:
    return port(REPORT, "float32", ("batch", report_shape(1, vocab_size)[1]))
