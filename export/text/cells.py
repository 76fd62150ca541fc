"""Hand-written cells whose weights hold all gates at once, be it one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from export.assumptions import Questions
from export.checkpoints.checkpoint import Checkpoint
from export.text import evidence
from export.text.cell_weights import Cell, Equations, Gate, Role, Term, Weight, cell_weights, features_first, terms
from export.text.layers import GATES, Combined, Kind, Layer, Linear, Recurrence
from tui_gen.errors import TuiGenError

_FUSED_ACTIVATIONS = ("tanh", "relu", "sigmoid", "none")
"""What the state of a simple cell may go through."""
_ORDERS = {"LSTM": ("ifgo", "ifog", "iofg", "figo", "fiog", "fgio"), "GRU": ("rzn", "zrn")}
_LETTERS = {"LSTM": "i input, f forget, g candidate, o output", "GRU": "r reset, z update, n candidate"}
_CANDIDATES = ("g", "n", "h")
"""What the new content of a state goes by, the likeliest first."""
_SUMMED_ACTIVATIONS = ("relu", "tanh", "sigmoid", "none")
_NAME = re.compile(r"(?:(.*)\.)?(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(?:_l(\d+))?(_reverse)?")
_KINDS: dict[int, Kind] = {count: kind for kind, count in GATES.items()}


def fused_cell(cell: Cell) -> MadeCell | None:
    """One weight on [x, h], or one on x and one on h; None if there is no such thing."""
    weights = by_shape(cell, cell.of("h", "*"))
    if len(weights) not in (1, 2) or not all(weight.role.source or weight.role.gate == "*" for weight in weights):
        return None
    for kind, gates in sorted(GATES.items(), key=lambda pair: -pair[1]):
        hidden = _fused_hidden_size(cell, weights, gates)
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


def _fused_hidden_size(cell: Cell, weights: Sequence[Weight], gates: int) -> int:
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
    bend = cell.questions.ask(
        "nonlinearity", f"the activation function of the state in {cell.name}", assumed, _FUSED_ACTIVATIONS
    )
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
    hidden, shapes = _gated_hidden_size(model), {weight.weight.shape for weight in model}
    fitting = {gate: [w for w in weights if w.weight.shape in shapes][:2] for gate, weights in by_gate.items()}
    gates = {gate: Gate(terms(cell, weights, hidden=hidden)) for gate, weights in fitting.items()}
    if not all(gate.terms for gate in gates.values()) or len({gate.inputs(hidden) for gate in gates.values()}) > 1:
        return None
    equations = Equations(kind, gates)
    if kind == "GRU":
        equations = _with_conventions(cell, equations, candidate=letters["n"])
    layer = equations.layer(cell.name, gates[next(iter(gates))].inputs(hidden))
    return MadeCell(layer, [weight for weights in fitting.values() for weight in weights])


def _gated_hidden_size(weights: Sequence[Weight]) -> int:
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


def summed_cell(cell: Cell) -> MadeCell | None:
    """A table [tokens, hidden] called as what reads the token, and one square product on the state; else None.

    h' = activation(W (h + row) + b), or W h + b + row: no tensor tells, so it is asked.
    """
    weights = cell.of("h")
    table = next((weight for weight in weights if weight.role.source == "x" and _is_table(weight)), None)
    state = next((weight for weight in weights if weight.role.source == "h" and not weight.bare), None)
    if not table or not state or len(weights) != 2 or {*state.weight.shape} != {table.weight.shape[1]}:
        return None
    bend = cell.questions.ask(
        "nonlinearity", f"the activation function of the state in {cell.name}", "relu", _SUMMED_ACTIVATIONS
    )
    terms = (Term("x", _of_row(cell.questions, table, state)), Term("h", state.weight, state.bias))
    layer = Equations("RNN", {"h": Gate(terms)}, nonlinearity=bend).layer(cell.name, len(state.weight))
    return MadeCell(layer, [state])


def _is_table(weight: Weight) -> bool:
    """Whether it is an embedding, and not a linear layer, by which side is the state's."""
    return not weight.bare and weight.bias is None and len({*weight.weight.shape}) == 2


def _of_row(questions: Questions, table: Weight, state: Weight) -> Tensor:
    """[hidden, hidden]: what multiplies the token's row."""
    what = f"whether {table.stem}'s row is added to the state before {state.stem} multiplies it, or after"
    before = questions.ask("row", what, "before", ("before", "after")) == "before"
    return state.weight if before else torch.eye(len(state.weight))


def by_shape(cell: Cell, weights: Sequence[Weight]) -> list[Weight]:
    """The same weights; U and W with their roles exchanged where only that fits their shapes, or if told so.

    Of several gates in one weight, W is for the token's features and U for the state, as Keras has it.
    """
    if sorted(weight.stem.lower() for weight in weights) != ["u", "w"]:
        return list(weights)
    state, other = sorted(weights, key=lambda weight: weight.role.source != "h")
    fits, fits_other = _keeps(state.weight, other.weight), _keeps(other.weight, state.weight)
    swaps = fits_other and not fits
    if fits and fits_other:
        gated = len(set(state.weight.shape)) > 1
        assumed = "U" if gated else "W"
        told = cell.questions.ask("state", f"which weight of {cell.name} multiplies its state", assumed, ("U", "W"))
        swaps = told.lower() != state.stem.lower()
    return [_exchanged(weight) for weight in weights] if swaps else list(weights)


