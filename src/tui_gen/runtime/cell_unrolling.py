"""From recurrent operators to plain products, for a graph that reads one token.

ONNX's RNN, GRU and LSTM read whole sequences; on a GPU they go through cuDNN, which prepares each call on the host and
knows only some of their forms. Over one token they are a product or two and a few functions of vectors, which can be
recorded and replayed: https://onnx.ai/onnx/operators/ has the equations, and the order of the gates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_gen.runtime.onnx_graph import (
    Graph,
    Node,
    UnknownFormError,
    Writer,
    int_attribute,
    name_of_port,
    name_of_tensor,
    tensor,
    values_of,
)

_DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
_OPSET = 13
"""From which on Squeeze and Split are written as here."""
_SECOND = "unrolled.second"
_KNOWN = {"hidden_size", "linear_before_reset", "activations"}
Weights = NDArray[Any]
_TURNED = [1, 0, 2]


def unrolled(model: bytes) -> bytes | None:
    """A step function that computes the same without recurrent operators; itself, if it has none.

    None for a graph in which they have another form.
    """
    try:
        graph = Graph.read(model)
        recurrent = [node for node in graph.nodes if node.op in _DEFAULTS]
        if not recurrent:
            return model
        if graph.opset < _OPSET:
            return None
        cells = {id(node): _Cell(node, graph).nodes() for node in recurrent}
        graph.nodes = [made for node in graph.nodes for made in cells.get(id(node), ([node], []))[0]]
        graph.tensors += [constant for _, constants in cells.values() for constant in constants]
        graph.tensors.append(tensor(_SECOND, np.array([1])))
        batch_first(graph, _SECOND)
        return graph.written()
    except (UnknownFormError, ValueError, IndexError):
        return None


class _Cell:
    """A recurrent operator and its weights. Raises UnknownFormError for one of another form."""

    def __init__(self, node: Node, graph: Graph) -> None:
        self._node = node
        inputs = [*node.inputs, *[""] * (8 - len(node.inputs))]
        sequence, *weights, lengths, hidden, cell, peepholes = inputs
        if not hidden or lengths or peepholes or (node.op == "LSTM") != bool(cell) or node.attributes() - _KNOWN:
            raise UnknownFormError  # such as two directions or a clip
        self._activations = node.texts("activations") or _DEFAULTS[node.op]
        if self._activations[1:] != _DEFAULTS[node.op][1:] or (node.op != "RNN" and self._activations[0] != "Sigmoid"):
            raise UnknownFormError
        constants = {name_of_tensor(part): part for part in graph.tensors}
        self._w, self._r, self._b = (_constant(name, constants) for name in weights)
        self._size = self._r.shape[1]
        self._writer = Writer(f"{node.outputs[1] or node.outputs[0]}.")
        self._x, self._h, self._c = (self._squeezed(name) if name else "" for name in (sequence, hidden, cell))

    def nodes(self) -> tuple[list[Node], list[memoryview]]:
        """What takes the operator's place, and the constants of that."""
        made: dict[str, Callable[[], Sequence[str]]] = {"RNN": self._rnn, "GRU": self._gru, "LSTM": self._lstm}
        state = made[self._node.op]()
        writer, outputs = self._writer, [*self._node.outputs, "", ""][:3]
        for after, name in zip(state, outputs[1:], strict=False):
            if name:
                writer.name(writer.op("Unsqueeze", after, writer.ints(0)), name)
        if outputs[0]:  # the hidden states of all tokens, of which there is one
            writer.name(writer.op("Unsqueeze", state[0], writer.ints(0, 1)), outputs[0])
        return writer.taken(), writer.constants()

    def _squeezed(self, name: str) -> str:
        return self._writer.op("Squeeze", name, self._writer.ints(0))

    def _rnn(self) -> list[str]:
        return [self._writer.op(self._activations[0], self._joint())]

    def _lstm(self) -> list[str]:
        """Gates in ONNX's order: input, output, forget, cell."""
        op = self._writer.op
        three, cell = self._writer.split(self._joint(), 3 * self._size, self._size)
        into, out, forget = self._writer.split(op("Sigmoid", three), *[self._size] * 3)
        after = op("Add", op("Mul", forget, self._c), op("Mul", into, op("Tanh", cell)))
        return [op("Mul", out, op("Tanh", after)), after]

    def _gru(self) -> list[str]:
        """Gates in ONNX's order: update, reset, hidden."""
        op, size = self._writer.op, self._size
        gates, reset_later = slice(0, 2 * size), bool(self._node.integer("linear_before_reset", 0))
        of_x = self._product(self._x, self._w, self._b[: 3 * size])
        x_gates, x_hidden = self._writer.split(of_x, 2 * size, size)
        if reset_later:
            of_h = self._product(self._h, self._r, self._b[3 * size :])
            h_gates, h_hidden = self._writer.split(of_h, 2 * size, size)
        else:
            h_gates = self._product(self._h, self._r[gates], self._b[3 * size : 5 * size])
        update, reset = self._writer.split(op("Sigmoid", op("Add", x_gates, h_gates)), size, size)
        if reset_later:
            recalled = op("Mul", reset, h_hidden)
        else:
            recalled = self._product(op("Mul", reset, self._h), self._r[2 * size :], self._b[5 * size :])
        new = op("Tanh", op("Add", x_hidden, recalled))
        return [op("Add", new, op("Mul", update, op("Sub", self._h, new)))]

    def _joint(self) -> str:
        """Input and hidden state, one beside the other, times their weights: one product instead of two."""
        size = len(self._b) // 2
        both = self._writer.op("Concat", self._x, self._h, axis=1)
        return self._product(both, np.concatenate([self._w, self._r], axis=1), self._b[:size] + self._b[size:])

    def _product(self, rows: str, weights: Weights, bias: Weights) -> str:
        """Rows [batch, inputs] times weights [outputs, inputs] plus bias [outputs]."""
        names = [self._writer.weights(np.ascontiguousarray(values)) for values in (weights, bias)]
        return self._writer.op("Gemm", rows, *names, transB=1)


