"""Reads, rewrites and builds ONNX graphs in their protobuf form, without the `onnx` package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_gen.files import HALF

_GRAPH = 7
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _VALUE_INFO = 1, 5, 11, 12, 13
_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE, _ATTRIBUTE, _DOMAIN = 1, 2, 4, 5, 7
_ATTRIBUTE_NAME, _ATTRIBUTE_INT, _ATTRIBUTE_TYPE, _INT = 1, 3, 20, 2
_ATTRIBUTE_INTS, _ATTRIBUTE_STRINGS, _ATTRIBUTE_GRAPHS = 8, 9, (6, 11)
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
_INFO_NAME, _INFO_TYPE, _TENSOR_KIND, _ELEMENT, _SHAPE, _DIM, _DIM_VALUE, _DIM_PARAM = 1, 2, 1, 1, 2, 1, 1, 2
_IR_VERSION, _OPSET_IMPORT, _OPSET_DOMAIN, _OPSET_VERSION = 1, 8, 1, 2
_METADATA, _METADATA_KEY, _METADATA_VALUE = 14, 1, 2
"""Field numbers of onnx.proto3: of the model, its graph, a node, an attribute, a tensor, the type of an input."""
ELEMENTS = {"float32": 1, "int8": 3, "int32": 6, "int64": 7, "bool": 9, "float16": 10, "float64": 11}
"""onnx.proto3's numbers for types of numbers, by NumPy's names."""
_RAW_TYPES = {number: name for name, number in ELEMENTS.items()}
OPSET, IR_VERSION = 18, 10
MAX_METADATA = 2**24
"""Bytes of a text in a model's metadata that is written or read."""
_MOST_PARTS = 10_000
"""Fields of a model that are looked through for its metadata."""
_MOST_PARTS_OF_ENTRY = 4
"""Fields of a text in it, which has two: so a file cannot make a reader go on for ever."""
Field = tuple[int, "int | bytes | memoryview"]
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_PAST_FIELDS = 2**29


class UnknownFormError(Exception):
    """The graph is of another form than what a rewriting knows."""


class OnnxNode(NamedTuple):
    """An operation; `rest` holds its attributes and name as they were written."""

    op: str
    inputs: list[str]
    outputs: list[str]
    rest: list[Field]

    def to_field(self) -> Field:
        """As a part of a graph."""
        names: list[Field] = [(_NODE_INPUT, name.encode()) for name in self.inputs]
        names += [(_NODE_OUTPUT, name.encode()) for name in self.outputs]
        return _NODE, encode_message([*names, (_OP_TYPE, self.op.encode()), *self.rest])

    def attributes(self) -> set[str]:
        """Their names."""
        return {text_of(_message(value), _ATTRIBUTE_NAME) for key, value in self.rest if key == _ATTRIBUTE}

    def holds_graph(self) -> bool:
        """Whether an attribute is a graph, as of a loop."""
        attributes = [_message(value) for key, value in self.rest if key == _ATTRIBUTE]
        return any(at in _ATTRIBUTE_GRAPHS for part in attributes for at, _ in read_fields(part))

    def integer(self, name: str, default: int) -> int:
        """The value of an attribute that is a whole number."""
        return next((value for value in self._values(name, _ATTRIBUTE_INT) if isinstance(value, int)), default)

    def integers(self, name: str) -> list[int]:
        """The value of an attribute that is a list of whole numbers; empty where it is not there."""
        return _numbers(self._values(name, _ATTRIBUTE_INTS))

    def texts(self, name: str) -> list[str]:
        """The value of an attribute that is a list of texts; empty where it is not there."""
        return [str(_message(value), "utf-8") for value in self._values(name, _ATTRIBUTE_STRINGS)]

    def is_attribute(self, part: Field, name: str) -> bool:
        """Whether a part of `rest` is the attribute of this name."""
        return part[0] == _ATTRIBUTE and text_of(_message(part[1]), _ATTRIBUTE_NAME) == name

    def _values(self, name: str, number: int) -> list[int | bytes | memoryview]:
        """The fields of an attribute that have a number."""
        messages = [_message(part[1]) for part in self.rest if self.is_attribute(part, name)]
        return [value for message in messages for at, value in read_fields(message) if at == number]


