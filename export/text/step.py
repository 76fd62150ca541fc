"""The states of recurrent layers in a step graph: batch first outside, one layer at a time inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from export.graph import StepGraph, to_numpy
from export.text.layers import Combined, Layer, LayerNorm, Linear, Map, Part, Recurrence, Residuals
from tui_gen.sampling.params import Tokens

Product = Callable[[str, NDArray[np.float32], NDArray[np.float32]], str]
"""(name, weight [outputs, inputs], bias [outputs]) -> [batch, outputs]: weight times what is read, plus bias."""
TEXT_STEPS = 200
"""Tokens that prove a text model."""
_ORDER = {"RNN": (0,), "LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}
"""PyTorch orders gates as i f g o and r z n; ONNX as i o f c and z r h."""


class States:
    """h and c of all layers: one [batch, layers, width] each, or, where widths differ, one [batch, width] a layer.

    Every state starts as zeros, so that of a layer with a learned start is kept as its difference from it.
    """

    def __init__(self, graph: StepGraph, layers: Sequence[Layer]) -> None:
        self._graph, self._layers = graph, layers
        self._before: dict[tuple[int, str], str] = {}
        self._after: dict[tuple[int, str], str] = {}
        self._groups = {name: group for state in ("h", "c") for name, group in self._grouped(state).items()}
        for name, group in self._groups.items():
            self._declare(name, group)

    def before(self, layer: int) -> list[str]:
        """A layer's states before the token, each [1, batch, width], as ONNX's operators want them."""
        return [self._before[layer, state] for state in self._layers[layer].states()]

    def keep(self, layer: int, results: Sequence[str]) -> None:
        """A layer's states after the token, each [1, batch, width]."""
        for state, result in zip(self._layers[layer].states(), results, strict=True):
            self._after[layer, state] = result

    def finish(self) -> None:
        """Names the results; call after the logits are named."""
        for name, group in self._groups.items():
            self._next(name, group)

    def _grouped(self, state: str) -> dict[str, list[tuple[int, str]]]:
        """The tensors that carry a state, by name: (layer, state) of each row."""
        holders = [index for index, layer in enumerate(self._layers) if state in layer.states()]
        widths = {self._layers[index].states()[state] for index in holders}
        if len(widths) == 1:
            return {state: [(index, state) for index in holders]}
        return {f"{state}.{index}": [(index, state)] for index in holders}

    def _stacked(self, name: str) -> bool:
        return "." not in name

    def _declare(self, name: str, group: list[tuple[int, str]]) -> None:
        graph, width = self._graph, self._layers[group[0][0]].states()[group[0][1]]
        if self._stacked(name):
            value = graph.op("Transpose", graph.state(name, len(group), width), perm=[1, 0, 2])
        else:
            value = graph.op("Unsqueeze", graph.state(name, width), graph.ints(0))
        start = self._start(name, group, width)
        value = graph.op("Add", value, start) if start else value
        count = len(group)
        rows = [value] if count == 1 else graph.op("Split", value, outputs=count, axis=0, num_outputs=count)
        self._before.update(zip(group, rows, strict=True))

    def _next(self, name: str, group: list[tuple[int, str]]) -> None:
        graph, rows = self._graph, [self._after[key] for key in group]
        value = rows[0] if len(rows) == 1 else graph.op("Concat", *rows, axis=0)
        start = f"start.{name}"
        if any(self._layers[layer].start(state) is not None for layer, state in group):
            value = graph.op("Sub", value, start)
        if self._stacked(name):
            graph.next(name, graph.op("Transpose", value, perm=[1, 0, 2]))
        else:
            graph.next(name, graph.op("Squeeze", value, graph.ints(0)))

    def _start(self, name: str, group: list[tuple[int, str]], width: int) -> str:
        """The constant [layers, 1, width] of the learned starts; empty if there are none."""
        starts = [self._layers[layer].start(state) for layer, state in group]
        if all(start is None for start in starts):
            return ""
        rows = [np.zeros(width, np.float32) if start is None else to_numpy(start) for start in starts]
        return self._graph.constant(f"start.{name}", np.stack(rows)[:, None])


