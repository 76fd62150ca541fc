"""Writes ONNX's recurrent operators out as matrix products, in a graph that reads one token.

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
    GraphBuilder,
    OnnxNode,
    UnknownFormError,
    int_attribute,
    name_of_port,
    name_of_tensor,
    tensor,
    values_of,
)

_DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
_OPSET = 13
"""From which on Squeeze and Split are written as here."""
_AXIS_1 = "unrolled.second"
_ATTRIBUTES = {"hidden_size", "linear_before_reset", "activations"}
Values = NDArray[Any]
_SWAP = [1, 0, 2]


def unroll_cells(model: bytes) -> bytes | None:
    """A step function that computes the same without recurrent operators; itself, if it has none.

    None for a graph in which they have another form.
    """
    try:
        graph = Graph.read(model)
        recurrent_nodes = [node for node in graph.nodes if node.op in _DEFAULTS]
        if not recurrent_nodes:
            return model
        if graph.opset < _OPSET:
            return None
        write_out(graph)
        graph.tensors.append(tensor(_AXIS_1, np.array([1])))
        put_batch_first(graph, _AXIS_1)
        return graph.to_bytes()
    except (UnknownFormError, ValueError, IndexError):
        return None


def write_out(graph: Graph) -> list[Cell]:
    """Replaces each recurrent operator of the graph by products. Raises UnknownFormError for one of another form."""
    cells = [Cell(node, graph) for node in graph.nodes if node.op in _DEFAULTS]
    nodes = {id(cell.node): cell.nodes() for cell in cells}
    graph.nodes = [new for node in graph.nodes for new in nodes.get(id(node), [node])]
    graph.tensors += [constant for cell in cells for constant in cell.constants()]
    return cells


class Cell:
    """A recurrent operator and its weights. Raises UnknownFormError for one of another form."""

    def __init__(self, node: OnnxNode, graph: Graph) -> None:
        self.node = node
        self.inside: dict[str, str] = {}
        """Names of the values within it, [batch, width], by their quantity; there once `nodes` was called."""
        inputs = [*node.inputs, *[""] * (8 - len(node.inputs))]
        sequence, *weights, lengths, state, cell, peepholes = inputs
        if not state or lengths or peepholes or (node.op == "LSTM") != bool(cell) or node.attributes() - _ATTRIBUTES:
            raise UnknownFormError  # such as two directions or a clip
        self.activations = node.texts("activations") or _DEFAULTS[node.op]
        if self.activations[1:] != _DEFAULTS[node.op][1:] or (node.op != "RNN" and self.activations[0] != "Sigmoid"):
            raise UnknownFormError
        constants = {name_of_tensor(part): part for part in graph.tensors}
        self._w, self._r, self._b = (_constant(name, constants) for name in weights)
        self.width = self._r.shape[1]
        self._builder = GraphBuilder(f"{node.outputs[1] or node.outputs[0]}.")
        self._x, self._h, self._c = (self._squeeze(name) if name else "" for name in (sequence, state, cell))

    @property
    def resets_later(self) -> bool:
        """Of a GRU: whether the reset gate multiplies the product with the state, and not the state before it."""
        return bool(self.node.integer("linear_before_reset", 0))

    def nodes(self) -> list[OnnxNode]:
        """What takes the operator's place."""
        steps: dict[str, Callable[[], Sequence[str]]] = {"RNN": self._rnn, "GRU": self._gru, "LSTM": self._lstm}
        state = steps[self.node.op]()
        builder, outputs = self._builder, [*self.node.outputs, "", ""][:3]
        for after, name in zip(state, outputs[1:], strict=False):
            if name:
                builder.name(builder.op("Unsqueeze", after, builder.ints(0)), name)
        if outputs[0]:  # the hidden states of all tokens, of which there is one
            builder.name(builder.op("Unsqueeze", state[0], builder.ints(0, 1)), outputs[0])
        return builder.take_nodes()

    def constants(self) -> list[memoryview]:
        """Those of its nodes."""
        return self._builder.constants()

    def _squeeze(self, name: str) -> str:
        return self._builder.op("Squeeze", name, self._builder.ints(0))

    def _rnn(self) -> list[str]:
        self.inside["hidden"] = hidden = self._builder.op(self.activations[0], self._joint())
        return [hidden]

    def _lstm(self) -> list[str]:
        """Gates in ONNX's order: input, output, forget, cell."""
        op = self._builder.op
        three, cell = self._builder.split(self._joint(), 3 * self.width, self.width)
        into, out, forget = self._builder.split(op("Sigmoid", three), *[self.width] * 3)
        candidate = op("Tanh", cell)
        after = op("Add", op("Mul", forget, self._c), op("Mul", into, candidate))
        hidden = op("Mul", out, op("Tanh", after))
        gates = {"input_gate": into, "forget_gate": forget, "output_gate": out}
        self.inside = {**gates, "candidate": candidate, "cell": after, "hidden": hidden}
        return [hidden, after]

    def _gru(self) -> list[str]:
        """Gates in ONNX's order: update, reset, hidden."""
        op, size = self._builder.op, self.width
        gates, reset_later = slice(0, 2 * size), self.resets_later
        of_x = self._product(self._x, self._w, self._b[: 3 * size])
        x_gates, x_hidden = self._builder.split(of_x, 2 * size, size)
        if reset_later:
            of_h = self._product(self._h, self._r, self._b[3 * size :])
            h_gates, h_hidden = self._builder.split(of_h, 2 * size, size)
        else:
            h_gates = self._product(self._h, self._r[gates], self._b[3 * size : 5 * size])
        update, reset = self._builder.split(op("Sigmoid", op("Add", x_gates, h_gates)), size, size)
        if reset_later:
            memory = op("Mul", reset, h_hidden)
        else:
            memory = self._product(op("Mul", reset, self._h), self._r[2 * size :], self._b[5 * size :])
        new = op("Tanh", op("Add", x_hidden, memory))
        hidden = op("Add", new, op("Mul", update, op("Sub", self._h, new)))
        self.inside = {"reset_gate": reset, "update_gate": update, "candidate": new, "hidden": hidden}
        return [hidden]

    def _joint(self) -> str:
        """Input and hidden state, one beside the other, times their weights: one product instead of two."""
        size = len(self._b) // 2
        both = self._builder.op("Concat", self._x, self._h, axis=1)
        return self._product(both, np.concatenate([self._w, self._r], axis=1), self._b[:size] + self._b[size:])

    def _product(self, rows: str, weights: Values, bias: Values) -> str:
        """Rows [batch, inputs] times weights [outputs, inputs] plus bias [outputs]."""
        names = [self._builder.weights(np.ascontiguousarray(values)) for values in (weights, bias)]
        return self._builder.op("Gemm", rows, *names, transB=1)