@dataclass
class Graph:
    """The parts of a model that a rewriting looks at; the others are kept as they are."""

    nodes: list[OnnxNode]
    inputs: list[memoryview]
    outputs: list[memoryview]
    tensors: list[memoryview]
    """The initializers."""
    others: list[Field]
    """The rest of the graph."""
    rest: list[Field]
    """The rest of the model."""

    @classmethod
    def read(cls, model: bytes) -> Graph:
        """From an ONNX file. Raises ValueError for what is none, UnknownFormError for operators that are not
        ONNX's, and for graphs within the graph.
        """
        whole = list(read_fields(model))
        parts = [part for key, value in whole if key == _GRAPH for part in read_fields(_message(value))]
        nodes = [_node(_message(value)) for key, value in parts if key == _NODE]
        if any(node.holds_graph() for node in nodes):
            raise UnknownFormError  # which may read any tensor of this one
        inputs, outputs, tensors = (
            [_message(value) for key, value in parts if key == number] for number in (_INPUT, _OUTPUT, _INITIALIZER)
        )
        numbers = (_NODE, _INPUT, _OUTPUT, _VALUE_INFO, _INITIALIZER)
        others = [part for part in parts if part[0] not in numbers]
        return cls(nodes, inputs, outputs, tensors, others, [part for part in whole if part[0] != _GRAPH])

    @classmethod
    def new(cls, name: str) -> Graph:
        """Nothing yet."""
        opset = encode_message([(_OPSET_VERSION, OPSET)])
        return cls([], [], [], [], [(2, name.encode())], [(_IR_VERSION, IR_VERSION), (_OPSET_IMPORT, opset)])

    @property
    def opset(self) -> int:
        """The version of ONNX's own operators."""
        imports = [list(read_fields(_message(value))) for key, value in self.rest if key == _OPSET_IMPORT]
        own = [dict(entry) for entry in imports if not any(key == _OPSET_DOMAIN and value for key, value in entry)]
        versions = [entry.get(_OPSET_VERSION, 0) for entry in own]
        return max((version for version in versions if isinstance(version, int)), default=0)

    def to_bytes(self) -> bytes:
        """The ONNX file. Tensors that no node reads are left out."""
        used = {name for node in self.nodes for name in node.inputs}
        parts = [node.to_field() for node in self.nodes] + self.others
        parts += [(_INITIALIZER, part) for part in self.tensors if name_of_tensor(part) in used]
        parts += [*((_INPUT, part) for part in self.inputs), *((_OUTPUT, part) for part in self.outputs)]
        return encode_message([*self.rest, (_GRAPH, encode_message(parts))])


def with_metadata(model: bytes, texts: Mapping[str, str]) -> bytes:
    """An ONNX file with more metadata; texts that are too long are left out."""
    entries = [(key.encode(), text.encode("utf-8", HALF)) for key, text in texts.items()]
    messages = [
        encode_message([(_METADATA_KEY, key), (_METADATA_VALUE, text)])
        for key, text in entries
        if len(text) <= MAX_METADATA
    ]
    return model + encode_message((_METADATA, message) for message in messages)


def read_metadata(model: bytes) -> dict[str, str]:
    """The texts in an ONNX file, by their keys; of what is too long, nothing. Raises ValueError for what is no ONNX."""
    messages = [_message(value) for number, value in islice(read_fields(model), _MOST_PARTS) if number == _METADATA]
    entries = [dict(islice(read_fields(message), _MOST_PARTS_OF_ENTRY)) for message in messages]
    texts = [
        [_message(entry.get(number, b"")) for number in (_METADATA_KEY, _METADATA_VALUE)] for entry in entries if entry
    ]
    return {str(key, "utf-8"): str(text, "utf-8") for key, text in texts if max(len(key), len(text)) <= MAX_METADATA}


