"""Bundles: nodes that do the same with what earlier steps left, computed at once, [lanes, rows, *features].

The products of equal layers over earlier columns are one batched product already. Where a layer needs nothing of this
step, as in a stack that runs ahead, what follows a product is as equal as the product: sums, activations, gates. So
a chain of blocks becomes one block of as many lanes, in which every operation of the graph is done once.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from .buffers import ColumnBuffers
from .ir import NodeInput, TensorNode
from .sums import Sum, Sums

_PLAIN = {
    *("Abs", "Add", "Div", "Elu", "Erf", "Exp", "LeakyRelu", "Log", "Max", "Min", "Mul", "Neg", "Pow", "Reciprocal"),
    *("Relu", "Sigmoid", "Softplus", "Slice", "Sqrt", "Sub", "Tanh"),
}
"""Operators that may be given one dimension more."""
Place = tuple[int, int | None]
"""A kind, equal for nodes that do the same in different lanes, and the lane, if it has one."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """Nodes of consecutive lanes."""

    nodes: tuple[TensorNode, ...]
    first: int
    """The lane of the first one."""


def find_bundles(nodes: tuple[TensorNode, ...], buffers: ColumnBuffers, sums: Sums) -> dict[TensorNode, Bundle]:
    """The bundle of each node that is in one."""
    alone = set[TensorNode]()
    while True:
        groups = _groups([node for node in sums.in_order(nodes) if node not in alone], buffers, sums)
        lonely = {node for lanes in groups.values() for node in lanes.values() if not _is_bundle(lanes)}
        if not lonely:
            bundles = [Bundle(tuple(lanes[at] for at in sorted(lanes)), min(lanes)) for lanes in groups.values()]
            return {node: bundle for bundle in bundles for node in bundle.nodes}
        alone |= lonely


def _is_bundle(lanes: dict[int, TensorNode]) -> bool:
    return len(lanes) > 1 and max(lanes) - min(lanes) == len(lanes) - 1


def _groups(nodes: list[TensorNode], buffers: ColumnBuffers, sums: Sums) -> dict[int, dict[int, TensorNode]]:
    groups, finder = defaultdict[int, dict[int, TensorNode]](dict), _Finder(buffers, sums)
    for node in nodes:
        kind, lane = finder.place(node) or (0, None)
        if lane is not None and lane not in groups[kind]:
            groups[kind][lane] = node
            finder.places[node] = kind, lane
    return groups


class _Finder:
    def __init__(self, buffers: ColumnBuffers, sums: Sums) -> None:
        self._buffers, self._sums = buffers, sums
        self.places: dict[TensorNode, Place] = {}
        self._kinds: dict[Any, int] = {}

    def place(self, node: TensorNode) -> Place | None:
        """What a node does, and its lane; None for one that needs something of this step."""
        if node in self._sums.of:
            terms, attributes = self._terms(self._sums.of[node]), tuple[tuple[str, Any], ...]()
        elif node.operation in _PLAIN:
            terms, attributes = [self._operand(node, part) for part in node.operands], tuple(node.attributes.items())
        else:
            return None
        lanes = {term[1] for term in terms if term and term[1] is not None}
        if None in terms or len(lanes) != 1:
            return None
        kinds = tuple(term[0] for term in terms if term)
        return self._kind(node.operation, node.features, attributes, kinds), lanes.pop()

    def _kind(self, *facts: Any) -> int:
        """The number of what is equal."""
        return self._kinds.setdefault(facts, len(self._kinds))

    def _operand(self, node: TensorNode, operand: Any) -> Place | None:
        if isinstance(operand, NodeInput):
            return self._value(node, operand)
        single = isinstance(operand, np.ndarray) and operand.size == 1
        return (self._kind("constant", operand.tobytes(), operand.shape), None) if single else None

    def _value(self, reader: TensorNode, read: NodeInput) -> Place | None:
        return self.places.get(read.node) if self._buffers.reads_newest(reader, read) else None

    def _terms(self, total: Sum) -> list[Place | None]:
        if total.products:
            return [None]
        terms: list[Place | None] = []
        for product in total.batched:
            batch = self._buffers.batches[product]
            terms.append((self._kind("product", batch), batch.products.index(product)))
        terms += [self.places.get(part) for part in total.parts]
        terms += [self._value(*value) for value in total.values]
        terms += [(self._kind("table", table.values.shape), None) for _, table in total.tables]
        terms += [(self._kind("condition", part.features), None) for part in total.conditions]
        return [*terms, (self._kind("constant", bool(total.constant.any()), total.constant.shape), None)]
