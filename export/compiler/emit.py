"""Writes a scheduled network and its buffers as the ONNX graph of a step."""

from __future__ import annotations

from collections.abc import Container
from itertools import count, pairwise

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from ..graph import StepGraph
from ..image_network import ImageNetwork
from .buffers import ColumnBuffers, ProductBatch
from .ir import LARGEST_TABLE, ConditionSlice, NodeInput, Operand, PlaceTable, TensorNode
from .schedule import Schedule

_UNSCALED = {"Clip"}
"""Operators whose constants must have no dimensions."""


def emit(
    network: ImageNetwork, plan: Schedule, buffers: ColumnBuffers, contributions: NDArray[np.float32]
) -> onnx.ModelProto:
    """The step function of a scheduled network. contributions: float32[conditions, width] of `ConditionTable`."""
    return _Emitter(network, plan, buffers, contributions).run()


class _Emitter:
    def __init__(
        self, network: ImageNetwork, plan: Schedule, buffers: ColumnBuffers, contributions: NDArray[np.float32]
    ) -> None:
        self._network, self._plan, self._buffers, self._graph = network, plan, buffers, StepGraph()
        self._inputs = _Inputs(self._graph, network, buffers.positions)
        self._tables = _PositionTables(self._graph, self._inputs.position, buffers.positions)
        self._condition = self._inputs.condition(contributions) if contributions.size else ""
        self._columns = _Columns(self._graph, buffers, self._tables, self._inputs)
        self._values: dict[TensorNode, str] = {}
        self._names: set[str] = set()

    def run(self) -> onnx.ModelProto:
        graph = self._graph
        for node in self._plan.nodes:
            if node not in self._values:
                self._values[node] = self._emit(node)
            self._columns.add(node, self._values[node])
        logits = self._values[self._plan.nodes[-1]]
        if self._network.channels > 1:
            index = graph.op("Unsqueeze", self._inputs.channel, graph.ints(1))
            logits = graph.op("GatherND", logits, index, batch_dims=1)
        graph.logits(graph.op("Identity", logits), self._network.levels)
        graph.next("position", self._inputs.position)
        if self._condition:
            graph.next("condition", self._condition)
        self._columns.finish()
        self._tables.finish()
        return graph.model()

    def _emit(self, node: TensorNode) -> str:
        if node.operation == "Image":
            return self._inputs.column()
        if node.operation == "Linear":
            return self._linear(node)
        if node.operation == "Slice":
            return self._slice(node)
        operands = [self._operand(node, operand) for operand in node.operands]
        if node.operation == "Reshape":
            return str(self._graph.op("Reshape", operands[0], self._graph.ints(0, *node.features)))
        if node.operation == "Transpose" and list(node.attributes["perm"]) == sorted(node.attributes["perm"]):
            return operands[0]
        attributes = dict(node.attributes)
        if node.operation == "Concat":  # a constant may lack the samples, and features
            sizes = zip(node.operands, operands, attributes.pop("sizes"), strict=True)
            operands = [n if isinstance(operand, NodeInput) else self._expand(n, *size) for operand, n, size in sizes]
        return str(self._graph.op(node.operation, *operands, **attributes))

    def _linear(self, node: TensorNode) -> str:
        (read,) = node.reads
        if node in self._buffers.products:
            return self._columns.product(node, self._values[read.node])
        taps = self._plan.taps(node, read)
        weight, bias = node.attributes["weight"][taps], node.attributes["bias"]
        name = self._name(node.name or "product")
        if not taps:
            return self._expand(self._graph.constant(f"{name}.bias", bias[None]), *bias.shape)
        value = self._columns.read(node, read)
        inputs = weight.shape[0] * weight.shape[1]
        if len(taps) > 1 or len(read.node.features) != 1:
            value = self._graph.op("Reshape", value, self._graph.ints(0, inputs))
        return self._graph.linear(name, value, weight.reshape(inputs, -1), bias)

    def _slice(self, node: TensorNode) -> str:
        """A part of the features. Parts that make up the whole are split in one go."""
        (read,) = node.reads
        value, start, end, axis = self._columns.read(node, read), *_range(node)
        parts = sorted((other for other in self._plan.nodes if self._same_source(node, other)), key=_range)
        bounds = [_range(part)[:2] for part in parts]
        complete = bounds[0][0] == 0 and bounds[-1][1] == read.node.features[axis - 1]
        ints = self._graph.ints
        if len(parts) > 1 and complete and all(a[1] == b[0] for a, b in pairwise(bounds)):
            sizes = ints(*(b - a for a, b in bounds))
            names = self._graph.op("Split", value, sizes, outputs=len(parts), axis=axis)
            self._values.update(zip(parts, names, strict=True))
            return self._values[node]
        return str(self._graph.op("Slice", value, ints(start), ints(end), ints(axis)))

    def _same_source(self, node: TensorNode, other: TensorNode) -> bool:
        if other.operation != "Slice" or other.attributes["axis"] != node.attributes["axis"]:
            return False
        (one,), (two,), plan = node.reads, other.reads, self._plan
        same_place = plan.anchors[node] == plan.anchors[other] and plan.leads[node] == plan.leads[other]
        return one.node is two.node and one.taps == two.taps and one.box == two.box and same_place

    def _operand(self, node: TensorNode, operand: Operand) -> str:
        if isinstance(operand, NodeInput):
            return self._columns.read(node, operand)
        if isinstance(operand, PlaceTable):
            return self._place_table(node, operand)
        if isinstance(operand, ConditionSlice):
            return self._condition_slice(operand)
        value = operand.reshape(()) if node.operation in _UNSCALED else operand
        return self._graph.constant(self._name(f"{node.name or 'constant'}.constant"), value)

    def _place_table(self, node: TensorNode, constant: PlaceTable) -> str:
        graph, position = self._graph, self._inputs.position
        places = self._buffers.places(node, constant)
        flat = constant.values.reshape(-1, *constant.values.shape[2:])
        name = self._name(constant.name or f"{node.name or 'constant'}.places")
        if len(places) * flat[0].size <= LARGEST_TABLE:
            return str(graph.op("Gather", graph.constant(name, flat[places]), position))
        index = graph.op("Gather", graph.constant(f"{name}.index", places), position)
        return str(graph.op("Gather", graph.constant(name, flat), index))

    def _condition_slice(self, operand: ConditionSlice) -> str:
        graph, end = self._graph, operand.first + int(np.prod(operand.features, dtype=int))
        value = graph.op("Slice", self._condition, graph.ints(operand.first), graph.ints(end), graph.ints(1))
        if len(operand.features) != 1:
            value = graph.op("Reshape", value, graph.ints(0, *operand.features))
        if not operand.base.any():
            return str(value)
        base = graph.constant(self._name("condition.base"), operand.base.reshape(operand.features))
        return str(graph.op("Add", value, base))

    def _expand(self, name: str, *size: int) -> str:
        """A constant [..., *size] for every sample."""
        graph = self._graph
        shape = graph.op("Concat", graph.op("Shape", "token"), graph.ints(*size), axis=0)
        return str(graph.op("Expand", name, shape))

    def _name(self, stem: str) -> str:
        """A name that no other initializer has."""
        name = _free_name(stem, self._names)
        self._names.add(name)
        return name


