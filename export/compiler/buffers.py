"""Plans what a step keeps: rings of the last columns of tensors that are read later, and where taps find what they see.

A ring of depth d has the column of position p in slot p mod d, so a step writes one column and copies the rest as it
is. Rings of columns of one width lie one after another in one state tensor: one write, and what they keep is read by
row numbers. What products see of earlier steps does not depend on this step, so equal ones, as in a chain of equal
blocks, are one batched product that is done before the first block; a block then adds its newest column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from .ir import LARGEST_TABLE, Box, NodeInput, PlaceTable, TensorNode, readers
from .schedule import Schedule

_RingKind = tuple[bool, int, int]
"""Whether it is the image's own, the ONNX type of its numbers, and the width of its columns."""


@dataclass(frozen=True, eq=False)
class RingState:
    """Rings whose columns have one width, as a state tensor [batch, slots, width] of every copy of the network."""

    name: str
    width: int
    type: int
    """Of its numbers, as ONNX counts types."""
    first: dict[TensorNode, int]
    """The first slot of each tensor's ring."""
    slots: int
    """With a last one that stays zero, if some tap sees no place of the tensor: outside of the image."""


@dataclass(frozen=True, eq=False)
class ProductBatch:
    """Products of one shape over earlier columns in one state."""

    name: str
    state: RingState
    products: tuple[TensorNode, ...]


