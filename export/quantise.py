"""Smaller weights, int8 or fp16, and how much they change what a model says of the tokens that it writes itself."""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

import tui_gen  # noqa: F401  sets the environment before onnxruntime is imported
from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.files import temporary_folder
from tui_gen.generation.generate import generate
from tui_gen.generation.protocol import Endless
from tui_gen.library import codec_for
from tui_gen.runtime.model import Model
from tui_gen.sampling.params import SamplingParams, Tokens, log_softmax

from .graph import StepGraph

TOKENS = 2000
SAMPLES = 10
SECONDS = 60.0
"""After which the comparison ends: a network that computes whole images can take a second for a token."""
LIMIT = 0.01
"""Nats per token that a smaller file may differ by, unless forced."""
SmallDtype = Literal["int8", "fp16"]
_STORED_SIZE = 1024
"""Numbers from which on a weight is stored smaller."""
_COMPUTED_SIZE = 2**18
"""Numbers from which on a product is computed with whole numbers: below, converting costs more than it saves."""
_Store = Callable[[StepGraph, str, NDArray[np.float32], int], None]
"""Adds a smaller weight, whose outputs are along an axis, and the nodes that make it float32 again."""


def shrink(
    graph: bytes, card: ModelCard, tokenizer: str | None, dtype: SmallDtype, *, force: bool
) -> tuple[bytes, Precision]:
    """A smaller file and how it differs. Raises TuiGenError if it differs too much, unless forced."""
    small, operators = quantise(graph, dtype)
    full, less = (Model(content, card, provider="cpu") for content in (graph, small))
    precision = compare(full, less, codec_for(card, tokenizer).prompt([""]), dtype=dtype, operators=operators)
    precision = replace(precision, bytes_before=len(graph), bytes_after=len(small))
    check_precision(precision, force=force)
    return small, precision


@dataclass(frozen=True)
class Precision:
    """A smaller file compared with the full one."""

    dtype: str
    operators: tuple[str, ...]
    kl_divergence: float
    """Of the smaller file's distribution from the full one's, nats per token."""
    greedy_agreement: float
    """Share of tokens at which both find the same token likeliest."""
    tokens: int
    bytes_before: int = 0
    bytes_after: int = 0

    def lines(self) -> list[str]:
        """For people."""
        ratio = self.bytes_before / max(self.bytes_after, 1)
        before, after = self.bytes_before / 1e6, self.bytes_after / 1e6
        return [
            f"{self.dtype}: {before:.2f} MB -> {after:.2f} MB, {ratio:.1f} times smaller",
            f"  by {'; '.join(self.operators)}",
            f"  KL divergence from fp32 {self.kl_divergence:.2g} nats per token over {self.tokens:,} tokens; "
            f"the likeliest token agrees in {self.greedy_agreement:.1%}",
        ]


def compare(full: Model, small: Model, prompt: Tokens, *, dtype: str, operators: tuple[str, ...]) -> Precision:
    """Both models over the same tokens, which the full one writes at temperature 1 after prompt int64[1, n].

    2,000 of them, or as many as a slow model makes in a minute; what is given back says how many.
    """
    prompts = np.repeat(prompt, SAMPLES, axis=0)
    first, length = prompt.shape[1] - 1, TOKENS // SAMPLES
    area = full.card.image.area if full.card.image else length
    steps = generate(Endless(full), prompts, SamplingParams(), length=min(length, area), seed=0)
    state, divergence, agreements, count = small.start(SAMPLES), 0.0, 0, 0
    tokens, deadline = prompts[:, 0], time.monotonic() + SECONDS
    for step in islice(steps, first + length):
        logits, state = small.step(tokens, state)
        tokens = step.tokens
        if step.given[0]:
            continue
        of_full, of_small = log_softmax(step.logits), log_softmax(logits)
        divergence += float((np.exp(of_full) * (of_full - of_small)).sum())
        agreements += int((of_full.argmax(1) == of_small.argmax(1)).sum())
        count += len(tokens)
        if time.monotonic() > deadline:
            break
    return Precision(dtype, operators, divergence / count, agreements / count, count)


