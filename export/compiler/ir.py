"""The intermediate representation: nodes, each computed for one place from columns of other places, and views of them.

A `TensorNode` is what is computed; a `Symbol` is a tensor of the traced network, seen as a view of a node.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tui_gen.errors import TuiGenError

LARGEST_TABLE = 2**18
"""Numbers that a table over places may grow to, to save a step an operation."""
Tap = tuple[int, int]
"""How many rows and columns away a place is that another one looks at."""
Axis = str | int
"""`b`, `h`, `w` for the batch, the rows and the columns; a number for that many features."""
Dimension = tuple[Axis, ...]
"""What a dimension of a tensor runs over; more than one axis where dimensions were flattened into one."""
_SAME = 1e-5
"""How far rows of one product may differ, relative to the largest number: a library rounds them in several ways."""
BATCH = 2
"""Of the images that a network is traced with: two, so that a size of one is never taken for the batch."""


class Box(NamedTuple):
    """Places (row, column) of a tensor: from top and left, up to but without bottom and right."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def empty(self) -> bool:
        """Whether no place is in it."""
        return self.top >= self.bottom or self.left >= self.right

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    def shift(self, tap: Tap) -> Box:
        """The places that are seen through a tap."""
        return Box(self.top + tap[0], self.left + tap[1], self.bottom + tap[0], self.right + tap[1])

    def common(self, other: Box) -> Box:
        """The places that are in both."""
        return Box(*map(max, self[:2], other[:2]), *map(min, self[2:], other[2:]))

    def around(self, other: Box) -> Box:
        """The smallest box that has all places of both."""
        if self.empty or other.empty:
            return other if self.empty else self
        return Box(*map(min, self[:2], other[:2]), *map(max, self[2:], other[2:]))


@dataclass(frozen=True, eq=False)
class NodeInput:
    """How a node looks at another: from its place (i, j) at the places (i + dy, j + dx), one per tap.

    A place outside of the box reads zero: padding, or what a slice cut off.
    """

    node: TensorNode
    taps: tuple[Tap, ...]
    box: Box


@dataclass(frozen=True, eq=False)
class PlaceTable:
    """A constant that depends on the place: float32[rows, columns, *features], rows and columns may be 1."""

    values: NDArray[np.float32]
    name: str = ""
    """The parameter that it is made of, if it is one."""


@dataclass(frozen=True, eq=False)
class ConditionSlice:
    """Numbers that depend on the condition alone: what its table says from column `first` on, plus `base`."""

    first: int
    features: tuple[int, ...]
    base: NDArray[np.float32]


Operand = NodeInput | PlaceTable | ConditionSlice | NDArray[Any]


