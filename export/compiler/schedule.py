"""Where in the kept columns a tap finds what it sees, for every position of the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.compiler.ir import Box, LooksAheadError, Node, NotStreamableError, Placed, Read, Tap, in_order, readers

NOTHING = -1
"""The slot of a tap that sees no place of the tensor."""


class Positions:
    """All positions of a run: `warm_up` steps before the first pixel, then the pixels, `channels` tokens each."""

    def __init__(self, plan: Schedule, area: int, channels: int) -> None:
        self._plan, self.channels = plan, channels
        steps = np.arange((area + plan.warm_up) * channels)
        self.drawn, self.channel = steps // channels - plan.warm_up, steps % channels
        self.count = len(steps)

    def depth(self, node: Node, uses: list[tuple[Node, Read]]) -> int:
        """Earlier columns of a node to keep. With several channels, one more: the pixel's own, until it is complete."""
        plan = self._plan
        delays = [plan.delay(r, read, read.taps[index]) for r, read in uses for index in plan.taps(r, read)]
        needed = max(delays, default=0)
        return needed + 1 if self.channels > 1 and (needed or node.operation == "Image") else needed

    def slots(self, reader: Node, read: Read, depth: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """int64[positions, taps]: index into (kept columns, newest), or `NOTHING`; bool[positions]: which rows count.

        depth: how many columns of the node that is read are kept.
        """
        plan = self._plan
        taps = [read.taps[index] for index in plan.taps(reader, read)]
        rows, columns = plan.place(reader, self.drawn + plan.leads[reader])
        box = plan.needed[reader]
        counts = (rows >= box.top) & (rows < box.bottom) & (columns >= box.left) & (columns < box.right)
        table = np.full((self.count, len(taps)), NOTHING, dtype=np.int64)
        for index, tap in enumerate(taps):
            delay = plan.delay(reader, read, tap)
            earlier = depth - delay - (self.channel > 0 if delay else 0)
            row, column, seen = rows + tap[0], columns + tap[1], read.box
            inside = (row >= seen.top) & (row < seen.bottom) & (column >= seen.left) & (column < seen.right)
            table[:, index] = np.where(counts & inside, earlier, NOTHING)
        return table, counts

    def places(self, reader: Node, constant: Placed) -> NDArray[np.int64]:
        """int64[positions]: which row of `constant`, flattened over its places, belongs to the reader's place."""
        height, width = constant.values.shape[:2]
        rows, columns = self._plan.place(reader, self.drawn + self._plan.leads[reader])
        row = np.clip(rows, 0, height - 1) if height > 1 else 0
        column = np.clip(columns, 0, width - 1) if width > 1 else 0
        return np.asarray(row * width + column, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Schedule:
    """Nodes in an order in which they can be computed, and where and when."""

    nodes: tuple[Node, ...]
    needed: dict[Node, Box]
    """The places of each node that the logits depend on."""
    anchors: dict[Node, Tap]
    """The place of each node that lies at the first pixel's position."""
    leads: dict[Node, int]
    """How many positions ahead of the pixel drawn each node is computed."""
    width: int

    @property
    def warm_up(self) -> int:
        """How many steps before the first pixel the earliest column that counts is computed."""
        ahead = (self.leads[node] - self.position(node, box.top, box.left) for node, box in self.needed.items())
        return max(0, *ahead)

    def position(self, node: Node, row: int, column: int) -> int:
        """Raster position of a node's place."""
        top, left = self.anchors[node]
        return (row - top) * self.width + column - left

    def place(self, node: Node, position: Any) -> tuple[Any, Any]:
        """The place (row, column) of a node at a raster position, or arrays of them."""
        row, column = position // self.width, position % self.width
        top, left = self.anchors[node]
        return row + top, column + left

    def offset(self, reader: Node, read: Read, tap: Tap) -> int:
        """How many positions after the reader's place the place lies that it sees through a tap."""
        (top, left), (other_top, other_left) = self.anchors[reader], self.anchors[read.node]
        return (tap[0] + top - other_top) * self.width + tap[1] + left - other_left

    def taps(self, reader: Node, read: Read) -> list[int]:
        """Indices of the taps that ever see anything."""
        box = self.needed[reader]
        return [index for index, tap in enumerate(read.taps) if not box.moved(tap).common(read.box).empty]

    def delay(self, reader: Node, read: Read, tap: Tap) -> int:
        """How many steps ago the column was computed that a tap sees."""
        return self.leads[read.node] - self.leads[reader] - self.offset(reader, read, tap)


def schedule(output: Node, *, height: int, width: int, image_lead: int) -> Schedule:
    """Places and leads of every node. Raises LooksAheadError that names the tap which sees what is not drawn
    yet.

    image_lead: -1; 0 if a pixel has several channels, of which the first ones are known while the last is drawn.
    """
    nodes = tuple(in_order(output))
    needed = _needed(nodes, Box(0, 0, height, width))
    used = tuple(node for node in nodes if node in needed)
    anchors = {node: _anchor(node, needed[node], height, width) for node in used}
    plan = Schedule(used, needed, anchors, {}, width)
    _lead(plan, image_lead)
    return plan


def _needed(nodes: tuple[Node, ...], picture: Box) -> dict[Node, Box]:
    needed = {nodes[-1]: picture}
    for node in reversed(nodes):
        for read in node.reads if node in needed else ():
            for tap in read.taps:
                seen = needed[node].moved(tap).common(read.box)
                if not seen.empty:
                    needed[read.node] = needed.get(read.node, seen).around(seen)
    return needed


def _anchor(node: Node, box: Box, height: int, width: int) -> Tap:
    if box.width > width:
        raise NotStreamableError(f"{node.name or 'the network'} computes {box.width} columns of an image {width} wide")
    top = box.top if box.top < 0 or box.bottom > height else 0
    left = box.left if box.left < 0 or box.right > width else 0
    return top, left


def _lead(plan: Schedule, image_lead: int) -> None:
    """Leads as small as they can be, from the logits back to the image."""
    used_by, cause = readers(plan.nodes), dict[Node, _Look]()
    for node in reversed(plan.nodes):
        plan.leads[node] = 0 if node is plan.nodes[-1] else -(10**9)
        for reader, read in used_by[node]:
            for index in plan.taps(reader, read):
                look = _Look(reader, read.taps[index], plan.offset(reader, read, read.taps[index]))
                if plan.leads[reader] + look.offset > plan.leads[node]:
                    plan.leads[node], cause[node] = plan.leads[reader] + look.offset, look
        if node.operation == "Image":
            if plan.leads[node] > image_lead:
                raise LooksAheadError(_explain(node, cause, plan.leads[node]))
            plan.leads[node] = image_lead


@dataclass(frozen=True)
class _Look:
    """One node looking at another: through which tap, and how many positions later in the image."""

    reader: Node
    tap: Tap
    offset: int


def _explain(image: Node, cause: dict[Node, _Look], ahead: int) -> str:
    """Names the look that goes furthest ahead, of those that lead from the image to the logits."""
    looks, node = [], image
    while node in cause:
        looks.append(cause[node])
        node = cause[node].reader
    furthest = max(looks, key=lambda look: look.offset)
    pixel = f"the pixel {ahead} positions after the one that is drawn" if ahead else "the pixel that is drawn itself"
    return f"{furthest.reader.name or 'a convolution'} looks {_direction(*furthest.tap)}, and so the logits at {pixel}"


def _direction(row: int, column: int) -> str:
    vertical = f"{abs(row)} {'up' if row < 0 else 'down'}" if row else ""
    sideways = f"{abs(column)} to the {'left' if column < 0 else 'right'}" if column else ""
    return " and ".join(filter(None, (vertical, sideways))) or "at its own place"
