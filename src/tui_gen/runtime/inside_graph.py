"""What is inside a step: rewrites its graph so that the values within its layers are outputs.

A value of the graph that is called `inside.<layer>.<quantity>` is something a person may look at. ONNX's recurrent
operators are written out, and what is within them named likewise; so is the embedding of the token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tui_gen.runtime.cell_unrolling import Cell, write_out
from tui_gen.runtime.onnx_graph import (
    ELEMENTS,
    Graph,
    OnnxNode,
    UnknownFormError,
    name_of_port,
    name_of_tensor,
    port,
    tensor,
    values_of,
)

INSIDE = "inside."
EMBEDDING = "embedding"
_QUANTITIES = (
    "input_gate",
    "forget_gate",
    "output_gate",
    "reset_gate",
    "update_gate",
    "candidate",
    "cell",
    "hidden",
    "features",
    "attention",
)
"""What there is within layers, in the order in which it is shown."""
_KINDS = {"cell": "LSTM", "update_gate": "GRU", "hidden": "RNN"}
"""Of a layer that has the quantity; the first that there is."""
_FOLDED = ("Cast", "Mul")


@dataclass(frozen=True)
class Layer:
    """A layer whose inside can be looked at."""

    name: str
    """As in `layer0`, or what the exporter called it."""
    kind: str
    """`LSTM`, `GRU`, `RNN`, or empty for another one."""
    quantities: tuple[str, ...]
    """Such as `input_gate` and `cell`."""
    resets_later: bool | None = None
    """Of a GRU: whether the reset gate multiplies the product with the state (PyTorch, cuDNN) and not the state before
    it (Cho et al., 2014); None where the graph does not tell."""
    activation: str = "tanh"
    """Of a plain cell."""


@dataclass(frozen=True)
class InsideGraph:
    """A rewritten graph. Its outputs are called `inside.…`; its inputs are those of the step."""

    content: bytes
    """The ONNX file."""
    embedding: NDArray[np.float32] | None
    """[tokens, width]: the table of which a token selects a row; None where there is none under that name."""
    layers: tuple[Layer, ...]


def inside_graph(model: bytes) -> InsideGraph | None:
    """The graph of a step with what is inside as outputs, [batch, ...]; None where nothing in it has a name.

    Such is a graph with operators that compute in whole numbers, or one that was not made by the exporter here and has
    no recurrent operators.
    """
    try:
        graph = Graph.read(model)
        _fold_weights(graph)
        token = name_of_port(graph.inputs[0])
        cells = {f"layer{number}": cell for number, cell in enumerate(write_out(graph))}
        names = {
            value: f"{INSIDE}{layer}.{quantity}"
            for layer, cell in cells.items()
            for quantity, value in cell.inside.items()
        }
        names |= _embedding(graph, token)
        graph.nodes = [_renamed(node, names) for node in graph.nodes]
        values = [name for node in graph.nodes for name in node.outputs if name.startswith(INSIDE)]
    except (UnknownFormError, ValueError, IndexError):
        return None
    if not values:
        return None
    layers, has_embedding = _layers(values, cells), INSIDE + EMBEDDING in values
    ordered = [EMBEDDING] * has_embedding + [f"{layer.name}.{each}" for layer in layers for each in layer.quantities]
    graph.outputs = [port(INSIDE + name, "float32", ("batch", f"{name}.width")) for name in ordered]
    return InsideGraph(graph.to_bytes(), _table(graph) if has_embedding else None, layers)


def _table(graph: Graph) -> NDArray[np.float32] | None:
    """The embedding; None where its numbers are kept in a way that is not read here."""
    [part] = (part for part in graph.tensors if name_of_tensor(part) == EMBEDDING)
    try:
        return values_of(part).astype(np.float32, copy=False)
    except UnknownFormError:
        return None


def _layers(values: list[str], cells: dict[str, Cell]) -> tuple[Layer, ...]:
    """In the order in which a token goes through them."""
    quantities: dict[str, list[str]] = {}
    for value in values:
        layer, _, quantity = value.removeprefix(INSIDE).rpartition(".")
        if layer:
            quantities.setdefault(layer, []).append(quantity)
    return tuple(_layer(name, sorted(each, key=_order), cells.get(name)) for name, each in quantities.items())


def _order(quantity: str) -> int:
    return _QUANTITIES.index(quantity) if quantity in _QUANTITIES else len(_QUANTITIES)


def _layer(name: str, quantities: Sequence[str], cell: Cell | None) -> Layer:
    kind = next((kind for quantity, kind in _KINDS.items() if quantity in quantities), "")
    later = cell.resets_later if cell and kind == "GRU" else None
    activation = cell.activations[0].lower() if cell and kind == "RNN" else "tanh"
    return Layer(name, kind, tuple(quantities), later, activation)


def _embedding(graph: Graph, token: str) -> dict[str, str]:
    """The rows of a table that the token selects, under their new name."""
    tables = {name_of_tensor(part) for part in graph.tensors}
    rows = [node for node in graph.nodes if node.op == "Gather" and node.inputs[1] == token]
    rows = [node for node in rows if node.inputs[0] in tables and node.integer("axis", 0) == 0]
    return {rows[0].outputs[0]: INSIDE + EMBEDDING} if len(rows) == 1 and rows[0].inputs[0] == EMBEDDING else {}


def _renamed(node: OnnxNode, names: dict[str, str]) -> OnnxNode:
    inputs, outputs = ([names.get(name, name) for name in each] for each in (node.inputs, node.outputs))
    return node._replace(inputs=inputs, outputs=outputs)


def _fold_weights(graph: Graph) -> None:
    """Computes weights that are stored as int8 or fp16, so that they are constants."""
    tensors = {name_of_tensor(part): part for part in graph.tensors}
    nodes = []
    for node in graph.nodes:
        if node.op in _FOLDED and all(name in tensors for name in node.inputs):
            [name] = node.outputs
            tensors[name] = tensor(name, _folded(node, [values_of(tensors[each]) for each in node.inputs]))
        else:
            nodes.append(node)
    graph.nodes, graph.tensors = nodes, list(tensors.values())


def _folded(node: OnnxNode, values: list[NDArray[np.generic]]) -> NDArray[np.generic]:
    if node.op == "Mul":
        return np.asarray(np.multiply(*values))
    kinds = {number: name for name, number in ELEMENTS.items()}
    return values[0].astype(kinds[node.integer("to", 0)])
