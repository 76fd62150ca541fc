"""Plans what a step keeps: the last columns of every tensor that is read later, and where taps find what they see.

In a chain of equal blocks each masked convolution reads the same places, of another tensor. What it sees of earlier
steps does not depend on this step, so the products of all blocks with it are one batched product over one state tensor,
done before the first block; a block then adds its newest column. A step of many small operations becomes one of fewer,
larger ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .ir import Box, NodeInput, PlaceTable, TensorNode, readers
from .schedule import Schedule

NOTHING = -1
"""The slot of a tap that sees no place of the tensor."""


class BatchedProduct(NamedTuple):
    """How a product sees a tensor: through taps `earlier` what was kept, through taps `newest` what this step made."""

    product: TensorNode
    depth: int
    earlier: tuple[int, ...]
    newest: tuple[int, ...]
    table: NDArray[np.int64]
    """int64[positions, earlier]: 0 for nothing, 1 for the oldest column that is kept."""

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for products that can be computed in one batch."""
        return self.depth, self.earlier, self.newest, self.product.attributes["weight"].shape, self.table.tobytes()


@dataclass(frozen=True, eq=False)
class ProductBatch:
    """Tensors that share a state, and the product that reads each."""

    name: str
    """Of the state."""
    tensors: tuple[TensorNode, ...]
    products: tuple[BatchedProduct, ...]


class ColumnBuffers:
    """The buffers of a schedule, over all positions of a run: `warm_up` steps, then `channels` tokens per pixel."""

    def __init__(self, plan: Schedule, *, area: int, channels: int) -> None:
        self._plan, self.channels = plan, channels
        steps = np.arange((area + plan.warm_up) * channels)
        self.positions = len(steps)
        self._pixel, self._channel = steps // channels - plan.warm_up, steps % channels
        self.readers = readers(plan.nodes)
        self.depths = {node: self._depth(node, uses) for node, uses in self.readers.items()}
        """Earlier columns of each tensor to keep."""
        self.zeros = {node: any(self._sees_nothing(*use) for use in uses) for node, uses in self.readers.items()}
        """Whether some tap sees no place of the tensor at some position that counts, and so reads zeros."""
        self.batches = self._batches() if channels == 1 else []
        self.batch_tensors = {tensor for batch in self.batches for tensor in batch.tensors}
        self.products = {
            each.product: (batch, index) for batch in self.batches for index, each in enumerate(batch.products)
        }
        """The batch that computes a product, and the product's number in it."""

    def _depth(self, node: TensorNode, uses: list[tuple[TensorNode, NodeInput]]) -> int:
        """With several channels, one more: the pixel's own column, until it is complete."""
        depth = max((delay for reader, read in uses for delay in self._delays(reader, read)), default=0)
        return depth + 1 if self.channels > 1 and (depth or node.operation == "Image") else depth

    def _delays(self, reader: TensorNode, read: NodeInput) -> list[int]:
        return [self._plan.delay(reader, read, read.taps[index]) for index in self._plan.taps(reader, read)]

    def _sees_nothing(self, reader: TensorNode, read: NodeInput) -> bool:
        slots, counts = self._slots(reader, read)
        return bool((slots[counts] == NOTHING).any())

    def _slots(self, reader: TensorNode, read: NodeInput) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """int64[positions, taps]: index into (state, newest), or `NOTHING`; bool[positions]: which rows count."""
        plan = self._plan
        taps = [read.taps[index] for index in plan.taps(reader, read)]
        rows, columns = plan.place(reader, self._pixel + plan.leads[reader])
        counts = _inside(plan.boxes[reader], rows, columns)
        slots = np.full((self.positions, len(taps)), NOTHING, dtype=np.int64)
        for index, tap in enumerate(taps):
            delay = plan.delay(reader, read, tap)
            slot = self.depths[read.node] - delay - (self._channel > 0 if delay else 0)
            visible = counts & _inside(read.box, rows + tap[0], columns + tap[1])
            slots[:, index] = np.where(visible, slot, NOTHING)
        return slots, counts

    def table(self, reader: TensorNode, read: NodeInput) -> NDArray[np.int64] | None:
        """int64[positions, taps]: index into (zeros, state, newest); None if it reads the newest column alone."""
        slots, counts = self._slots(reader, read)
        if slots.shape[1] == 1:
            newest = self.channels == 1 and (slots[counts] == self.depths[read.node]).all()
            if newest or not (any(self._delays(reader, read)) or (slots[counts] == NOTHING).any()):
                return None
        return np.where(counts[:, None], slots, slots[counts][0]) + int(self.zeros[read.node])

    def places(self, reader: TensorNode, constant: PlaceTable) -> NDArray[np.int64]:
        """int64[positions]: which row of `constant`, flattened over its places, belongs to the reader's place."""
        height, width = constant.values.shape[:2]
        rows, columns = self._plan.place(reader, self._pixel + self._plan.leads[reader])
        row = np.clip(rows, 0, height - 1) if height > 1 else 0
        column = np.clip(columns, 0, width - 1) if width > 1 else 0
        return np.asarray(row * width + column, dtype=np.int64)

    def _batches(self) -> list[ProductBatch]:
        groups: dict[tuple[object, ...], dict[TensorNode, BatchedProduct]] = {}
        for tensor in self._plan.nodes:
            product = self._batchable(tensor)
            if product:
                groups.setdefault(product.key, {})[tensor] = product
        batches: list[ProductBatch] = []
        names: list[str] = []
        for group in groups.values():
            if len(group) > 1:
                products = tuple(group.values())
                names.append(_common_name([each.product for each in products]))
                number = names.count(names[-1])
                name = f"columns.{names[-1]}" + (f"-{number}" if number > 1 else "")
                batches.append(ProductBatch(name, tuple(group), products))
        return batches

    def _batchable(self, tensor: TensorNode) -> BatchedProduct | None:
        """The only reader of what was kept, if it is a product that sees nothing now early and now late."""
        uses = [use for use in self.readers[tensor] if not self._reads_newest(*use)]
        if len(uses) != 1 or len(tensor.features) != 1 or uses[0][0].operation != "Linear":
            return None
        reader, read = uses[0]
        depth, taps = self.depths[tensor], self._plan.taps(reader, read)
        slots, counts = self._slots(reader, read)
        newest = slots[counts] == depth
        own, earlier = np.flatnonzero(newest.all(axis=0)), np.flatnonzero(~newest.any(axis=0))
        if not depth or len(own) > 1 or not len(earlier) or len(own) + len(earlier) < len(taps):
            return None
        table = np.where(counts[:, None], slots, slots[counts][0])[:, earlier] + 1
        return BatchedProduct(reader, depth, tuple(taps[at] for at in earlier), tuple(taps[at] for at in own), table)

    def _reads_newest(self, reader: TensorNode, read: NodeInput) -> bool:
        """Whether it sees the newest column alone, at every position."""
        slots, counts = self._slots(reader, read)
        return not any(self._delays(reader, read)) and bool((slots[counts] == self.depths[read.node]).all())


def _inside(box: Box, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (rows >= box.top) & (rows < box.bottom) & (columns >= box.left) & (columns < box.right)


def _common_name(nodes: list[TensorNode]) -> str:
    """What the names of their modules begin with."""
    names = [node.name.split(".") for node in nodes]
    common = takewhile(lambda parts: len(set(parts)) == 1, zip(*names, strict=False))
    return ".".join(parts[0] for parts in common) or nodes[0].name or "products"
