"""Smaller model files: weights of 8 or 16 bits, and how much that changes what the model says.

`fp16` and most of `int8` only store less: the file casts its weights back, which onnxruntime does once, when it opens
it, so a step is as fast as before and its arithmetic stays float32. (A graph that computes in float16 crashes
onnxruntime at some optimisation levels.) Where a product is so large that reading its weights takes the time, `int8`
computes with whole numbers: DynamicQuantizeLSTM, and MatMulInteger for the last layer of a large vocabulary. Those
scale their inputs by the largest of the whole batch, so what a sample says then depends a little on those beside it.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import tui_gen  # noqa: F401  sets the environment before onnxruntime is imported
from export.precision import Precision, check_precision, compare
from tui_gen.card import ModelCard
from tui_gen.codec import codec_for
from tui_gen.model import Model

Dtype = Literal["int8", "fp16"]
_STORED = 1024
"""Numbers from which on a weight is stored smaller."""
_COMPUTED = 2**18
"""Numbers from which on a product is computed with whole numbers: below, converting costs more than it saves."""


def shrink(
    graph: bytes, card: ModelCard, tokenizer: str | None, dtype: Dtype, *, force: bool
) -> tuple[bytes, Precision]:
    """A smaller file and how it differs. Raises TuiGenError if it differs too much, unless forced."""
    small, operators = quantise(graph, dtype)
    full, less = (Model(content, card, provider="cpu") for content in (graph, small))
    precision = compare(full, less, codec_for(card, tokenizer).prompt([""]), dtype=dtype, operators=operators)
    precision = precision.of_sizes(len(graph), len(small))
    check_precision(precision, force=force)
    return small, precision


def quantise(graph: bytes, dtype: Dtype) -> tuple[bytes, tuple[str, ...]]:
    """The file with weights of this type, and which operators do the work."""
    if dtype == "fp16":
        model = onnx.load_from_string(graph)
        count = _store(model, _as_half)
        return _written(model), (f"Cast of {count} float16 weights when the file is opened",)
    model = onnx.load_from_string(_computed_in_whole_numbers(graph))
    count = _store(model, _as_bytes)
    kinds = {node.op_type for node in model.graph.node}
    fast = sorted(kinds & {"DynamicQuantizeLSTM", "MatMulInteger"})
    return _written(model), (*fast, f"Cast and Mul of {count} int8 weights when the file is opened")


def _computed_in_whole_numbers(graph: bytes) -> bytes:
    """LSTM layers, and products that are large enough, by onnxruntime's own quantiser."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    nodes = _large(onnx.load_from_string(graph))
    if not nodes:
        return graph
    model = onnx.load_from_string(graph)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{number}"
    with tempfile.TemporaryDirectory(prefix="tui-gen-") as folder, _quietly():
        source, target = Path(folder) / "full.onnx", Path(folder) / "small.onnx"
        onnx.save(model, source)
        names = [model.graph.node[index].name for index in nodes]
        chosen = [*names, *(f"{name}_MatMul" for name in names)]  # what the quantiser makes of a Gemm
        quantize_dynamic(source, target, weight_type=QuantType.QInt8, nodes_to_quantize=chosen)
        return target.read_bytes()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """The quantiser advises steps before it that would change nothing here."""
    limit = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(limit)


def _large(model: onnx.ModelProto) -> list[int]:
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    least = {"LSTM": 1, "Gemm": _COMPUTED}
    floats = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    return [
        index
        for index, node in enumerate(model.graph.node)
        if node.op_type in least
        and any(name in floats and sizes[name] >= least[node.op_type] for name in node.input[:2])
    ]


_Smaller = Callable[[onnx.GraphProto, str, NDArray[np.float32], int], list[onnx.NodeProto]]
"""Adds a smaller weight, whose outputs are along an axis, to the graph; returns the nodes that make it float32."""


def _store(model: onnx.ModelProto, smaller: _Smaller) -> int:
    """Replaces float32 weights by smaller ones and nodes that make them float32 again; returns how many."""
    graph, first = model.graph, list[onnx.NodeProto]()
    axes = _output_axes(graph)
    large = [t for t in graph.initializer if t.data_type == TensorProto.FLOAT and np.prod(t.dims) >= _STORED]
    for tensor in large:
        values = numpy_helper.to_array(tensor)
        graph.initializer.remove(tensor)
        usual = values.ndim - 2 if values.ndim == 3 else values.ndim - 1  # a recurrent layer's weights have directions
        first += smaller(graph, tensor.name, values, axes.get(tensor.name, usual))
    nodes = [*first, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return len(large)


def _output_axes(graph: onnx.GraphProto) -> dict[str, int]:
    """Along which axis of a weight its outputs are, where that is not the usual one; also inside loops."""
    axes: dict[str, int] = {}
    for node in graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type in ("Conv", "ConvTranspose"):
            axes[node.input[1]] = 0 if node.op_type == "Conv" else 1
        elif node.op_type == "Gemm" and "transB" in attributes and attributes["transB"].i:
            axes[node.input[1]] = 0
        for attribute in node.attribute:
            axes |= _output_axes(attribute.g)
    return axes


def _as_half(graph: onnx.GraphProto, name: str, values: NDArray[np.float32], axis: int) -> list[onnx.NodeProto]:
    graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), f"{name}.fp16"))
    return [helper.make_node("Cast", [f"{name}.fp16"], [name], to=TensorProto.FLOAT)]


def _as_bytes(graph: onnx.GraphProto, name: str, values: NDArray[np.float32], axis: int) -> list[onnx.NodeProto]:
    """Each output has its own scale."""
    others = tuple(index for index in range(values.ndim) if index != axis)
    scale = np.abs(values).max(axis=others, keepdims=True) / 127
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    graph.initializer.append(numpy_helper.from_array(np.rint(values / scale).astype(np.int8), f"{name}.int8"))
    graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
    return [
        helper.make_node("Cast", [f"{name}.int8"], [f"{name}.whole"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}.whole", f"{name}.scale"], [name]),
    ]


def _written(model: onnx.ModelProto) -> bytes:
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