@dataclass(frozen=True, eq=False)
class TensorNode:
    """A tensor of the network; each place of it holds one column, [*features] numbers.

    `Image` is what the network sees of the pixels; `Linear` multiplies all columns that its only operand reads with
    attributes `weight` [taps, inputs, outputs] and `bias` [outputs]; any other operation is an ONNX operator over the
    columns of its operands, [batch, *features] each.
    """

    operation: str
    features: tuple[int, ...]
    operands: tuple[Operand, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    """The module that computes it."""

    @property
    def reads(self) -> Iterator[NodeInput]:
        """The operands that are columns of other nodes."""
        return (operand for operand in self.operands if isinstance(operand, NodeInput))


def in_order(output: TensorNode) -> list[TensorNode]:
    """Every node that the output depends on, and itself; each after those it reads."""
    order: dict[TensorNode, None] = {}
    waiting: list[tuple[TensorNode, bool]] = [(output, False)]
    while waiting:
        node, ready = waiting.pop()
        if ready:
            order.setdefault(node)
        elif node not in order:
            waiting.append((node, True))
            waiting.extend((read.node, False) for read in node.reads)
    return list(order)


def readers(nodes: Sequence[TensorNode]) -> dict[TensorNode, list[tuple[TensorNode, NodeInput]]]:
    """Who reads each node, and how."""
    uses: dict[TensorNode, list[tuple[TensorNode, NodeInput]]] = {node: [] for node in nodes}
    for node in nodes:
        for read in node.reads:
            uses[read.node].append((node, read))
    return uses


@dataclass(frozen=True, eq=False)
class Symbol:
    """A tensor that depends on the image."""

    node: TensorNode
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
        return features_of(self.dimensions)

    @property
    def whole(self) -> bool:
        """Whether it shows the node's places as they are."""
        return self.shift == (0, 0) and self.box == Box(0, 0, self.height, self.width)

    @property
    def shape(self) -> tuple[int, ...]:
        """As the traced tensor has it."""
        return tuple(math.prod(self.size(axis) for axis in dimension) for dimension in self.dimensions)

    def size(self, axis: Axis) -> int:
        """How long an axis is; the batch counts as `BATCH`, like in the trace."""
        return axis if isinstance(axis, int) else {"b": BATCH, "h": self.height, "w": self.width}[axis]

    def index(self, dim: int, *, more: int = 0) -> int:
        """A dimension's index from the front, of one that may count from the end. more: dimensions to come."""
        return dim % (len(self.dimensions) + more)

    def dimension(self, dim: int) -> Dimension:
        """What a dimension runs over; negative indices count from the end."""
        return self.dimensions[self.index(dim)]

    def is_feature(self, dim: int) -> bool:
        """Whether a dimension runs over features."""
        return isinstance(self.dimension(dim)[0], int)

    def column_axis(self, dim: int) -> int:
        """Where the columns [batch, *features] have a dimension, counted from the front."""
        return 1 + len(features_of(self.dimensions[:dim]))

    def with_dimension(self, dim: int, size: int) -> list[Dimension]:
        """The dimensions with so many features for one of them."""
        return [*self.dimensions[:dim], (size,), *self.dimensions[dim + 1 :]]

    def read(self, *taps: Tap) -> NodeInput:
        """Reads at these distances from a place of the tensor, of which those outside of it are zero."""
        row, column = self.shift
        return NodeInput(self.node, tuple((dy + row, dx + column) for dy, dx in taps or ((0, 0),)), self.box)

    def crop(self, axis: str, start: int, end: int) -> Symbol:
        """Rows or columns from start to end of the tensor; below 0 or past its end they are zero."""
        size, (row, column), box = end - start, self.shift, self.box
        if axis == "h":
            row += start
            return replace(
                self, height=size, shift=(row, column), box=box.common(box._replace(top=row, bottom=row + size))
            )
        column += start
        return replace(
            self, width=size, shift=(row, column), box=box.common(box._replace(left=column, right=column + size))
        )


def features_of(dimensions: Sequence[Dimension]) -> tuple[int, ...]:
    """Sizes of the feature axes among these."""
    return tuple(axis for dimension in dimensions for axis in dimension if isinstance(axis, int))


def fresh(node: TensorNode, dimensions: Sequence[Dimension], height: int, width: int) -> Symbol:
    """The tensor that a node was made for."""
    return Symbol(node, tuple(dimensions), height, width, (0, 0), Box(0, 0, height, width))


def constant_operand(value: Any, like: Symbol, dimensions: Sequence[Dimension]) -> NDArray[Any] | PlaceTable:
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


def _over_places(array: NDArray[Any], dimensions: Sequence[Dimension]) -> NDArray[Any] | PlaceTable:
    where = {dimension[0]: index for index, dimension in enumerate(dimensions) if len(dimension) == 1}
    features = [index for index, d in enumerate(dimensions) if all(isinstance(axis, int) for axis in d)]
    places = [where[axis] for axis in ("h", "w") if axis in where]
    if all(array.shape[index] == 1 for index in places):
        return array.reshape([array.shape[index] for index in features])
    others = [index for index in range(array.ndim) if index not in {*places, *features}]
    shape = [array.shape[index] for index in (*places, *features)]
    return PlaceTable(array.transpose([*places, *features, *others]).reshape(shape).astype(np.float32))


def permute(symbol: Symbol, order: Sequence[int]) -> Symbol:
    """Dimensions in another order; columns are transposed only if features change places among themselves."""
    dimensions = tuple(symbol.dimension(index) for index in order)
    numbers = iter(range(len(symbol.features)))
    by_dimension = [[next(numbers) for axis in dimension if isinstance(axis, int)] for dimension in symbol.dimensions]
    features = [number for index in order for number in by_dimension[symbol.index(index)]]
    if features == sorted(features):
        return replace(symbol, dimensions=dimensions)
    sizes = tuple(symbol.features[number] for number in features)
    node = TensorNode("Transpose", sizes, (symbol.read(),), {"perm": [0, *(1 + number for number in features)]})
    return fresh(node, dimensions, symbol.height, symbol.width)


def reshape(symbol: Symbol, shape: Sequence[int]) -> Symbol:
    """A view of another shape. Places may be flattened together and features split or joined, but never mixed."""
    size = math.prod(size for size in shape if size != -1)
    sizes = [math.prod(symbol.shape) // max(size, 1) if each == -1 else each for each in shape]
    axes = [axis for dimension in symbol.dimensions for axis in dimension]
    dimensions = tuple(_take(symbol, axes, size) for size in sizes)
    if any(axis != 1 for axis in axes):
        raise NotStreamableError(f"a view of {list(symbol.shape)} as {list(sizes)} mixes places and features")
    return regroup(symbol, dimensions)


def _take(symbol: Symbol, axes: list[Axis], size: int) -> Dimension:
    """Removes from the front of `axes` those that a dimension of this size runs over."""
    if size == 1:
        return (axes.pop(0),) if axes and symbol.size(axes[0]) == 1 else (1,)
    dimension: list[Axis] = []
    while math.prod(map(symbol.size, dimension)) < size and axes:
        axis, missing = axes.pop(0), size // math.prod(map(symbol.size, dimension))
        if isinstance(axis, int) and axis > missing and axis % missing == 0:
            axes.insert(0, axis // missing)
            axis = missing
        if axis != 1:
            dimension.append(axis)
    if math.prod(map(symbol.size, dimension)) != size:
        raise NotStreamableError(f"a view of {list(symbol.shape)} tears places apart")
    return (size,) if all(isinstance(axis, int) for axis in dimension) else tuple(dimension)


def regroup(symbol: Symbol, dimensions: Sequence[Dimension]) -> Symbol:
    """The same numbers with their features grouped otherwise."""
    view = replace(symbol, dimensions=tuple(dimensions))
    if view.features == symbol.node.features:
        return view
    return fresh(TensorNode("Reshape", view.features, (symbol.read(),)), dimensions, symbol.height, symbol.width)


def squeeze(symbol: Symbol, *dims: int) -> Symbol:
    """Without these dimensions of one feature."""
    return regroup(symbol, [d for at, d in enumerate(symbol.dimensions) if at not in dims])


def unsqueeze(symbol: Symbol, dim: int) -> Symbol:
    """With one more dimension, of one feature."""
    return regroup(symbol, [*symbol.dimensions[:dim], (1,), *symbol.dimensions[dim:]])


class NotStreamableError(TuiGenError):
    """The network cannot become a one-pixel step; the message says what stands in the way."""


class LooksAheadError(NotStreamableError):
    """It looks at pixels that are not drawn yet; or, being causal, further sideways than the image is wide."""
