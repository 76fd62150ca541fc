"""What every step reads, in the graph: the token, the position and what follows from it, and the condition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from ..graph import StepGraph
from ..image_network import ImageNetwork
from .ir import ConditionSlice

_FEW = 4
"""As many times as there are rows must the positions be, for a table to be kept by the kind of position."""
_SMALL = 2**13
"""Numbers up to which a table is kept by position, whatever repeats."""


class StepInputs:
    """The token and the position of every row. A row is a sample; of a guided network, a copy of it for a sample."""

    def __init__(self, graph: StepGraph, network: ImageNetwork, *, positions: int, copies: int) -> None:
        self._graph, self._network, self.copies = graph, network, copies
        self._tokens, self._samples = network.warm_up + 1, ""
        before = graph.state("position", 1, dtype=TensorProto.INT64)
        advance = np.ones((self._tokens, 1), dtype=np.int64)
        advance[network.start : network.warm_up] = 0
        advance[network.warm_up] = network.channels
        with graph.layer("position"):
            steps = graph.op("Gather", graph.constant("advance", advance), "token")
            self.next_position = graph.op("Min", graph.op("Add", before, steps), graph.ints(positions - 1))
            """int64[batch, 1]: how many steps of the image are made, warm-up included."""
            flat = graph.ints(-1)
            rows = graph.op("Reshape", self.for_copies(self.next_position), flat)
            self.tables = PositionTables(graph, rows, positions)
            self.earlier_tables, self.channel, self._own_channel = self.tables, "", ""
            if network.channels > 1:
                channels = graph.ints(network.channels)
                rows = graph.op("Reshape", self.for_copies(before), flat)
                self.earlier_tables = PositionTables(graph, rows, positions)
                self._own_channel = graph.op("Mod", before, channels)
                self.channel = graph.op("Mod", self.next_position, channels)
                """int64[batch, 1]: which channel of its pixel comes next."""

    def for_copies(self, value: str) -> str:
        """[batch, n] -> [batch, copies * n]."""
        return str(self._graph.op("Concat", *[value] * self.copies, axis=1)) if self.copies > 1 else value

    def is_first(self, *, coming: bool) -> str:
        """bool[rows, 1]: whether the channel of the token, or the one that comes, is the first of its pixel."""
        graph = self._graph
        first = self.for_copies(graph.op("Equal", self.channel if coming else self._own_channel, graph.ints(0)))
        return str(graph.op("Reshape", first, graph.ints(-1, 1))) if self.copies > 1 else first

    def column(self) -> str:
        """float32[rows, planes]: what the network sees of the token; prefix tokens are nothing to it."""
        graph, (channels, levels, planes) = self._graph, self._network.encoding.shape
        table = np.zeros((channels, self._tokens, planes), dtype=np.float32)
        table[:, :levels] = self._network.encoding.numpy()
        encoding, row = graph.constant("encoding", table.reshape(-1, planes)), "token"
        if channels > 1:
            before = graph.op("Mul", self._own_channel, graph.ints(self._tokens))
            row = graph.op("Add", graph.op("Reshape", before, graph.ints(-1)), "token")
        column = self.for_copies(graph.op("Gather", encoding, row))
        return str(graph.op("Reshape", column, graph.ints(-1, planes))) if self.copies > 1 else column

    def row_starts(self, slots: Sequence[int]) -> list[str]:
        """int32[rows, 1] for each number of slots: where a row's columns begin if those of all rows are in a line."""
        graph, sizes = self._graph, np.array(slots, dtype=np.int32)
        table = np.broadcast_to(sizes, (self._tokens, self.copies, len(sizes)))
        table = table if self.copies > 1 else table[:, 0]
        sizes_of_rows = graph.op("Gather", graph.constant("row.slots", table), "token")
        if self.copies > 1:
            sizes_of_rows = graph.op("Reshape", sizes_of_rows, graph.ints(-1, len(sizes)))
        starts = graph.op("CumSum", sizes_of_rows, graph.constant("axis", np.array(0)), exclusive=1)
        count = len(sizes)
        return list(graph.op("Split", starts, outputs=count, axis=1, num_outputs=count)) if count > 1 else [starts]

    def row_places(self, slots: int) -> str:
        """int64[rows, 2]: the number of the sample, and its first slot among as many of each copy."""
        graph = self._graph
        if not self._samples:
            table = np.broadcast_to(np.array([[1, 0]]), (self._tokens, self.copies, 2))
            ones = graph.op("Gather", graph.constant("row.number", table if self.copies > 1 else table[:, 0]), "token")
            self._samples = graph.op("CumSum", ones, graph.constant("axis", np.array(0)), exclusive=1)
        if self.copies == 1:
            return self._samples
        first = np.array([[0, copy * slots] for copy in range(self.copies)])
        places = graph.op("Add", self._samples, graph.constant(f"row.slots.{slots}", first))
        return str(graph.op("Reshape", places, graph.ints(-1, 2)))


