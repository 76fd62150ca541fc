"""Recurrent cells written out in ONNX, for those that its own operators do not have: a token's row for an input, a
projection, an unusual activation.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from export.graph import StepGraph, to_numpy
from export.text.recurrence import Recurrence

Product = Callable[[str, NDArray[np.float32], NDArray[np.float32]], str]
"""(name, weight [outputs, inputs], bias [outputs]) -> [batch, outputs]: weight times what is read, plus bias."""


def cell(graph: StepGraph, name: str, layer: Recurrence, read: Product, states: list[str]) -> list[str]:
    """One layer over one token. states: h (and c), each [batch, width]; returns the same after the token."""
    writer = {"RNN": _rnn, "LSTM": _lstm, "GRU": _gru}[layer.kind]
    return writer(graph, name, layer, read, states)


def activation(graph: StepGraph, kind: str, value: str) -> str:
    """One of `export.text.maps.ACTIVATIONS`."""
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
