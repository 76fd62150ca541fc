"""Hand-written LSTM and GRU cells that have weights of their own for each gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from export.text.cell_terms import Cell, terms
from export.text.cell_weights import Weight
from export.text.gates import Equations, Gate
from export.text.parts import Layer
from export.text.recurrence import Kind

_CANDIDATES = ("g", "n", "h")
"""What the new content of a state goes by, the likeliest first."""


@dataclass(frozen=True)
class MadeCell:
    """A layer and the weights it takes."""

    layer: Layer
    weights: Sequence[Weight]


def gated_cell(cell: Cell) -> MadeCell | None:
    """An LSTM if there is a forget gate, a GRU if there is a reset gate; None otherwise."""
    candidate = next((gate for gate in _CANDIDATES if cell.has(gate)), "")
    if cell.has("f") and cell.has("o"):  # its input gate may be called the update gate
        letters = {"i": "i" if cell.has("i") else "z", "f": "f", "g": candidate, "o": "o"}
        return _made(cell, "LSTM", letters)
    return _made(cell, "GRU", {"r": "r", "z": "z", "n": candidate}) if cell.has("r") else None


def _made(cell: Cell, kind: Kind, letters: dict[str, str]) -> MadeCell | None:
    """letters: what the gates of PyTorch go by in this cell."""
    by_gate = {gate: cell.of(letter) for gate, letter in letters.items()}
    if not all(by_gate.values()):
        return None
    model = by_gate["f" if kind == "LSTM" else "r"][:2]  # no other part of a network goes by these names
    hidden, shapes = _hidden(model), {weight.weight.shape for weight in model}
    fitting = {gate: [w for w in weights if w.weight.shape in shapes][:2] for gate, weights in by_gate.items()}
    gates = {gate: Gate(terms(cell, weights, hidden=hidden)) for gate, weights in fitting.items()}
    if not all(gate.terms for gate in gates.values()) or len({gate.inputs(hidden) for gate in gates.values()}) > 1:
        return None
    equations = Equations(kind, gates)
    if kind == "GRU":
        equations = _with_conventions(cell, equations, candidate=letters["n"])
    layer = equations.layer(cell.name, gates[next(iter(gates))].inputs(hidden))
    return MadeCell(layer, [weight for weights in fitting.values() for weight in weights])


def _hidden(weights: Sequence[Weight]) -> int:
    """Width of a gate: the side that both its weights have, or the smaller side of the only one."""
    if len(weights) == 1:
        return min(weights[0].weight.shape)
    return max(set(weights[0].weight.shape) & set(weights[1].weight.shape), default=0)


def _with_conventions(cell: Cell, equations: Equations, *, candidate: str) -> Equations:
    """What no tensor tells of a GRU: when it resets, and what its update gate lets through."""
    joined = len(equations.gates["n"].terms) == 1  # reads [x, r h], so it resets before its product
    reset = "before"
    if not joined:
        what = f"whether {cell.name} resets its state before or after the product"
        reset = cell.questions.ask("reset", what, "after" if candidate == "n" else "before", ("before", "after"))
    what = f"whether the update gate of {cell.name} says what to keep of the old state, or what to write of the new"
    update = cell.questions.ask("update", what, "write" if joined else "keep", ("keep", "write"))
    return replace(equations, reset_first=reset == "before", update_keeps=update == "keep")