class PositionTables:
    """Constant tables by position, and their rows for those at which the samples stand."""

    def __init__(self, graph: StepGraph, position: str, positions: int) -> None:
        self._graph, self.position, self._positions = graph, position, positions
        self._rows: dict[tuple[object, ...], str] = {}

    def look_up(self, name: str, table: NDArray[np.generic], *, axis: int = 0) -> str:
        """The part of a table that belongs to each row's position, which `axis` runs over.

        A large table whose rows repeat is kept once for each kind of position.
        """
        key = axis, table.shape, table.dtype.str, table.tobytes()
        if key not in self._rows:
            rows, index = table, self.position
            if table.size > _SMALL:
                kinds, number = np.unique(table, axis=axis, return_inverse=True)
                if kinds.shape[axis] * _FEW <= self._positions:
                    kind = self._graph.constant(self._graph.name(f"{name}.kind"), number.reshape(-1).astype(np.int64))
                    rows, index = kinds, self._graph.op("Gather", kind, index)
            self._rows[key] = self._graph.op(
                "Gather", self._graph.constant(self._graph.name(name), rows), index, axis=axis
            )
        return self._rows[key]


class Condition:
    """The condition's numbers in the state, and their parts with what is added to them, split in one go."""

    def __init__(
        self,
        graph: StepGraph,
        network: ImageNetwork,
        contributions: NDArray[np.float32],
        biases: dict[ConditionSlice, NDArray[np.float32]],
        *,
        copies: int,
    ) -> None:
        """contributions: float32[conditions, width]. biases: of each part, its own base included.

        Of a guided network, the first copy has the condition, and the last number is the scale.
        """
        self._graph, self._parts, self.scale = graph, dict[ConditionSlice, str](), ""
        width = contributions.shape[1]
        table = np.zeros((network.warm_up + 1, width), dtype=np.float32)
        table[network.start + 1 : network.warm_up] = contributions
        with graph.layer("condition"):
            before = graph.state("condition", width)
            if network.condition == "class":  # the last one named counts, and the start token names the first
                table[network.start] = contributions[0]
                keep = np.ones((len(table), 1), dtype=np.float32)
                keep[network.start : network.warm_up] = 0
                before = graph.op("Mul", before, graph.op("Gather", graph.constant("condition.keep", keep), "token"))
            self.next = graph.op("Add", before, graph.op("Gather", graph.constant("condition", table), "token"))
            value = self.next
            if copies > 1:
                width -= 1
                value, self.scale = graph.op("Split", value, graph.ints(width, 1), outputs=2, axis=1)
            if biases and copies > 1:
                value = graph.op("Pad", value, graph.ints(0, 0, 0, (copies - 1) * width))
                value = graph.op("Reshape", value, graph.ints(-1, width))
            if biases:
                self._split(value, width, biases)

    def _split(self, value: str, width: int, biases: dict[ConditionSlice, NDArray[np.float32]]) -> None:
        graph, base, sizes, owners = (
            self._graph,
            np.zeros(width, np.float32),
            list[int](),
            list[ConditionSlice | None](),
        )
        for part in sorted(biases, key=lambda part: part.first):
            if part.first > sum(sizes):  # what nothing reads
                sizes.append(part.first - sum(sizes))
                owners.append(None)
            sizes.append(int(np.prod(part.features, dtype=int)))
            owners.append(part)
            base[part.first : part.first + sizes[-1]] = biases[part].reshape(-1)
        if sum(sizes) < width:
            sizes.append(width - sum(sizes))
            owners.append(None)
        if base.any():
            value = graph.op("Add", value, graph.constant("condition.bias", base))
        count = len(sizes)
        names = graph.op("Split", value, graph.ints(*sizes), outputs=count, axis=1) if count > 1 else [value]
        for owner, name in zip(owners, names, strict=True):
            if owner:
                wide = len(owner.features) != 1
                self._parts[owner] = graph.op("Reshape", name, graph.ints(0, *owner.features)) if wide else name

    def part(self, part: ConditionSlice) -> str:
        """[rows, *features]."""
        return self._parts[part]
