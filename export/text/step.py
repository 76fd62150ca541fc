"""A recurrent language model as a network to export: its full pass in PyTorch, and its step function in ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tui_gen.card import ModelCard
from tui_gen.sampling.params import Tokens

from ..graph import StepGraph, to_numpy
from .layers import (
    Activation,
    Feedforward,
    Layer,
    LayerNorm,
    Linear,
    Recurrent,
    RecurrentLayer,
    Residuals,
    TutorialRNN,
    split_activation,
)

TEXT_STEPS = 200
"""Tokens that prove a text model."""
_ONNX_GATES = {"RNN": (0,), "LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}
"""PyTorch orders gates as i f g o and r z n; ONNX as i o f c and z r h."""
Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TextNetwork:
    """Implements `export.reader.Network`: a token becomes features, each layer reads those of the one before it."""

    table: Tensor | None
    """float32[readable tokens, width]: the features of each token; None where a 1 among zeros stands for it."""
    layers: tuple[Layer, ...]
    """The last one gives the logits."""
    residuals: Residuals = ()
    """Layers, by their numbers, whose input is added to their output."""
    learned_table: bool = True
    """False for features that were not trained, such as the token's number."""

    @property
    def vocab_size(self) -> int:
        """Tokens that it predicts; it may read a few more."""
        return self.layers[-1].outputs

    @property
    def recurrent(self) -> tuple[Recurrent, ...]:
        """The layers with a state."""
        return tuple(layer for layer in self.layers if isinstance(layer, Recurrent))

    @property
    def parameters_count(self) -> int:
        """Trained numbers; shared ones count once."""
        table = (self.table,) if self.learned_table else ()
        every = [*table, *(tensor for layer in self.layers for tensor in layer.tensors())]
        return sum({tensor.data_ptr(): tensor.numel() for tensor in every if tensor is not None}.values())

    def completed(self, card: ModelCard) -> ModelCard:
        """As it is."""
        return card

    def step_graph(self) -> onnx.ModelProto:
        """The step function, on ONNX's own recurrent operators where they serve.

        State: h, and for an LSTM c; each float32[batch, layers, hidden], or [batch, hidden] a layer where sizes differ.
        """
        graph = StepGraph()
        states = _States(graph, self.recurrent)
        features = _Features(graph, "token", is_token=True)
        if self.table is not None:
            with graph.layer("embedding"):
                rows = graph.op("Gather", graph.constant("embedding", to_numpy(self.table)), "token")
            graph.inside("", "embedding", rows, int(self.table.shape[1]))
            features = _Features(graph, rows)
        inputs = list[_Features]()
        for at, layer in enumerate(self.layers):
            inputs.append(features)
            if isinstance(layer, Recurrent):
                features = states.update(layer, features)
            else:
                name = "output" if layer is self.layers[-1] else f"between.{at}"
                with graph.layer(name):
                    features = _Features(graph, _feedforward(layer, name, features))
            for first in (first for first, last in self.residuals if last == at):
                features = _Features(graph, graph.op("Add", features.flat(), inputs[first].flat()))
        graph.logits(features.flat(), self.vocab_size)
        states.finish()
        return graph.model()

    def random_tokens(self, batch: int, rng: np.random.Generator) -> Tokens:
        """int64[batch, 200]."""
        return rng.integers(self.vocab_size, size=(batch, TEXT_STEPS))

    def greedy_length(self) -> int:
        """As long a text as the random ones."""
        return TEXT_STEPS

    @torch.no_grad()
    def sequence_logits(self, tokens: Tensor) -> Tensor:
        """Logits after every token of int64[batch, n], from the initial state: float32[batch, n, vocab]."""
        value = functional.one_hot(tokens, self.layers[0].inputs).float() if self.table is None else self.table[tokens]
        inputs = []
        for at, layer in enumerate(self.layers):
            inputs.append(value)
            value = layer.forward(value)
            value = sum((inputs[first] for first, last in self.residuals if last == at), value)
        return value


