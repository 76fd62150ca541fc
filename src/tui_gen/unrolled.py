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

from tui_gen.batch_first import batch_first
from tui_gen.onnx_graph import Graph, Node, UnknownFormError, name_of_tensor, tensor, values_of
from tui_gen.onnx_writer import Writer

_DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
_OPSET = 13
"""From which on Squeeze and Split are written as here."""
_SECOND = "unrolled.second"
_KNOWN = {"hidden_size", "linear_before_reset", "activations"}
Weights = NDArray[Any]


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
