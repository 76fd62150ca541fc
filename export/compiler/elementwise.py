"""Operations on every number by itself, as ONNX operators over columns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor

from .ir import LARGEST_TABLE, Dimension, NotStreamableError, Operand, PlaceTable, Symbol, squeeze
from .lowering import Handler, Lowering
from .rearranging import part_of
from .trace import Call, Handle


def _apply(lowering: Lowering, call: Call, operation: str, *values: Any, **attributes: Any) -> Symbol:
    """An ONNX operator over arguments of the call; its result has the shape of the call's."""
    result = call.results[0]
    assert result is not None
    like, dimensions = lowering.broadcast(values, result.shape)
    operands = [lowering.operand(value, like, dimensions) for value in values]
    return lowering.make(operation, like, dimensions, *operands, **attributes)


def _then(lowering: Lowering, symbol: Symbol, operation: str, *others: Any, **attributes: Any) -> Symbol:
    """One more operator over a Symbol just made; others: Symbols of its shape, or numbers."""
    operands = [
        other.read() if isinstance(other, Symbol) else np.array(other, dtype=np.float32) for other in (symbol, *others)
    ]
    return lowering.make(operation, symbol, symbol.dimensions, *operands, **attributes)


def _operator(operation: str, *, operands: int = 1) -> Handler:
    return lambda lowering, call: _apply(lowering, call, operation, *call.arguments[:operands])


def _sum(operation: str, *, reverse: bool = False) -> Handler:
    """add, sub and rsub, which multiply their second operand by `alpha` first."""

    def handle(lowering: Lowering, call: Call) -> Symbol:
        first, second = call.arguments[:2]
        factor = call.argument(2, "alpha", 1)
        if factor != 1:
            raise NotStreamableError(f"{call.name} with alpha={factor}")
        if operation == "Add" and lowering.is_symbol(first) and not lowering.is_symbol(second):
            symbol = lowering.symbol(first)
            if _is_nothing(lowering, call, symbol, second):
                return symbol
            total = None if isinstance(second, Handle) else _merge(lowering, symbol, second)
            if total:
                return total
        return _apply(lowering, call, operation, *((second, first) if reverse else (first, second)))

    return handle


def _is_nothing(lowering: Lowering, call: Call, symbol: Symbol, value: Any) -> bool:
    """Whether a second operand is zero everywhere and leaves the shape of the first."""
    result = call.results[0]
    assert result is not None
    if symbol.shape != result.shape:
        return False
    operand = lowering.operand(value, symbol, symbol.dimensions)
    return isinstance(operand, np.ndarray) and not operand.any()


def _merge(lowering: Lowering, symbol: Symbol, value: Any) -> Symbol | None:
    """What depends on the row and what depends on the column, added one after the other, as one sum over places."""
    operands = symbol.node.operands
    if symbol.node.operation != "Add" or not symbol.whole or not isinstance(operands[1], PlaceTable):
        return None
    constant = lowering.operand(value, symbol, symbol.dimensions)
    if not isinstance(constant, PlaceTable) or constant.values.ndim != operands[1].values.ndim:
        return None
    values = operands[1].values + constant.values
    if values.size > LARGEST_TABLE:
        return None
    names = "+".join(filter(None, (operands[1].name, constant.name)))
    return lowering.make("Add", symbol, symbol.dimensions, operands[0], PlaceTable(values, names))


def _divide(lowering: Lowering, call: Call) -> Symbol:
    if call.options.get("rounding_mode") is not None:
        raise NotStreamableError("a division that rounds")
    return _apply(lowering, call, "Div", *call.arguments[:2])


def _elu(lowering: Lowering, call: Call) -> Symbol:
    alpha, scale = call.argument(1, "alpha", 1), call.argument(2, "scale", 1)
    if call.argument(3, "input_scale", 1) != 1:
        raise NotStreamableError("elu with an input scale")
    elu = _apply(lowering, call, "Elu", call.arguments[0], alpha=float(alpha))
    return elu if scale == 1 else _then(lowering, elu, "Mul", scale)