@dataclass(frozen=True)
class _Features:
    """What a layer reads: a token, or features [batch, width], or the same as ONNX's operators have them."""

    graph: StepGraph
    name: str
    is_token: bool = False
    is_sequence: bool = False
    """Is [1, batch, width]."""

    def flat(self) -> str:
        """[batch, width]."""
        return self.graph.op("Squeeze", self.name, self.graph.ints(0)) if self.is_sequence else self.name

    def sequence(self) -> str:
        """[1, batch, width]."""
        return self.name if self.is_sequence else self.graph.op("Unsqueeze", self.name, self.graph.ints(0))

    def times(self, name: str, weight: Array, bias: Array) -> str:
        """Weight [outputs, width] times the features, plus bias [outputs]; for a token, a row of a table."""
        if self.is_token:
            return str(self.graph.op("Gather", self.graph.constant(f"{name}.rows", weight.T + bias), self.name))
        return self.graph.linear(name, self.flat(), weight.T, bias)


class _States:
    """h and c of all layers: one [batch, layers, width] each, or, where widths differ, one [batch, width] a layer.

    Every state starts as zeros, so that of a layer with a learned initial state is its difference from that.
    """

    def __init__(self, graph: StepGraph, layers: Sequence[Recurrent]) -> None:
        self._graph, self._layers = graph, layers
        self._rows: dict[tuple[int, str], str] = {}
        """[1, batch, width] by number of the layer and name of the state: before the token, or after it."""
        self._groups = {name: group for state in ("h", "c") for name, group in self._groups_of(state).items()}
        self._next = 0
        for name, group in self._groups.items():
            self._declare(name, group)

    def update(self, layer: Recurrent, features: _Features) -> _Features:
        """What the next layer gives; its states are from now on those after the token."""
        index, self._next = self._next, self._next + 1
        states = [self._rows[index, state] for state in layer.states()]
        with self._graph.layer(f"rnn.{index}"):
            output, states = _recurrent(layer, f"rnn.{index}", features, states)
        self._rows.update({(index, state): row for state, row in zip(layer.states(), states, strict=True)})
        return output

    def finish(self) -> None:
        """Names the states after the token; call after the logits have a name."""
        graph = self._graph
        for name, group in self._groups.items():
            rows = [self._rows[key] for key in group]
            value = rows[0] if len(rows) == 1 else graph.op("Concat", *rows, axis=0)
            if any(self._layers[index].initial_state(state) is not None for index, state in group):
                value = graph.op("Sub", value, f"start.{name}")
            if name in ("h", "c"):
                graph.next(name, graph.op("Transpose", value, perm=[1, 0, 2]))
            else:
                graph.next(name, graph.op("Squeeze", value, graph.ints(0)))

    def _groups_of(self, state: str) -> dict[str, list[tuple[int, str]]]:
        """The tensors that carry a state, by name: (layer, state) of each row."""
        holders = [index for index, layer in enumerate(self._layers) if state in layer.states()]
        if len({self._layers[index].states()[state] for index in holders}) == 1:
            return {state: [(index, state) for index in holders]}
        return {f"{state}.{index}": [(index, state)] for index in holders}

    def _declare(self, name: str, group: list[tuple[int, str]]) -> None:
        graph, width, count = self._graph, self._layers[group[0][0]].states()[group[0][1]], len(group)
        if name in ("h", "c"):
            value = graph.op("Transpose", graph.state(name, count, width), perm=[1, 0, 2])
        else:
            value = graph.op("Unsqueeze", graph.state(name, width), graph.ints(0))
        learned = [self._layers[index].initial_state(state) for index, state in group]
        if any(row is not None for row in learned):
            initial = np.stack([_or_zeros(row, width) for row in learned])[:, None]
            value = graph.op("Add", value, graph.constant(f"start.{name}", initial))
        rows = [value] if count == 1 else graph.op("Split", value, outputs=count, axis=0, num_outputs=count)
        self._rows.update(zip(group, rows, strict=True))


