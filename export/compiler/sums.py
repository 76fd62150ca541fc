"""Sums as the graph computes them: products and what is added to them, before or after, are one chain of products.

A product of ONNX adds a third operand. So a sum of products needs no additions, and constants among the terms are
added once and for all to one that is a table, a bias or a part of the condition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .buffers import ColumnBuffers
from .ir import ConditionSlice, NodeInput, PlaceTable, TensorNode

Vector = NDArray[np.float32]


@dataclass
class Sum:
    """Terms of a node that is a sum or a product, and of those that nothing else reads."""

    products: list[TensorNode] = field(default_factory=list)
    """Of the newest columns, and of earlier ones unless they are in a batch."""
    batched: list[TensorNode] = field(default_factory=list)
    """Products of earlier columns that are in a batch."""
    values: list[tuple[TensorNode, NodeInput]] = field(default_factory=list)
    """Who reads, and how."""
    tables: list[tuple[TensorNode, PlaceTable]] = field(default_factory=list)
    conditions: list[ConditionSlice] = field(default_factory=list)
    constant: Vector = field(default_factory=lambda: np.zeros(1, np.float32))
    """Biases and other constants, unless they were added to another term."""
    parts: list[TensorNode] = field(default_factory=list)
    """Sums of terms that are known before the step, as nodes of their own."""


class Sums:
    """All sums of a step."""

    def __init__(self, nodes: tuple[TensorNode, ...], buffers: ColumnBuffers) -> None:
        self._buffers = buffers
        self.inner = {node for node in nodes if self._is_inner(node, nodes[-1])}
        """Computed in the sum that reads them."""
        self.of = {node: self._sum(node) for node in nodes if node not in self.inner and _is_sum(node)}
        slices = [part for node in nodes for part in node.operands if isinstance(part, ConditionSlice)]
        self.condition_biases = {part: part.base.reshape(part.features).copy() for part in slices}
        """What is added to each part of the condition."""
        self.product_biases = dict[TensorNode, Vector]()
        """What is added to batched products."""
        uses = Counter(slices)
        for total in self.of.values():
            self._add_constant(total, uses)
        for node, total in list(self.of.items()):
            self._take_apart(node, total)

    def in_order(self, nodes: Sequence[TensorNode]) -> Iterator[TensorNode]:
        """These nodes, each after the parts of its sum."""
        for node in nodes:
            if node not in self.inner:
                yield from self.of[node].parts if node in self.of else ()
                yield node

    def _is_inner(self, node: TensorNode, output: TensorNode) -> bool:
        uses = self._buffers.readers[node]
        if node is output or not _is_sum(node) or len(uses) != 1:
            return False
        (reader, read) = uses[0]
        fits = _is_sum(reader) and reader.operation == "Add" and reader.features == node.features
        return fits and self._buffers.reads_newest(reader, read)

    def _sum(self, root: TensorNode) -> Sum:
        total, waiting = Sum(), [root]
        while waiting:
            node = waiting.pop(0)
            if node.operation == "Linear":
                is_batched = node in self._buffers.batches
                total.batched += [node] if is_batched else []
                if not is_batched or self._buffers.newest(node, next(node.reads)):
                    total.products.append(node)
                total.constant = total.constant + node.attributes["bias"]
                continue
            for operand in node.operands:
                if isinstance(operand, NodeInput):
                    if operand.node in self.inner:
                        waiting.append(operand.node)
                    else:
                        total.values.append((node, operand))
                elif isinstance(operand, PlaceTable):
                    total.tables.append((node, operand))
                elif isinstance(operand, ConditionSlice):
                    total.conditions.append(operand)
                else:
                    total.constant = total.constant + operand
        return total

    def _add_constant(self, total: Sum, uses: Counter[ConditionSlice]) -> None:
        """Adds the constant to a term that is one anyway."""
        constant = total.constant
        if not constant.any():
            return
        if total.tables:
            node, table = total.tables[0]
            total.tables[0] = node, PlaceTable(table.values + constant, table.name)
        elif condition := next((c for c in total.conditions if uses[c] == 1 and _holds(c, constant)), None):
            self.condition_biases[condition] += constant.reshape(condition.features)
        elif total.batched:
            self.product_biases[total.batched[0]] = constant
        else:
            return
        total.constant = np.zeros(1, np.float32)

    def _take_apart(self, node: TensorNode, total: Sum) -> None:
        """Makes a node of those terms that are known before the step, where there are others."""
        if total.batched and (total.products or total.values):
            part = TensorNode("Add", node.features, name=node.name)
            self.of[part] = Sum(batched=total.batched, tables=total.tables, conditions=total.conditions)
            total.batched, total.tables, total.conditions, total.parts = [], [], [], [part]


def _holds(condition: ConditionSlice, constant: Vector) -> bool:
    return constant.size == 1 or constant.shape == tuple(condition.features)


def _is_sum(node: TensorNode) -> bool:
    if node.operation == "Linear":
        return True
    constants = [operand for operand in node.operands if isinstance(operand, np.ndarray)]
    return (
        node.operation == "Add"
        and len(node.features) == 1
        and all(c.dtype == np.float32 and c.ndim <= 1 for c in constants)
    )
