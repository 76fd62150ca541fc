"""From scheduled nodes to the ONNX graph of a step."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnx

from export.compiler.buffers import Bundles, PatternTables, StepInputs, Windows
from export.compiler.ir import LARGEST_TABLE, Conditioned, Node, Operand, Placed, Read, readers
from export.compiler.lowering import ConditionTable
from export.compiler.schedule import Positions, Schedule
from export.graph import StepGraph
from export.image_network import ImageNetwork

_UNSCALED = {"Clip"}
"""Operators whose constants must have no dimensions."""


def emit(network: ImageNetwork, plan: Schedule, conditions: ConditionTable) -> onnx.ModelProto:
    """The step function of a scheduled network."""
    return _Emission(network, plan, conditions).build()


class _Emission:
    def __init__(self, network: ImageNetwork, plan: Schedule, conditions: ConditionTable) -> None:
        self.network, self.plan, self.graph = network, plan, StepGraph()
        positions = Positions(plan, network.height * network.width, network.channels)
        self.inputs = StepInputs(self.graph, network, positions)
        self.tables = PatternTables(self.graph, self.inputs.position, positions.count)
        self.positions = positions
        contributions = conditions.table()
        self.condition = self.inputs.condition(contributions) if contributions.size else ""
        self._uses = readers(plan.nodes)
        self.bundles = Bundles(self.graph, plan, positions, self.tables, self._uses)
        self.windows = Windows(self.graph, plan, self.tables, self.inputs, self.bundles)
        self._values: dict[Node, str] = {}
        self._taken: set[str] = set()

    def build(self) -> onnx.ModelProto:
        graph, output = self.graph, self.plan.nodes[-1]
        for node in self.plan.nodes:
            if node not in self._values:
                self._values[node] = self._emit(node)
            self.windows.add(node, self._values[node], self._uses[node])
        logits = self._values[output]
        if self.network.channels > 1:
            index = graph.op("Unsqueeze", self.inputs.channel, graph.ints(1))
            logits = graph.op("GatherND", logits, index, batch_dims=1)
        graph.logits(graph.op("Identity", logits), self.network.levels)
        graph.next("position", self.inputs.position)
        if self.condition:
            graph.next("condition", self.condition)
        self.windows.finish()
        self.tables.finish()
        return graph.model()

    def _emit(self, node: Node) -> str:
        if node.operation == "Image":
            return self.inputs.column()
        if node.operation == "Linear":
            return self._linear(node)
        if node.operation == "Slice":
            return self._slice(node)
        operands = [self._operand(node, operand) for operand in node.operands]
        if node.operation == "Reshape":
            return str(self.graph.op("Reshape", operands[0], self.graph.ints(0, *node.features)))
        if node.operation == "Transpose" and list(node.attributes["perm"]) == sorted(node.attributes["perm"]):
            return operands[0]
        attributes = dict(node.attributes)
        if node.operation == "Concat":
            operands = self._whole(node, operands, attributes.pop("sizes"))
        return str(self.graph.op(node.operation, *operands, **attributes))

    def _linear(self, node: Node) -> str:
        (read,) = node.reads
        if self.bundles.has_product(node):
            return self.bundles.product(node, self._values[read.node])
        taps = self.plan.taps(node, read)
        weight, bias = node.attributes["weight"][taps], node.attributes["bias"]
        name = self._name(node.name or "product")
        if not taps:
            return self._batched(self.graph.constant(f"{name}.bias", bias[None]), bias.shape)
        seen = self.windows.read(node, read)
        inputs = weight.shape[0] * weight.shape[1]
        if len(taps) > 1 or len(read.node.features) != 1:
            seen = self.graph.op("Reshape", seen, self.graph.ints(0, inputs))
        return self.graph.linear(name, seen, weight.reshape(inputs, -1), bias)

    def _slice(self, node: Node) -> str:
        """A part of the features. Parts that make up the whole are split in one go."""
        (read,) = node.reads
        seen, start, end, axis = self.windows.read(node, read), *self._cut(node)
        parts = sorted((other for other in self.plan.nodes if self._same_source(node, other)), key=self._cut)
        bounds = [self._cut(part)[:2] for part in parts]
        total = read.node.features[axis - 1]
        whole = bounds[0][0] == 0 and bounds[-1][1] == total
        if len(parts) > 1 and whole and all(a[1] == b[0] for a, b in pairwise(bounds)):
            sizes = self.graph.ints(*(b - a for a, b in bounds))
            names = self.graph.op("Split", seen, sizes, outputs=len(parts), axis=axis)
            self._values.update(zip(parts, names, strict=True))
            return self._values[node]
        ints = self.graph.ints
        return str(self.graph.op("Slice", seen, ints(start), ints(end), ints(axis)))

    def _same_source(self, node: Node, other: Node) -> bool:
        if other.operation != "Slice" or other.attributes["axis"] != node.attributes["axis"]:
            return False
        (mine,), (its,) = node.reads, other.reads
        same_place = (
            self.plan.anchors[node] == self.plan.anchors[other] and self.plan.leads[node] == self.plan.leads[other]
        )
        return mine.node is its.node and mine.taps == its.taps and mine.box == its.box and same_place

    @staticmethod
    def _cut(node: Node) -> tuple[int, int, int]:
        return node.attributes["start"], node.attributes["end"], node.attributes["axis"]

    def _operand(self, node: Node, operand: Operand) -> str:
        if isinstance(operand, Read):
            return self.windows.read(node, operand)
        if isinstance(operand, Placed):
            return self._placed(node, operand)
        if isinstance(operand, Conditioned):
            return self._conditioned(operand)
        scalar = node.operation in _UNSCALED
        return self.graph.constant(
            self._name(f"{node.name or 'constant'}.constant"), operand.reshape(()) if scalar else operand
        )

    def _placed(self, node: Node, constant: Placed) -> str:
        places = self.positions.places(node, constant)
        flat = constant.values.reshape(-1, *constant.values.shape[2:])
        name = self._name(constant.name or f"{node.name or 'constant'}.places")
        if len(places) * flat[0].size <= LARGEST_TABLE:
            return str(self.graph.op("Gather", self.graph.constant(name, flat[places]), self.inputs.position))
        index = self.graph.op("Gather", self.graph.constant(f"{name}.index", places), self.inputs.position)
        return str(self.graph.op("Gather", self.graph.constant(name, flat), index))

    def _conditioned(self, operand: Conditioned) -> str:
        graph, size = self.graph, int(np.prod(operand.features, dtype=int))
        value = graph.op(
            "Slice", self.condition, graph.ints(operand.first), graph.ints(operand.first + size), graph.ints(1)
        )
        if len(operand.features) != 1:
            value = graph.op("Reshape", value, graph.ints(0, *operand.features))
        if not operand.base.any():
            return str(value)
        base = graph.constant(self._name("condition.base"), operand.base.reshape(operand.features))
        return str(graph.op("Add", value, base))

    def _whole(self, node: Node, operands: list[str], sizes: list[list[int]]) -> list[str]:
        """Operands of a join, each with all samples and features; a constant may have lacked them."""
        whole = []
        for operand, name, size in zip(node.operands, operands, sizes, strict=True):
            whole.append(name if isinstance(operand, Read) else self._batched(name, tuple(size)))
        return whole

    def _batched(self, name: str, size: tuple[int, ...]) -> str:
        """A constant [..., *size] for every sample."""
        graph = self.graph
        shape = graph.op("Concat", graph.op("Shape", "token"), graph.ints(*size), axis=0)
        return str(graph.op("Expand", name, shape))

    def _name(self, wanted: str) -> str:
        """A name that no other initializer has."""
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}.{number}"
        self._taken.add(name)
        return name