def _constant(name: str, constants: Mapping[str, memoryview]) -> Weights:
    """Of the first of one direction. Raises UnknownFormError for what is computed."""
    if name not in constants:
        raise UnknownFormError
    values = values_of(constants[name])
    if len(values) != 1:
        raise UnknownFormError
    return values[0]


def batch_first(graph: Graph, second: str) -> None:
    """Rewrites what it recognises and leaves the rest. second: a constant int64[1] that says 1."""
    first = {name_of_tensor(part) for part in graph.tensors if _says(part, [0])}
    _join(graph, first)
    _cut_inputs(graph, first, second)
    _join_outputs(graph, first, second)


def _says(part: memoryview, values: list[int]) -> bool:
    found = values_of(part) if len(part) < 256 else None  # a constant that says an axis is short
    return found is not None and found.dtype == "int64" and found.tolist() == values


def _join(graph: Graph, first: set[str]) -> None:
    """A Squeeze of what was unsqueezed along the first axis is what there was before."""
    before = {node.outputs[0]: node.inputs[0] for node in graph.nodes if _moves("Unsqueeze", node, first)}
    outputs = {name_of_port(port) for port in graph.outputs}
    same: dict[str, str] = {}
    for node in graph.nodes:
        if _moves("Squeeze", node, first) and node.inputs[0] in before and node.outputs[0] not in outputs:
            same[node.outputs[0]] = before[node.inputs[0]]
    graph.nodes = [_reading(node, same) for node in graph.nodes if node.outputs[0] not in same]
    used = outputs | {name for node in graph.nodes for name in node.inputs}
    graph.nodes = [node for node in graph.nodes if used.intersection(node.outputs)]


def _cut_inputs(graph: Graph, first: set[str], second: str) -> None:
    """Transpose, Split and Squeeze of a state become Split and Squeeze along the second axis."""
    states = {name_of_port(port) for port in graph.inputs}
    for turned in [node for node in graph.nodes if _turns(node) and node.inputs[0] in states]:
        readers = _readers(graph, turned.outputs[0])
        splits = [node for node in readers if node.op == "Split" and node.integer("axis", 0) == 0]
        parts = [name for node in splits for name in node.outputs] or turned.outputs
        ends = [node for part in parts for node in _readers(graph, part)]
        whole = readers == splits if splits else readers == ends
        if not whole or not all(_moves("Squeeze", node, first) for node in ends):
            continue
        new = {
            id(node): _along_second(node, {turned.outputs[0]: turned.inputs[0]}, second) for node in (*splits, *ends)
        }
        graph.nodes = [new.get(id(node), node) for node in graph.nodes if node is not turned]


def _join_outputs(graph: Graph, first: set[str], second: str) -> None:
    """Unsqueeze, Concat and Transpose to a state become Unsqueeze and Concat along the second axis."""
    results = {name_of_port(port) for port in graph.outputs}
    made = {node.outputs[0]: node for node in graph.nodes}
    for turned in [node for node in graph.nodes if _turns(node) and node.outputs[0] in results]:
        before = made.get(turned.inputs[0])
        joins = before is not None and before.op == "Concat" and before.integer("axis", 0) == 0
        last = [before] if joins and before is not None else []
        rows = [made.get(name) for name in (before.inputs if last and before else turned.inputs)]
        alone = all(len(_readers(graph, node.outputs[0])) == 1 for node in [*rows, *last] if node is not None)
        if not alone or not all(node is not None and _moves("Unsqueeze", node, first) for node in rows):
            continue
        renamed = {turned.inputs[0]: turned.outputs[0]}
        chosen = [node for node in [*rows, *last] if node is not None]
        new = {id(node): _along_second(node, {}, second, renamed) for node in chosen}
        graph.nodes = [new.get(id(node), node) for node in graph.nodes if node is not turned]


def _readers(graph: Graph, name: str) -> list[Node]:
    return [node for node in graph.nodes if name in node.inputs]


def _turns(node: Node) -> bool:
    return node.op == "Transpose" and node.integers("perm") == _TURNED


def _moves(op: str, node: Node, axes: set[str]) -> bool:
    return node.op == op and len(node.inputs) == 2 and node.inputs[1] in axes


def _reading(node: Node, names: Mapping[str, str]) -> Node:
    """The node with other names for what it reads, however often they were renamed."""

    def last(name: str) -> str:
        return last(names[name]) if name in names else name

    return node._replace(inputs=[last(name) for name in node.inputs])


def _along_second(node: Node, inputs: Mapping[str, str], second: str, outputs: Mapping[str, str] | None = None) -> Node:
    """The node along the second axis instead of the first."""
    names = [inputs.get(name, name) for name in node.inputs]
    results = [(outputs or {}).get(name, name) for name in node.outputs]
    if node.op in ("Squeeze", "Unsqueeze"):
        return Node(node.op, [names[0], second], results, node.rest)
    kept = [part for part in node.rest if not node.is_attribute(part, "axis")]
    return Node(node.op, names, results, [int_attribute("axis", 1), *kept])
