"""What the step of a foreign file may contain, read from its bytes before onnxruntime sees them.

The operators are those that such networks are exported with, by the exporter here, by PyTorch and by onnxruntime's
quantiser. None of them repeats anything, and no size may be computed from tokens or states; so what a step takes, time
and memory, depends on the number of samples alone, and what the first steps show holds for all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tui_gen.errors import TuiGenError
from tui_gen.runtime.onnx_graph import Field, UnknownFormError, read_fields

MAX_NODES = 20_000
_MAX_FIELDS, _MAX_DEPTH = 500_000, 8
"""Parts of a file that are read, and graphs within graphs."""
_LONGEST_NAME = 60
"""Characters of an operator's name that are shown."""
_ELEMENTWISE = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil
    Celu Clip Cos Cosh Div Dropout Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity
    IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu
    Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor
"""
_OVER_AXES = """
    ArgMax ArgMin CumSum Hardmax LogSoftmax Softmax TopK ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
    ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
"""
_LAYERS = """
    Attention AveragePool BatchNormalization Conv ConvTranspose Einsum GRU Gemm GlobalAveragePool GlobalMaxPool
    GroupNormalization InstanceNormalization LSTM LayerNormalization LpNormalization MatMul MaxPool
    MeanVarianceNormalization RMSNormalization RNN RotaryEmbedding
"""
_REARRANGING = """
    Concat Constant ConstantOfShape Compress DepthToSpace Expand EyeLike Flatten Gather GatherElements GatherND If
    NonZero OneHot Pad Range Reshape Resize ReverseSequence Scan Scatter ScatterElements ScatterND Shape Size Slice
    SpaceToDepth Split Squeeze TensorScatter Tile Transpose Trilu Unsqueeze Upsample
"""
_IN_INTEGERS = """
    ConvInteger DequantizeLinear DynamicQuantizeLinear MatMulInteger QLinearConv QLinearMatMul QuantizeLinear
"""
_OF_ONNXRUNTIME = """
    DequantizeLinear DynamicQuantizeLSTM DynamicQuantizeMatMul GatherBlockQuantized MatMulBnb4 MatMulIntegerToFloat
    MatMulNBits QAttention QEmbedLayerNormalization QGemm QLinearAdd QLinearAveragePool QLinearConcat QLinearConv
    QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax QLinearWhere
    QuantizeLinear
"""
"""Of the domain com.microsoft: what its quantiser writes."""
OPERATORS = {
    *" ".join((_ELEMENTWISE, _OVER_AXES, _LAYERS, _REARRANGING, _IN_INTEGERS)).split(),
    *(f"com.microsoft.{name}" for name in _OF_ONNXRUNTIME.split()),
}
_SIZES = {
    **dict.fromkeys(("Compress", "Expand", "OneHot", "Reshape", "Split", "Squeeze", "Tile", "TopK", "Unsqueeze"), (1,)),
    **dict.fromkeys((name for name in _OVER_AXES.split() if name.startswith("Reduce")), (1,)),
    **dict.fromkeys(("ConstantOfShape", "If", "NonZero"), (0,)),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Upsample": (1,),
}
"""Which inputs of an operator its output's size follows from, or which branch is computed."""
_OWN = ("", "ai.onnx")
"""How ONNX's own domain is written."""
_GRAPH, _FUNCTIONS = 7, 25
_NODE, _INITIALIZER, _INPUT, _SPARSE_INITIALIZER = 1, 5, 11, 15
_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE, _ATTRIBUTE, _DOMAIN, _OVERLOAD = 1, 2, 4, 5, 7, 8
_ATTRIBUTE_NAME, _ATTRIBUTE_INT, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (
    1,
    3,
    (5, 10),
    (6, 11),
    (22, 23),
)
_TENSOR_NAME, _TENSOR_EXTERNAL, _TENSOR_LOCATION, _INFO_NAME = 8, 13, 14, 1
"""Field numbers of onnx.proto3."""
_CURE = "export it again without that, or say --trust if you know who made it"


def check_operators(graph: bytes) -> None:
    """Raises TuiGenError for an ONNX file with anything that a step has no need of."""
    try:
        _Reader().read_model(graph)
    except UnicodeDecodeError as fault:
        raise TuiGenError("model.onnx has names that are no text") from fault
    except (UnknownFormError, ValueError) as fault:
        raise TuiGenError("model.onnx cannot be opened: it is not an ONNX file, or a damaged one") from fault


def _refusal(what: str) -> TuiGenError:
    return TuiGenError(f"model.onnx is refused: {what}, which no step of a network needs; {_CURE}")


class _Scope:
    """The values that the nodes of a graph may read, and which of them depend on what is read: on tokens and states."""

    def __init__(self, outer: _Scope | None = None) -> None:
        """outer: of the graph that this one lies in."""
        self._outer = outer
        self._names, self._reading = {""}, set[str]()

    def add(self, names: Iterable[str], *, reading: bool) -> None:
        """More values."""
        self._names.update(names)
        if reading:
            self._reading.update(names)

    def has(self, name: str) -> bool:
        """Whether a value is there."""
        return name in self._names or (self._outer is not None and self._outer.has(name))

    def reads(self, name: str) -> bool:
        """Whether a value depends on what is read."""
        return name in self._reading or (self._outer is not None and self._outer.reads(name))


