"""Convolutions, matrix products and normalisations: what sums over features."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .ir import Dimension, NodeInput, NotStreamableError, Symbol, TensorNode, fresh, squeeze
from .lowering import Handler, Lowering
from .trace import Call


def _convolution(lowering: Lowering, call: Call) -> Symbol:
    value, weight, bias, stride, padding, dilation, transposed, _, groups = call.arguments
    symbol = lowering.symbol(value)
    if transposed or any(step != 1 for step in stride):
        raise NotStreamableError("a convolution with strides, which computes at fewer places than the image has")
    if [len(d) for d in symbol.dimensions] != [1] * 4 or symbol.dimensions[2:] != (("h",), ("w",)):
        raise NotStreamableError("a convolution that does not go over rows and columns")
    kernel = _dense(_constant(weight, "weight"), groups)
    used = np.argwhere(np.abs(kernel).max(axis=(0, 1)) > 0)
    taps = [(int(y) * dilation[0] - padding[0], int(x) * dilation[1] - padding[1]) for y, x in used]
    matrix = kernel[:, :, used[:, 0], used[:, 1]].transpose(2, 1, 0)  # [taps, inputs, outputs]
    margins = [2 * pad - step * (side - 1) for pad, step, side in zip(padding, dilation, kernel.shape[2:], strict=True)]
    if not taps:  # nothing but the bias
        taps, matrix = [(-(10**6), 0)], np.zeros((1, *matrix.shape[1:]), np.float32)
    node = _linear(call, symbol.read(*taps), matrix, bias)
    return fresh(node, [("b",), node.features, ("h",), ("w",)], symbol.height + margins[0], symbol.width + margins[1])


def _dense(kernel: NDArray[np.float32], groups: int) -> NDArray[np.float32]:
    """The kernel [outputs, inputs, rows, columns] of a grouped convolution, with zeros between the groups."""
    outputs, inputs = kernel.shape[:2]
    dense = np.zeros((outputs, inputs * groups, *kernel.shape[2:]), dtype=np.float32)
    per_group = outputs // groups
    for group in range(groups):
        rows = slice(group * per_group, (group + 1) * per_group)
        dense[rows, group * inputs : (group + 1) * inputs] = kernel[rows]
    return dense


def _product(lowering: Lowering, call: Call) -> Symbol:
    """mm, and addmm, which comes with a bias first: the features of the last dimension times a matrix."""
    *bias, value, matrix = call.arguments[: 3 if call.name == "addmm" else 2]
    symbol, weight = lowering.symbol(value), _constant(matrix, "matrix")
    if symbol.features != (weight.shape[0],) or symbol.dimensions[-1] != symbol.features:
        raise NotStreamableError("a matrix product over places")
    node = _linear(call, symbol.read(), weight[None], bias[0] if bias else None)
    return fresh(node, [*symbol.dimensions[:-1], node.features], symbol.height, symbol.width)


def _linear(call: Call, read: NodeInput, matrix: NDArray[np.float32], bias: Any) -> TensorNode:
    """matrix: [taps, inputs, outputs]."""
    attributes = {"weight": matrix, "bias": _vector(bias, "bias", matrix.shape[2], 0)}
    return TensorNode("Linear", (int(matrix.shape[2]),), (read,), attributes, call.module)


def _vector(value: Any, what: str, size: int, default: float) -> NDArray[np.float32]:
    return np.full(size, default, np.float32) if value is None else _constant(value, what)


def _constant(value: Any, what: str) -> NDArray[np.float32]:
    if not isinstance(value, Tensor):
        raise NotStreamableError(f"its {what} is not constant")
    return value.numpy().astype(np.float32)


def _batch_norm(lowering: Lowering, call: Call) -> list[Symbol]:
    value, weight, bias, mean, variance, *rest = call.arguments
    if call.name in ("native_batch_norm", "cudnn_batch_norm") and rest[0]:
        raise NotStreamableError("a batch normalisation in training mode; call eval() on the network")
    center, spread = (_constant(part, "normalisation") for part in (mean, variance))
    gain, offset = (_vector(part, "normalisation", len(center), default) for part, default in ((weight, 1), (bias, 0)))
    scale = gain / np.sqrt(spread + rest[-1])
    return [_affine(lowering, lowering.symbol(value), scale, offset - center * scale)]


def _affine(lowering: Lowering, symbol: Symbol, scale: NDArray[np.float32], shift: NDArray[np.float32]) -> Symbol:
    """Features times scale plus shift; taken into the product before it where there is one."""
    node = symbol.node
    if node.operation == "Linear" and symbol.whole and symbol.features == node.features:
        attributes = {"weight": node.attributes["weight"] * scale, "bias": node.attributes["bias"] * scale + shift}
        return fresh(replace(node, attributes=attributes), symbol.dimensions, symbol.height, symbol.width)
    product = lowering.make("Mul", symbol, symbol.dimensions, symbol.read(), scale)
    return lowering.make("Add", product, symbol.dimensions, product.read(), shift)


def _layer_norm(lowering: Lowering, call: Call) -> list[Symbol]:
    value, shape, weight, bias, epsilon = call.arguments
    symbol = lowering.symbol(value)
    if symbol.dimensions[-1] != tuple(shape):
        raise NotStreamableError("a layer normalisation over places")
    scale, shift = (_vector(part, "normalisation", shape[0], default) for part, default in ((weight, 1), (bias, 0)))
    operands, attributes = (symbol.read(), scale, shift), {"axis": -1, "epsilon": float(epsilon)}
    return [lowering.make("LayerNormalization", symbol, symbol.dimensions, *operands, **attributes)]


def _softmax(operation: str) -> Handler:
    def handle(lowering: Lowering, call: Call) -> Symbol:
        symbol, dim = lowering.symbol(call.arguments[0]), call.arguments[1]
        if not symbol.is_feature(dim):
            raise NotStreamableError("a softmax over places")
        axis = symbol.column_axis(symbol.index(dim))
        return lowering.make(operation, symbol, symbol.dimensions, symbol.read(), axis=axis)

    return handle


def _reduction(operation: str) -> Handler:
    """Sums, means and the like over features, whose dimensions are kept or dropped."""

    def handle(lowering: Lowering, call: Call) -> Symbol:
        symbol, argument = lowering.symbol(call.arguments[0]), call.argument(1, "dim")
        dims = sorted({symbol.index(dim) for dim in ([argument] if isinstance(argument, int) else argument or ())})
        if not dims or not all(map(symbol.is_feature, dims)):
            raise NotStreamableError("a sum, mean or maximum over places")
        dimensions: list[Dimension] = [(1,) if at in dims else d for at, d in enumerate(symbol.dimensions)]
        features = [at for at in range(len(symbol.dimensions)) if symbol.is_feature(at)]
        axes = np.array([1 + features.index(dim) for dim in dims])
        total = lowering.make(operation, symbol, dimensions, symbol.read(), axes, keepdims=1)
        return total if call.argument(2, "keepdim", False) else squeeze(total, *dims)

    return handle


PRODUCTS: dict[str, Handler] = {
    "convolution": _convolution,
    "mm": _product,
    "addmm": _product,
    "native_batch_norm": _batch_norm,
    "cudnn_batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "native_layer_norm": _layer_norm,
    "mean": _reduction("ReduceMean"),
    "sum": _reduction("ReduceSum"),
    "amax": _reduction("ReduceMax"),
    "logsumexp": _reduction("ReduceLogSumExp"),
    "_softmax": _softmax("Softmax"),
    "_log_softmax": _softmax("LogSoftmax"),
}
"""By the name that ATen gives an operation."""