def _range(node: TensorNode) -> tuple[int, int, int]:
    """Start, end and axis of a slice."""
    return node.attributes["start"], node.attributes["end"], node.attributes["axis"]


def _free_name(stem: str, names: Container[str]) -> str:
    """The name itself, or the first of `name.2`, `name.3`, ... that is not among these."""
    names_by_number = (stem if number == 1 else f"{stem}.{number}" for number in count(1))
    return next(name for name in names_by_number if name not in names)


class _Columns:
    """The buffers in the graph: for every tensor that is read later, state `columns.*`, oldest column first."""

    def __init__(self, graph: StepGraph, buffers: ColumnBuffers, tables: _PositionTables, inputs: _Inputs) -> None:
        self._graph, self._buffers, self._tables = graph, buffers, tables
        self._newest: dict[TensorNode, str] = {}
        self._windows: dict[TensorNode, str] = {}
        self._next: dict[str, str] = {}
        self._cache: dict[tuple[object, ...], str] = {}
        self._products: dict[ProductBatch, list[str]] = {}
        # The first column of a batch stays zero: what a tap outside of the image sees.
        self._batches = {
            batch: graph.state(
                batch.name, batch.products[0].depth + 1, sum(tensor.features[0] for tensor in batch.tensors)
            )
            for batch in buffers.batches
        }
        self._new_pixel = inputs.new_pixel() if buffers.channels > 1 else ""

    def add(self, node: TensorNode, newest: str) -> None:
        """Takes the column [batch, *features] that this step computed of a tensor."""
        self._newest[node] = newest
        if node not in self._buffers.batch_tensors and (self._buffers.depths[node] or self._buffers.zeros[node]):
            self._open(node, newest)

    def _open(self, node: TensorNode, newest: str) -> None:
        """Puts the columns side by side: nothing, if some tap sees nothing; those of the state; the newest."""
        graph, depth, zeros = self._graph, self._buffers.depths[node], self._buffers.zeros[node]
        kind = TensorProto.INT64 if node.attributes.get("to") == TensorProto.INT64 else TensorProto.FLOAT
        column, name, state = graph.op("Unsqueeze", newest, graph.ints(1)), "", ""
        one_channel = self._buffers.channels == 1
        first = int(zeros and depth > 0 and one_channel)  # a first column of the state, which stays zero
        if depth:
            name = _free_name(f"columns.{node.name or node.operation.lower()}", self._next)
            state = graph.state(name, depth + first, *node.features, dtype=kind)
            if not one_channel:
                state, column, self._next[name] = self._by_channel(node, state, column, depth)
        outside = self._zeros(node.features, kind) if zeros and not first else ""
        parts = [part for part in (outside, state, column) if part]
        window = graph.op("Concat", *parts, axis=1) if len(parts) > 1 else column
        if depth and one_channel:  # the oldest column is dropped
            later = graph.ints(*range(first), *range(first + 1, first + 1 + depth))
            self._next[name] = graph.op("Gather", window, later, axis=1)
        self._windows[node] = window

    def _by_channel(self, node: TensorNode, state: str, newest: str, depth: int) -> tuple[str, str, str]:
        """Where a pixel comes channel by channel: kept columns and newest, and the next state.

        The column kept last is the pixel's own until all its channels have come; only then a new one begins.
        """
        graph, ints, new_pixel = self._graph, self._graph.ints, self._new_pixel
        if node.operation == "Image":  # what came belongs to the pixel that was kept last
            before = graph.op("Slice", state, ints(0), ints(depth - 1), ints(1))
            last = graph.op("Slice", state, ints(depth - 1), ints(depth), ints(1))
            pixel = graph.op("Add", last, newest)
            state = graph.op("Concat", before, pixel, axis=1)
            nothing = graph.op("Mul", pixel, graph.constant("zero", np.zeros(1, np.float32)))
            newest = graph.op("Where", new_pixel, nothing, pixel)
            self._newest[node] = graph.op("Squeeze", newest, ints(1))
        complete = graph.op("Slice", state, ints(1), ints(depth), ints(1))
        pending = graph.op("Slice", state, ints(0), ints(depth - 1), ints(1))
        after = graph.op("Concat", graph.op("Where", new_pixel, complete, pending), newest, axis=1)
        return state, newest, after

    def _zeros(self, features: tuple[int, ...], kind: int) -> str:
        """[batch, 1, *features] of zeros: what a tap outside of the image reads."""
        key = ("zeros", features, kind)
        if key not in self._cache:
            graph = self._graph
            shape = graph.op("Concat", graph.op("Shape", "token"), graph.ints(1, *features), axis=0)
            zeros = graph.op("ConstantOfShape", shape)
            self._cache[key] = graph.op("Cast", zeros, to=kind) if kind != TensorProto.FLOAT else zeros
        return self._cache[key]

    def read(self, reader: TensorNode, read: NodeInput) -> str:
        """What a node sees through a read: [batch, *features] for one tap, [batch, taps, *features] for several."""
        table = self._buffers.table(reader, read)
        if table is None:
            return self._newest[read.node]
        key = (read.node, table.tobytes(), table.shape[1])
        if key not in self._cache:
            self._cache[key] = self._gather(self._windows[read.node], table)
        return self._cache[key]

    def _gather(self, window: str, table: NDArray[np.int64]) -> str:
        graph, taps = self._graph, table.shape[1]
        if (table == table[0]).all() and taps == 1:
            at = graph.constant(f"slot.{table[0, 0]}", table[0, 0])
            return str(graph.op("Gather", window, at, axis=1))
        index = self._tables.look_up(table[:, :, None] if taps > 1 else table)
        return str(graph.op("GatherND", window, index, batch_dims=1))

    def product(self, node: TensorNode, newest: str) -> str:
        """A batched product: float32[batch, outputs]. newest: the column that this step computed of its tensor."""
        batch, index = self._buffers.products[node]
        if batch not in self._products:
            self._products[batch] = self._earlier(batch)
        value = self._products[batch][index]
        for tap in batch.products[index].newest:
            weight = self._graph.constant(f"{batch.name}.{index}.weight", node.attributes["weight"][tap])
            value = self._graph.op("Gemm", newest, weight, value)
        return value

    def _earlier(self, batch: ProductBatch) -> list[str]:
        """What each product of a batch has of earlier columns, its bias included."""
        graph, name = self._graph, batch.name
        weights = np.stack([each.product.attributes["weight"][[*each.earlier]] for each in batch.products])
        products, taps, inputs, outputs = weights.shape
        index = self._tables.look_up(batch.products[0].table[:, :, None])
        columns = graph.op("GatherND", self._batches[batch], index, batch_dims=1)
        by_product = graph.op("Reshape", columns, graph.ints(0, taps, products, inputs))
        product_first = graph.op("Transpose", by_product, perm=[2, 0, 1, 3])
        rows = graph.op("Reshape", product_first, graph.ints(products, -1, taps * inputs))
        weight = graph.constant(f"{name}.weight", weights.reshape(products, taps * inputs, outputs))
        biases = np.stack([each.product.attributes["bias"] for each in batch.products])
        bias = graph.constant(f"{name}.bias", biases[:, None])
        sums = graph.op("Add", graph.op("MatMul", rows, weight), bias)
        flat = graph.op("Reshape", sums, graph.ints(-1, outputs))
        return list(graph.op("Split", flat, outputs=products, axis=0, num_outputs=products))

    def finish(self) -> None:
        """Declares the columns as the next state: the oldest is dropped."""
        graph = self._graph
        for batch, state in self._batches.items():
            columns = graph.op("Concat", *(self._newest[tensor] for tensor in batch.tensors), axis=1)
            window = graph.op("Concat", state, graph.op("Unsqueeze", columns, graph.ints(1)), axis=1)
            later = graph.ints(0, *range(2, batch.products[0].depth + 2))
            graph.next(batch.name, graph.op("Gather", window, later, axis=1))
        for name, value in self._next.items():
            graph.next(name, value)