def _feedforward(layer: Feedforward, name: str, features: _Features) -> str:
    """Features [batch, outputs]."""
    graph = features.graph
    if isinstance(layer, Linear):
        product = features.times(name, to_numpy(layer.weight), _or_zeros(layer.bias, layer.outputs))
        return _activation(graph, layer.activation, product)
    if isinstance(layer, Activation):
        return _activation(graph, layer.kind, features.flat())
    if isinstance(layer, LayerNorm) and layer.kind != "layer":
        return _own_norm(layer, name, features)
    if isinstance(layer, LayerNorm):
        constants = [graph.constant(f"{name}.weight", to_numpy(layer.weight))]
        constants += [] if layer.bias is None else [graph.constant(f"{name}.bias", to_numpy(layer.bias))]
        return str(graph.op("LayerNormalization", features.flat(), *constants, axis=-1, epsilon=layer.epsilon))
    deviation = np.sqrt(to_numpy(layer.variance) + np.float32(layer.epsilon))
    scale = _or_zeros(layer.weight, layer.outputs, fill=1) / deviation
    shift = _or_zeros(layer.bias, layer.outputs) - to_numpy(layer.mean) * scale
    product = graph.op("Mul", features.flat(), graph.constant(f"{name}.scale", scale))
    return str(graph.op("Add", product, graph.constant(f"{name}.shift", shift)))


def _own_norm(layer: LayerNorm, name: str, features: _Features) -> str:
    """The kinds of normalisation for which ONNX has no operator."""
    graph, value, width = features.graph, features.flat(), layer.inputs
    epsilon = graph.constant(f"{name}.epsilon", np.array(layer.epsilon, np.float32))
    axes = graph.ints(-1)
    if layer.kind == "std":
        value = graph.op("Sub", value, graph.op("ReduceMean", value, axes))
    squares = graph.op("ReduceMean", graph.op("Mul", value, value), axes)
    if layer.kind == "std":
        deviation = graph.op("Sqrt", _scaled(graph, squares, width / (width - 1)))
        normed = graph.op("Div", value, graph.op("Add", deviation, epsilon))
    else:
        normed = graph.op("Div", value, graph.op("Sqrt", graph.op("Add", squares, epsilon)))
    product = graph.op("Mul", normed, graph.constant(f"{name}.weight", to_numpy(layer.weight)))
    bias = _or_zeros(layer.bias, width)
    return str(graph.op("Add", product, graph.constant(f"{name}.bias", bias)))


def _recurrent(layer: Recurrent, name: str, features: _Features, states: list[str]) -> tuple[_Features, list[str]]:
    """What one layer gives, and its states after the token. states: h (and c), each [1, batch, width]."""
    graph = features.graph
    if isinstance(layer, RecurrentLayer) and not features.is_token and _has_operator(layer):
        after = _operator(layer, name, features, states)
        return _Features(graph, after[0], is_sequence=True), after
    flat = [_Features(graph, state, is_sequence=True).flat() for state in states]
    if isinstance(layer, RecurrentLayer):
        after = {"RNN": _rnn, "LSTM": _lstm, "GRU": _gru}[layer.kind](layer, name, features, flat)
        output = after[0]
    else:
        output, after = _tutorial_rnn(layer, name, features, flat[0])
    return _Features(graph, output), [_Features(graph, state).sequence() for state in after]


def _has_operator(layer: RecurrentLayer) -> bool:
    return layer.weight_hr is None and (layer.kind != "RNN" or layer.nonlinearity in ("tanh", "relu"))


