"""The columns that a step keeps of each tensor, and how later positions read them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from export.compiler.bundles import Bundles
from export.compiler.inputs import StepInputs
from export.compiler.nodes import Node, Read
from export.compiler.schedule import Schedule
from export.compiler.slots import NOTHING
from export.compiler.tables import PatternTables
from export.graph import StepGraph

Uses = list[tuple[Node, Read]]


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
