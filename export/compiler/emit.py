"""Writes a scheduled network and its buffers as the ONNX graph of a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import onnx
from numpy.typing import NDArray

from tui_gen.card import LayerSpec

from ..graph import StepGraph
from ..image_network import Guided, ImageNetwork
from .buffers import ColumnBuffers, common_name
from .bundles import Bundle, find_bundles
from .columns import RingColumns
from .inputs import Condition, StepInputs
from .ir import LARGEST_TABLE, ConditionSlice, NodeInput, Operand, PlaceTable, TensorNode
from .layers import features_of_layer
from .schedule import Schedule
from .sums import Sum, Sums

_UNSCALED = {"Clip"}
"""Operators whose constants must have no dimensions."""


def emit(
    network: ImageNetwork,
    plan: Schedule,
    buffers: ColumnBuffers,
    contributions: NDArray[np.float32],
    layers: Mapping[TensorNode, LayerSpec],
) -> onnx.ModelProto:
    """The step function of a scheduled network.

    contributions: float32[conditions, width] of `ConditionTable`; of a guided network, whose plan is that of one copy,
    with the scale as a last column.
    """
    emitter = _Emitter(network, plan, buffers, contributions)
    return emitter.run(layers)


class _Emitter:
    def __init__(
        self, network: ImageNetwork, plan: Schedule, buffers: ColumnBuffers, contributions: NDArray[np.float32]
    ) -> None:
        self._network, self._plan, self._buffers, self._graph = network, plan, buffers, StepGraph()
        copies = 2 if isinstance(network.module, Guided) else 1
        self._inputs = StepInputs(self._graph, network, positions=buffers.positions, copies=copies)
        self._sums = Sums(plan.nodes, buffers)
        self._condition: Condition | None = None
        if contributions.size:
            biases = self._sums.condition_biases
            self._condition = Condition(self._graph, network, contributions, biases, copies=copies)
        self._bundles = find_bundles(plan.nodes, buffers, self._sums)
        self._columns = RingColumns(self._graph, buffers, self._inputs, self._value, self._sums.product_biases)
        self._values: dict[TensorNode, str] = {}
        self._bundle_values: dict[Bundle, str] = {}

    def run(self, layers: Mapping[TensorNode, LayerSpec]) -> onnx.ModelProto:
        graph = self._graph
        for node in self._plan.nodes:
            if node not in self._sums.inner and node not in self._bundles:
                self._value(node)
        with graph.layer("logits"):
            graph.logits(self._logits(self._value(self._plan.nodes[-1])), self._network.levels)
        graph.next("position", self._inputs.next_position)
        if self._condition:
            graph.next("condition", self._condition.next)
        self._columns.finish()
        self._name_features(layers)
        return graph.model()

    def _name_features(self, layers: Mapping[TensorNode, LayerSpec]) -> None:
        """Names what layers give, those first that look around; layers in one sum share theirs."""
        rows = "batch" if self._inputs.copies == 1 else "rows"
        for node in sorted(layers, key=lambda node: len(layers[node].taps) == 1):
            features = features_of_layer(node, self._buffers, self._sums.inner)
            if features in self._values:
                value, size = self._values[features], features.features
                self._graph.inside(layers[node].name, "features", value, *size, rows=rows)

    def _logits(self, value: str) -> str:
        """[batch, levels] of the channel that comes, and as guidance wants it."""
        graph, network, copies = self._graph, self._network, self._inputs.copies
        if network.channels > 1:
            index = graph.op("Reshape", self._inputs.for_copies(self._inputs.channel), graph.ints(-1, 1))
            value = graph.op("GatherND", value, index, batch_dims=1)
        if isinstance(network.module, Guided):
            assert self._condition
            value = graph.op("Reshape", value, graph.ints(-1, copies * network.levels))
            prompted, other = graph.op("Split", value, outputs=2, axis=1, num_outputs=2)
            usual = graph.constant("guidance.scale", np.array(network.module.scale, np.float32))
            scale = graph.op("Add", self._condition.scale, usual)
            return str(graph.op("Add", other, graph.op("Mul", scale, graph.op("Sub", prompted, other))))
        plain = next((node for node in graph.nodes if value in node.output), None)
        shared = any(value in node.input for node in graph.nodes) or self._plan.nodes[-1].operation == "Image"
        return value if plain and not shared else str(graph.op("Identity", value))

    def _value(self, node: TensorNode) -> str:
        """The column [rows, *features] of a node that this step computes."""
        if node not in self._values:
            bundle = self._bundles.get(node)
            with self._graph.layer(node.name or node.operation.lower()):
                if bundle:
                    self._values.update(zip(bundle.nodes, self._lanes(bundle), strict=True))
                else:
                    self._values[node] = self._emit(node)
                    if node.operation == "Image":
                        self._values[node] = self._columns.add_image(node, self._values[node])
        return self._values[node]

    def _lanes(self, bundle: Bundle) -> list[str]:
        """A bundle's value, taken apart."""
        graph, lanes, features = self._graph, len(bundle.nodes), bundle.nodes[0].features
        flat = graph.op("Reshape", self._bundle_value(bundle), graph.ints(-1, *features))
        return list(graph.op("Split", flat, outputs=lanes, axis=0, num_outputs=lanes))

    def _bundle_value(self, bundle: Bundle) -> str:
        """[lanes, rows, *features]."""
        if bundle not in self._bundle_values:
            with self._graph.layer(_bundle_name(bundle)):
                self._bundle_values[bundle] = self._emit_bundle(bundle)
        return self._bundle_values[bundle]

    def _emit_bundle(self, bundle: Bundle) -> str:
        graph, node = self._graph, bundle.nodes[0]
        if node in self._sums.of:
            return self._bundle_of_sums(bundle)
        if node.operation == "Slice":
            return self._bundle_of_slices(bundle)
        operands = []
        for at, operand in enumerate(node.operands):
            if isinstance(operand, NodeInput):
                reads = [other.operands[at] for other in bundle.nodes]
                operands.append(self._lanes_of(bundle, [read.node for read in reads if isinstance(read, NodeInput)]))
            else:
                operands.append(self._operand(node, operand))
        return str(graph.op(node.operation, *operands, **node.attributes))

    def _lanes_of(self, bundle: Bundle, nodes: Sequence[TensorNode]) -> str:
        """What the nodes of a bundle read: some of the lanes of another one, or all."""
        source = self._bundles[nodes[0]]
        return self._part_of_lanes(
            self._bundle_value(source), bundle.first - source.first, len(nodes), len(source.nodes)
        )

    def _part_of_lanes(self, value: str, first: int, count: int, total: int) -> str:
        ints = self._graph.ints
        if count == total:
            return value
        return str(self._graph.op("Slice", value, ints(first), ints(first + count), ints(0)))

    def _bundle_of_sums(self, bundle: Bundle) -> str:
        graph, lanes, sums = self._graph, len(bundle.nodes), [self._sums.of[node] for node in bundle.nodes]
        features, terms = bundle.nodes[0].features, list[str]()
        for product in sums[0].batched:
            batch = self._buffers.batches[product]
            terms.append(self._part_of_lanes(self._columns.batch(batch), bundle.first, lanes, len(batch.products)))
        for parts in zip(*(total.parts for total in sums), strict=True):
            terms.append(self._lanes_of(bundle, parts))
        for values in zip(*(total.values for total in sums), strict=True):
            terms.append(self._lanes_of(bundle, [read.node for _, read in values]))
        for tables in zip(*(total.tables for total in sums), strict=True):
            rows = [self._buffers.places(*use) for use in tables]
            flat = [_flat(table)[places] for places, (_, table) in zip(rows, tables, strict=True)]
            terms.append(self._inputs.tables.look_up(f"{_bundle_name(bundle)}.places", np.stack(flat), axis=1))
        for slices in zip(*(total.conditions for total in sums), strict=True):
            together = graph.op("Concat", *map(self._condition_part, slices), axis=0)
            terms.append(graph.op("Reshape", together, graph.ints(lanes, -1, *slices[0].features)))
        if sums[0].constant.any():
            constant = np.stack([np.broadcast_to(total.constant, features)[None] for total in sums])
            terms.append(graph.constant(graph.name(f"{_bundle_name(bundle)}.bias"), constant))
        return self._add(terms)

    def _add(self, terms: Sequence[str]) -> str:
        if len(terms) == 1:
            return terms[0]
        return str(self._graph.op("Sum" if len(terms) > 2 else "Add", *terms))

    def _bundle_of_slices(self, bundle: Bundle) -> str:
        """As `_slice`."""
        graph, (start, end, axis) = self._graph, _range(bundle.nodes[0])
        (read,) = bundle.nodes[0].reads
        value = self._lanes_of(bundle, [next(node.reads).node for node in bundle.nodes])
        parts = [part for part in self._parts(bundle.nodes[0]) if self._lanes_equal(bundle, self._bundles.get(part))]
        bounds = [_range(part)[:2] for part in parts]
        if _make_up_whole(bounds, read.node.features[axis - 1]):
            sizes = graph.ints(*(b - a for a, b in bounds))
            names = graph.op("Split", value, sizes, outputs=len(parts), axis=axis + 1)
            self._bundle_values.update({self._bundles[part]: name for part, name in zip(parts, names, strict=True)})
            return self._bundle_values[bundle]
        return str(graph.op("Slice", value, graph.ints(start), graph.ints(end), graph.ints(axis + 1)))

    def _lanes_equal(self, one: Bundle, other: Bundle | None) -> bool:
        return other is not None and (one.first, len(one.nodes)) == (other.first, len(other.nodes))

    def _emit(self, node: TensorNode) -> str:
        if node.operation == "Image":
            return self._inputs.column()
        if node in self._sums.of:
            return self._sum(node, self._sums.of[node])
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

    def _sum(self, node: TensorNode, total: Sum) -> str:
        """What can be added as it is, then every product on top of it."""
        graph, constant = self._graph, total.constant
        terms = [self._columns.read(*value) for value in total.values]
        terms += [self._place_table(reader, table) for reader, table in total.tables]
        terms += [self._condition_part(part) for part in total.conditions]
        terms += [self._value(part) for part in total.parts]
        terms += [self._columns.batched(product) for product in total.batched]
        factors = [pair for product in total.products for pair in self._factors(product)]
        bias = graph.constant(graph.name(f"{node.name or 'sum'}.bias"), constant) if constant.any() else ""
        if bias and not factors:
            terms.append(bias)
        if not terms and not factors:
            return self._expand(
                graph.constant(graph.name("zeros"), np.zeros((1, *node.features), np.float32)), *node.features
            )
        if terms == [bias]:
            return self._expand(bias, *node.features)
        value = self._add(terms) if terms else ""
        for name, column, weight in factors:
            with graph.layer(name):
                matrix = graph.constant(graph.name(f"{name}.weight"), weight)
                third = bias or value
                product = graph.op("Gemm", column, matrix, *([third] if third else []))
                value, bias = (graph.op("Add", value, product) if bias and value else product), ""
        return str(value)

    def _factors(self, product: TensorNode) -> list[tuple[str, str, NDArray[np.float32]]]:
        """Layer, columns [rows, inputs], weight [inputs, outputs]: of earlier columns unless batched, and newest."""
        (read,), weight, name = product.reads, product.attributes["weight"], product.name or "product"
        earlier, outputs = self._buffers.earlier(product, read), weight.shape[2]
        factors = []
        with self._graph.layer(name):
            if earlier and product not in self._buffers.batches:
                factors.append((name, self._columns.earlier(product), weight[earlier].reshape(-1, outputs)))
            newest = self._buffers.newest(product, read)
            return factors + [(name, self._columns.newest(product, read, tap), weight[tap]) for tap in newest]

    def _slice(self, node: TensorNode) -> str:
        """A part of the features. Parts that make up the whole are split in one go."""
        (read,) = node.reads
        value, start, end, axis = self._columns.read(node, read), *_range(node)
        parts = self._parts(node)
        bounds = [_range(part)[:2] for part in parts]
        ints = self._graph.ints
        if _make_up_whole(bounds, read.node.features[axis - 1]):
            sizes = ints(*(b - a for a, b in bounds))
            names = self._graph.op("Split", value, sizes, outputs=len(parts), axis=axis)
            self._values.update(zip(parts, names, strict=True))
            return self._values[node]
        return str(self._graph.op("Slice", value, ints(start), ints(end), ints(axis)))

    def _parts(self, node: TensorNode) -> list[TensorNode]:
        """The slices of what a slice takes a part of, itself among them, by their places."""
        return sorted((other for other in self._plan.nodes if self._same_source(node, other)), key=_range)

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
            return self._condition_part(operand)
        value = operand.reshape(()) if node.operation in _UNSCALED else operand
        return self._graph.constant(self._graph.name(f"{node.name or 'constant'}.constant"), value)

    def _place_table(self, node: TensorNode, constant: PlaceTable) -> str:
        graph, tables = self._graph, self._inputs.tables
        places = self._buffers.places(node, constant)
        flat = _flat(constant)
        name = constant.name or f"{node.name or 'constant'}.places"
        if len(places) * flat[0].size <= LARGEST_TABLE:
            return tables.look_up(name, flat[places])
        index = tables.look_up(f"{name}.index", places)
        return str(graph.op("Gather", graph.constant(graph.name(name), flat), index))

    def _condition_part(self, part: ConditionSlice) -> str:
        assert self._condition
        return self._condition.part(part)

    def _expand(self, name: str, *size: int) -> str:
        """A constant [..., *size] for every row."""
        graph = self._graph
        shape = graph.op("Concat", graph.op("Shape", self._inputs.tables.position), graph.ints(*size), axis=0)
        return str(graph.op("Expand", name, shape))


def _bundle_name(bundle: Bundle) -> str:
    """What the names of its nodes have in common."""
    return common_name(bundle.nodes) + ".lanes"


def _flat(table: PlaceTable) -> NDArray[np.float32]:
    """[places, *features]."""
    return table.values.reshape(-1, *table.values.shape[2:])


def _make_up_whole(bounds: Sequence[tuple[int, int]], size: int) -> bool:
    """Whether several ranges follow each other from 0 to the size."""
    ends = bounds[0][0] == 0 and bounds[-1][1] == size
    return len(bounds) > 1 and ends and all(one[1] == other[0] for one, other in pairwise(bounds))


def _range(node: TensorNode) -> tuple[int, int, int]:
    """Start, end and axis of a slice."""
    return node.attributes["start"], node.attributes["end"], node.attributes["axis"]
