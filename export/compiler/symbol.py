"""A traced tensor as columns of a node: which dimension is what, and which places of the node it shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from export.compiler.faults import NotStreamableError
from export.compiler.nodes import Box, Node, Placed, Read, Tap

Axis = str | int
"""`b`, `h`, `w` for the batch, the rows and the columns; a number for that many features."""
Dimension = tuple[Axis, ...]
"""What a dimension of a tensor runs over; more than one axis where dimensions were flattened into one."""


@dataclass(frozen=True, eq=False)
class Symbol:
    """A tensor that depends on the image."""

    node: Node
    dimensions: tuple[Dimension, ...]
    height: int
    width: int
    shift: Tap
    """The tensor's place (i, j) is the node's place (i + shift[0], j + shift[1])."""
    box: Box
    """The node's places that the tensor shows; its other places are zero."""

    @property
    def features(self) -> tuple[int, ...]:
        """Sizes of the feature axes in their order, which is that of the node's columns."""
        return tuple(axis for dimension in self.dimensions for axis in dimension if isinstance(axis, int))

    def read(self, *taps: Tap) -> Read:
        """Reads at these distances from a place of the tensor, of which those outside of it are zero."""
        row, column = self.shift
        return Read(self.node, tuple((dy + row, dx + column) for dy, dx in taps or ((0, 0),)), self.box)

    def size(self, axis: Axis) -> int:
        """How long an axis is; the batch counts as `BATCH`, like in the trace."""
        from export.compiler.trace import BATCH

        return axis if isinstance(axis, int) else {"b": BATCH, "h": self.height, "w": self.width}[axis]

    @property
    def shape(self) -> tuple[int, ...]:
        """As the traced tensor has it."""
        return tuple(math.prod(self.size(axis) for axis in dimension) for dimension in self.dimensions)

    def dimension(self, index: int) -> Dimension:
        """What a dimension runs over; negative indices count from the end."""
        return self.dimensions[index % len(self.dimensions)]

    def cut(self, axis: str, start: int, end: int) -> Symbol:
        """Rows or columns from start to end of the tensor; below 0 or past its end they are zero."""
        size = end - start
        if axis == "h":
            row = self.shift[0] + start
            inside = Box(row, self.box.left, row + size, self.box.right)
            return replace(self, height=size, shift=(row, self.shift[1]), box=self.box.common(inside))
        column = self.shift[1] + start
        inside = Box(self.box.top, column, self.box.bottom, column + size)
        return replace(self, width=size, shift=(self.shift[0], column), box=self.box.common(inside))


def fresh(node: Node, dimensions: Sequence[Dimension], height: int, width: int) -> Symbol:
    """The tensor that a node was made for."""
    return Symbol(node, tuple(dimensions), height, width, (0, 0), Box(0, 0, height, width))


_SAME = 1e-5
"""How far rows of one product may differ, relative to the largest number: a library rounds them in several ways."""


def constant_operand(value: Any, like: Symbol, dimensions: Sequence[Dimension]) -> NDArray[Any] | Placed:
    """A constant that is combined with a tensor of these dimensions, by NumPy's broadcasting.

    `like` has rows and columns. Raises NotStreamableError for one that differs between samples.
    """
    array = value.numpy() if isinstance(value, Tensor) else np.asarray(value, dtype=np.float32)
    array = array.astype(np.float32) if array.dtype in (np.float64, np.float16) else array
    array = array.reshape((1,) * (len(dimensions) - array.ndim) + array.shape)
    for index, dimension in enumerate(dimensions):
        if dimension == ("b",) and array.shape[index] > 1:
            first = array.take([0], axis=index)
            if not np.allclose(array, first, rtol=0, atol=_SAME * (1 + np.abs(first).max())):
                raise NotStreamableError("a constant differs between samples")
            array = array.take([0], axis=index)
        elif len(dimension) > 1 and array.shape[index] > 1:
            raise NotStreamableError("a constant over flattened places")
    return _over_places(array, dimensions)


def _over_places(array: NDArray[Any], dimensions: Sequence[Dimension]) -> NDArray[Any] | Placed:
    where = {dimension[0]: index for index, dimension in enumerate(dimensions) if len(dimension) == 1}
    features = [index for index, dimension in enumerate(dimensions) if _is_feature(dimension)]
    places = [where[axis] for axis in ("h", "w") if axis in where]
    if all(array.shape[index] == 1 for index in places):
        return array.reshape([array.shape[index] for index in features])
    ordered = array.transpose([*places, *features, *(i for i in range(array.ndim) if i not in {*places, *features})])
    shape = [array.shape[index] for index in places] + [array.shape[index] for index in features]
    return Placed(ordered.reshape(shape).astype(np.float32))


def _is_feature(dimension: Dimension) -> bool:
    return all(isinstance(axis, int) for axis in dimension)
