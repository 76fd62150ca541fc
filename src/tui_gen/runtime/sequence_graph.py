"""Prefill: rewrites a graph that reads one token to one that reads a sequence, for stacks of recurrent layers.

A recurrent operator of ONNX takes a whole sequence. The step function gives it one of length 1 and reads its last
hidden state; here it gets all tokens, and what comes after it reads the hidden states of all of them. The products with
the weights of the embedding's side and of the head are then done once for all tokens, which is what makes it fast.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tui_gen.runtime.onnx_graph import (
    Graph,
    OnnxNode,
    UnknownFormError,
    int_attribute,
    name_of_port,
    name_of_tensor,
    port,
    tensor,
)

_RECURRENT = {"RNN", "GRU", "LSTM"}
_OF_STATE = {"Transpose", "Split", "Concat"}
_ROWWISE = {"Gemm": 1, "MatMul": 1, "Add": 2, "Mul": 2, "Relu": 1, "Tanh": 1, "Sigmoid": 1, "Cast": 1, "Identity": 1}
"""What treats each row of a matrix alike, and in how many of its inputs that matrix may stand."""
_AXIS = "chunk.axis"
TARGETS, SCORES = "chunk.targets", "chunk.scores"
"""Inputs and outputs that scoring adds."""


@dataclass
class _Rewriter:
    """What is known of the tensors of the graph so far, by name."""

    constants: set[str]
    token: str
    """int64[tokens, batch]."""
    sequences: dict[str, str] = field(default_factory=dict)
    """What was [1, batch, features] or [batch, features], and is now the named [tokens, batch, features]."""
    last_states: dict[str, str] = field(default_factory=dict)
    """What is the last hidden state, and where those of all tokens are: [tokens, 1, batch, features]."""
    rows: set[str] = field(default_factory=set)
    """What was [batch, features], and is now [tokens * batch, features]."""
    states: set[str] = field(default_factory=set)
    """What only the state goes through: as it was."""
    nodes: list[OnnxNode] = field(default_factory=list)

    def take(self, node: OnnxNode) -> None:
        """Adds a node as it has to be now. Raises UnknownFormError for what is not understood."""
        if node.op in _RECURRENT:
            self._take_recurrent(node)
        elif node.op == "Gather" and node.inputs[0] in self.constants and node.inputs[1] == self.token:
            self.nodes.append(node)
            self.sequences[node.outputs[0]] = node.outputs[0]
        elif node.op == "Unsqueeze" and node.inputs[0] in self.sequences:
            self.sequences[node.outputs[0]] = self.sequences[node.inputs[0]]
        elif node.op == "Squeeze" and node.inputs[0] in self.last_states:
            flat = [int_attribute("axis", 3)]
            self.nodes.append(OnnxNode("Flatten", [self.last_states[node.inputs[0]]], node.outputs, flat))
            self.rows.update(node.outputs)
        elif node.op in _OF_STATE and set(node.inputs) <= self.states | self.last_states.keys() | self.constants:
            self.nodes.append(node)
            self.states.update(node.outputs)
        elif node.op in _ROWWISE and self._is_rowwise(node):
            self.nodes.append(node)
            self.rows.update(node.outputs)
        else:
            raise UnknownFormError

    def _take_recurrent(self, node: OnnxNode) -> None:
        sequence, *weights = node.inputs[:4]
        if not (set(weights) <= self.constants and not any(node.inputs[4:5]) and set(node.inputs[5:7]) <= self.states):
            raise UnknownFormError
        if node.attributes() - {"hidden_size", "linear_before_reset", "activations"}:
            raise UnknownFormError  # such as two directions or a clip
        all_states = node.outputs[0] or f"chunk.{node.outputs[1]}"
        outputs = [all_states, *node.outputs[1:]]
        self.nodes.append(OnnxNode(node.op, [self._sequence(sequence), *node.inputs[1:]], outputs, node.rest))
        self.last_states[node.outputs[1]] = all_states
        self.states.update(node.outputs[2:])

    def _sequence(self, name: str) -> str:
        """The sequence that a layer reads: the embedding's, or the hidden states of the layer before."""
        if name in self.sequences:
            return self.sequences[name]
        if name not in self.last_states:
            raise UnknownFormError
        sequence = f"chunk.{name}.all"
        self.nodes.append(OnnxNode("Squeeze", [self.last_states[name], _AXIS], [sequence], []))
        self.sequences[name] = sequence
        return sequence

    def _is_rowwise(self, node: OnnxNode) -> bool:
        others = [name for name in node.inputs if name not in self.rows]
        first_is_rows = node.inputs[0] in self.rows or _ROWWISE[node.op] == 2
        return first_is_rows and len(others) < len(node.inputs) and set(others) <= self.constants


def sequence_graph(graph: bytes, *, scores: bool) -> bytes | None:
    """An ONNX file that reads int64[tokens, batch] and the state before them, and gives the state after them.

    scores: it also reads a token that comes after each of those, int64[tokens * batch, 1], and gives, before the state,
    the natural logarithm of its probability, float32[tokens * batch, 1].

    None for a graph of another form.
    """
    try:
        model = Graph.read(graph)
        _rewrite(model, scores=scores)
        return model.to_bytes()
    except (UnknownFormError, ValueError, IndexError):
        return None


def _rewrite(graph: Graph, *, scores: bool) -> None:
    inputs, outputs = map(name_of_port, graph.inputs), [name_of_port(info) for info in graph.outputs]
    token, *states = inputs
    work = _Rewriter({name_of_tensor(part) for part in graph.tensors} | {""}, token, states=set(states))
    for node in graph.nodes:
        work.take(node)
    if outputs[0] not in work.rows or not set(outputs[1:]) <= work.states:
        raise UnknownFormError
    graph.nodes = [node for node in work.nodes if scores or not work.rows.issuperset(node.outputs)]
    graph.tensors.append(tensor(_AXIS, np.array([1])))
    graph.inputs[0] = port(token, "int64", ("tokens", "batch"))
    del graph.outputs[0]
    if scores:
        graph.nodes += _scoring(outputs[0])
        graph.inputs.append(port(TARGETS, "int64", ("rows", "one")))
        graph.outputs.insert(0, port(SCORES, "float32", ("rows", "one")))


def _scoring(logits: str) -> list[OnnxNode]:
    axis = [int_attribute("axis", 1)]
    return [
        OnnxNode("LogSoftmax", [logits], ["chunk.logprobs"], axis),
        OnnxNode("GatherElements", ["chunk.logprobs", TARGETS], [SCORES], axis),
    ]
