"""Tensors that are only looked at in another shape or order: which dimension is what afterwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from export.compiler.faults import NotStreamableError
from export.compiler.nodes import Node
from export.compiler.symbol import Axis, Dimension, Symbol, fresh


def permuted(symbol: Symbol, order: Sequence[int]) -> Symbol:
    """Dimensions in another order; columns are transposed only if features change places among themselves."""
    dimensions = tuple(symbol.dimension(index) for index in order)
    numbers = iter(range(len(symbol.features)))
    numbered = [[next(numbers) for axis in dimension if isinstance(axis, int)] for dimension in symbol.dimensions]
    features = [number for index in order for number in numbered[index % len(numbered)]]
    if features == sorted(features):
        return replace(symbol, dimensions=dimensions)
    sizes = tuple(symbol.features[number] for number in features)
    node = Node("Transpose", sizes, (symbol.read(),), {"perm": [0, *(1 + number for number in features)]})
    return fresh(node, dimensions, symbol.height, symbol.width)


def reshaped(symbol: Symbol, shape: Sequence[int]) -> Symbol:
    """A view of another shape. Places may be flattened together and features split or joined, but never mixed."""
    sizes = _complete(shape, math.prod(symbol.shape))
    axes = [axis for dimension in symbol.dimensions for axis in dimension]
    dimensions = tuple(_take(symbol, axes, size) for size in sizes)
    if any(axis != 1 for axis in axes):
        raise NotStreamableError(f"a view of {list(symbol.shape)} as {list(sizes)} mixes places and features")
    return with_features(symbol, dimensions)


def _complete(shape: Sequence[int], count: int) -> list[int]:
    known = math.prod(size for size in shape if size != -1)
    return [count // max(known, 1) if size == -1 else size for size in shape]


def _take(symbol: Symbol, axes: list[Axis], size: int) -> Dimension:
    """Removes from the front of `axes` those that a dimension of this size runs over."""
    if size == 1:
        return (axes.pop(0),) if axes and symbol.size(axes[0]) == 1 else (1,)
    taken: list[Axis] = []
    while math.prod(map(symbol.size, taken)) < size and axes:
        axis, missing = axes.pop(0), size // math.prod(map(symbol.size, taken))
        if isinstance(axis, int) and axis > missing and axis % missing == 0:
            axes.insert(0, axis // missing)
            axis = missing
        if axis != 1:
            taken.append(axis)
    if math.prod(map(symbol.size, taken)) != size:
        raise NotStreamableError(f"a view of {list(symbol.shape)} tears places apart")
    return (size,) if all(isinstance(axis, int) for axis in taken) else tuple(taken)


def with_features(symbol: Symbol, dimensions: Sequence[Dimension]) -> Symbol:
    """The same numbers with their features grouped otherwise."""
    seen = replace(symbol, dimensions=tuple(dimensions))
    if seen.features == symbol.node.features:
        return seen
    return fresh(Node("Reshape", seen.features, (symbol.read(),)), dimensions, symbol.height, symbol.width)
