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
from onnx import TensorProto

from export.compiler.ir import Node, Read
from export.compiler.schedule import NOTHING, Positions, Schedule
from export.graph import StepGraph
from export.image_network import ImageNetwork

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


class Windows:
    """For every tensor that is read later: state `columns.*` with its last columns, oldest first."""

    def __init__(
        self,
        graph: StepGraph,
        plan: Schedule,
        tables: PatternTables,
        inputs: StepInputs,
        bundles: Bundles,
    ) -> None:
        self._graph, self._plan, self._positions, self._tables = graph, plan, bundles.positions, tables
        self._inputs, self._bundles = inputs, bundles
        self._newest: dict[Node, str] = {}
        self._windows: dict[Node, str] = {}
        self._depths: dict[Node, int] = {}
        self._zero_slot: dict[Node, bool] = {}
        self._next: dict[str, str] = {}
        self._read: dict[tuple[object, ...], str] = {}
        self._new_pixel = inputs.new_pixel() if self._positions.channels > 1 else ""

    def add(self, node: Node, newest: str, uses: Uses) -> None:
        """Takes the column [batch, *features] that this step computed of a tensor."""
        depth = self._positions.depth(node, uses)
        self._newest[node], self._depths[node] = newest, depth
        if node in self._bundles:
            return
        if depth or any(self._outside(reader, read) for reader, read in uses):
            self._open(node, newest, depth, uses)

    def _outside(self, reader: Node, read: Read) -> bool:
        """Whether some tap sees nothing at some position that counts."""
        depth = self._positions.depth(read.node, [(reader, read)])
        slots, counts = self._positions.slots(reader, read, depth)
        return bool((slots[counts] == NOTHING).any())

    def _open(self, node: Node, newest: str, depth: int, uses: Uses) -> None:
        """Puts the columns side by side: nothing, if some tap sees nothing; those that were kept; the newest."""
        graph = self._graph
        kind = TensorProto.INT64 if node.attributes.get("to") == TensorProto.INT64 else TensorProto.FLOAT
        column, name, kept = graph.op("Unsqueeze", newest, graph.ints(1)), "", ""
        self._zero_slot[node] = empty = any(self._outside(reader, read) for reader, read in uses)
        one_channel = self._positions.channels == 1
        kept_zeros = int(empty and depth > 0 and one_channel)  # a first column that stays zero
        if depth:
            name = self._state_name(node)
            kept = graph.state(name, depth + kept_zeros, *node.features, dtype=kind)
            if not one_channel:
                kept, column, self._next[name] = self._complete(node, kept, column, depth)
        zeros = self._zeros(node.features, kind) if empty and not kept_zeros else ""
        parts = [part for part in (zeros, kept, column) if part]
        window = graph.op("Concat", *parts, axis=1) if len(parts) > 1 else column
        if depth and one_channel:  # the oldest column is dropped
            later = graph.ints(*range(kept_zeros), *range(kept_zeros + 1, kept_zeros + 1 + depth))
            self._next[name] = graph.op("Gather", window, later, axis=1)
        self._windows[node] = window

    def _state_name(self, node: Node) -> str:
        name = wanted = f"columns.{node.name or node.operation.lower()}"
        number = 1
        while name in self._next:
            number += 1
            name = f"{wanted}.{number}"
        return name

    def _complete(self, node: Node, kept: str, newest: str, depth: int) -> tuple[str, str, str]:
        """Where a pixel comes channel by channel: kept columns and newest, and what is kept for the next step.

        The column kept last is the pixel's own until all its channels have come; only then a new one is begun.
        """
        graph, ints, first = self._graph, self._graph.ints, self._new_pixel
        if node.operation == "Image":  # what came belongs to the pixel that was kept last
            before = graph.op("Slice", kept, ints(0), ints(depth - 1), ints(1))
            last = graph.op("Slice", kept, ints(depth - 1), ints(depth), ints(1))
            updated = graph.op("Add", last, newest)
            kept = graph.op("Concat", before, updated, axis=1)
            nothing = graph.op("Mul", updated, graph.constant("zero", np.zeros(1, np.float32)))
            newest = graph.op("Where", first, nothing, updated)
            self._newest[node] = graph.op("Squeeze", newest, ints(1))
        begun = graph.op("Slice", kept, ints(1), ints(depth), ints(1))
        pending = graph.op("Slice", kept, ints(0), ints(depth - 1), ints(1))
        after = graph.op("Concat", graph.op("Where", first, begun, pending), newest, axis=1)
        return kept, newest, after

    def _zeros(self, features: tuple[int, ...], kind: int) -> str:
        """[batch, 1, *features] of zeros: what a tap outside of the image reads."""
        key = ("zeros", features, kind)
        if key not in self._read:
            graph = self._graph
            shape = graph.op("Concat", graph.op("Shape", "token"), graph.ints(1, *features), axis=0)
            zeros = graph.op("ConstantOfShape", shape)
            self._read[key] = graph.op("Cast", zeros, to=kind) if kind != TensorProto.FLOAT else zeros
        return self._read[key]

    def read(self, reader: Node, read: Read) -> str:
        """What a node sees through a read: [batch, *features] for one tap, [batch, taps, *features] for several."""
        depth, taps = self._depths[read.node], self._plan.taps(reader, read)
        slots, counts = self._positions.slots(reader, read, depth)
        plain = len(taps) == 1 and self._positions.channels == 1 and not (slots[counts] != depth).any()
        if plain or (len(taps) == 1 and not self._late(reader, read) and not (slots[counts] == NOTHING).any()):
            return self._newest[read.node]
        table = np.where(counts[:, None], slots, slots[counts][0]) + int(self._zero_slot[read.node])
        key = (read.node, table.tobytes(), len(taps))
        if key not in self._read:
            self._read[key] = self._gather(self._windows[read.node], table, len(taps))
        return self._read[key]

    def _late(self, reader: Node, read: Read) -> bool:
        return any(self._plan.delay(reader, read, read.taps[index]) for index in self._plan.taps(reader, read))

    def _gather(self, window: str, table: NDArray[np.int64], taps: int) -> str:
        graph = self._graph
        if (table == table[0]).all() and taps == 1:
            at = graph.constant(f"slot.{table[0, 0]}", table[0, 0])
            return str(graph.op("Gather", window, at, axis=1))
        index = self._tables.look_up(table[:, :, None] if taps > 1 else table)
        return str(graph.op("GatherND", window, index, batch_dims=1))

    def finish(self) -> None:
        """Declares the kept columns as the next state."""
        self._bundles.finish(self._newest)
        for name, value in self._next.items():
            self._graph.next(name, value)