def check_precision(precision: Precision, *, force: bool) -> None:
    """Raises TuiGenError for a file that says something else than the full one, unless forced."""
    if force or precision.kl_divergence <= LIMIT:
        return
    raise TuiGenError(
        f"{precision.dtype} changes what the model says: KL divergence {precision.kl_divergence:.3g} nats per token, "
        f"{LIMIT} is allowed, so nothing was written; --force writes it all the same"
    )


def quantise(graph: bytes, dtype: SmallDtype) -> tuple[bytes, tuple[str, ...]]:
    """The file with weights of this type, and which operators do the work."""
    if dtype == "fp16":
        model = onnx.load_from_string(graph)
        count = _store(model, _as_half)
        return _serialise(model), (f"Cast of {count} float16 weights when the file is opened",)
    model = onnx.load_from_string(_compute_in_integers(graph))
    count = _store(model, _as_bytes)
    kinds = {node.op_type for node in model.graph.node}
    fast = sorted(kinds & {"DynamicQuantizeLSTM", "MatMulInteger"})
    return _serialise(model), (*fast, f"Cast and Mul of {count} int8 weights when the file is opened")


def _compute_in_integers(graph: bytes) -> bytes:
    """LSTM layers, and products that are large enough, by onnxruntime's own quantiser."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    nodes = _large(onnx.load_from_string(graph))
    if not nodes:
        return graph
    model = onnx.load_from_string(graph)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{number}"
    with temporary_folder() as folder, _silence_quantiser():
        source, target = folder / "full.onnx", folder / "small.onnx"
        onnx.save(model, source)
        names = [model.graph.node[index].name for index in nodes]
        names += [f"{name}_MatMul" for name in names]  # what the quantiser makes of a Gemm
        quantize_dynamic(source, target, weight_type=QuantType.QInt8, nodes_to_quantize=names)
        return target.read_bytes()


@contextlib.contextmanager
def _silence_quantiser() -> Iterator[None]:
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
    least = {"LSTM": 1, "Gemm": _COMPUTED_SIZE}
    floats = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    return [
        index
        for index, node in enumerate(model.graph.node)
        if node.op_type in least
        and any(name in floats and sizes[name] >= least[node.op_type] for name in node.input[:2])
    ]


def _store(model: onnx.ModelProto, store: _Store) -> int:
    """Replaces float32 weights by smaller ones and nodes that make them float32 again; returns how many."""
    graph, builder = model.graph, StepGraph()
    axes = _output_axes(graph)
    large = [t for t in graph.initializer if t.data_type == TensorProto.FLOAT and np.prod(t.dims) >= _STORED_SIZE]
    for tensor in large:
        values = numpy_helper.to_array(tensor)
        graph.initializer.remove(tensor)
        usual = values.ndim - 2 if values.ndim == 3 else values.ndim - 1  # a recurrent layer's weights have directions
        store(builder, tensor.name, values, axes.get(tensor.name, usual))
    graph.initializer.extend(builder.initializers)
    nodes = [*builder.nodes, *graph.node]
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


def _as_half(graph: StepGraph, name: str, values: NDArray[np.float32], axis: int) -> None:
    half = graph.constant(f"{name}.fp16", values.astype(np.float16))
    graph.node("Cast", [half], [name], to=TensorProto.FLOAT)


def _as_bytes(graph: StepGraph, name: str, values: NDArray[np.float32], axis: int) -> None:
    """Each output has its own scale."""
    others = tuple(index for index in range(values.ndim) if index != axis)
    scale = np.abs(values).max(axis=others, keepdims=True) / 127
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    whole = graph.constant(f"{name}.int8", np.rint(values / scale).astype(np.int8))
    graph.node("Cast", [whole], [f"{name}.whole"], to=TensorProto.FLOAT)
    graph.node("Mul", [f"{name}.whole", graph.constant(f"{name}.scale", scale)], [name])


def _serialise(model: onnx.ModelProto) -> bytes:
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