def _constant(name: str, constants: Mapping[str, memoryview]) -> Values:
    """Of the first of one direction. Raises UnknownFormError for what is computed."""
    if name not in constants:
        raise UnknownFormError
    values = values_of(constants[name])
    if len(values) != 1:
        raise UnknownFormError
    return values[0]


def put_batch_first(graph: Graph, axis_1: str) -> None:
    """Rewrites states that are transposed to have the layers first; leaves what it does not recognise.

    axis_1: the name of a constant int64[1] that holds 1.
    """
    axis_0 = {name_of_tensor(part) for part in graph.tensors if _holds(part, [0])}
    _remove_squeeze_pairs(graph, axis_0)
    _rewrite_inputs(graph, axis_0, axis_1)
    _rewrite_outputs(graph, axis_0, axis_1)


def _holds(part: memoryview, values: list[int]) -> bool:
    constant = values_of(part) if len(part) < 256 else None  # a constant that says an axis is short
    return constant is not None and constant.dtype == "int64" and constant.tolist() == values


def _remove_squeeze_pairs(graph: Graph, axis_0: set[str]) -> None:
    """A Squeeze of what was unsqueezed along the first axis is what there was before."""
    before = {node.outputs[0]: node.inputs[0] for node in graph.nodes if _is_along("Unsqueeze", node, axis_0)}
    outputs = {name_of_port(port) for port in graph.outputs}
    same: dict[str, str] = {}
    for node in graph.nodes:
        if _is_along("Squeeze", node, axis_0) and node.inputs[0] in before and node.outputs[0] not in outputs:
            same[node.outputs[0]] = before[node.inputs[0]]
    graph.nodes = [_read_from(node, same) for node in graph.nodes if node.outputs[0] not in same]
    used = outputs | {name for node in graph.nodes for name in node.inputs}
    graph.nodes = [node for node in graph.nodes if used.intersection(node.outputs)]


