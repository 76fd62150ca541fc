"""Steps of networks whose graphs are changed by structure: other operators, attributes, inputs, shapes, constants."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.shape_inference import InferenceError, infer_shapes

from tests.support import toys
from tests.support.damage import damaged
from tui_gen.inspection.inside import trace
from tui_gen.library import LoadedModel, open_model, shipped_folder
from tui_gen.runtime.operators import OPERATORS

from .texts import use_all

Change = Callable[[onnx.GraphProto, random.Random], None]
Type = tuple[int, tuple[int | str, ...]]
"""Of the numbers of a value, and its shape."""
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
_ANY, _TRIES = 0.3, 8
"""How many graphs are changed in any way, and how often a change that fits is sought for the others."""
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
        with mock.patch("tui_gen.text.encoder_process.EncoderProcess", return_value=None):  # of our tokenizers
            loaded_model = open_model(mutant, provider="cpu", threads=1)
        _use(loaded_model)

    return attempt


def _use(loaded_model: LoadedModel) -> None:
    model = loaded_model.model
    tokens = np.zeros((2, 40), dtype=np.int64)
    uses: list[Callable[[], object]] = [
        *(lambda batch=batch: _steps(loaded_model, batch) for batch in _BATCHES),
        lambda: model.read(tokens, model.start(2)),
        lambda: model.score(tokens, tokens, model.start(2)),
        lambda: trace(model, tokens[0]),
    ]
    use_all(uses)


def _steps(loaded_model: LoadedModel, batch: int) -> None:
    model = loaded_model.model
    state = model.start(batch)
    for token in range(_STEPS):
        _, state = model.step(np.full(batch, token % loaded_model.card.vocab_size), state)


def changed_graph(graph: bytes, rng: random.Random) -> bytes:
    """An ONNX file with up to three changes, most of which leave each value its type and shape."""
    model = onnx.load_from_string(graph)
    changes = _CHANGES if rng.random() < _ANY else _FITTING_CHANGES
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3))):
        model = _changed(model, rng.choice(changes), rng)
    return bytes(model.SerializeToString())


def _changed(model: onnx.ModelProto, change: Change, rng: random.Random) -> onnx.ModelProto:
    """With one change: one that fits by the types and shapes that follow from it, if any of a few does."""
    fits = change in _FITTING_CHANGES
    for _ in range(_TRIES if fits else 1):
        mutant = onnx.ModelProto()
        mutant.CopyFrom(model)
        with suppress(InferenceError):
            change(mutant.graph, rng)
            types = _types(mutant) if fits else {}  # of any graph, onnx may end the process
            if all(types.get(port.name) == _type(port) for port in model.graph.output):
                break
    return mutant


def _types(model: onnx.ModelProto) -> dict[str, Type]:
    """Of all values. Raises InferenceError where they do not go together."""
    inferred = infer_shapes(model, check_type=True, strict_mode=True, data_prop=True).graph
    types = {tensor.name: (tensor.data_type, tuple(tensor.dims)) for tensor in inferred.initializer}
    return types | {
        value.name: _type(value) for part in (inferred.input, inferred.value_info, inferred.output) for value in part
    }


def _type(value: onnx.ValueInfoProto) -> Type:
    tensor = value.type.tensor_type
    return tensor.elem_type, tuple(size.dim_param or size.dim_value for size in tensor.shape.dim)


def _exchange_operator(graph: onnx.GraphProto, rng: random.Random) -> None:
    """For one that takes the same."""
    if nodes := [node for node in graph.node if any(node.op_type in group for group in _ALIKE)]:
        node = rng.choice(nodes)
        node.op_type = rng.choice(next(group for group in _ALIKE if node.op_type in group))


def _exchange_input(graph: onnx.GraphProto, rng: random.Random) -> None:
    """For a value of the same type and shape that is there already."""
    types = _types(helper.make_model(graph))
    at = rng.randrange(len(graph.node))
    node = graph.node[at]
    place = rng.randrange(len(node.input))
    names = [name for each in graph.node[:at] for name in each.output]
    names += [each.name for part in (graph.initializer, graph.input) for each in part]
    own = types.get(node.input[place])
    node.input[place] = rng.choice([name for name in names if own and types.get(name) == own] or [node.input[place]])


def _insert_operator(graph: onnx.GraphProto, rng: random.Random) -> None:
    """Before an input of a node."""
    at = rng.randrange(len(graph.node))
    node = graph.node[at]
    place, name = rng.randrange(len(node.input)), f"inserted{len(graph.node)}"
    before = helper.make_node(rng.choice((*_ALIKE[0], "Softmax")), [node.input[place]], [name])
    node.input[place] = name
    graph.node.insert(at, before)


def _exchange_values(graph: onnx.GraphProto, rng: random.Random) -> None:
    """Of a constant, which keeps its size; numbers that may be indices are only put into another order."""
    tensor = rng.choice(graph.initializer)
    values = numpy_helper.to_array(tensor).copy()
    numbers = np.random.default_rng(rng.randrange(2**32))
    if values.dtype.kind == "f" and rng.random() < 0.8:
        scale = rng.choice((0, 1, 1, 100, 1e-40, 1e30, np.inf, np.nan))
        values = (numbers.standard_normal(values.shape) * scale).astype(values.dtype)
    else:
        values = numbers.permutation(values.reshape(-1)).reshape(values.shape)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _lengthen_table(graph: onnx.GraphProto, rng: random.Random) -> None:
    """Gives a table more rows than are looked up."""
    tables = {node.input[0] for node in graph.node if node.op_type == "Gather"}
    if tensors := [tensor for tensor in graph.initializer if tensor.name in tables and tensor.dims]:
        tensor = rng.choice(tensors)
        rows = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(np.concatenate([rows] * rng.choice((2, 3))), tensor.name))


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


_CHANGES: tuple[Change, ...] = (
    _change_operator,
    _change_attribute,
    _add_attribute,
    _change_input,
    _change_constant,
    _change_port,
    _drop_node,
)
_FITTING_CHANGES: tuple[Change, ...] = (
    _exchange_operator,
    _exchange_input,
    _insert_operator,
    _exchange_values,
    _lengthen_table,
)
