"""Recurrent networks as step functions, on ONNX's own RNN, LSTM and GRU operators."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from export.graph import StepGraph, to_numpy
from export.recurrent import RecurrentNet

_GATES = {"rnn": (0,), "lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
"""PyTorch orders gates as i f g o and r z n; ONNX as i o f c and z r h."""


def recurrent_step(net: RecurrentNet) -> onnx.ModelProto:
    """State: h, and for an LSTM c; each float32[batch, layers, hidden]."""
    config, graph = net.config, StepGraph()
    names = ("h", "c") if config.cell == "lstm" else ("h",)
    before = {name: _per_layer(graph, name, config.layers, config.hidden) for name in names}
    after: dict[str, list[str]] = {name: [] for name in names}
    embedded = graph.op("Gather", graph.constant("embedding", to_numpy(net.embedding.weight)), "token")
    value = graph.op("Unsqueeze", embedded, graph.ints(0))
    for layer in range(config.layers):
        states = [before[name][layer] for name in names]
        results = _cell(graph, net, layer, value, states)
        value = results[0]
        for name, result in zip(names, results, strict=True):
            after[name].append(result)
    features = graph.op("Squeeze", value, graph.ints(0))
    logits = graph.linear("output", features, to_numpy(net.output.weight).T, to_numpy(net.output.bias))
    graph.logits(logits, config.vocab_size)
    for name in names:
        layers = after[name][0] if config.layers == 1 else graph.op("Concat", *after[name], axis=0)
        graph.next(name, graph.op("Transpose", layers, perm=[1, 0, 2]))
    return graph.model()


def _per_layer(graph: StepGraph, name: str, layers: int, hidden: int) -> list[str]:
    """Declares state [batch, layers, hidden]; returns one [1, batch, hidden] per layer, as the ONNX operators want."""
    stacked = graph.op("Transpose", graph.state(name, layers, hidden), perm=[1, 0, 2])
    return [stacked] if layers == 1 else graph.op("Split", stacked, outputs=layers, axis=0, num_outputs=layers)


def _cell(graph: StepGraph, net: RecurrentNet, layer: int, value: str, states: list[str]) -> list[str]:
    """One layer over one token: the new h (and c), each [1, batch, hidden]."""
    cell, order = net.config.cell, _GATES[net.config.cell]
    parameters = dict(net.rnn.named_parameters())

    def gates(kind: str) -> NDArray[np.float32]:
        blocks = np.split(to_numpy(parameters[f"{kind}_l{layer}"]), len(order))
        return np.concatenate([blocks[gate] for gate in order])[None]

    weights = graph.constant(f"rnn.{layer}.W", gates("weight_ih"))
    recurrence = graph.constant(f"rnn.{layer}.R", gates("weight_hh"))
    bias = graph.constant(f"rnn.{layer}.B", np.concatenate([gates("bias_ih"), gates("bias_hh")], axis=1))
    extra = {"linear_before_reset": 1} if cell == "gru" else {}
    inputs = (value, weights, recurrence, bias, "", *states)
    results = graph.op(cell.upper(), *inputs, outputs=1 + len(states), hidden_size=net.config.hidden, **extra)
    return list(results[1:])
