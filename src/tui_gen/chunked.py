"""From a graph that reads a token to one that reads many at once: for networks of recurrent layers, one after another.

A recurrent operator of ONNX takes a whole sequence. The step function gives it one of length 1 and reads its last
hidden state; here it gets all tokens, and what comes after it reads the hidden states of all of them. The products with
the weights of the embedding's side and of the head are then done once for all tokens, which is what makes it fast.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from tui_gen import protobuf
from tui_gen.protobuf import Field

_GRAPH = 7
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _VALUE_INFO = 1, 5, 11, 12, 13
_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE, _ATTRIBUTE, _DOMAIN = 1, 2, 4, 5, 7
_ATTRIBUTE_NAME, _ATTRIBUTE_INT, _ATTRIBUTE_TYPE, _INT = 1, 3, 20, 2
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW, _INT64 = 1, 2, 8, 9, 7
_INFO_NAME, _INFO_TYPE, _TENSOR_KIND, _ELEMENT, _SHAPE, _DIM, _DIM_PARAM = 1, 2, 1, 1, 2, 1, 2
"""Field numbers of onnx.proto3: of the model, its graph, a node, an attribute, a tensor, the type of an input."""

_RECURRENT = {"RNN", "GRU", "LSTM"}
_OF_STATE = {"Transpose", "Split", "Concat"}
_ROWWISE = {"Gemm": 1, "MatMul": 1, "Add": 2, "Mul": 2, "Relu": 1, "Tanh": 1, "Sigmoid": 1, "Cast": 1, "Identity": 1}
"""What treats each row of a matrix alike, and in how many of its inputs that matrix may stand."""
_AXIS = "chunk.axis"
TARGETS, SCORES = "chunk.targets", "chunk.scores"
"""What scoring reads and gives besides."""


class _UnknownFormError(Exception):
    """The graph is of another form."""


class _Node(NamedTuple):
    op: str
    inputs: list[str]
    outputs: list[str]
    rest: list[Field]

    def written(self) -> Field:
        names: list[Field] = [(_NODE_INPUT, name.encode()) for name in self.inputs]
        names += [(_NODE_OUTPUT, name.encode()) for name in self.outputs]
        return _NODE, protobuf.joined([*names, (_OP_TYPE, self.op.encode()), *self.rest])


@dataclass
class _Rewriting:
    """What is known of the tensors of the graph so far, by name."""

    constants: set[str]
    token: str
    """int64[tokens, batch]."""
    sequences: dict[str, str] = field(default_factory=dict)
    """What was [1, batch, features] or [batch, features], and is now the named [tokens, batch, features]."""
    hidden: dict[str, str] = field(default_factory=dict)
    """What is the last hidden state, and where those of all tokens are: [tokens, 1, batch, features]."""
    rows: set[str] = field(default_factory=set)
    """What was [batch, features], and is now [tokens * batch, features]."""
    states: set[str] = field(default_factory=set)
    """What only the state goes through: as it was."""
    made: list[_Node] = field(default_factory=list)

    def take(self, node: _Node) -> None:
        """Adds a node as it has to be now. Raises _UnknownFormError for what is not understood."""
        if node.op in _RECURRENT:
            self._take_recurrent(node)
        elif node.op == "Gather" and node.inputs[0] in self.constants and node.inputs[1] == self.token:
            self.made.append(node)
            self.sequences[node.outputs[0]] = node.outputs[0]
        elif node.op == "Unsqueeze" and node.inputs[0] in self.sequences:
            self.sequences[node.outputs[0]] = self.sequences[node.inputs[0]]
        elif node.op == "Squeeze" and node.inputs[0] in self.hidden:
            flat: list[Field] = [(_ATTRIBUTE, _int_attribute("axis", 3))]
            self.made.append(_Node("Flatten", [self.hidden[node.inputs[0]]], node.outputs, flat))
            self.rows.update(node.outputs)
        elif node.op in _OF_STATE and set(node.inputs) <= self.states | self.hidden.keys() | self.constants:
            self.made.append(node)
            self.states.update(node.outputs)
        elif node.op in _ROWWISE and self._is_rowwise(node):
            self.made.append(node)
            self.rows.update(node.outputs)
        else:
            raise _UnknownFormError

    def _take_recurrent(self, node: _Node) -> None:
        sequence, *weights = node.inputs[:4]
        if not (set(weights) <= self.constants and not any(node.inputs[4:5]) and set(node.inputs[5:7]) <= self.states):
            raise _UnknownFormError
        if _attribute_names(node) - {"hidden_size", "linear_before_reset", "activations"}:
            raise _UnknownFormError  # such as two directions or a clip
        all_hidden = node.outputs[0] or f"chunk.{node.outputs[1]}"
        outputs = [all_hidden, *node.outputs[1:]]
        self.made.append(_Node(node.op, [self._sequence(sequence), *node.inputs[1:]], outputs, node.rest))
        self.hidden[node.outputs[1]] = all_hidden
        self.states.update(node.outputs[2:])

    def _sequence(self, name: str) -> str:
        """The sequence that a layer reads: the embedding's, or the hidden states of the layer before."""
        if name in self.sequences:
            return self.sequences[name]
        if name not in self.hidden:
            raise _UnknownFormError
        squeezed = f"chunk.{name}.all"
        self.made.append(_Node("Squeeze", [self.hidden[name], _AXIS], [squeezed], []))
        self.sequences[name] = squeezed
        return squeezed

    def _is_rowwise(self, node: _Node) -> bool:
        others = [name for name in node.inputs if name not in self.rows]
        first_is_rows = node.inputs[0] in self.rows or _ROWWISE[node.op] == 2
        return first_is_rows and len(others) < len(node.inputs) and set(others) <= self.constants