def _keeps(state: Tensor, features: Tensor) -> bool:
    """Whether a matrix turns a state into all gates, as many as the other one turns features into."""
    small, large = sorted(state.shape)
    return any(large == gates * small for gates in GATES.values()) and large in features.shape


def _exchanged(weight: Weight) -> Weight:
    return replace(weight, role=Role("x" if weight.role.source == "h" else "h", weight.role.gate))


@dataclass
class Found:
    """Layers, and the tensors they are made of by the names in the file."""

    layers: list[Recurrence] = field(default_factory=list)
    used: set[str] = field(default_factory=set)


def standard_layers(tensors: Mapping[str, Tensor], checkpoint: Checkpoint, questions: Questions) -> Found:
    """In the order of the file. Raises TuiGenError for layers that read backwards, and for weights that do not fit."""
    groups: dict[tuple[str, str | None], dict[str, Tensor]] = {}
    found = Found()
    for name, tensor in tensors.items():
        match = _NAME.fullmatch(name)
        if not match:
            continue
        if match[4]:
            raise TuiGenError(
                f"{match[1] or 'the recurrent layer'} reads the text in both directions ({name}), "
                "so it cannot write one from beginning to end"
            )
        groups.setdefault((match[1] or "", match[3]), {})[match[2]] = tensor
        found.used.add(name)
    for (path, index), weights in groups.items():
        alone = index is None or (path, "1") not in groups
        name = (path or "rnn") + ("" if alone else f".l{index}")
        found.layers.append(_layer(path, name, weights, checkpoint, questions))
    return found


def _layer(
    path: str, name: str, weights: dict[str, Tensor], checkpoint: Checkpoint, questions: Questions
) -> Recurrence:
    if not weights.keys() >= {"weight_ih", "weight_hh"}:
        raise TuiGenError(f"{name} lacks weight_ih or weight_hh; the checkpoint is incomplete")
    if any(weights[leaf].ndim != 2 for leaf in weights if leaf.startswith("weight")):
        raise _unknown(name, weights)
    weights = _oriented(weights)
    hidden = (weights["weight_hr"] if "weight_hr" in weights else weights["weight_hh"]).shape[1]
    kind = _kind(name, weights, hidden)
    bend = _bend(path, checkpoint, questions) if kind == "RNN" else "tanh"
    return Recurrence(
        name,
        kind,
        weights["weight_ih"],
        weights["weight_hh"],
        weights.get("bias_ih"),
        weights.get("bias_hh"),
        weights.get("weight_hr"),
        nonlinearity=bend,
    )


def _bend(path: str, checkpoint: Checkpoint, questions: Questions) -> str:
    """The nonlinearity of a simple recurrent layer."""
    return evidence.nonlinearity(checkpoint, path) or questions.ask(
        "nonlinearity", "what its simple recurrent layers bend their state with", "tanh", ("tanh", "relu")
    )


def _oriented(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As `torch.nn` has them: gates in rows. Hand-written cells may store [inputs, gates * hidden]."""
    rows, columns = weights["weight_hh"].shape
    if rows < columns and "weight_hr" not in weights:
        weights = {name: tensor.T if tensor.ndim == 2 else tensor for name, tensor in weights.items()}
    return {name: tensor.flatten() if name.startswith("bias") else tensor for name, tensor in weights.items()}


def _kind(name: str, weights: dict[str, Tensor], hidden: int) -> Kind:
    rows, outputs = weights["weight_hh"].shape
    kind = _KINDS.get(rows // hidden) if hidden and outputs and rows % hidden == 0 else None
    projected = "weight_hr" in weights
    fits = not projected or (kind == "LSTM" and len(weights["weight_hr"]) == outputs)
    if kind is None or not fits or {len(tensor) for leaf, tensor in weights.items() if leaf != "weight_hr"} != {rows}:
        raise _unknown(name, weights)
    return kind


def _unknown(name: str, weights: dict[str, Tensor]) -> TuiGenError:
    shapes = ", ".join(f"{leaf} {list(tensor.shape)}" for leaf, tensor in weights.items())
    return TuiGenError(f"{name} is no RNN, LSTM or GRU that is known: {shapes}")


@dataclass
class FoundCells:
    """Layers, and the tensors they are made of by the names in the file."""

    layers: list[Layer] = field(default_factory=list)
    used: set[str] = field(default_factory=set)


def hand_written(tensors: Mapping[str, Tensor], questions: Questions) -> FoundCells:
    """In the order of the file."""
    found = FoundCells()
    widths = {side for tensor in tensors.values() if tensor.ndim == 2 for side in tensor.shape}
    for (path, number), weights in cell_weights(tensors).items():
        name = ".".join(part for part in (path, number) if part) or "cell"
        cell = Cell(name, weights, widths, questions)
        made = gated_cell(cell) or summed_cell(cell) or fused_cell(cell)
        if made:
            found.layers.append(made.layer)
            found.used |= {name for weight in made.weights for name in weight.names}
    return found
