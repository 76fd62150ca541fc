"""Steps of networks whose graphs are changed by structure: other operators, attributes, inputs, shapes, constants."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.support import toys
from tests.support.damage import damaged
from tui_gen.errors import TuiGenError
from tui_gen.inspection.inside import trace
from tui_gen.library import LoadedModel, open_model, shipped_folder
from tui_gen.runtime.operators import OPERATORS

_NUMBERS = (0, -1, -5, 1, 2, 7, 100, 2**31, 2**40, 2**62, -(2**62))
_SIZES = (0, 1, 2, 5, 2**20, -1)
_TYPES = (1, 2, 3, 6, 7, 9, 10, 11)
_ATTRIBUTES = (
    *("axis", "axes", "batch_dims", "dilations", "group", "hidden_size", "keepdims", "kernel_shape", "largest"),
    *("mode", "num_heads", "num_outputs", "pads", "perm", "strides", "to"),
)
_ALIKE = (
    ("Abs", "Ceil", "Exp", "Log", "Neg", "Reciprocal", "Relu", "Round", "Sigmoid", "Sqrt", "Tan", "Tanh", "Identity"),
    ("Add", "Div", "Max", "Mean", "Min", "Mul", "Pow", "Sub", "PRelu"),
    ("Gather", "GatherElements", "GatherND"),
    ("Squeeze", "Unsqueeze", "Reshape", "Expand", "Tile"),
    ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
    ("Softmax", "LogSoftmax", "Hardmax", "CumSum"),
)
"""Operators that take the same, so that most graphs with another of them still open."""
_BATCHES = (1, 2, 17)
_STEPS = 12


def graphs(folder: Path) -> Callable[[random.Random], object]:
    """Model folders whose graphs are changed by structure, or damaged; what opens is run, read, scored, looked into."""
    makers = {"text": toys.text_folder, "image": toys.image_folder}
    originals = [make(folder / name) / "model.onnx" for name, make in makers.items()]
    originals += [shipped_folder() / name / "model.onnx" for name in ("names", "shakespeare", "fashion-book")]
    contents = [path.read_bytes() for path in originals]
    cards = [(path.parent / "config.json").read_text(encoding="utf-8") for path in originals]
    tokenizers = [path.parent / "tokenizer.json" for path in originals]
    mutant = folder / "mutant"
    mutant.mkdir()

    def attempt(rng: random.Random) -> None:
        at = rng.randrange(len(contents))
        graph = damaged(contents[at], rng) if rng.random() < 0.05 else changed_graph(contents[at], rng)
        (mutant / "model.onnx").write_bytes(graph)
        (mutant / "config.json").write_text(cards[at].replace('"sha256"', '"before"'), encoding="utf-8")
        (mutant / "tokenizer.json").unlink(missing_ok=True)
        if tokenizers[at].exists():
            (mutant / "tokenizer.json").write_bytes(tokenizers[at].read_bytes())
        _use(open_model(mutant, provider="cpu", threads=1))

    return attempt


def _use(loaded_model: LoadedModel) -> None:
    model, faults = loaded_model.model, list[TuiGenError]()
    tokens = np.zeros((2, 40), dtype=np.int64)
    uses: list[Callable[[], object]] = [
        *(lambda batch=batch: _steps(loaded_model, batch) for batch in _BATCHES),
        lambda: model.read(tokens, model.start(2)),
        lambda: model.score(tokens, tokens, model.start(2)),
        lambda: trace(model, tokens[0]),
    ]
    for use in uses:
        try:
            use()
        except TuiGenError as fault:
            faults.append(fault)
    if faults:
        raise faults[0]


def _steps(loaded_model: LoadedModel, batch: int) -> None:
    model = loaded_model.model
    state = model.start(batch)
    for token in range(_STEPS):
        _, state = model.step(np.full(batch, token % loaded_model.card.vocab_size), state)


def changed_graph(graph: bytes, rng: random.Random) -> bytes:
    """An ONNX file with up to three changes."""
    model = onnx.load_from_string(graph)
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3))):
        rng.choice(_CHANGES)(model.graph, rng)
    return bytes(model.SerializeToString())


def _change_operator(graph: onnx.GraphProto, rng: random.Random) -> None:
    node = rng.choice(graph.node)
    if rng.random() < 0.7:  # one that is like others, if there is any
        node = rng.choice([each for each in graph.node if any(each.op_type in group for group in _ALIKE)] or [node])
    alike = next((group for group in _ALIKE if node.op_type in group), ())
    names = alike if alike and rng.random() < 0.8 else sorted(OPERATORS)
    node.domain, _, node.op_type = rng.choice(names).rpartition(".")


def _change_attribute(graph: onnx.GraphProto, rng: random.Random) -> None:
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    if not attributes:
        return
    attribute = rng.choice(attributes)
    if attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(_NUMBERS)
    else:
        attribute.i = rng.choice(_NUMBERS)


def _add_attribute(graph: onnx.GraphProto, rng: random.Random) -> None:
    number = rng.choice(_NUMBERS)
    value = rng.choice((number, [number], [0, number], "reflect", 1.5))
    rng.choice(graph.node).attribute.append(helper.make_attribute(rng.choice(_ATTRIBUTES), value))


def _change_input(graph: onnx.GraphProto, rng: random.Random) -> None:
    node = rng.choice(graph.node)
    names = [name for each in graph.node for name in each.output]
    names += [each.name for part in (graph.initializer, graph.input) for each in part]
    if node.input and rng.random() < 0.7:
        node.input[rng.randrange(len(node.input))] = rng.choice(["", *names])
    else:
        node.input.append(rng.choice(names))


def _change_constant(graph: onnx.GraphProto, rng: random.Random) -> None:
    if not graph.initializer:
        return
    tensor = rng.choice(graph.initializer)
    kind = rng.random()
    if tensor.data_type == onnx.TensorProto.INT64 and kind < 0.6:
        values = np.full_like(numpy_helper.to_array(tensor), rng.choice(_NUMBERS))
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    elif tensor.dims and kind < 0.8:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(_SIZES)
    else:
        tensor.data_type = rng.choice(_TYPES)


def _change_port(graph: onnx.GraphProto, rng: random.Random) -> None:
    port = rng.choice([*graph.input, *graph.output])
    sizes = port.type.tensor_type.shape.dim
    if sizes and rng.random() < 0.7:
        rng.choice(sizes).dim_value = rng.choice(_SIZES)
    else:
        port.type.tensor_type.elem_type = rng.choice(_TYPES)


def _drop_node(graph: onnx.GraphProto, rng: random.Random) -> None:
    if len(graph.node) > 1:
        graph.node.remove(rng.choice(graph.node))


_CHANGES = (
    *(_change_operator,) * 6,  # which more graphs survive than the others
    _change_attribute,
    _add_attribute,
    _change_input,
    _change_constant,
    _change_port,
    _drop_node,
)