def in_chunks(graph: bytes, *, scores: bool) -> bytes | None:
    """An ONNX file that reads int64[tokens, batch] and the state before them, and gives the state after them.

    scores: it also reads a token that comes after each of those, int64[tokens * batch, 1], and gives, before the state,
    the natural logarithm of its probability, float32[tokens * batch, 1].

    None for a graph of another form.
    """
    try:
        model = list(protobuf.fields(graph))
        parts = [part for key, value in model if key == _GRAPH for part in protobuf.fields(_message(value))]
        rest = [(key, value) for key, value in model if key != _GRAPH]
        return protobuf.joined([*rest, (_GRAPH, protobuf.joined(_rewritten(parts, scores=scores)))])
    except (_UnknownFormError, ValueError, IndexError):
        return None


def _rewritten(parts: list[Field], *, scores: bool) -> list[Field]:
    inputs, outputs, tensors = (
        [_message(value) for key, value in parts if key == wanted] for wanted in (_INPUT, _OUTPUT, _INITIALIZER)
    )
    names, results = [_text(info, _INFO_NAME) for info in inputs], [_text(info, _INFO_NAME) for info in outputs]
    work = _Rewriting({_text(tensor, _TENSOR_NAME) for tensor in tensors} | {""}, names[0], states=set(names[1:]))
    for key, value in parts:
        if key == _NODE:
            work.take(_node(_message(value)))
    if results[0] not in work.rows or not set(results[1:]) <= work.states:
        raise _UnknownFormError
    ports: list[Field] = [(_INPUT, _port(inputs[0], names[0])), *((_INPUT, info) for info in inputs[1:])]
    nodes = [node for node in work.made if scores or not work.rows.issuperset(node.outputs)]
    if scores:
        nodes += _scoring(results[0])
        ports += [(_INPUT, _port(inputs[0], TARGETS)), (_OUTPUT, _port(outputs[0], SCORES))]
    ports += [(_OUTPUT, info) for info in outputs[1:]]
    used = {name for node in nodes for name in node.inputs}
    kept: list[Field] = [
        (_INITIALIZER, tensor) for tensor in [*tensors, _axis_tensor()] if _text(tensor, _TENSOR_NAME) in used
    ]
    others = [part for part in parts if part[0] not in (_NODE, _INPUT, _OUTPUT, _VALUE_INFO, _INITIALIZER)]
    return [*(node.written() for node in nodes), *others, *kept, *ports]


def _scoring(logits: str) -> list[_Node]:
    return [
        _Node("LogSoftmax", [logits], ["chunk.logprobs"], [(_ATTRIBUTE, _int_attribute("axis", 1))]),
        _Node("GatherElements", ["chunk.logprobs", TARGETS], [SCORES], [(_ATTRIBUTE, _int_attribute("axis", 1))]),
    ]


def _axis_tensor() -> memoryview:
    facts: list[Field] = [(_TENSOR_DIMS, 1), (_TENSOR_TYPE, _INT64), (_TENSOR_NAME, _AXIS.encode())]
    return memoryview(protobuf.joined([*facts, (_TENSOR_RAW, (1).to_bytes(8, "little"))]))


def _port(like: memoryview, name: str) -> bytes:
    """An input or output of the same type, with two dimensions of any size."""
    kind = _only(_only(like, _INFO_TYPE), _TENSOR_KIND)
    element = next(value for key, value in protobuf.fields(kind) if key == _ELEMENT)
    dims = [protobuf.field(_DIM, protobuf.field(_DIM_PARAM, f"chunk.{name}.{axis}".encode())) for axis in range(2)]
    tensor = protobuf.joined([(_ELEMENT, element), (_SHAPE, b"".join(dims))])
    return protobuf.joined([(_INFO_NAME, name.encode()), (_INFO_TYPE, protobuf.field(_TENSOR_KIND, tensor))])


def _node(message: memoryview) -> _Node:
    parts = list(protobuf.fields(message))
    inputs, outputs = (
        [str(_message(value), "utf-8") for key, value in parts if key == wanted]
        for wanted in (_NODE_INPUT, _NODE_OUTPUT)
    )
    if any(key == _DOMAIN and len(_message(value)) for key, value in parts):
        raise _UnknownFormError  # not an operator of ONNX
    rest = [part for part in parts if part[0] not in (_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE)]
    return _Node(_text(message, _OP_TYPE), inputs, outputs, rest)


def _attribute_names(node: _Node) -> set[str]:
    return {_text(_message(value), _ATTRIBUTE_NAME) for key, value in node.rest if key == _ATTRIBUTE}


def _int_attribute(name: str, value: int) -> bytes:
    return protobuf.joined([(_ATTRIBUTE_NAME, name.encode()), (_ATTRIBUTE_INT, value), (_ATTRIBUTE_TYPE, _INT)])


def _message(value: int | bytes | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _UnknownFormError
    return memoryview(value)


def _only(message: memoryview, wanted: int) -> memoryview:
    return _message(next((value for key, value in protobuf.fields(message) if key == wanted), 0))


def _text(message: memoryview, wanted: int) -> str:
    return str(_only(message, wanted), "utf-8")
