"""A network as columns: what is computed for one place of the image from columns of other places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST_TABLE = 2**18
"""Numbers that a table over places may grow to, to save a step an operation."""
Tap = tuple[int, int]
"""How many rows and columns away a place is that another one looks at."""


@dataclass(frozen=True)
class Box:
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
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    def moved(self, tap: Tap) -> Box:
        """The places that are seen through a tap."""
        return Box(self.top + tap[0], self.left + tap[1], self.bottom + tap[0], self.right + tap[1])

    def common(self, other: Box) -> Box:
        """The places that are in both."""
        return Box(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def around(self, other: Box) -> Box:
        """The smallest box that has all places of both."""
        if self.empty or other.empty:
            return other if self.empty else self
        return Box(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
        )

    def covers(self, other: Box) -> bool:
        """Whether every place of the other is in it."""
        return self.common(other) == other or other.empty


@dataclass(frozen=True, eq=False)
class Read:
    """How a node looks at another: from its place (i, j) at the places (i + dy, j + dx), one per tap.

    A place outside of the box reads zero: padding, or what a slice cut off.
    """

    node: Node
    taps: tuple[Tap, ...]
    box: Box


@dataclass(frozen=True, eq=False)
class Placed:
    """A constant that depends on the place: float32[rows, columns, *features], rows and columns may be 1."""

    values: NDArray[np.float32]
    name: str = ""
    """The parameter that it is made of, if it is one."""


@dataclass(frozen=True, eq=False)
class Conditioned:
    """Numbers that depend on the condition alone: what its table says from column `first` on, plus `base`."""

    first: int
    features: tuple[int, ...]
    base: NDArray[np.float32]


Operand = Read | Placed | Conditioned | NDArray[Any]


@dataclass(frozen=True, eq=False)
class Node:
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
    def reads(self) -> Iterator[Read]:
        """The operands that are columns of other nodes."""
        return (operand for operand in self.operands if isinstance(operand, Read))


def in_order(output: Node) -> list[Node]:
    """Every node that the output depends on, and itself; each after those it reads."""
    found: dict[Node, None] = {}
    waiting: list[tuple[Node, bool]] = [(output, False)]
    while waiting:
        node, ready = waiting.pop()
        if ready:
            found.setdefault(node)
        elif node not in found:
            waiting.append((node, True))
            waiting.extend((read.node, False) for read in node.reads)
    return list(found)


def readers(nodes: Sequence[Node]) -> dict[Node, list[tuple[Node, Read]]]:
    """Who reads each node, and how."""
    found: dict[Node, list[tuple[Node, Read]]] = {node: [] for node in nodes}
    for node in nodes:
        for read in node.reads:
            found[read.node].append((node, read))
    return found