def int_attribute(name: str, value: int) -> Field:
    """An attribute that is a whole number."""
    facts: list[Field] = [(_ATTRIBUTE_NAME, name.encode()), (_ATTRIBUTE_INT, value), (_ATTRIBUTE_TYPE, _INT)]
    return _ATTRIBUTE, encode_message(facts)


def tensor(name: str, values: NDArray[Any]) -> memoryview:
    """A constant."""
    facts: list[Field] = [(_TENSOR_DIMS, size) for size in values.shape]
    facts += [(_TENSOR_TYPE, ELEMENTS[values.dtype.name]), (_TENSOR_NAME, name.encode())]
    return memoryview(encode_message([*facts, (_TENSOR_RAW, values.tobytes())]))


def values_of(message: memoryview) -> NDArray[Any]:
    """The numbers of a constant. Raises UnknownFormError where they are not kept as raw bytes."""
    facts = list(read_fields(message))
    kind = next((value for key, value in facts if key == _TENSOR_TYPE and isinstance(value, int)), 0)
    raw = next((value for key, value in facts if key == _TENSOR_RAW), None)
    if raw is None or kind not in _RAW_TYPES:
        raise UnknownFormError
    return np.frombuffer(_message(raw), dtype=_RAW_TYPES[kind]).reshape(
        _numbers(value for key, value in facts if key == _TENSOR_DIMS)
    )


def _numbers(values: Iterable[int | bytes | memoryview]) -> list[int]:
    """A row of whole numbers; protobuf writes them one by one or as one field of them all."""
    return [n for value in values for n in ([value] if isinstance(value, int) else read_packed(value))]


def port(name: str, kind: str, dims: Sequence[int | str]) -> memoryview:
    """An input or output; kind: NumPy's name; a text among the dims is a symbolic dimension."""
    sizes = [
        encode_message([(_DIM_VALUE, dim) if isinstance(dim, int) else (_DIM_PARAM, dim.encode())]) for dim in dims
    ]
    shape = encode_message([(_DIM, size) for size in sizes])
    element: list[Field] = [(_ELEMENT, ELEMENTS[kind]), (_SHAPE, shape)]
    kind_of = encode_field(_TENSOR_KIND, encode_message(element))
    return memoryview(encode_message([(_INFO_NAME, name.encode()), (_INFO_TYPE, kind_of)]))


def name_of_port(message: memoryview) -> str:
    """Of an input or output."""
    return text_of(message, _INFO_NAME)


def name_of_tensor(message: memoryview) -> str:
    """Of a constant."""
    return text_of(message, _TENSOR_NAME)


def text_of(message: memoryview, number: int) -> str:
    """A field that is a text; empty where it is not there."""
    content = next((_message(value) for key, value in read_fields(message) if key == number), memoryview(b""))
    return str(content, "utf-8")


def _node(message: memoryview) -> OnnxNode:
    parts = list(read_fields(message))
    inputs, outputs = (
        [str(_message(value), "utf-8") for key, value in parts if key == number]
        for number in (_NODE_INPUT, _NODE_OUTPUT)
    )
    if any(key == _DOMAIN and len(_message(value)) for key, value in parts):
        raise UnknownFormError
    rest = [part for part in parts if part[0] not in (_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE)]
    return OnnxNode(text_of(message, _OP_TYPE), inputs, outputs, rest)


def _message(value: int | bytes | memoryview) -> memoryview:
    if isinstance(value, int):
        raise UnknownFormError
    return memoryview(value)


def read_fields(message: bytes | memoryview) -> Iterator[Field]:
    """The fields of a message, in their order; texts and messages as memoryviews, fixed-width numbers as bytes.

    Raises ValueError for what is none.
    """
    view, at = memoryview(message), 0
    while at < len(view):
        key, at = _read_varint(view, at)
        if not 0 < key >> 3 < _PAST_FIELDS:
            raise ValueError("a field has a number that none can have")
        if key & 7 == _VARINT:
            value, at = _read_varint(view, at)
            yield key >> 3, value
            continue
        width, at = _width(key & 7, view, at)
        if at + width > len(view):
            raise ValueError("a message is cut off")
        content = view[at : at + width]
        yield key >> 3, content if key & 7 == _BYTES else bytes(content)
        at += width


