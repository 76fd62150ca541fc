"""The convolutions of a network as its card describes them, and which value of the step is what each gives."""

from __future__ import annotations

from collections.abc import Container
from math import gcd

from tui_gen.card import LayerSpec

from .buffers import ColumnBuffers
from .ir import NodeInput, Tap, TensorNode
from .schedule import Schedule

_ACTIVATIONS = {"Clip", "Elu", "LeakyRelu", "PRelu", "Relu", "Sigmoid", "Softplus", "Tanh"}


def layer_specs(plan: Schedule) -> dict[TensorNode, LayerSpec]:
    """Every convolution and matrix product, by its node; names are those of the modules, and differ."""
    specs, names = dict[TensorNode, LayerSpec](), list[str]()
    for node in plan.nodes:
        if node.operation == "Linear":
            names.append(node.name or "layer")
            number = names.count(names[-1])
            name = names[-1] + (f".{number}" if number > 1 else "")
            (read,) = node.reads
            taps = tuple(read.taps[index] for index in plan.taps(node, read))
            specs[node] = LayerSpec(name, taps, plan.leads[node], _mask(taps), _dilation(taps))
    return specs


def _mask(taps: tuple[Tap, ...]) -> str:
    if set(taps) <= {(0, 0)} or any(row > 0 for row, _ in taps):
        return ""
    if all(row == 0 for row, _ in taps):
        return "horizontal" if all(column <= 0 for _, column in taps) else ""
    if all(row < 0 for row, _ in taps) or any(row == 0 and column > 0 for row, column in taps):
        return "vertical"
    return "B" if (0, 0) in taps else "A"


def _dilation(taps: tuple[Tap, ...]) -> int:
    """The step that all distances between taps are multiples of."""
    first = taps[0] if taps else (0, 0)
    return gcd(*(tap[axis] - first[axis] for tap in taps for axis in (0, 1))) or 1


def features_of_layer(layer: TensorNode, buffers: ColumnBuffers, inner: Container[TensorNode]) -> TensorNode:
    """What a layer gives after its activation, or its gate, or the sum with what went around it.

    inner: nodes that are computed within the sums that read them.
    """
    node, ended = layer, False
    while not ended:
        uses = buffers.readers[node]
        after = [reader for reader, read in uses if _continues(node, reader, read, buffers, node in inner)]
        following = _gate(after, buffers) if len(after) > 1 else next(iter(after), None)
        if following is None:
            return node
        around = node in inner and any(read.node not in inner for read in following.reads)
        ended = following.operation in _ACTIVATIONS or len(after) > 1 or around
        node = following
    return node


def _continues(node: TensorNode, reader: TensorNode, read: NodeInput, buffers: ColumnBuffers, is_inner: bool) -> bool:
    """Whether a reader goes on with the features of a layer, and adds to others at most as a part of a sum."""
    if not buffers.reads_newest(reader, read):
        return False
    alone = is_inner or all(other.node is node for other in reader.reads)
    return reader.operation in {"Slice", *_ACTIVATIONS} or (reader.operation == "Add" and alone)


def _gate(parts: list[TensorNode], buffers: ColumnBuffers) -> TensorNode | None:
    """The product that brings parts of a layer's features together again."""
    ends = {_product_of(part, buffers) for part in parts}
    return ends.pop() if len(ends) == 1 and all(part.operation == "Slice" for part in parts) else None


def _product_of(part: TensorNode, buffers: ColumnBuffers) -> TensorNode | None:
    node: TensorNode | None = part
    while node and node.operation != "Mul":
        uses = buffers.readers[node]
        node = uses[0][0] if len(uses) == 1 else None
    return node
