"""Tensors that are kept and read alike: one state tensor for all of them, one product with what was kept.

In a chain of equal blocks each masked convolution reads the same places, of another tensor. What it sees of earlier
steps does not depend on this step, so the products of all blocks with it are one batched product, done before the
first block; a block then adds its newest column. A step of many small operations becomes one of fewer, larger ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from export.compiler.nodes import Node, Read
from export.compiler.schedule import Schedule
from export.compiler.slots import Positions
from export.compiler.tables import PatternTables
from export.graph import StepGraph

Uses = list[tuple[Node, Read]]


class _Look(NamedTuple):
    """How a product sees a tensor: through `earlier` taps what was kept, through `own` what this step computed."""

    product: Node
    depth: int
    earlier: list[int]
    own: list[int]
    table: NDArray[np.int64]
    """int64[positions, earlier]: 0 for nothing, 1 for the oldest column that is kept."""

    @property
    def likeness(self) -> tuple[object, ...]:
        weight = self.product.attributes["weight"]
        return self.depth, (*self.earlier,), (*self.own,), weight.shape, self.table.tobytes()


@dataclass(eq=False)
class _Bundle:
    """tensors: whose columns are kept; looks: how the product of each sees it."""

    tensors: list[Node]
    looks: list[_Look]
    state: str = ""
    kept: str = ""
    seen: list[str] | None = None
    """What each product has of earlier columns, its bias included."""


class Bundles:
    """Finds the tensors that go together; emits their products and keeps their columns."""

    def __init__(
        self, graph: StepGraph, plan: Schedule, positions: Positions, tables: PatternTables, uses: dict[Node, Uses]
    ) -> None:
        self._graph, self._plan, self.positions, self._tables = graph, plan, positions, tables
        self._of_product: dict[Node, tuple[_Bundle, int]] = {}
        self._bundles = self._found(uses) if positions.channels == 1 else []
        self._bundled = {tensor for bundle in self._bundles for tensor in bundle.tensors}
        self._declare()

    def __contains__(self, node: Node) -> bool:
        """Whether the columns of this tensor are kept here."""
        return node in self._bundled

    def has_product(self, node: Node) -> bool:
        """Whether this product is computed here."""
        return node in self._of_product

    def product(self, node: Node, newest: str) -> str:
        """Name of float32[batch, outputs]. newest: the column that this step computed of the tensor."""
        bundle, index = self._of_product[node]
        if bundle.seen is None:
            bundle.seen = self._products(bundle)
        value = bundle.seen[index]
        for own in bundle.looks[index].own:
            weight = self._graph.constant(f"{bundle.state}.{index}.weight", node.attributes["weight"][own])
            value = self._graph.op("Gemm", newest, weight, value)
        return value

    def finish(self, newest: dict[Node, str]) -> None:
        """Declares the kept columns as the next state: the oldest is dropped."""
        graph = self._graph
        for bundle in self._bundles:
            columns = graph.op("Concat", *(newest[tensor] for tensor in bundle.tensors), axis=1)
            window = graph.op("Concat", bundle.kept, graph.op("Unsqueeze", columns, graph.ints(1)), axis=1)
            later = graph.ints(0, *range(2, bundle.looks[0].depth + 2))
            graph.next(bundle.state, graph.op("Gather", window, later, axis=1))

    def _found(self, uses: dict[Node, Uses]) -> list[_Bundle]:
        alike: dict[tuple[object, ...], _Bundle] = {}
        for tensor in self._plan.nodes:
            look = self._only_look(tensor, uses[tensor])
            if look:
                bundle = alike.setdefault(look.likeness, _Bundle([], []))
                bundle.tensors.append(tensor)
                bundle.looks.append(look)
        return [bundle for bundle in alike.values() if len(bundle.tensors) > 1]

    def _only_look(self, tensor: Node, uses: Uses) -> _Look | None:
        """The only reader of what was kept, if it is a product that sees nothing now early and now late."""
        looks = [(reader, read) for reader, read in uses if not self._is_plain(reader, read)]
        if len(looks) != 1 or len(tensor.features) != 1 or looks[0][0].operation != "Linear":
            return None
        reader, read = looks[0]
        depth = self.positions.depth(tensor, uses)
        slots, counts = self.positions.slots(reader, read, depth)
        newest = slots[counts] == depth
        own, taps = np.flatnonzero(newest.all(axis=0)), self._plan.taps(reader, read)
        earlier = np.flatnonzero(~newest.any(axis=0))
        if not depth or len(own) > 1 or not len(earlier) or len(own) + len(earlier) < len(taps):
            return None
        table = np.where(counts[:, None], slots, slots[counts][0])[:, earlier] + 1
        return _Look(reader, depth, [taps[at] for at in earlier], [taps[at] for at in own], table)

    def _is_plain(self, reader: Node, read: Read) -> bool:
        """Whether it sees the newest column alone, at every position."""
        slots, counts = self.positions.slots(reader, read, 0)
        return not self.positions.depth(read.node, [(reader, read)]) and bool((slots[counts] == 0).all())

    def _declare(self) -> None:
        names = [_common([look.product for look in bundle.looks]) for bundle in self._bundles]
        for number, bundle in enumerate(self._bundles):
            earlier = names[:number].count(names[number])
            name = f"columns.{names[number]}" + (f"-{earlier + 1}" if earlier else "")
            width = sum(tensor.features[0] for tensor in bundle.tensors)
            # The first column stays zero: what a tap outside of the image sees.
            bundle.state, bundle.kept = name, self._graph.state(name, bundle.looks[0].depth + 1, width)
            products = [(look.product, (bundle, index)) for index, look in enumerate(bundle.looks)]
            self._of_product.update(products)

    def _products(self, bundle: _Bundle) -> list[str]:
        graph, look, name = self._graph, bundle.looks[0], bundle.state
        weights = np.stack([each.product.attributes["weight"][each.earlier] for each in bundle.looks])
        count, taps, inputs, outputs = weights.shape
        seen = graph.op("GatherND", bundle.kept, self._tables.look_up(look.table[:, :, None]), batch_dims=1)
        apart = graph.op("Reshape", seen, graph.ints(0, taps, count, inputs))
        turned = graph.op("Transpose", apart, perm=[2, 0, 1, 3])
        rows = graph.op("Reshape", turned, graph.ints(count, -1, taps * inputs))
        weight = graph.constant(f"{name}.weight", weights.reshape(count, taps * inputs, outputs))
        biases = np.stack([each.product.attributes["bias"] for each in bundle.looks])
        bias = graph.constant(f"{name}.bias", biases[:, None])
        sums = graph.op("Add", graph.op("MatMul", rows, weight), bias)
        flat = graph.op("Reshape", sums, graph.ints(-1, outputs))
        return list(graph.op("Split", flat, outputs=count, axis=0, num_outputs=count))


def _common(nodes: list[Node]) -> str:
    """What the names of their modules begin with."""
    names = [node.name.split(".") for node in nodes]
    alike = takewhile(lambda parts: len(set(parts)) == 1, zip(*names, strict=False))
    return ".".join(parts[0] for parts in alike) or nodes[0].name or "products"