def cell(graph: StepGraph, name: str, layer: Recurrence, read: Product, states: list[str]) -> list[str]:
    """One layer over one token. states: h (and c), each [batch, width]; returns the same after the token."""
    writer = {"RNN": _rnn, "LSTM": _lstm, "GRU": _gru}[layer.kind]
    return writer(graph, name, layer, read, states)


def activation(graph: StepGraph, kind: str, value: str) -> str:
    """One of `export.text.layers.ACTIVATIONS`."""
    if kind == "none":
        return value
    if kind == "gelu":
        half = graph.op("Mul", value, graph.constant("half", np.array(0.5, np.float32)))
        error = graph.op("Erf", graph.op("Mul", value, graph.constant("sqrt_half", np.array(0.5**0.5, np.float32))))
        return str(graph.op("Add", half, graph.op("Mul", half, error)))
    operators = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid", "leaky_relu": "LeakyRelu", "elu": "Elu"}
    return str(graph.op(operators[kind], value))


def bias(layer: Recurrence, name: str) -> NDArray[np.float32]:
    """[gates * hidden]; zeros where the layer has none."""
    value = layer.bias_ih if name == "bias_ih" else layer.bias_hh
    return np.zeros(len(layer.weight_ih), np.float32) if value is None else to_numpy(value)


def _gates(graph: StepGraph, name: str, layer: Recurrence, read: Product, h: str, *, order: tuple[int, ...]) -> str:
    """Both products of all gates in another order: [batch, gates * hidden]."""
    rows = np.concatenate([np.arange(layer.hidden) + gate * layer.hidden for gate in order])
    total = bias(layer, "bias_ih") + bias(layer, "bias_hh")
    seen = read(f"{name}.W", to_numpy(layer.weight_ih)[rows], total[rows])
    kept = graph.op("MatMul", h, graph.constant(f"{name}.R", to_numpy(layer.weight_hh)[rows].T))
    return str(graph.op("Add", seen, kept))


def _rnn(graph: StepGraph, name: str, layer: Recurrence, read: Product, states: list[str]) -> list[str]:
    return [activation(graph, layer.nonlinearity, _gates(graph, name, layer, read, states[0], order=(0,)))]


def _lstm(graph: StepGraph, name: str, layer: Recurrence, read: Product, states: list[str]) -> list[str]:
    h, c = states
    gates = _gates(graph, name, layer, read, h, order=(0, 1, 3, 2))  # i f o together, for one sigmoid
    sizes = graph.ints(3 * layer.hidden, layer.hidden)
    opened, candidate = graph.op("Split", gates, sizes, outputs=2, axis=1)
    i, f, o = graph.op("Split", graph.op("Sigmoid", opened), outputs=3, axis=1, num_outputs=3)
    c = graph.op("Add", graph.op("Mul", f, c), graph.op("Mul", i, graph.op("Tanh", candidate)))
    h = graph.op("Mul", o, graph.op("Tanh", c))
    if layer.weight_hr is not None:
        h = graph.op("MatMul", h, graph.constant(f"{name}.P", to_numpy(layer.weight_hr).T))
    return [h, c]


def _gru(graph: StepGraph, name: str, layer: Recurrence, read: Product, states: list[str]) -> list[str]:
    (h,), width = states, layer.hidden
    sizes = graph.ints(2 * width, width)
    seen = read(f"{name}.W", to_numpy(layer.weight_ih), bias(layer, "bias_ih"))
    seen, seen_new = graph.op("Split", seen, sizes, outputs=2, axis=1)
    weight, constant = to_numpy(layer.weight_hh), bias(layer, "bias_hh")
    parts = (slice(0, 2 * width), slice(2 * width, None))
    kept = graph.linear(f"{name}.gates", h, weight[parts[0]].T, constant[parts[0]])
    opened = graph.op("Sigmoid", graph.op("Add", seen, kept))
    r, z = graph.op("Split", opened, outputs=2, axis=1, num_outputs=2)
    new = weight[parts[1]].T, constant[parts[1]]
    if layer.reset_first:
        kept_new = graph.linear(f"{name}.new", graph.op("Mul", r, h), *new)
    else:
        kept_new = graph.op("Mul", r, graph.linear(f"{name}.new", h, *new))
    n = graph.op("Tanh", graph.op("Add", seen_new, kept_new))
    return [graph.op("Add", n, graph.op("Mul", z, graph.op("Sub", h, n)))]