def _rewrite_inputs(graph: Graph, axis_0: set[str], axis_1: str) -> None:
    """Transpose, Split and Squeeze of a state become Split and Squeeze along the second axis."""
    states = {name_of_port(port) for port in graph.inputs}
    for transpose in [node for node in graph.nodes if _swaps_axes(node) and node.inputs[0] in states]:
        readers = _readers(graph, transpose.outputs[0])
        splits = [node for node in readers if node.op == "Split" and node.integer("axis", 0) == 0]
        parts = [name for node in splits for name in node.outputs] or transpose.outputs
        ends = [node for part in parts for node in _readers(graph, part)]
        complete = readers == splits if splits else readers == ends
        if not complete or not all(_is_along("Squeeze", node, axis_0) for node in ends):
            continue
        new = {
            id(node): _along_axis_1(node, {transpose.outputs[0]: transpose.inputs[0]}, axis_1)
            for node in (*splits, *ends)
        }
        graph.nodes = [new.get(id(node), node) for node in graph.nodes if node is not transpose]


def _rewrite_outputs(graph: Graph, axis_0: set[str], axis_1: str) -> None:
    """Unsqueeze, Concat and Transpose to a state become Unsqueeze and Concat along the second axis."""
    results = {name_of_port(port) for port in graph.outputs}
    producers = {node.outputs[0]: node for node in graph.nodes}
    for transpose in [node for node in graph.nodes if _swaps_axes(node) and node.outputs[0] in results]:
        before = producers.get(transpose.inputs[0])
        joins = before is not None and before.op == "Concat" and before.integer("axis", 0) == 0
        last = [before] if joins and before is not None else []
        rows = [producers.get(name) for name in (before.inputs if last and before else transpose.inputs)]
        unshared = all(len(_readers(graph, node.outputs[0])) == 1 for node in [*rows, *last] if node is not None)
        if not unshared or not all(node is not None and _is_along("Unsqueeze", node, axis_0) for node in rows):
            continue
        names_after = {transpose.inputs[0]: transpose.outputs[0]}
        rewritable = [node for node in [*rows, *last] if node is not None]
        new = {id(node): _along_axis_1(node, {}, axis_1, names_after) for node in rewritable}
        graph.nodes = [new.get(id(node), node) for node in graph.nodes if node is not transpose]


def _readers(graph: Graph, name: str) -> list[OnnxNode]:
    return [node for node in graph.nodes if name in node.inputs]


def _swaps_axes(node: OnnxNode) -> bool:
    return node.op == "Transpose" and node.integers("perm") == _SWAP


def _is_along(op: str, node: OnnxNode, axes: set[str]) -> bool:
    return node.op == op and len(node.inputs) == 2 and node.inputs[1] in axes


def _read_from(node: OnnxNode, names: Mapping[str, str]) -> OnnxNode:
    """The node with other names for what it reads, however often they were renamed."""

    def last(name: str) -> str:
        return last(names[name]) if name in names else name

    return node._replace(inputs=[last(name) for name in node.inputs])


def _along_axis_1(
    node: OnnxNode, inputs: Mapping[str, str], axis_1: str, outputs: Mapping[str, str] | None = None
) -> OnnxNode:
    """The node along the second axis instead of the first."""
    names = [inputs.get(name, name) for name in node.inputs]
    results = [(outputs or {}).get(name, name) for name in node.outputs]
    if node.op in ("Squeeze", "Unsqueeze"):
        return OnnxNode(node.op, [names[0], axis_1], results, node.rest)
    rest = [part for part in node.rest if not node.is_attribute(part, "axis")]
    return OnnxNode(node.op, names, results, [int_attribute("axis", 1), *rest])
