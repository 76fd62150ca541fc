"""A step function for one sample, run for every sample of a batch: for networks that fix their batch when traced."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.graph import BATCH

_AXIS = "per_sample.first_axis"


def over_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """The step function of any batch, from one whose inputs and outputs are all [1, ...]: a Scan over the samples."""
    inner = model.graph
    inputs, outputs = list(inner.input), list(inner.output)
    before = [helper.make_node("Unsqueeze", [f"{port.name}.row", _AXIS], [port.name]) for port in inputs]
    after = [helper.make_node("Squeeze", [port.name, _AXIS], [f"{port.name}.row"]) for port in outputs]
    body = helper.make_graph(
        [*before, *inner.node, *after], "sample", [_row(port) for port in inputs], [_row(port) for port in outputs]
    )
    # The ports of the outer graph have the names of the inner values, so those are renamed inside.
    _rename(body, {port.name: f"{port.name}.own" for port in (*inputs, *outputs)})
    scan = helper.make_node(
        "Scan",
        [port.name for port in inputs],
        [port.name for port in outputs],
        body=body,
        num_scan_inputs=len(inputs),
    )
    axis = numpy_helper.from_array(np.zeros(1, dtype=np.int64), _AXIS)
    graph = helper.make_graph(
        [scan],
        "step",
        [_batched(port) for port in inputs],
        [_batched(port) for port in outputs],
        initializer=[*inner.initializer, axis],
    )
    made = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    made.functions.extend(model.functions)
    return made


def _sizes(port: onnx.ValueInfoProto) -> list[int]:
    return [dimension.dim_value for dimension in port.type.tensor_type.shape.dim][1:]


def _row(port: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(f"{port.name}.row", port.type.tensor_type.elem_type, _sizes(port))


def _batched(port: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    kind = port.type.tensor_type.elem_type or TensorProto.FLOAT
    return helper.make_tensor_value_info(port.name, kind, [BATCH, *_sizes(port)])


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