@dataclass(frozen=True, eq=False)
class TextNetwork:
    """Implements `export.reader.Network`: a token becomes features, each part reads those of the one before it."""

    table: Tensor | None
    """float32[readable tokens, width]: the features of each token; None where a 1 among zeros stands for it."""
    parts: tuple[Part, ...]
    """The last one gives the logits."""
    residuals: Residuals = ()
    """Parts, by their numbers, whose input is added to their output."""
    learned_table: bool = True
    """False for features that were not trained, such as the token's number."""

    @property
    def vocab_size(self) -> int:
        """Tokens that it predicts; it may read a few more."""
        return self.parts[-1].outputs

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The parts that remember."""
        return tuple(part for part in self.parts if isinstance(part, Layer))

    @property
    def parameters_count(self) -> int:
        """Trained numbers; shared ones count once."""
        table = (self.table,) if self.learned_table else ()
        every = [*table, *(tensor for part in self.parts for tensor in part.tensors())]
        return sum({tensor.data_ptr(): tensor.numel() for tensor in every if tensor is not None}.values())

    def step_graph(self) -> onnx.ModelProto:
        """The step function, on ONNX's own recurrent operators where they serve."""
        return text_step(self.table, self.parts, self.residuals)

    def random_tokens(self, batch: int, rng: np.random.Generator) -> Tokens:
        """int64[batch, 200]."""
        return rng.integers(self.vocab_size, size=(batch, TEXT_STEPS))

    def greedy_length(self) -> int:
        """As long a text as the random ones."""
        return TEXT_STEPS

    @torch.no_grad()
    def sequence_logits(self, tokens: Tensor) -> Tensor:
        """Logits after every token of int64[batch, n], from the first state: float32[batch, n, vocab]."""
        value = self._features(tokens)
        read = []
        for at, part in enumerate(self.parts):
            read.append(value)
            value = part.full(value)
            value = sum((read[first] for first, last in self.residuals if last == at), value)
        return value

    def _features(self, tokens: Tensor) -> Tensor:
        if self.table is None:
            return functional.one_hot(tokens, self.parts[0].inputs).float()
        return self.table[tokens]


def text_step(table: Tensor | None, parts: Sequence[Part], residuals: Residuals = ()) -> onnx.ModelProto:
    """State: h, and for an LSTM c; each float32[batch, layers, hidden], or [batch, hidden] a layer where sizes differ.

    table: float32[tokens, width] of features; without it, the first part reads a 1 among zeros.
    """
    graph = StepGraph()
    states = States(graph, [part for part in parts if isinstance(part, Layer)])
    value = _Value(graph, "token", is_token=True)
    if table is not None:
        value = _Value(graph, graph.op("Gather", graph.constant("embedding", to_numpy(table)), "token"))
    layer, read = 0, list[_Value]()
    for index, part in enumerate(parts):
        read.append(value)
        name = "output" if part is parts[-1] else f"between.{index}"
        if isinstance(part, Layer):
            value, results = _remembering(part, layer, value, states.before(layer))
            states.keep(layer, results)
            layer += 1
        else:
            value = _Value(graph, _map(part, name, value))
        for first in (first for first, last in residuals if last == index):
            value = _Value(graph, graph.op("Add", value.flat(), read[first].flat()))
    graph.logits(value.flat(), parts[-1].outputs)
    states.finish()
    return graph.model()


@dataclass(frozen=True)
class _Value:
    """What a part reads: a token, or features [batch, width], or the same as ONNX's operators have them."""

    graph: StepGraph
    name: str
    is_token: bool = False
    is_lifted: bool = False
    """Is [1, batch, width]."""

    def flat(self) -> str:
        return self.graph.op("Squeeze", self.name, self.graph.ints(0)) if self.is_lifted else self.name

    def lifted(self) -> str:
        return self.name if self.is_lifted else self.graph.op("Unsqueeze", self.name, self.graph.ints(0))

    def times(self, name: str, weight: NDArray[np.float32], constant: NDArray[np.float32]) -> str:
        """Weight [outputs, width] times the features, plus a constant; for a token, a row of a table."""
        if self.is_token:
            return str(self.graph.op("Gather", self.graph.constant(f"{name}.rows", weight.T + constant), self.name))
        return self.graph.linear(name, self.flat(), weight.T, constant)