class ColumnBuffers:
    """The buffers of a schedule, over all positions of a run: `warm_up` steps, then `channels` tokens per pixel."""

    def __init__(self, plan: Schedule, *, area: int, channels: int) -> None:
        self._plan, self.channels = plan, channels
        steps = np.arange((area + plan.warm_up) * channels)
        self.positions = len(steps)
        self._pixel = steps // channels - plan.warm_up
        self.readers = readers(plan.nodes)
        self.depths = {node: self._depth(node, uses) for node, uses in self.readers.items()}
        """Columns of each tensor that are kept; 0 for none."""
        self.states = self._states()
        self.state_of = {node: state for state in self.states for node in state.first}
        self.batches = self._batches()

    def _depth(self, node: TensorNode, uses: list[tuple[TensorNode, NodeInput]]) -> int:
        """The image's columns are read after this step's is written; and with several channels a pixel's own column is
        written before all its channels are known: that takes one more.
        """
        depth = max((self._plan.delay(*use, tap) for use in uses for tap in self.taps(*use)), default=0)
        if node.operation == "Image":
            return depth + 1 if depth or self.channels > 1 else 0
        return depth + 1 if self.channels > 1 and depth else depth

    def taps(self, reader: TensorNode, read: NodeInput) -> list[tuple[int, int]]:
        """Those that ever see anything."""
        return [read.taps[index] for index in self._plan.taps(reader, read)]

    def earlier(self, reader: TensorNode, read: NodeInput) -> list[int]:
        """Indices of the taps that see columns which are kept: of earlier positions; of the image, of this one too."""
        every = self._kept_newest(reader, read)
        return [at for at in self._plan.taps(reader, read) if every or self._plan.delay(reader, read, read.taps[at])]

    def newest(self, reader: TensorNode, read: NodeInput) -> list[int]:
        """Indices of the others, which see the column of this position; several for a kernel as wide as the image."""
        earlier = self.earlier(reader, read)
        return [at for at in self._plan.taps(reader, read) if at not in earlier]

    def _kept_newest(self, reader: TensorNode, read: NodeInput) -> bool:
        """Whether all taps see what is kept: several ones of the image, of which no channel is to come."""
        if read.node.operation != "Image" or self.channels > 1:
            return False
        return any(self._plan.delay(reader, read, read.taps[at]) for at in self._plan.taps(reader, read))

    def reads_newest(self, reader: TensorNode, read: NodeInput) -> bool:
        """Whether it sees the column of this position alone, wherever it counts."""
        newest = self.newest(reader, read)
        return len(newest) == len(self.taps(reader, read)) == 1 and self.mask(reader, read, newest[0]) is None

    def mask(self, reader: TensorNode, read: NodeInput, tap: int) -> NDArray[np.bool_] | None:
        """bool[positions]: where a tap sees a place of the tensor; None if it does wherever the reader counts."""
        visible, counts = self._visible(reader, read, read.taps[tap])
        return None if visible[counts].all() else visible

    def _visible(
        self, reader: TensorNode, read: NodeInput, tap: tuple[int, int]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        rows, columns = self._plan.place(reader, self._pixel + self._plan.leads[reader])
        counts = _inside(self._plan.boxes[reader], rows, columns)
        return counts & _inside(read.box, rows + tap[0], columns + tap[1]), counts

    def _states(self) -> list[RingState]:
        kinds = dict[_RingKind, list[TensorNode]]()
        for node in self._plan.nodes:
            if self.depths[node]:
                own = node.operation == "Image"
                kind = TensorProto.INT64 if node.attributes.get("to") == TensorProto.INT64 else TensorProto.FLOAT
                kinds.setdefault((own, kind, math.prod(node.features)), []).append(node)
        self._round_depths()
        return [self._state(kind, nodes) for kind, nodes in kinds.items()]

    @property
    def columns_read(self) -> int:
        """How many kept columns a step reads."""
        return sum(len(self.earlier(node, read)) for node in self._plan.nodes for read in node.reads)

    def _round_depths(self) -> None:
        """Where tables of slots would be large, depths become whole rows of the image, after which they repeat."""
        if self.positions * self.columns_read > LARGEST_TABLE:
            width = self._plan.width
            self.depths = {node: -(-depth // width) * width for node, depth in self.depths.items()}

    def _state(self, kind: _RingKind, nodes: list[TensorNode]) -> RingState:
        own, number_type, width = kind
        ends = np.cumsum([self.depths[node] for node in nodes]).tolist()
        uses = [use for node in nodes for use in self.readers[node]]
        outside = any(self.mask(*use, tap) is not None for use in uses for tap in self.earlier(*use))
        name = "columns.image" if own else f"columns.{width}" + (".whole" if number_type == TensorProto.INT64 else "")
        first = dict(zip(nodes, [0, *ends], strict=False))
        return RingState(name, width, number_type, first, ends[-1] + outside)

    def slot(self, node: TensorNode, pixel: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where a node's column of a position is kept in its state."""
        return self.state_of[node].first[node] + pixel % self.depths[node]

    def written(self, state: RingState) -> NDArray[np.int64]:
        """int64[positions, tensors]: the slots that a step writes which comes to a position."""
        return np.stack([self.slot(node, self._pixel) for node in state.first], axis=1)

    def table(self, reader: TensorNode, read: NodeInput) -> NDArray[np.int32]:
        """int32[positions, earlier taps]: the slots where they find what they see."""
        slots = []
        for index in self.earlier(reader, read):
            visible, counts = self._visible(reader, read, read.taps[index])
            slot = self.slot(read.node, self._pixel - self._plan.delay(reader, read, read.taps[index]))
            slots.append(np.where(visible | ~counts, slot, self.state_of[read.node].slots - 1))
        return np.stack(slots, axis=1).astype(np.int32)

    def places(self, reader: TensorNode, constant: PlaceTable) -> NDArray[np.int64]:
        """int64[positions]: which row of `constant`, flattened over its places, belongs to the reader's place."""
        height, width = constant.values.shape[:2]
        rows, columns = self._plan.place(reader, self._pixel + self._plan.leads[reader])
        row = np.clip(rows, 0, height - 1) if height > 1 else 0
        column = np.clip(columns, 0, width - 1) if width > 1 else 0
        return np.asarray(row * width + column, dtype=np.int64)

    def _batches(self) -> dict[TensorNode, ProductBatch]:
        """The batch of each product that is in one."""
        groups = dict[tuple[object, ...], list[TensorNode]]()
        for node in self._plan.nodes:
            if node.operation == "Linear":
                (read,) = node.reads
                earlier = len(self.earlier(node, read))
                if earlier and self.state_of[read.node].name != "columns.image":
                    key = self.state_of[read.node], earlier, node.attributes["weight"].shape[1:]
                    groups.setdefault(key, []).append(node)
        batches, names = dict[TensorNode, ProductBatch](), list[str]()
        for (state, *_), products in groups.items():
            if len(products) > 1:
                assert isinstance(state, RingState)
                names.append(common_name(products))
                number = names.count(names[-1])
                name = f"{names[-1]}.earlier" + (f".{number}" if number > 1 else "")
                in_order = tuple(sorted(products, key=_by_numbers))  # as of other products in the same blocks
                batches.update(dict.fromkeys(products, ProductBatch(name, state, in_order)))
        return batches


def _by_numbers(node: TensorNode) -> list[tuple[int, str]]:
    """A module's path, numbers as such."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in node.name.split(".")]


def _inside(box: Box, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (rows >= box.top) & (rows < box.bottom) & (columns >= box.left) & (columns < box.right)


def common_name(nodes: Sequence[TensorNode]) -> str:
    """What the names of their modules begin with."""
    names = [node.name.split(".") for node in nodes]
    common = takewhile(lambda parts: len(set(parts)) == 1, zip(*names, strict=False))
    return ".".join(parts[0] for parts in common) or nodes[0].name or "products"
