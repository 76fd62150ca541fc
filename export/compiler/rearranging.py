"""Operations that move numbers without changing them: slices, paddings, joins, views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from export.compiler.ir import Dimension, NotStreamableError, Symbol, permuted, reshaped, with_features
from export.compiler.lowering import Handler, Lowering
from export.compiler.trace import Call


def part_of(lowering: Lowering, symbol: Symbol, dim: int, start: int, end: int) -> Symbol:
    """Entries start to end of a dimension."""
    (axis, *more), size = symbol.dimension(dim), symbol.shape[dim]
    if (start, end) == (0, size):
        return symbol
    if more or axis == "b":
        raise NotStreamableError("a part of the batch, or of places that were flattened")
    if isinstance(axis, str):
        return symbol.cut(axis, start, end)
    dim %= len(symbol.dimensions)
    dimensions: list[Dimension] = [*symbol.dimensions[:dim], (end - start,), *symbol.dimensions[dim + 1 :]]
    position = 1 + sum(isinstance(a, int) for dimension in symbol.dimensions[:dim] for a in dimension)
    return lowering.make("Slice", symbol, dimensions, symbol.read(), axis=position, start=start, end=end)


def _slice(lowering: Lowering, call: Call) -> Symbol:
    symbol = lowering.symbol(call.arguments[0])
    dim, start, end = call.argument(1, "dim", 0), call.argument(2, "start"), call.argument(3, "end")
    if call.argument(4, "step", 1) != 1:
        raise NotStreamableError("a slice with a step")
    first, last, _ = slice(start, end).indices(symbol.shape[dim])
    return part_of(lowering, symbol, dim, first, max(first, last))


def _select(lowering: Lowering, call: Call) -> Symbol:
    symbol, dim, index = lowering.symbol(call.arguments[0]), *call.arguments[1:3]
    if not isinstance(symbol.dimension(dim)[0], int):
        raise NotStreamableError("one row or column taken out of the image")
    start = index % symbol.shape[dim]
    part = part_of(lowering, symbol, dim, start, start + 1)
    return _without(part, dim)


def _without(symbol: Symbol, dim: int) -> Symbol:
    dim %= len(symbol.dimensions)
    return with_features(symbol, [*symbol.dimensions[:dim], *symbol.dimensions[dim + 1 :]])


def _split(lowering: Lowering, call: Call) -> list[Symbol]:
    symbol = lowering.symbol(call.arguments[0])
    dim = call.argument(2, "dim", 0)
    size, sizes = symbol.shape[dim], call.arguments[1]
    if isinstance(sizes, int):
        sizes = [min(sizes, size - at) for at in range(0, size, sizes)]
    ends = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    return [part_of(lowering, symbol, dim, end - part, end) for end, part in zip(ends, sizes, strict=True)]


def _unbind(lowering: Lowering, call: Call) -> list[Symbol]:
    symbol = lowering.symbol(call.arguments[0])
    dim = call.argument(1, "dim", 0)
    if not isinstance(symbol.dimension(dim)[0], int):
        raise NotStreamableError("rows or columns taken apart")
    parts = (part_of(lowering, symbol, dim, at, at + 1) for at in range(symbol.shape[dim]))
    return [_without(part, dim) for part in parts]


def _pad(lowering: Lowering, call: Call) -> Symbol:
    symbol, pairs = lowering.symbol(call.arguments[0]), call.arguments[1]
    if call.argument(2, "value", 0) != 0:
        raise NotStreamableError("a padding with something else than zeros")
    for number, (before, after) in enumerate(zip(pairs[::2], pairs[1::2], strict=True)):
        dimension = symbol.dimension(-1 - number)
        if (before, after) == (0, 0):
            continue
        if dimension not in (("h",), ("w",)):
            raise NotStreamableError("a padding of features")
        symbol = symbol.cut(str(dimension[0]), -before, symbol.shape[-1 - number] + after)
    return symbol


def _cat(lowering: Lowering, call: Call) -> Symbol:
    parts, dim = call.arguments[0], call.argument(1, "dim", 0)
    like = next(lowering.symbol(part) for part in parts if lowering.is_symbol(part))
    if isinstance(like.dimension(dim)[0], str):
        return _beside(lowering, parts, dim, like)
    dim %= len(like.dimensions)
    dimensions: list[Dimension] = list(like.dimensions)
    dimensions[dim] = (sum(int(part.shape[dim]) for part in parts),)
    axis = 1 + sum(isinstance(a, int) for dimension in dimensions[:dim] for a in dimension)
    operands = [lowering.operand(part, like, like.dimensions) for part in parts]
    sizes = [[part.shape[i] for i, d in enumerate(dimensions) if isinstance(d[0], int)] for part in parts]
    return lowering.make("Concat", like, dimensions, *operands, axis=axis, sizes=sizes)


def _beside(lowering: Lowering, parts: Sequence[Any], dim: int, like: Symbol) -> Symbol:
    """Tensors side by side: each padded with zeros to the whole, then added up."""
    axis, total = str(like.dimension(dim)[0]), sum(int(part.shape[dim]) for part in parts)
    placed, at = [], 0
    for part in parts:
        size = int(part.shape[dim])
        if lowering.is_symbol(part):
            placed.append(lowering.symbol(part).cut(axis, -at, total - at))
        elif not isinstance(part, Tensor) or bool(part.any()):
            raise NotStreamableError("rows or columns of constants beside the image")
        at += size
    if len(placed) == 1:
        return placed[0]
    whole = placed[0]
    for other in placed[1:]:
        whole = lowering.make("Add", whole, whole.dimensions, whole.read(), other.read())
    return whole


def _stack(lowering: Lowering, call: Call) -> Symbol:
    parts = [lowering.symbol(part) for part in call.arguments[0]]
    dim = call.argument(1, "dim", 0)
    dim %= len(parts[0].dimensions) + 1
    opened = [_with_unit(part, dim) for part in parts]
    dimensions: list[Dimension] = list(opened[0].dimensions)
    dimensions[dim] = (len(parts),)
    axis = 1 + sum(isinstance(a, int) for dimension in dimensions[:dim] for a in dimension)
    sizes = [list(part.features) for part in opened]
    return lowering.make("Concat", opened[0], dimensions, *(p.read() for p in opened), axis=axis, sizes=sizes)


def _with_unit(symbol: Symbol, dim: int) -> Symbol:
    return with_features(symbol, [*symbol.dimensions[:dim], (1,), *symbol.dimensions[dim:]])


def _unsqueeze(lowering: Lowering, call: Call) -> Symbol:
    symbol, dim = lowering.symbol(call.arguments[0]), call.arguments[1]
    return _with_unit(symbol, dim % (len(symbol.dimensions) + 1))


def _squeeze(lowering: Lowering, call: Call) -> Symbol:
    symbol = lowering.symbol(call.arguments[0])
    dims = call.argument(1, "dim", range(len(symbol.dimensions)))
    chosen = sorted({dim % len(symbol.dimensions) for dim in ([dims] if isinstance(dims, int) else dims)})
    for dim in reversed(chosen):
        if symbol.dimension(dim) == (1,):
            symbol = _without(symbol, dim)
    return symbol


def _view(lowering: Lowering, call: Call) -> Symbol:
    return reshaped(lowering.symbol(call.arguments[0]), call.arguments[1])


def _permute(lowering: Lowering, call: Call) -> Symbol:
    return permuted(lowering.symbol(call.arguments[0]), call.arguments[1])


def _transpose(lowering: Lowering, call: Call) -> Symbol:
    symbol, one, other = lowering.symbol(call.arguments[0]), *call.arguments[1:3]
    order = list(range(len(symbol.dimensions)))
    order[one], order[other] = order[other], order[one]
    return permuted(symbol, order)


def _expand(lowering: Lowering, call: Call) -> Symbol:
    symbol, shape = lowering.symbol(call.arguments[0]), call.arguments[1]
    sizes = [old if new == -1 else new for old, new in zip(symbol.shape, shape[-len(symbol.shape) :], strict=True)]
    if len(shape) != len(symbol.shape):
        raise NotStreamableError("an expansion to more dimensions")
    if tuple(sizes) == symbol.shape:
        return symbol
    dimensions = [d if symbol.shape[i] == sizes[i] else (sizes[i],) for i, d in enumerate(symbol.dimensions)]
    ones = lowering.operand(_ones(dimensions), symbol, dimensions)
    return lowering.make("Mul", symbol, dimensions, symbol.read(), ones)


def _ones(dimensions: Sequence[Dimension]) -> Tensor:
    return torch.ones([math.prod(a if isinstance(a, int) else 1 for a in dimension) for dimension in dimensions])


def _roll(lowering: Lowering, call: Call) -> Symbol:
    raise NotStreamableError("a roll, which brings the end of the image to its start; shift with padding and slicing")


REARRANGING: dict[str, Handler] = {
    "slice": _slice,
    "select": _select,
    "split": _split,
    "split_with_sizes": _split,
    "unbind": _unbind,
    "constant_pad_nd": _pad,
    "cat": _cat,
    "stack": _stack,
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    "view": _view,
    "_unsafe_view": _view,
    "reshape": _view,
    "permute": _permute,
    "transpose": _transpose,
    "t": lambda lowering, call: permuted(lowering.symbol(call.arguments[0]), (1, 0)),
    "expand": _expand,
    "roll": _roll,
}
"""By the name that ATen gives an operation."""
