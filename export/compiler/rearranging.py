"""Operations that move numbers without changing them: slices, paddings, joins, views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

from .ir import NotStreamableError, Operand, Symbol, permute, reshape, squeeze, unsqueeze
from .lowering import Handler, Lowering
from .trace import Call


def part_of(lowering: Lowering, symbol: Symbol, dim: int, start: int, end: int) -> Symbol:
    """Entries start to end of a dimension."""
    (axis, *more), size = symbol.dimension(dim), symbol.shape[dim]
    if (start, end) == (0, size):
        return symbol
    if more or axis == "b":
        raise NotStreamableError("a part of the batch, or of places that were flattened")
    if isinstance(axis, str):
        return symbol.crop(axis, start, end)
    dim = symbol.index(dim)
    dimensions, axis = symbol.with_dimension(dim, end - start), symbol.column_axis(dim)
    return lowering.make("Slice", symbol, dimensions, symbol.read(), axis=axis, start=start, end=end)


def _slice(lowering: Lowering, call: Call) -> Symbol:
    symbol = lowering.symbol(call.arguments[0])
    dim, start, end = call.argument(1, "dim", 0), call.argument(2, "start"), call.argument(3, "end")
    first, last, step = slice(start, end, call.argument(4, "step", 1)).indices(symbol.shape[dim])
    if step != 1:
        return _every(lowering, symbol, symbol.index(dim), range(first, last, step))
    return part_of(lowering, symbol, dim, first, max(first, last))


def _every(lowering: Lowering, symbol: Symbol, dim: int, entries: range) -> Symbol:
    """Entries of a dimension of features at equal distances: of its view as rows of that length, one column."""
    shape, step = list(symbol.shape), entries.step
    if not symbol.is_feature(dim) or shape[dim] % step:
        raise NotStreamableError("a slice with a step")
    rows = reshape(symbol, [*shape[:dim], shape[dim] // step, step, *shape[dim + 1 :]])
    column = _entry(lowering, rows, dim + 1, entries.start % step)
    return part_of(lowering, column, dim, entries.start // step, entries.start // step + len(entries))


def _entry(lowering: Lowering, symbol: Symbol, dim: int, index: int) -> Symbol:
    """One entry of a dimension of features, without the dimension."""
    return squeeze(part_of(lowering, symbol, dim, index, index + 1), symbol.index(dim))


def _select(lowering: Lowering, call: Call) -> Symbol:
    symbol, dim, index = lowering.symbol(call.arguments[0]), *call.arguments[1:3]
    if not symbol.is_feature(dim):
        raise NotStreamableError("one row or column taken out of the image")
    return _entry(lowering, symbol, dim, index % symbol.shape[dim])


def _unbind(lowering: Lowering, call: Call) -> list[Symbol]:
    symbol, dim = lowering.symbol(call.arguments[0]), call.argument(1, "dim", 0)
    if not symbol.is_feature(dim):
        raise NotStreamableError("rows or columns taken apart")
    return [_entry(lowering, symbol, dim, index) for index in range(symbol.shape[dim])]


def _split(lowering: Lowering, call: Call) -> list[Symbol]:
    symbol, dim = lowering.symbol(call.arguments[0]), call.argument(2, "dim", 0)
    size, sizes = symbol.shape[dim], call.arguments[1]
    if isinstance(sizes, int):
        sizes = [min(sizes, size - at) for at in range(0, size, sizes)]
    bounds = pairwise((0, *accumulate(sizes)))
    return [part_of(lowering, symbol, dim, start, end) for start, end in bounds]


def _pad(lowering: Lowering, call: Call) -> Symbol:
    symbol, pairs, value = lowering.symbol(call.arguments[0]), call.arguments[1], call.argument(2, "value", 0) or 0
    for number, (before, after) in enumerate(zip(pairs[::2], pairs[1::2], strict=True)):
        dimension = symbol.dimension(-1 - number)
        if (before, after) == (0, 0):
            continue
        if dimension not in (("h",), ("w",)):
            symbol = _pad_features(lowering, symbol, symbol.index(-1 - number), (before, after), value)
        elif value != 0:
            raise NotStreamableError("a padding with something else than zeros")
        else:
            symbol = symbol.crop(str(dimension[0]), -before, symbol.shape[-1 - number] + after)
    return symbol


def _pad_features(lowering: Lowering, symbol: Symbol, dim: int, counts: tuple[int, int], value: float) -> Symbol:
    """Features of a constant before and after the others, such as ones that show where the image is."""
    if min(counts) < 0 or not symbol.is_feature(dim):
        raise NotStreamableError("a padding of the batch, or one that cuts features off")
    shapes = [(*symbol.shape[:dim], count, *symbol.shape[dim + 1 :]) for count in counts]
    constants = [torch.full(shape, float(value)) for shape in shapes]
    before, after = ([lowering.operand(part, symbol, symbol.dimensions)] if part.numel() else [] for part in constants)
    sizes = [*shapes[:1][: len(before)], tuple(symbol.shape), *shapes[1:][: len(after)]]
    return _concatenation(lowering, symbol, dim, [*before, symbol.read(), *after], sizes)


def _cat(lowering: Lowering, call: Call) -> Symbol:
    parts, dim = call.arguments[0], call.argument(1, "dim", 0)
    like = next(lowering.symbol(part) for part in parts if lowering.is_symbol(part))
    if not like.is_feature(dim):
        return _beside(lowering, parts, dim, like)
    operands = [lowering.operand(part, like, like.dimensions) for part in parts]
    return _concatenation(lowering, like, like.index(dim), operands, [part.shape for part in parts])


def _stack(lowering: Lowering, call: Call) -> Symbol:
    symbols = [lowering.symbol(part) for part in call.arguments[0]]
    dim = symbols[0].index(call.argument(1, "dim", 0), more=1)
    parts = [unsqueeze(symbol, dim) for symbol in symbols]
    return _concatenation(lowering, parts[0], dim, [part.read() for part in parts], [part.shape for part in parts])


def _concatenation(
    lowering: Lowering, like: Symbol, dim: int, operands: list[Operand], shapes: list[tuple[int, ...]]
) -> Symbol:
    """Along features. Attribute `sizes`: those of the features of each operand."""
    dimensions = like.with_dimension(dim, sum(int(shape[dim]) for shape in shapes))
    features = [at for at in range(len(dimensions)) if isinstance(dimensions[at][0], int)]
    sizes = [[shape[at] for at in features] for shape in shapes]
    return lowering.make("Concat", like, dimensions, *operands, axis=like.column_axis(dim), sizes=sizes)


def _beside(lowering: Lowering, parts: Sequence[Any], dim: int, like: Symbol) -> Symbol:
    """Tensors side by side: each padded with zeros to the whole, then added up."""
    axis, total = str(like.dimension(dim)[0]), sum(int(part.shape[dim]) for part in parts)
    symbols, at = [], 0
    for part in parts:
        if lowering.is_symbol(part):
            symbols.append(lowering.symbol(part).crop(axis, -at, total - at))
        elif not isinstance(part, Tensor) or bool(part.any()):
            raise NotStreamableError("rows or columns of constants beside the image")
        at += int(part.shape[dim])
    return reduce(lambda one, other: lowering.make("Add", one, one.dimensions, one.read(), other.read()), symbols)


def _unsqueeze(lowering: Lowering, call: Call) -> Symbol:
    symbol = lowering.symbol(call.arguments[0])
    return unsqueeze(symbol, symbol.index(call.arguments[1], more=1))


def _squeeze(lowering: Lowering, call: Call) -> Symbol:
    symbol = lowering.symbol(call.arguments[0])
    dims = call.argument(1, "dim", range(len(symbol.dimensions)))
    indices = {symbol.index(dim) for dim in ([dims] if isinstance(dims, int) else dims)}
    for dim in sorted(indices, reverse=True):
        if symbol.dimension(dim) == (1,):
            symbol = squeeze(symbol, dim)
    return symbol


def _transpose(lowering: Lowering, call: Call) -> Symbol:
    symbol, one, other = lowering.symbol(call.arguments[0]), *call.arguments[1:3]
    order = list(range(len(symbol.dimensions)))
    order[one], order[other] = order[other], order[one]
    return permute(symbol, order)


def _expand(lowering: Lowering, call: Call) -> Symbol:
    symbol, shape = lowering.symbol(call.arguments[0]), call.arguments[1]
    sizes = [old if new == -1 else new for old, new in zip(symbol.shape, shape[-len(symbol.shape) :], strict=True)]
    if len(shape) != len(symbol.shape):
        raise NotStreamableError("an expansion to more dimensions")
    if tuple(sizes) == symbol.shape:
        return symbol
    dimensions = [d if symbol.shape[i] == sizes[i] else (sizes[i],) for i, d in enumerate(symbol.dimensions)]
    ones = torch.ones([math.prod(a if isinstance(a, int) else 1 for a in dimension) for dimension in dimensions])
    return lowering.make("Mul", symbol, dimensions, symbol.read(), lowering.operand(ones, symbol, dimensions))


def _roll(lowering: Lowering, call: Call) -> Symbol:
    raise NotStreamableError("a roll, which brings the end of the image to its start; shift with padding and slicing")


def _reshape(lowering: Lowering, call: Call) -> Symbol:
    return reshape(lowering.symbol(call.arguments[0]), call.arguments[1])


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
    "view": _reshape,
    "_unsafe_view": _reshape,
    "reshape": _reshape,
    "permute": lambda lowering, call: permute(lowering.symbol(call.arguments[0]), call.arguments[1]),
    "transpose": _transpose,
    "t": lambda lowering, call: permute(lowering.symbol(call.arguments[0]), (1, 0)),
    "expand": _expand,
    "roll": _roll,
}
"""By the name that ATen gives an operation."""
