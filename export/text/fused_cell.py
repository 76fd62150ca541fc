"""Hand-written cells whose weights hold all gates at once, be it one."""

from __future__ import annotations

from collections.abc import Sequence

from export.text.cell_terms import Cell, features_first, terms
from export.text.cell_weights import Weight
from export.text.combined import Combined
from export.text.gated_cell import MadeCell
from export.text.gates import Equations, Gate, Term
from export.text.letters import by_shape
from export.text.maps import Linear
from export.text.recurrence import GATES, Kind
from tui_gen.errors import TuiGenError

_BENDS = ("tanh", "relu", "sigmoid", "none")
"""What the state of a simple cell may go through."""
_ORDERS = {"LSTM": ("ifgo", "ifog", "iofg", "figo", "fiog", "fgio"), "GRU": ("rzn", "zrn")}
_LETTERS = {"LSTM": "i input, f forget, g candidate, o output", "GRU": "r reset, z update, n candidate"}


def fused_cell(cell: Cell) -> MadeCell | None:
    """One weight on [x, h], or one on x and one on h; None if there is no such thing."""
    weights = by_shape(cell, cell.of("h", "*"))
    if len(weights) not in (1, 2) or not all(weight.role.source or weight.role.gate == "*" for weight in weights):
        return None
    for kind, gates in sorted(GATES.items(), key=lambda pair: -pair[1]):
        hidden = _hidden(cell, weights, gates)
        products = terms(cell, weights, hidden=hidden, gates=gates) if hidden else ()
        if products and kind == "RNN":
            return _simple(cell, products, weights)
        if products:
            return MadeCell(_with_gates(cell, kind, products).layer(cell.name, Gate(products).inputs(hidden)), weights)
    beside = _beside(cell, weights[0].weight.shape[1]) if len(weights) == 1 else None
    if beside:
        rows, columns = weights[0].weight.shape
        raise TuiGenError(
            f"{weights[0].names[0]} reads {columns - rows} numbers beside its state, but {beside.names[0]} predicts "
            f"{len(beside.weight)} tokens: a network that is told more than the last token, such as a category, "
            "cannot be exported"
        )
    return None


def _beside(cell: Cell, columns: int) -> Weight | None:
    """A prediction that reads the same as the state does."""
    return next((weight for weight in cell.of("o", "y") if weight.weight.shape[1] == columns), None)


def _hidden(cell: Cell, weights: Sequence[Weight], gates: int) -> int:
    """Width of the state if the weights hold so many gates; 0 if they cannot."""
    kept = next((weight for weight in weights if weight.role.source == "h"), None)
    if kept:
        small, large = sorted(kept.weight.shape)
        return small if large == gates * small else 0
    shape = tuple(weights[0].weight.shape)
    for rows, columns in (shape, shape[::-1]) if weights[0].bare else (shape,):
        inputs = columns - rows // gates
        if rows % gates == 0 and inputs in cell.widths and gates != GATES["GRU"]:  # [x, h] with h reset is no product
            return rows // gates
    return 0


def _with_gates(cell: Cell, kind: Kind, products: tuple[Term, ...]) -> Equations:
    choices, hidden = _ORDERS[kind], len(products[0].weight) // GATES[kind]
    what = f"the order of the gates in {cell.name} ({_LETTERS[kind]})"
    order = cell.questions.ask("gates", what, choices[0], choices)
    blocks = {gate: Gate(products, slice(at * hidden, (at + 1) * hidden)) for at, gate in enumerate(order)}
    return Equations(kind, blocks, reset_first=False)


def _simple(cell: Cell, products: tuple[Term, ...], weights: Sequence[Weight]) -> MadeCell:
    """A cell without gates, as tutorials have it: linear where it reads [x, h] under the name `i2h`, else tanh."""
    joined = len(products) == 1
    output = _beside(cell, products[0].weight.shape[1]) if joined else None
    assumed = "none" if joined and (output or weights[0].stem.lower() == "i2h") else "tanh"
    bend = cell.questions.ask("nonlinearity", f"the activation function of the state in {cell.name}", assumed, _BENDS)
    if output:
        return _combined(cell, Linear(cell.name, products[0].weight, products[0].bias, bend), output, weights)
    gate = Gate(products)
    equations = Equations("RNN", {"h": gate}, nonlinearity=bend)
    return MadeCell(equations.layer(cell.name, gate.inputs(len(products[0].weight))), weights)


def _combined(cell: Cell, state: Linear, output: Weight, weights: Sequence[Weight]) -> MadeCell:
    """A cell whose prediction reads the token beside the state."""
    width = state.outputs + len(output.weight)
    reads = features_first(cell, output.stem, output.weight, state.outputs)
    last = next(
        (weight for weight in cell.of("o") if weight.role.source == "y" and weight.weight.shape[1] == width), None
    )
    layer = Combined(
        cell.name,
        state,
        Linear(output.stem, reads, output.bias),
        Linear(last.stem, last.weight, last.bias) if last else None,
    )
    return MadeCell(layer, [*weights, output, *([last] if last else [])])
