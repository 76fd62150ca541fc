"""A chain of parts as a step function, on ONNX's own RNN, LSTM and GRU operators where they serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import Tensor

from export.graph import StepGraph, to_numpy
from export.text.combined import Combined
from export.text.equations import activation, bias, cell
from export.text.maps import LayerNorm, Linear
from export.text.parts import Layer, Map, Part
from export.text.recurrence import Recurrence
from export.text.states import States
from export.text.untold import Residuals

_ORDER = {"RNN": (0,), "LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}
"""PyTorch orders gates as i f g o and r z n; ONNX as i o f c and z r h."""


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
