"""Convolutions, matrix products and normalisations: what sums over features."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from export.compiler.ir import Box, Dimension, Node, NotStreamableError, Symbol, fresh, with_features
from export.compiler.lowering import Handler, Lowering
from export.compiler.trace import Call


def _constant(lowering: Lowering, value: Any, what: str) -> NDArray[np.float32] | None:
    if value is None:
        return None
    if not isinstance(value, Tensor):
        raise NotStreamableError(f"its {what} is not constant")
    return value.numpy().astype(np.float32)


def _convolution(lowering: Lowering, call: Call) -> Symbol:
    value, weight, bias, stride, padding, dilation, transposed, _, groups = call.arguments
    symbol = lowering.symbol(value)
    if transposed or any(step != 1 for step in stride):
        raise NotStreamableError("a convolution with strides, which computes at fewer places than the image has")
    if [len(d) for d in symbol.dimensions] != [1] * 4 or symbol.dimensions[2:] != (("h",), ("w",)):
        raise NotStreamableError("a convolution that does not go over rows and columns")
    kernel = _constant(lowering, weight, "weight")
    assert kernel is not None
    dense = _dense(kernel, groups)
    used = np.argwhere(np.abs(dense).max(axis=(0, 1)) > 0)
    taps = [(int(y) * dilation[0] - padding[0], int(x) * dilation[1] - padding[1]) for y, x in used]
    matrix = dense[:, :, used[:, 0], used[:, 1]].transpose(2, 1, 0)  # [taps, inputs, outputs]
    outputs = len(kernel)
    height, width = (
        size + 2 * pad - step * (side - 1)
        for size, pad, step, side in zip(
            (symbol.height, symbol.width), padding, dilation, kernel.shape[2:], strict=True
        )
    )
    dimensions: list[Dimension] = [("b",), (outputs,), ("h",), ("w",)]
    return _linear(
        lowering, call, symbol, taps=taps, matrix=matrix, bias=bias, dimensions=dimensions, size=(height, width)
    )


def _dense(kernel: NDArray[np.float32], groups: int) -> NDArray[np.float32]:
    """The kernel [outputs, inputs, rows, columns] of a grouped convolution, with zeros between the groups."""
    outputs, inputs = kernel.shape[:2]
    dense = np.zeros((outputs, inputs * groups, *kernel.shape[2:]), dtype=np.float32)
    per_group = outputs // groups
    for group in range(groups):
        rows = slice(group * per_group, (group + 1) * per_group)
        dense[rows, group * inputs : (group + 1) * inputs] = kernel[rows]
    return dense


def _linear(
    lowering: Lowering,
    call: Call,
    symbol: Symbol,
    *,
    taps: list[tuple[int, int]],
    matrix: NDArray[np.float32],
    bias: Any,
    dimensions: list[Dimension],
    size: tuple[int, int],
) -> Symbol:
    offset = _constant(lowering, bias, "bias")
    attributes = {"weight": matrix, "bias": np.zeros(matrix.shape[2], np.float32) if offset is None else offset}
    read = symbol.read(*taps) if taps else symbol.read((-(10**6), 0))  # no tap: nothing but the bias
    if not taps:
        attributes["weight"] = np.zeros((1, matrix.shape[1], matrix.shape[2]), np.float32)
    node = Node("Linear", (matrix.shape[2],), (read,), attributes, call.module)
    return fresh(node, dimensions, *size)


def _product(lowering: Lowering, call: Call) -> Symbol:
    """mm, and addmm, which comes with a bias first: the features of the last dimension times a matrix."""
    *bias, value, matrix = call.arguments[: 3 if call.name == "addmm" else 2]
    symbol, weight = lowering.symbol(value), _constant(lowering, matrix, "matrix")
    assert weight is not None
    if symbol.features != (weight.shape[0],) or symbol.dimensions[-1] != symbol.features:
        raise NotStreamableError("a matrix product over places")
    dimensions: list[Dimension] = [*symbol.dimensions[:-1], (int(weight.shape[1]),)]
    return _linear(
        lowering,
        call,
        symbol,
        taps=[(0, 0)],
        matrix=weight[None],
        bias=bias[0] if bias else None,
        dimensions=dimensions,
        size=(symbol.height, symbol.width),
    )


def _batch_norm(lowering: Lowering, call: Call) -> Any:
    value, weight, bias, mean, variance, *rest = call.arguments
    if call.name in ("native_batch_norm", "cudnn_batch_norm") and rest[0]:
        raise NotStreamableError("a batch normalisation in training mode; call eval() on the network")
    epsilon = rest[-1]
    parts = [_constant(lowering, part, "normalisation") for part in (weight, bias, mean, variance)]
    assert parts[2] is not None
    assert parts[3] is not None
    scale = (1 if parts[0] is None else parts[0]) / np.sqrt(parts[3] + epsilon)
    shift = (0 if parts[1] is None else parts[1]) - parts[2] * scale
    return [_affine(lowering, lowering.symbol(value), scale.astype(np.float32), shift.astype(np.float32))]


def _affine(lowering: Lowering, symbol: Symbol, scale: NDArray[np.float32], shift: NDArray[np.float32]) -> Symbol:
    """Features times scale plus shift; taken into the product before it where there is one."""
    node = symbol.node
    whole = symbol.shift == (0, 0) and symbol.box == Box(0, 0, symbol.height, symbol.width)
    if node.operation == "Linear" and whole and symbol.features == node.features:
        scaled = {"weight": node.attributes["weight"] * scale, "bias": node.attributes["bias"] * scale + shift}
        folded = Node("Linear", node.features, node.operands, scaled, node.name)
        return fresh(folded, symbol.dimensions, symbol.height, symbol.width)
    product = lowering.make("Mul", symbol, symbol.dimensions, symbol.read(), scale)
    return lowering.make("Add", product, symbol.dimensions, product.read(), shift)


def _layer_norm(lowering: Lowering, call: Call) -> Any:
    value, shape, weight, bias, epsilon = call.arguments
    symbol = lowering.symbol(value)
    if symbol.features != tuple(shape) or symbol.dimensions[-1] != symbol.features:
        raise NotStreamableError("a layer normalisation over places")
    size = shape[0]
    scale, shift = (_constant(lowering, part, "normalisation") for part in (weight, bias))
    operands = (
        np.ones(size, np.float32) if scale is None else scale,
        np.zeros(size, np.float32) if shift is None else shift,
    )
    return [
        lowering.make(
            "LayerNormalization", symbol, symbol.dimensions, symbol.read(), *operands, axis=-1, epsilon=float(epsilon)
        )
    ]


def _softmax(operation: str) -> Handler:
    def handle(lowering: Lowering, call: Call) -> Symbol:
        symbol, index = lowering.symbol(call.arguments[0]), call.arguments[1]
        if not isinstance(symbol.dimension(index)[0], int):
            raise NotStreamableError("a softmax over places")
        before = symbol.dimensions[: index % len(symbol.dimensions)]
        axis = 1 + sum(isinstance(axis, int) for dimension in before for axis in dimension)
        return lowering.make(operation, symbol, symbol.dimensions, symbol.read(), axis=axis)

    return handle


def _reduced(operation: str) -> Handler:
    """Sums or means over features, whose dimensions are kept or dropped."""

    def handle(lowering: Lowering, call: Call) -> Symbol:
        symbol, dims = lowering.symbol(call.arguments[0]), call.argument(1, "dim")
        chosen = {dim % len(symbol.dimensions) for dim in ([dims] if isinstance(dims, int) else dims or ())}
        if not chosen or any(not isinstance(symbol.dimension(dim)[0], int) for dim in chosen):
            raise NotStreamableError("a sum or mean over places")
        kept: list[Dimension] = [(1,) if at in chosen else d for at, d in enumerate(symbol.dimensions)]
        features = [at for at, d in enumerate(symbol.dimensions) if isinstance(d[0], int)]
        axes = np.array([1 + features.index(dim) for dim in sorted(chosen)])
        made = lowering.make(operation, symbol, kept, symbol.read(), axes, keepdims=1)
        return made if call.argument(2, "keepdim", False) else _dropped(made, chosen)

    return handle


def _dropped(symbol: Symbol, dims: set[int]) -> Symbol:
    return with_features(symbol, [d for at, d in enumerate(symbol.dimensions) if at not in dims])


PRODUCTS: dict[str, Handler] = {
    "convolution": _convolution,
    "mm": _product,
    "addmm": _product,
    "native_batch_norm": _batch_norm,
    "cudnn_batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "native_layer_norm": _layer_norm,
    "mean": _reduced("ReduceMean"),
    "sum": _reduced("ReduceSum"),
    "_softmax": _softmax("Softmax"),
    "_log_softmax": _softmax("LogSoftmax"),
}
"""By the name that ATen gives an operation."""