class _PositionTables:
    """Collects tables over positions; afterwards each is an initializer with a row per kind of position."""

    def __init__(self, graph: StepGraph, position: str, positions: int) -> None:
        self._graph, self._positions = graph, positions
        self._kind = graph.op("Gather", "kind", position)
        self._tables: dict[str, NDArray[np.int64]] = {}
        self._rows: dict[bytes, str] = {}

    def look_up(self, table: NDArray[np.int64]) -> str:
        """The row [batch, *columns] of a table int64[positions, *columns] that belongs to the sample's position."""
        key = table.tobytes() + str(table.shape).encode()
        if key not in self._rows:
            name = f"slots.{len(self._tables)}"
            self._tables[name] = table
            self._rows[key] = self._graph.op("Gather", name, self._kind)
        return self._rows[key]

    def finish(self) -> None:
        """Adds the initializers: the tables, and `kind`, int64[positions]."""
        flat = [np.zeros((self._positions, 1)), *(table.reshape(len(table), -1) for table in self._tables.values())]
        _, first, kinds = np.unique(np.concatenate(flat, axis=1), axis=0, return_index=True, return_inverse=True)
        for name, table in self._tables.items():
            self._graph.constant(name, table[first])
        self._graph.constant("kind", kinds.reshape(-1).astype(np.int64))


