"""Taking detours out of an unrolled step function: states come with the batch first and need not be turned around.

A recurrent operator wants [layers, batch, hidden]. Written out as products, its layers read rows [batch, hidden] each,
which a state [batch, layers, hidden] gives by a cut along its second axis. Each operation saved is a launch less on a
GPU.
"""

from __future__ import annotations

from collections.abc import Mapping

from tui_gen.onnx_graph import Graph, Node, int_attribute, name_of_port, name_of_tensor, values_of

_TURNED = [1, 0, 2]


def batch_first(graph: Graph, second: str) -> None:
    """Rewrites what it recognises and leaves the rest. second: a constant int64[1] that says 1."""
    first = {name_of_tensor(part) for part in graph.tensors if _says(part, [0])}
    _join(graph, first)
    _cut_inputs(graph, first, second)
    _join_outputs(graph, first, second)


def _says(part: memoryview, values: list[int]) -> bool:
    found = values_of(part) if len(part) < 256 else None  # a constant that says an axis is short
    return found is not None and found.dtype == "int64" and found.tolist() == values


def _join(graph: Graph, first: set[str]) -> None:
    """A Squeeze of what was unsqueezed along the first axis is what there was before."""
    before = {node.outputs[0]: node.inputs[0] for node in graph.nodes if _moves("Unsqueeze", node, first)}
    outputs = {name_of_port(port) for port in graph.outputs}
    same: dict[str, str] = {}
    for node in graph.nodes:
        if _moves("Squeeze", node, first) and node.inputs[0] in before and node.outputs[0] not in outputs:
            same[node.outputs[0]] = before[node.inputs[0]]
    graph.nodes = [_reading(node, same) for node in graph.nodes if node.outputs[0] not in same]
    used = outputs | {name for node in graph.nodes for name in node.inputs}
    graph.nodes = [node for node in graph.nodes if used.intersection(node.outputs)]


def _cut_inputs(graph: Graph, first: set[str], second: str) -> None:
    """Transpose, Split and Squeeze of a state become Split and Squeeze along the second axis."""
    states = {name_of_port(port) for port in graph.inputs}
    for turned in [node for node in graph.nodes if _turns(node) and node.inputs[0] in states]:
        readers = _readers(graph, turned.outputs[0])
        splits = [node for node in readers if node.op == "Split" and node.integer("axis", 0) == 0]
        parts = [name for node in splits for name in node.outputs] or turned.outputs
        ends = [node for part in parts for node in _readers(graph, part)]
        whole = readers == splits if splits else readers == ends
        if not whole or not all(_moves("Squeeze", node, first) for node in ends):
            continue
        new = {
            id(node): _along_second(node, {turned.outputs[0]: turned.inputs[0]}, second) for node in (*splits, *ends)
        }
        graph.nodes = [new.get(id(node), node) for node in graph.nodes if node is not turned]


def _join_outputs(graph: Graph, first: set[str], second: str) -> None:
    """Unsqueeze, Concat and Transpose to a state become Unsqueeze and Concat along the second axis."""
    results = {name_of_port(port) for port in graph.outputs}
    made = {node.outputs[0]: node for node in graph.nodes}
    for turned in [node for node in graph.nodes if _turns(node) and node.outputs[0] in results]:
        before = made.get(turned.inputs[0])
        joins = before is not None and before.op == "Concat" and before.integer("axis", 0) == 0
        last = [before] if joins and before is not None else []
        rows = [made.get(name) for name in (before.inputs if last and before else turned.inputs)]
        alone = all(len(_readers(graph, node.outputs[0])) == 1 for node in [*rows, *last] if node is not None)
        if not alone or not all(node is not None and _moves("Unsqueeze", node, first) for node in rows):
            continue
        renamed = {turned.inputs[0]: turned.outputs[0]}
        chosen = [node for node in [*rows, *last] if node is not None]
        new = {id(node): _along_second(node, {}, second, renamed) for node in chosen}
        graph.nodes = [new.get(id(node), node) for node in graph.nodes if node is not turned]


def _readers(graph: Graph, name: str) -> list[Node]:
    return [node for node in graph.nodes if name in node.inputs]


def _turns(node: Node) -> bool:
    return node.op == "Transpose" and node.integers("perm") == _TURNED


def _moves(op: str, node: Node, axes: set[str]) -> bool:
    return node.op == op and len(node.inputs) == 2 and node.inputs[1] in axes


def _reading(node: Node, names: Mapping[str, str]) -> Node:
    """The node with other names for what it reads, however often they were renamed."""

    def last(name: str) -> str:
        return last(names[name]) if name in names else name

    return node._replace(inputs=[last(name) for name in node.inputs])


def _along_second(node: Node, inputs: Mapping[str, str], second: str, outputs: Mapping[str, str] | None = None) -> Node:
    """The node along the second axis instead of the first."""
    names = [inputs.get(name, name) for name in node.inputs]
    results = [(outputs or {}).get(name, name) for name in node.outputs]
    if node.op in ("Squeeze", "Unsqueeze"):
        return Node(node.op, [names[0], second], results, node.rest)
    kept = [part for part in node.rest if not node.is_attribute(part, "axis")]
    return Node(node.op, names, results, [int_attribute("axis", 1), *kept])