class PatternTables:
    """Collects tables over positions; afterwards each is an initializer with a row per kind of position."""

    def __init__(self, graph: StepGraph, position: str, positions: int) -> None:
        self._graph, self._positions = graph, positions
        self._kind = graph.op("Gather", "kind", position)
        self._tables: dict[str, NDArray[np.int64]] = {}
        self._looked_up: dict[bytes, str] = {}

    def look_up(self, table: NDArray[np.int64]) -> str:
        """The row [batch, *columns] of a table int64[positions, *columns] that belongs to the sample's position."""
        key = table.tobytes() + str(table.shape).encode()
        if key not in self._looked_up:
            name = f"slots.{len(self._tables)}"
            self._tables[name] = table
            self._looked_up[key] = self._graph.op("Gather", name, self._kind)
        return self._looked_up[key]

    def finish(self) -> None:
        """Adds the initializers: the tables, and `kind`, int64[positions]."""
        flat = [np.zeros((self._positions, 1)), *(table.reshape(len(table), -1) for table in self._tables.values())]
        _, first, kinds = np.unique(np.concatenate(flat, axis=1), axis=0, return_index=True, return_inverse=True)
        for table_name, table in self._tables.items():
            self._graph.constant(table_name, table[first])
        self._graph.constant("kind", kinds.reshape(-1).astype(np.int64))


class StepInputs:
    """The first part of every step's graph."""

    def __init__(self, graph: StepGraph, network: ImageNetwork, positions: Positions) -> None:
        self._graph, self._network, self._positions = graph, network, positions
        self._tokens = network.warm_up + 1
        self._before = graph.state("position", dtype=TensorProto.INT64)
        self.position = self._moved()
        """Name of int64[batch]: how many steps of the image are made, warm-up included."""
        self._channel = ""
        if network.channels > 1:
            self._channel = graph.op("Mod", self.position, graph.ints(network.channels))

    def _moved(self) -> str:
        advance = np.ones(self._tokens, dtype=np.int64)
        advance[self._network.start : self._network.warm_up] = 0
        advance[self._network.warm_up] = self._network.channels
        steps = self._graph.op("Gather", self._graph.constant("advance", advance), "token")
        last = self._graph.ints(self._positions.count - 1)
        return str(self._graph.op("Min", self._graph.op("Add", self._before, steps), last))

    @property
    def channel(self) -> str:
        """Name of int64[batch]: which channel of its pixel comes next."""
        return self._channel

    def new_pixel(self) -> str:
        """Name of bool[batch, 1, 1]: whether the pixel before is complete."""
        first = self._graph.op("Equal", self._channel, self._graph.ints(0))
        return str(self._graph.op("Reshape", first, self._graph.ints(-1, 1, 1)))

    def column(self) -> str:
        """Name of float32[batch, planes]: what the network sees of the token; prefix tokens are nothing to it."""
        network, graph = self._network, self._graph
        channels, levels, planes = network.encoding.shape
        table = np.zeros((channels, self._tokens, planes), dtype=np.float32)
        table[:, :levels] = network.encoding.numpy()
        encoding = graph.constant("encoding", table.reshape(-1, planes))
        if channels == 1:
            return str(graph.op("Gather", encoding, "token"))
        own = graph.op("Mod", self._before, graph.ints(channels))
        row = graph.op("Add", graph.op("Mul", own, graph.ints(self._tokens)), "token")
        return str(graph.op("Gather", encoding, row))

    def condition(self, contributions: NDArray[np.float32]) -> str:
        """Name of float32[batch, width]: the condition's numbers. contributions: float32[conditions, width].

        Phrases add up. Of classes the last one named counts, and the start token names the first.
        """
        network, graph = self._network, self._graph
        table = np.zeros((self._tokens, contributions.shape[1]), dtype=np.float32)
        table[network.start + 1 : network.warm_up] = contributions
        before = graph.state("condition", contributions.shape[1])
        if network.condition == "class":
            table[network.start] = contributions[0]
            keep = np.ones((self._tokens, 1), dtype=np.float32)
            keep[network.start : network.warm_up] = 0
            before = graph.op("Mul", before, graph.op("Gather", graph.constant("condition.keep", keep), "token"))
        return str(graph.op("Add", before, graph.op("Gather", graph.constant("condition", table), "token")))