def _leaky_relu(lowering: Lowering, call: Call) -> Symbol:
    slope = call.argument(1, "negative_slope", 0.01)
    return _apply(lowering, call, "LeakyRelu", call.arguments[0], alpha=float(slope))


def _silu(lowering: Lowering, call: Call) -> Symbol:
    gate = _apply(lowering, call, "Sigmoid", call.arguments[0])
    return _then(lowering, gate, "Mul", lowering.symbol(call.arguments[0]))


def _gelu(lowering: Lowering, call: Call) -> Symbol:
    """By the error function, or approximately: tanh(sqrt(2 / pi) (x + 0.044715 x^3)) in place of erf(x / sqrt(2))."""
    x = lowering.symbol(call.arguments[0])
    if call.options.get("approximate", "none") == "none":
        curve = _then(lowering, _then(lowering, x, "Mul", 1 / math.sqrt(2)), "Erf")
    else:
        cubed = _then(lowering, _then(lowering, _then(lowering, x, "Mul", x), "Mul", x), "Mul", 0.044715)
        curve = _then(
            lowering, _then(lowering, _then(lowering, cubed, "Add", x), "Mul", math.sqrt(2 / math.pi)), "Tanh"
        )
    return _then(lowering, _then(lowering, _then(lowering, curve, "Add", 1.0), "Mul", 0.5), "Mul", x)


def _glu(lowering: Lowering, call: Call) -> Symbol:
    dim = call.argument(1, "dim", -1)
    symbol = lowering.symbol(call.arguments[0])
    half = symbol.shape[dim] // 2
    signal, gate = (part_of(lowering, symbol, dim, at, at + half) for at in (0, half))
    return _then(lowering, _then(lowering, gate, "Sigmoid"), "Mul", signal)


def _softplus(lowering: Lowering, call: Call) -> Symbol:
    if call.argument(1, "beta", 1) != 1:
        raise NotStreamableError("softplus with another beta than 1")
    return _apply(lowering, call, "Softplus", call.arguments[0])


def _mish(lowering: Lowering, call: Call) -> Symbol:
    tanh = _then(lowering, _apply(lowering, call, "Softplus", call.arguments[0]), "Tanh")
    return _then(lowering, tanh, "Mul", lowering.symbol(call.arguments[0]))


def _clamp(lowering: Lowering, call: Call) -> Symbol:
    default = (-1.0, 1.0) if call.name == "hardtanh" else (None, None)
    low, high = call.argument(1, "min", default[0]), call.argument(2, "max", default[1])
    limits = [np.float32(-np.inf if low is None else low), np.float32(np.inf if high is None else high)]
    return _apply(lowering, call, "Clip", call.arguments[0], *map(float, limits))


def _convert(lowering: Lowering, call: Call) -> Symbol:
    """To another number type: whole numbers and float32 are all that a step computes with."""
    symbol, kind = lowering.symbol(call.arguments[0]), call.options.get("dtype")
    if kind is None:
        return symbol
    if kind not in (torch.float32, torch.int64, torch.int32):
        raise NotStreamableError(f"numbers of type {kind}")
    to = TensorProto.FLOAT if kind == torch.float32 else TensorProto.INT64
    return lowering.make("Cast", symbol, symbol.dimensions, symbol.read(), to=to)


def _comparison(operation: str) -> Handler:
    """As 1 and 0 in float32, which buffers can keep like any other numbers."""

    def handle(lowering: Lowering, call: Call) -> Symbol:
        return _then(lowering, _apply(lowering, call, operation, *call.arguments[:2]), "Cast", to=TensorProto.FLOAT)

    return handle