def _map(part: Map, name: str, value: _Value) -> str:
    """Features [batch, outputs]."""
    graph = value.graph
    if isinstance(part, Linear):
        made = value.times(name, to_numpy(part.weight), _or_zeros(part.bias, part.outputs))
        return activation(graph, part.activation, made)
    if isinstance(part, LayerNorm):
        given = [graph.constant(f"{name}.weight", to_numpy(part.weight))]
        given += [] if part.bias is None else [graph.constant(f"{name}.bias", to_numpy(part.bias))]
        return str(graph.op("LayerNormalization", value.flat(), *given, axis=-1, epsilon=part.epsilon))
    scale = _or_zeros(part.weight, part.outputs, fill=1) / np.sqrt(to_numpy(part.variance) + np.float32(part.epsilon))
    shift = _or_zeros(part.bias, part.outputs) - to_numpy(part.mean) * scale
    scaled = graph.op("Mul", value.flat(), graph.constant(f"{name}.scale", scale))
    return str(graph.op("Add", scaled, graph.constant(f"{name}.shift", shift)))


def _remembering(part: Layer, layer: int, value: _Value, states: list[str]) -> tuple[_Value, list[str]]:
    """What one layer gives, and its states after the token. states: each [1, batch, width]."""
    graph = value.graph
    if isinstance(part, Recurrence) and not value.is_token and _has_operator(part):
        results = _operator(part, f"rnn.{layer}", value, states)
        return _Value(graph, results[0], is_lifted=True), results
    flat = [_Value(graph, state, is_lifted=True).flat() for state in states]
    if isinstance(part, Recurrence):
        results = cell(graph, f"rnn.{layer}", part, value.times, flat)
        made = results[0]
    else:
        made, results = _combined(part, f"rnn.{layer}", value, flat[0])
    return _Value(graph, made), [_Value(graph, result).lifted() for result in results]


def _has_operator(part: Recurrence) -> bool:
    return part.weight_hr is None and (part.kind != "RNN" or part.nonlinearity in ("tanh", "relu"))


def _operator(part: Recurrence, name: str, value: _Value, states: list[str]) -> list[str]:
    """The new h (and c), each [1, batch, hidden]."""
    graph, order = value.graph, _ORDER[part.kind]

    def gates(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        blocks = np.split(rows, len(order))
        return np.concatenate([blocks[gate] for gate in order])[None]

    both = np.concatenate([gates(bias(part, "bias_ih")), gates(bias(part, "bias_hh"))], axis=1)
    weights = graph.constant(f"{name}.W", gates(to_numpy(part.weight_ih)))
    recurrence = graph.constant(f"{name}.R", gates(to_numpy(part.weight_hh)))
    extra: dict[str, Any] = {"linear_before_reset": int(not part.reset_first)} if part.kind == "GRU" else {}
    if part.kind == "RNN" and part.nonlinearity == "relu":
        extra = {"activations": ["Relu"]}
    inputs = (value.lifted(), weights, recurrence, graph.constant(f"{name}.B", both), "", *states)
    results = graph.op(part.kind, *inputs, outputs=1 + len(states), hidden_size=part.hidden, **extra)
    return list(results[1:])


def _combined(part: Combined, name: str, value: _Value, h: str) -> tuple[str, list[str]]:
    """Logits [batch, vocab], and the new h."""
    graph = value.graph

    def both(which: str, linear: Linear) -> str:
        weight, constant = to_numpy(linear.weight), _or_zeros(linear.bias, linear.outputs)
        seen = value.times(f"{name}.{which}.W", weight[:, : part.inputs], constant)
        kept = graph.op("MatMul", h, graph.constant(f"{name}.{which}.R", weight[:, part.inputs :].T))
        return activation(graph, linear.activation, graph.op("Add", seen, kept))

    after, made = both("state", part.state), both("output", part.output)
    if part.last:
        joined = _Value(graph, graph.op("Concat", after, made, axis=1))
        made = _map(part.last, f"{name}.last", joined)
    return made, [after]


def _or_zeros(value: Tensor | None, width: int, *, fill: float = 0) -> NDArray[np.float32]:
    return np.full(width, fill, np.float32) if value is None else to_numpy(value)