class _Inputs:
    """What every step reads: the token, the position, and the condition."""

    def __init__(self, graph: StepGraph, network: ImageNetwork, positions: int) -> None:
        self._graph, self._network = graph, network
        self._tokens = network.warm_up + 1
        self._before = graph.state("position", dtype=TensorProto.INT64)
        advance = np.ones(self._tokens, dtype=np.int64)
        advance[network.start : network.warm_up] = 0
        advance[network.warm_up] = network.channels
        steps = graph.op("Gather", graph.constant("advance", advance), "token")
        last = graph.ints(positions - 1)
        self.position = graph.op("Min", graph.op("Add", self._before, steps), last)
        """int64[batch]: how many steps of the image are made, warm-up included."""
        self.channel = graph.op("Mod", self.position, graph.ints(network.channels)) if network.channels > 1 else ""
        """int64[batch]: which channel of its pixel comes next."""

    def new_pixel(self) -> str:
        """bool[batch, 1, 1]: whether the pixel before is complete."""
        first = self._graph.op("Equal", self.channel, self._graph.ints(0))
        return str(self._graph.op("Reshape", first, self._graph.ints(-1, 1, 1)))

    def column(self) -> str:
        """float32[batch, planes]: what the network sees of the token; prefix tokens are nothing to it."""
        graph, (channels, levels, planes) = self._graph, self._network.encoding.shape
        table = np.zeros((channels, self._tokens, planes), dtype=np.float32)
        table[:, :levels] = self._network.encoding.numpy()
        encoding = graph.constant("encoding", table.reshape(-1, planes))
        if channels == 1:
            return str(graph.op("Gather", encoding, "token"))
        own = graph.op("Mod", self._before, graph.ints(channels))
        row = graph.op("Add", graph.op("Mul", own, graph.ints(self._tokens)), "token")
        return str(graph.op("Gather", encoding, row))

    def condition(self, contributions: NDArray[np.float32]) -> str:
        """float32[batch, width]: the condition's numbers. contributions: float32[conditions, width].

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