def _where(lowering: Lowering, call: Call) -> Symbol:
    """One of two numbers, by a comparison, of constants or of what depends on the image."""
    condition, *values = call.arguments[:3]
    result = call.results[0]
    assert result is not None
    like, dimensions = lowering.broadcast((condition, *values), result.shape)
    if lowering.is_symbol(condition):
        choice: Operand = _then(lowering, lowering.symbol(condition), "Cast", to=TensorProto.BOOL).read()
    else:
        choice = lowering.operand(condition, like, dimensions)
        if not isinstance(choice, np.ndarray):
            raise NotStreamableError("a choice that differs between places or conditions")
    operands = [lowering.operand(value, like, dimensions) for value in values]
    return lowering.make("Where", like, dimensions, choice, *operands)


def _log_sigmoid(lowering: Lowering, call: Call) -> list[Symbol]:
    """-softplus(-x)."""
    softplus = _then(lowering, _apply(lowering, call, "Neg", call.arguments[0]), "Softplus")
    return [_then(lowering, softplus, "Neg")]


def _embed(lowering: Lowering, call: Call) -> Symbol:
    table, indices = call.arguments[:2]
    if lowering.is_symbol(table) or isinstance(table, Symbol):
        raise NotStreamableError("an embedding whose table depends on the image")
    symbol = lowering.symbol(indices)
    dimensions: list[Dimension] = [*symbol.dimensions, (int(table.shape[1]),)]
    return lowering.make("Gather", symbol, dimensions, table.numpy().astype(np.float32), symbol.read(), axis=0)


def _one_hot(lowering: Lowering, call: Call) -> Symbol:
    """A one among zeros at the place that whole numbers [..., 1] name: the row of a table."""
    zeros, dim, index, value = call.arguments
    symbol = squeeze(lowering.symbol(index), lowering.symbol(index).index(dim))
    if not isinstance(zeros, Tensor) or dim not in (-1, zeros.ndim - 1) or isinstance(value, (Tensor, Handle)):
        raise NotStreamableError("a scatter that is no one-hot")
    table = torch.eye(zeros.shape[-1]) * value
    dimensions: list[Dimension] = [*symbol.dimensions, (int(zeros.shape[-1]),)]
    return lowering.make("Gather", symbol, dimensions, table.numpy(), symbol.read(), axis=0)


def _identity(lowering: Lowering, call: Call) -> Symbol:
    return lowering.symbol(call.arguments[0])


ELEMENTWISE: dict[str, Handler] = {
    **{
        name: _operator(operation)
        for name, operation in {
            "relu": "Relu",
            "sigmoid": "Sigmoid",
            "tanh": "Tanh",
            "exp": "Exp",
            "log": "Log",
            "neg": "Neg",
            "abs": "Abs",
            "sqrt": "Sqrt",
            "reciprocal": "Reciprocal",
            "sin": "Sin",
            "cos": "Cos",
        }.items()
    },
    **{
        name: _comparison(operation)
        for name, operation in {
            "lt": "Less",
            "le": "LessOrEqual",
            "gt": "Greater",
            "ge": "GreaterOrEqual",
        }.items()
    },
    "where": _where,
    "log_sigmoid_forward": _log_sigmoid,
    "add": _sum("Add"),
    "sub": _sum("Sub"),
    "rsub": _sum("Sub", reverse=True),
    "mul": _operator("Mul", operands=2),
    "div": _divide,
    "maximum": _operator("Max", operands=2),
    "minimum": _operator("Min", operands=2),
    "pow": _operator("Pow", operands=2),
    "_prelu_kernel": _operator("PRelu", operands=2),
    "elu": _elu,
    "leaky_relu": _leaky_relu,
    "silu": _silu,
    "gelu": _gelu,
    "softplus": _softplus,
    "mish": _mish,
    "glu": _glu,
    "clamp": _clamp,
    "clamp_min": _clamp,
    "hardtanh": _clamp,
    "rsqrt": lambda lowering, call: _then(lowering, _apply(lowering, call, "Sqrt", call.arguments[0]), "Reciprocal"),
    "_to_copy": _convert,
    "embedding": _embed,
    "scatter": _one_hot,
    **dict.fromkeys(("detach", "alias", "clone", "contiguous", "lift_fresh", "native_dropout"), _identity),
}
"""By the name that ATen gives an operation."""
