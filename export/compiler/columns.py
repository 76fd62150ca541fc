"""The rings of a step in the graph: what is read of earlier columns, and the newest ones on their way to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from ..graph import StepGraph
from .buffers import ColumnBuffers, ProductBatch, RingState
from .inputs import PositionTables, StepInputs
from .ir import NodeInput, TensorNode

_FEW = 64
"""Columns that a step reads of a sample's rings at most, where fewer operations matter more than faster ones."""


class RingColumns:
    """State `columns.*`. values: the columns [rows, *features] that this step computes, by their tensors."""

    def __init__(
        self,
        graph: StepGraph,
        buffers: ColumnBuffers,
        inputs: StepInputs,
        values: Callable[[TensorNode], str],
        biases: Mapping[TensorNode, NDArray[np.float32]],
    ) -> None:
        """biases: of batched products that have one."""
        self._graph, self._buffers, self._inputs, self._values, self._biases = graph, buffers, inputs, values, biases
        self._cache: dict[tuple[object, ...], str] = {}
        self._batches: dict[ProductBatch, str] = {}
        self._products: dict[ProductBatch, list[str]] = {}
        copies = inputs.copies
        self._sources = {
            state: graph.state(state.name, copies * state.slots, state.width, dtype=state.type)
            for state in buffers.states
        }
        """What columns of earlier positions are read from."""
        self._next: dict[RingState, str] = {}
        with graph.layer("columns"):
            sizes = [state.slots for state in buffers.states]
            self._few = copies == 1 and buffers.columns_read <= _FEW
            in_line = sizes and not self._few
            self._starts = dict(zip(buffers.states, inputs.row_starts(sizes), strict=True)) if in_line else {}
            self._samples = {state: inputs.row_places(state.slots) for state in buffers.states}

    def add_image(self, node: TensorNode, newest: str) -> str:
        """Writes the image's column; what the next token sees of it.

        Where a pixel comes channel by channel, one is added to its column.
        """
        graph, inputs, state = self._graph, self._inputs, self._buffers.state_of.get(node)
        if not state:
            return newest
        if self._buffers.channels == 1:
            self._sources[state] = self._next[state] = self._write(
                state, inputs.tables, self._buffers.written(state), newest
            )
            return newest
        written = self._buffers.written(state)  # of the position before, whose pixel the token belongs to
        kept = self._rows(state, "columns.image.own", written.astype(np.int32), inputs.earlier_tables)
        kept = graph.op("Reshape", kept, graph.ints(-1, state.width))
        pixel = graph.op("Where", inputs.is_first(coming=False), newest, graph.op("Add", kept, newest))
        self._sources[state] = self._next[state] = self._write(state, inputs.earlier_tables, written, pixel)
        return str(graph.op("Where", inputs.is_first(coming=True), self._nothing(state.type), pixel))

    def _nothing(self, kind: int) -> str:
        if kind == TensorProto.INT64:
            return self._graph.constant("nothing.whole", np.zeros(1, dtype=np.int64))
        return self._graph.constant("nothing", np.zeros(1, dtype=np.float32))

    def read(self, reader: TensorNode, read: NodeInput) -> str:
        """What a node sees through its only tap: [rows, *features]."""
        earlier, newest = self._buffers.earlier(reader, read), self._buffers.newest(reader, read)
        graph, node = self._graph, read.node
        if newest:
            return self.newest(reader, read, newest[0])
        if not earlier:
            shape = graph.op(
                "Concat", graph.op("Shape", self._inputs.tables.position), graph.ints(*node.features), axis=0
            )
            return str(graph.op("ConstantOfShape", shape))
        return str(graph.op("Reshape", self._earlier(reader, read), graph.ints(-1, *node.features)))

    def newest(self, reader: TensorNode, read: NodeInput, tap: int) -> str:
        """The column of this position, [rows, *features]; zeros where the tap sees none."""
        value, mask = self._values(read.node), self._buffers.mask(reader, read, tap)
        if mask is None:
            return value
        key = value, mask.tobytes()
        if key not in self._cache:
            by_sample = mask.reshape(-1, *[1] * len(read.node.features))
            visible = self._inputs.tables.look_up("visible", by_sample)
            whole = read.node.attributes.get("to") == TensorProto.INT64
            nothing = self._nothing(TensorProto.INT64 if whole else TensorProto.FLOAT)
            self._cache[key] = self._graph.op("Where", visible, value, nothing)
        return self._cache[key]

    def earlier(self, product: TensorNode) -> str:
        """What a product sees of earlier columns: [rows, taps * width]."""
        (read,) = product.reads
        columns = self._earlier(product, read)
        width = self._buffers.state_of[read.node].width
        return str(
            self._graph.op("Reshape", columns, self._graph.ints(-1, width * len(self._buffers.earlier(product, read))))
        )

    def _earlier(self, reader: TensorNode, read: NodeInput) -> str:
        """[rows, taps, width]."""
        state, table = self._buffers.state_of[read.node], self._buffers.table(reader, read)
        key = state, table.tobytes(), table.shape
        if key not in self._cache:
            self._cache[key] = self._rows(state, f"{state.name}.slots", table, self._inputs.tables)
        return self._cache[key]

    def _rows(self, state: RingState, name: str, table: NDArray[np.int32], tables: PositionTables) -> str:
        """Columns [rows, taps, width] by slots int32[positions, taps]; or [products, ...] by [products, ...].

        Few are looked for among those of each sample; many faster by numbers in the line of those of all rows.
        """
        graph, source, axis = self._graph, self._sources[state], table.ndim - 2
        if self._few:
            by_sample = np.moveaxis(table, axis, 0)[..., None].astype(np.int64)
            return str(graph.op("GatherND", source, tables.look_up(name, by_sample), batch_dims=1))
        slots = tables.look_up(name, table, axis=axis)
        key = "rows", source
        if key not in self._cache:
            self._cache[key] = graph.op("Reshape", source, graph.ints(-1, state.width))
        return str(graph.op("Gather", self._cache[key], graph.op("Add", slots, self._starts[state])))

    def batched(self, product: TensorNode) -> str:
        """What a product of a batch has of earlier columns, [rows, outputs], and its bias, if there is one."""
        batch, graph = self._buffers.batches[product], self._graph
        if batch not in self._products:
            value, count = self.batch(batch), len(batch.products)
            with graph.layer(batch.name):
                flat = graph.op("Reshape", value, graph.ints(-1, *product.features))
                self._products[batch] = graph.op("Split", flat, outputs=count, axis=0, num_outputs=count)
        return self._products[batch][batch.products.index(product)]

    def batch(self, batch: ProductBatch) -> str:
        """All products of a batch, [products, rows, outputs]."""
        if batch not in self._batches:
            with self._graph.layer(batch.name):
                self._batches[batch] = self._multiply(batch)
        return self._batches[batch]

    def _multiply(self, batch: ProductBatch) -> str:
        graph, buffers, name = self._graph, self._buffers, batch.name
        tables, weights = list[NDArray[np.int32]](), list[NDArray[np.float32]]()
        for product in batch.products:
            (read,) = product.reads
            tables.append(buffers.table(product, read))
            weights.append(product.attributes["weight"][buffers.earlier(product, read)])
        weight = np.stack(weights)
        products, taps, inputs, outputs = weight.shape
        rows = self._rows(batch.state, f"{name}.slots", np.stack(tables), self._inputs.tables)
        if self._few:
            rows = graph.op("Transpose", graph.op("Reshape", rows, graph.ints(0, products, -1)), perm=[1, 0, 2])
        else:
            rows = graph.op("Reshape", rows, graph.ints(products, -1, taps * inputs))
        sums = graph.op("MatMul", rows, graph.constant(f"{name}.weight", weight.reshape(products, -1, outputs)))
        bias = np.stack([self._biases.get(product, np.zeros(outputs, np.float32)) for product in batch.products])
        if bias.any():
            sums = graph.op("Add", sums, graph.constant(f"{name}.bias", bias[:, None]))
        return str(sums)

    def _write(self, state: RingState, tables: PositionTables, slots: NDArray[np.int64], columns: str) -> str:
        """The next state. slots: int64[positions, tensors]. columns: [tensors * rows, width]."""
        graph = self._graph
        places, name, several = np.stack([0 * slots, slots], axis=2), f"{state.name}.written", slots.shape[1] > 1
        slot = tables.look_up(name, places.swapaxes(0, 1), axis=1) if several else tables.look_up(name, places[:, 0])
        index = graph.op("Add", slot, self._samples[state])
        index = graph.op("Reshape", index, graph.ints(-1, 2)) if several else index
        return str(graph.op("ScatterND", self._sources[state], index, columns))

    def finish(self) -> None:
        """Declares the next states."""
        graph = self._graph
        for state in self._buffers.states:
            if state not in self._next:
                columns = self._columns(state)
                with graph.layer(state.name):
                    value = graph.op("Concat", *columns, axis=0) if len(columns) > 1 else columns[0]
                    slots = self._buffers.written(state)
                    self._next[state] = self._write(state, self._inputs.tables, slots, value)
            graph.next(state.name, self._next[state])

    def _columns(self, state: RingState) -> list[str]:
        """Those of all tensors that this step computed, each [rows, width]."""
        graph = self._graph
        values = [(node, self._values(node)) for node in state.first]
        return [
            value if len(node.features) == 1 else graph.op("Reshape", value, graph.ints(-1, state.width))
            for node, value in values
        ]