@dataclass
class _Node:
    operator: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    graphs: list[list[Field]] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    """Attributes that are whole numbers."""

    @property
    def name(self) -> str:
        """Of its operator, with the domain of one that is not ONNX's own."""
        return self.operator if self.domain in _OWN else f"{self.domain}.{self.operator}"


class _Reader:
    """Reads a file as onnxruntime does, and refuses what that could understand in another way."""

    def __init__(self) -> None:
        self._fields = self._nodes = 0

    def read_model(self, model: bytes) -> None:
        parts = self._parts(model)
        if any(number == _FUNCTIONS for number, _ in parts):
            raise _refusal("it defines operators of its own")
        graphs = [value for number, value in parts if number == _GRAPH]
        self._read_graph([part for graph in graphs for part in self._parts(_message(graph))], _Scope(), 1)

    def _parts(self, message: bytes | memoryview) -> list[Field]:
        parts = []
        for part in read_fields(message):
            parts.append(part)
            self._fields += 1
            if self._fields > _MAX_FIELDS:
                raise _refusal(f"it has more than {_MAX_FIELDS:,} parts")
        return parts

    def _read_graph(self, parts: list[Field], scope: _Scope, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise _refusal(f"it has graphs within graphs, {_MAX_DEPTH} deep")
        inputs = [_text(self._parts(_message(value)), _INFO_NAME) for number, value in parts if number == _INPUT]
        scope.add(inputs, reading=True)
        if any(number == _SPARSE_INITIALIZER for number, _ in parts):
            raise _refusal("it has sparse weights")
        scope.add([self._read_tensor(value) for number, value in parts if number == _INITIALIZER], reading=False)
        for number, value in parts:
            if number == _NODE:
                self._read_node(self._node(value), scope, depth)

    def _read_tensor(self, tensor: int | bytes | memoryview) -> str:
        """Its name."""
        parts = self._parts(_message(tensor))
        if any(number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value) for number, value in parts):
            raise TuiGenError(
                "model.onnx keeps weights in another file, which is refused; export it with all data inside"
            )
        return _text(parts, _TENSOR_NAME)

    def _node(self, message: int | bytes | memoryview) -> _Node:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _refusal(f"it has more than {MAX_NODES:,} nodes")
        parts, node = self._parts(_message(message)), _Node()
        node.operator, node.domain = _text(parts, _OP_TYPE), _text(parts, _DOMAIN)
        if _text(parts, _OVERLOAD):
            raise _refusal("it has overloaded operators")
        node.inputs, node.outputs = (
            [str(_message(value), "utf-8") for number, value in parts if number == each]
            for each in (_NODE_INPUT, _NODE_OUTPUT)
        )
        for number, value in parts:
            if number == _ATTRIBUTE:
                self._read_attribute(self._parts(_message(value)), node)
        return node

    def _read_attribute(self, parts: list[Field], node: _Node) -> None:
        name = _text(parts, _ATTRIBUTE_NAME)
        for number, value in parts:
            if number in _ATTRIBUTE_TENSORS:
                self._read_tensor(value)
            elif number in _ATTRIBUTE_GRAPHS:
                node.graphs.append(self._parts(_message(value)))
            elif number in _ATTRIBUTE_SPARSE:
                raise _refusal("it has sparse weights")
            elif number == _ATTRIBUTE_INT and isinstance(value, int) and node.numbers.setdefault(name, value) != value:
                raise ValueError("an attribute comes twice")

    def _read_node(self, node: _Node, scope: _Scope, depth: int) -> None:
        if node.name not in OPERATORS or (node.graphs and node.operator not in ("If", "Scan")):
            raise _refusal(f"it has the operator {node.name:.{_LONGEST_NAME}}")
        if node.operator == "Scan" and node.numbers.get("num_scan_inputs") != len(node.inputs):
            raise _refusal("it has a Scan that keeps something from one turn to the next")
        if not all(map(scope.has, node.inputs)):
            raise ValueError("a value is read before it is computed")
        if any(scope.reads(node.inputs[at]) for at in _SIZES.get(node.operator, ()) if at < len(node.inputs)):
            raise _refusal(f"how large something is (its {node.operator}) depends on the tokens that it reads")
        for graph in node.graphs:
            self._read_graph(graph, _Scope(scope), depth + 1)
        reading = bool(node.graphs) or any(map(scope.reads, node.inputs))
        scope.add(node.outputs, reading=reading and node.operator not in ("Shape", "Size"))


def _message(value: int | bytes | memoryview) -> memoryview:
    if not isinstance(value, memoryview):
        raise ValueError("a message is a number")
    return value


def _text(parts: Iterable[Field], field_number: int) -> str:
    """A field that is a text, and stands there once at most: of several, others take others."""
    texts = [str(_message(value), "utf-8") for number, value in parts if number == field_number]
    if len(texts) > 1:
        raise ValueError("a field comes twice")
    return texts[0] if texts else ""