def _operator(layer: RecurrentLayer, name: str, features: _Features, states: list[str]) -> list[str]:
    """ONNX's own operator: the new h (and c), each [1, batch, hidden]."""
    graph, order = features.graph, _ONNX_GATES[layer.kind]

    def gates(rows: Array) -> Array:
        blocks = np.split(rows, len(order))
        return np.concatenate([blocks[gate] for gate in order])[None]

    biases = np.concatenate([gates(_bias(layer, layer.bias_ih)), gates(_bias(layer, layer.bias_hh))], axis=1)
    weights = graph.constant(f"{name}.W", gates(to_numpy(layer.weight_ih)))
    recurrence = graph.constant(f"{name}.R", gates(to_numpy(layer.weight_hh)))
    extra: dict[str, Any] = {"linear_before_reset": int(not layer.reset_first)} if layer.kind == "GRU" else {}
    if layer.kind == "RNN" and layer.nonlinearity == "relu":
        extra = {"activations": ["Relu"]}
    inputs = (features.sequence(), weights, recurrence, graph.constant(f"{name}.B", biases), "", *states)
    results = graph.op(layer.kind, *inputs, outputs=1 + len(states), hidden_size=layer.hidden_size, **extra)
    return list(results[1:])


def _rnn(layer: RecurrentLayer, name: str, features: _Features, states: list[str]) -> list[str]:
    h = _activation(features.graph, layer.nonlinearity, _sums(layer, name, features, states[0], order=(0,)))
    _name_inside(features.graph, name, layer.hidden_size, hidden=h)
    return [h]


def _name_inside(graph: StepGraph, name: str, width: int, **values: str) -> None:
    """Values of a layer that is written out, [batch, width] each, by what they are."""
    for quantity, value in values.items():
        graph.inside(name, quantity, value, width)


def _lstm(layer: RecurrentLayer, name: str, features: _Features, states: list[str]) -> list[str]:
    graph, (h, c) = features.graph, states
    sums = _sums(layer, name, features, h, order=(0, 1, 3, 2))  # i f o together, for one sigmoid
    sizes = graph.ints(3 * layer.hidden_size, layer.hidden_size)
    gates, candidate = graph.op("Split", sums, sizes, outputs=2, axis=1)
    i, f, o = graph.op("Split", graph.op("Sigmoid", gates), outputs=3, axis=1, num_outputs=3)
    candidate = graph.op("Tanh", candidate)
    c = graph.op("Add", graph.op("Mul", f, c), graph.op("Mul", i, candidate))
    h = graph.op("Mul", o, graph.op("Tanh", c))
    gates_by_name = {"input_gate": i, "forget_gate": f, "output_gate": o, "candidate": candidate, "cell": c}
    _name_inside(graph, name, layer.hidden_size, **gates_by_name)
    if layer.weight_hr is not None:
        h = graph.op("MatMul", h, graph.constant(f"{name}.P", to_numpy(layer.weight_hr).T))
    _name_inside(graph, name, layer.states()["h"], hidden=h)
    return [h, c]


def _gru(layer: RecurrentLayer, name: str, features: _Features, states: list[str]) -> list[str]:
    graph, (h,), width = features.graph, states, layer.hidden_size
    sizes = graph.ints(2 * width, width)
    of_x = features.times(f"{name}.W", to_numpy(layer.weight_ih), _bias(layer, layer.bias_ih))
    of_x, new_of_x = graph.op("Split", of_x, sizes, outputs=2, axis=1)
    weight, bias = to_numpy(layer.weight_hh), _bias(layer, layer.bias_hh)
    of_h = graph.linear(f"{name}.gates", h, weight[: 2 * width].T, bias[: 2 * width])
    gates = graph.op("Sigmoid", graph.op("Add", of_x, of_h))
    r, z = graph.op("Split", gates, outputs=2, axis=1, num_outputs=2)
    new = weight[2 * width :].T, bias[2 * width :]
    if layer.reset_first:
        new_of_h = graph.linear(f"{name}.new", graph.op("Mul", r, h), *new)
    else:
        new_of_h = graph.op("Mul", r, graph.linear(f"{name}.new", h, *new))
    n = graph.op("Tanh", graph.op("Add", new_of_x, new_of_h))
    h = graph.op("Add", n, graph.op("Mul", z, graph.op("Sub", h, n)))
    _name_inside(graph, name, width, reset_gate=r, update_gate=z, candidate=n, hidden=h)
    return [h]