def read_packed(row: bytes | memoryview) -> list[int]:
    """A row of whole numbers that stand in one field."""
    view, at, numbers = memoryview(row), 0, list[int]()
    while at < len(view):
        number, at = _read_varint(view, at)
        numbers.append(number)
    return numbers


def encode_message(parts: Iterable[Field]) -> bytes:
    """A message of these fields; their fixed-width numbers are not supported."""
    return b"".join(
        encode_number(key, part) if isinstance(part, int) else encode_field(key, part) for key, part in parts
    )


def encode_field(number: int, content: bytes | memoryview) -> bytes:
    """A field of bytes, a text or a message."""
    return b"".join((encode_varint(number << 3 | _BYTES), encode_varint(len(content)), content))


def encode_number(number: int, value: int) -> bytes:
    """A field of a whole number."""
    return encode_varint(number << 3) + encode_varint(value)


def encode_varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def _width(kind: int, view: memoryview, at: int) -> tuple[int, int]:
    if kind == _BYTES:
        return _read_varint(view, at)
    if kind not in (_EIGHT, _FOUR):
        raise ValueError(f"a field is of kind {kind}, which there is not")
    return 8 if kind == _EIGHT else 4, at


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(view) and shift < 64:
        byte = view[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at
    raise ValueError("a number is cut off")


class GraphBuilder:
    """Collects nodes and constants; names each result after its operation and a running number."""

    def __init__(self, prefix: str) -> None:
        """prefix: of all names, so that they meet no others of the graph."""
        self._prefix, self._count = prefix, 0
        self._nodes: list[OnnxNode] = []
        self._constants: dict[str, memoryview] = {}

    def op(self, kind: str, *inputs: str, **attributes: int) -> str:
        """Adds a node; returns the name of its output."""
        return self.ops(1, kind, *inputs, **attributes)[0]

    def ops(self, count: int, kind: str, *inputs: str, **attributes: int) -> list[str]:
        """Adds a node of so many outputs; returns their names."""
        self._count += 1
        outputs = [f"{self._prefix}{kind.lower()}_{self._count}_{at}" for at in range(count)]
        parts = [int_attribute(name, value) for name, value in attributes.items()]
        self._nodes.append(OnnxNode(kind, list(inputs), outputs, parts))
        return outputs

    def name(self, output: str, name: str) -> None:
        """Gives the output of the node that was added last another name."""
        last = self._nodes[-1]
        self._nodes[-1] = last._replace(outputs=[name if each == output else each for each in last.outputs])

    def cast(self, value: str, kind: str) -> str:
        """To another type of number, by NumPy's name."""
        return self.op("Cast", value, to=ELEMENTS[kind])

    def split(self, value: str, *sizes: int) -> list[str]:
        """Columns of [batch, sum of sizes]."""
        return self.ops(len(sizes), "Split", value, self.ints(*sizes), axis=1)

    def ints(self, *values: int) -> str:
        """A constant int64 vector; the same one may come again."""
        return self._constant("ints_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def scalar(self, value: int) -> str:
        """A constant int64."""
        return self._constant(f"int_{value}", np.array(value, dtype=np.int64))

    def weights(self, values: NDArray[Any]) -> str:
        """A constant of any kind."""
        return self._constant(f"weights_{len(self._constants)}", values)

    def take_nodes(self) -> list[OnnxNode]:
        """The nodes since the last time."""
        nodes, self._nodes = self._nodes, []
        return nodes

    def constants(self) -> list[memoryview]:
        """All of them."""
        return list(self._constants.values())

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        self._constants[self._prefix + name] = tensor(self._prefix + name, values)
        return self._prefix + name
