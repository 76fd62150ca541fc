"""Schedules nodes: which places of each the logits depend on, and how many steps ahead each is computed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

from .ir import Box, LooksAheadError, NodeInput, NotStreamableError, Tap, TensorNode, in_order, readers


@dataclass(frozen=True, eq=False)
class Schedule:
    """Nodes in an order in which they can be computed, and where and when."""

    nodes: tuple[TensorNode, ...]
    boxes: dict[TensorNode, Box]
    """The places of each node that the logits depend on."""
    anchors: dict[TensorNode, Tap]
    """The place of each node that lies at the first pixel's position."""
    leads: dict[TensorNode, int]
    """How many positions ahead of the next pixel each node is computed."""
    width: int

    @property
    def warm_up(self) -> int:
        """How many steps before the first pixel the earliest column that counts is computed."""
        ahead = []
        for node, box in self.boxes.items():
            top, left = self.anchors[node]
            ahead.append(self.leads[node] - (box.top - top) * self.width - box.left + left)
        return max(0, *ahead)

    def place(self, node: TensorNode, position: Any) -> tuple[Any, Any]:
        """The place (row, column) of a node at a raster position, or arrays of them."""
        row, column = position // self.width, position % self.width
        top, left = self.anchors[node]
        return row + top, column + left

    def offset(self, reader: TensorNode, read: NodeInput, tap: Tap) -> int:
        """How many positions after the reader's place the place lies that it sees through a tap."""
        (top, left), (other_top, other_left) = self.anchors[reader], self.anchors[read.node]
        return (tap[0] + top - other_top) * self.width + tap[1] + left - other_left

    def taps(self, reader: TensorNode, read: NodeInput) -> list[int]:
        """Indices of the taps that ever see anything."""
        box = self.boxes[reader]
        return [index for index, tap in enumerate(read.taps) if not box.shift(tap).common(read.box).empty]

    def delay(self, reader: TensorNode, read: NodeInput, tap: Tap) -> int:
        """How many steps ago the column was computed that a tap sees."""
        return self.leads[read.node] - self.leads[reader] - self.offset(reader, read, tap)


def schedule(output: TensorNode, *, height: int, width: int, image_lead: int) -> Schedule:
    """Places and leads of every node. Raises LooksAheadError that names the tap which looks ahead.

    image_lead: -1; 0 if a pixel has several channels, of which the first ones are known before the last.
    """
    nodes = tuple(in_order(output))
    boxes = _boxes(nodes, Box(0, 0, height, width))
    nodes = tuple(node for node in nodes if node in boxes)
    blind = next((node for node in nodes if any(read.node not in boxes for read in node.reads)), None)
    if blind:
        raise NotStreamableError(f"{blind.name or 'the network'} sees nothing of what it reads")
    anchors = {node: _anchor(node, boxes[node], height, width) for node in nodes}
    plan = Schedule(nodes, boxes, anchors, {}, width)
    _lead(plan, image_lead)
    return plan


def _boxes(nodes: tuple[TensorNode, ...], picture: Box) -> dict[TensorNode, Box]:
    boxes = {nodes[-1]: picture}
    for node in reversed(nodes):
        for read in node.reads if node in boxes else ():
            for tap in read.taps:
                view = boxes[node].shift(tap).common(read.box)
                if not view.empty:
                    boxes[read.node] = boxes.get(read.node, view).around(view)
    return boxes


def _anchor(node: TensorNode, box: Box, height: int, width: int) -> Tap:
    if box.width > width:
        raise NotStreamableError(f"{node.name or 'the network'} computes {box.width} columns of an image {width} wide")
    top = box.top if box.top < 0 or box.bottom > height else 0
    left = box.left if box.left < 0 or box.right > width else 0
    return top, left


class _Look(NamedTuple):
    """One node looking at another: through which tap, and how many positions later in the image."""

    reader: TensorNode
    tap: Tap
    offset: int


def _lead(plan: Schedule, image_lead: int) -> None:
    """Leads from the logits back to the image: as small as they can be, or one more for a product's sake."""
    uses, cause = readers(plan.nodes), dict[TensorNode, _Look]()
    latest, alike = (
        _latest(plan),
        Counter(_shape(node) for node in plan.nodes if node.operation == "Linear"),
    )
    for node in reversed(plan.nodes):
        plan.leads[node] = 0 if node is plan.nodes[-1] else -(10**9)
        for reader, read in uses[node]:
            for index in plan.taps(reader, read):
                look = _Look(reader, read.taps[index], plan.offset(reader, read, read.taps[index]))
                lead = plan.leads[reader] + look.offset
                if reader.operation == "Linear" and alike[_shape(reader)] > 1 and lead < latest[node]:
                    lead += 1  # so that equal products need nothing of this step, and are computed in one go
                if lead > plan.leads[node]:
                    plan.leads[node], cause[node] = lead, look
        if node.operation == "Image":
            if plan.leads[node] > image_lead:
                raise LooksAheadError(_explanation(node, cause, plan.leads[node]))
            plan.leads[node] = image_lead


def _shape(product: TensorNode) -> tuple[int, ...]:
    shape: tuple[int, ...] = product.attributes["weight"].shape
    return shape


def _latest(plan: Schedule) -> dict[TensorNode, int]:
    """How far ahead each node can be computed from pixels of which every channel is known."""
    latest = dict[TensorNode, int]()
    for node in plan.nodes:
        looks = [(read, read.taps[at]) for read in node.reads for at in plan.taps(node, read)]
        bounds = [latest[read.node] - plan.offset(node, read, tap) for read, tap in looks]
        latest[node] = -1 if node.operation == "Image" else min(bounds, default=0)
    return latest


def _explanation(image: TensorNode, cause: dict[TensorNode, _Look], ahead: int) -> str:
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