def _sums(layer: RecurrentLayer, name: str, features: _Features, h: str, *, order: tuple[int, ...]) -> str:
    """Both products of all gates in another order: [batch, gates * hidden]."""
    rows = np.concatenate([np.arange(layer.hidden_size) + gate * layer.hidden_size for gate in order])
    bias = _bias(layer, layer.bias_ih) + _bias(layer, layer.bias_hh)
    of_x = features.times(f"{name}.W", to_numpy(layer.weight_ih)[rows], bias[rows])
    of_h = features.graph.op("MatMul", h, features.graph.constant(f"{name}.R", to_numpy(layer.weight_hh)[rows].T))
    return str(features.graph.op("Add", of_x, of_h))


def _tutorial_rnn(layer: TutorialRNN, name: str, features: _Features, h: str) -> tuple[str, list[str]]:
    """Logits [batch, vocab], and the new h."""
    graph = features.graph

    def product(which: str, linear: Linear) -> str:
        weight, bias = to_numpy(linear.weight), _or_zeros(linear.bias, linear.outputs)
        of_x = features.times(f"{name}.{which}.W", weight[:, : layer.inputs], bias)
        of_h = graph.op("MatMul", h, graph.constant(f"{name}.{which}.R", weight[:, layer.inputs :].T))
        return _activation(graph, linear.activation, graph.op("Add", of_x, of_h))

    state, logits = product("state", layer.state), product("output", layer.output)
    if layer.last:
        joint = _Features(graph, graph.op("Concat", state, logits, axis=1))
        logits = _feedforward(layer.last, f"{name}.last", joint)
    return logits, [state]


def _activation(graph: StepGraph, kind: str, value: str) -> str:
    """As `export.text.layers.activate`."""
    name, number = split_activation(kind)
    operators = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid", "selu": "Selu"}
    if name == "none":
        return value
    if name in operators:
        return str(graph.op(operators[name], value))
    if name in ("leaky_relu", "elu"):
        extra: dict[str, Any] = {} if number is None else {"alpha": number}
        return str(graph.op({"leaky_relu": "LeakyRelu", "elu": "Elu"}[name], value, **extra))
    if name == "silu":
        return str(graph.op("Mul", value, graph.op("Sigmoid", value)))
    return _softplus(graph, value, number or 1.0) if name == "softplus" else _gelu(graph, name, value)


def _softplus(graph: StepGraph, value: str, beta: float) -> str:
    return _scaled(graph, graph.op("Softplus", _scaled(graph, value, beta)), 1 / beta)


def _gelu(graph: StepGraph, name: str, value: str) -> str:
    """Hendrycks and Gimpel (2016): by the error function, or `gelu_tanh`, their approximation."""
    half = _scaled(graph, value, 0.5)
    if name == "gelu":
        error = graph.op("Erf", _scaled(graph, value, 0.5**0.5))
    else:
        cube = graph.op("Mul", value, graph.op("Mul", value, value))
        error = graph.op(
            "Tanh", _scaled(graph, graph.op("Add", value, _scaled(graph, cube, 0.044715)), (2 / np.pi) ** 0.5)
        )
    return str(graph.op("Add", half, graph.op("Mul", half, error)))


def _scaled(graph: StepGraph, value: str, factor: float) -> str:
    return str(graph.op("Mul", value, graph.constant(f"times_{factor:.6g}", np.array(factor, np.float32))))


def _bias(layer: RecurrentLayer, bias: Tensor | None) -> Array:
    """[gates * hidden]."""
    return _or_zeros(bias, len(layer.weight_ih))


def _or_zeros(value: Tensor | None, width: int, *, fill: float = 0) -> Array:
    return np.full(width, fill, np.float32) if value is None else to_numpy(value)
