"""Recurrent layers among the tensors of a checkpoint: PyTorch's own by name, hand-written cells by their roles."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tui_gen.errors import TuiGenError

from ..assumptions import Assumptions
from ..checkpoints.checkpoint import Checkpoint, ModuleFacts
from ..checkpoints.settings import statements
from . import metadata
from .cell_weights import (
    CellEquations,
    CellGate,
    CellWeights,
    Role,
    Term,
    Weight,
    build_terms,
    collect_cell_weights,
    features_first,
)
from .layers import GATES, Kind, Linear, Recurrent, RecurrentLayer, TutorialRNN

_STATE_ACTIVATIONS = ("tanh", "relu", "sigmoid", "none")
"""What the state of a simple hand-written cell may go through."""
_ORDERS = {"LSTM": ("ifgo", "ifog", "iofg", "figo", "fiog", "fgio"), "GRU": ("rzn", "zrn")}
_LETTERS = {"LSTM": "i input, f forget, g candidate, o output", "GRU": "r reset, z update, n candidate"}
_CANDIDATES = ("g", "n", "h")
"""What the new content of a state goes by, the likeliest first."""
_NAME = re.compile(r"(?:(.*)\.)?(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(?:_l(\d+))?(_reverse)?")
_KINDS: dict[int, Kind] = {count: kind for kind, count in GATES.items()}
CELLS = ("torch", "own")
"""Whose equations cells with the names of `torch.nn` have."""
CellLayer = tuple[Recurrent, Sequence[Weight]]
"""A layer and the weights that it takes."""


def find_torch_layers(
    tensors: Mapping[str, Tensor], checkpoint: Checkpoint, assumptions: Assumptions
) -> tuple[list[Recurrent], set[str]]:
    """Layers with the names of `torch.nn`, in the order of the file, and the names of their tensors.

    Cells of another class, or stored the other way round, are left to `find_hand_written_layers`.

    Raises TuiGenError for layers that read backwards, and for weights that do not fit.
    """
    groups: dict[tuple[str, str | None], dict[str, Tensor]] = {}
    matches = {name: match for name in tensors if (match := _NAME.fullmatch(name))}
    for name, match in matches.items():
        if match[4]:
            raise TuiGenError(
                f"{match[1] or 'the recurrent layer'} reads the text in both directions ({name}), "
                "so it cannot write one from beginning to end"
            )
        groups.setdefault((match[1] or "", match[3]), {})[match[2]] = tensors[name]
    layers, foreign = list[Recurrent](), set[tuple[str, str | None]]()
    for (path, index), weights in groups.items():
        if index is None and (
            _is_foreign(weights, checkpoint.modules.get(path)) or _is_told_foreign(path, checkpoint, assumptions)
        ):
            foreign.add((path, index))
            continue
        alone = index is None or (path, "1") not in groups
        layer = _torch_layer((path or "rnn") + ("" if alone else f".l{index}"), weights)
        if (owner := _class_of_owner(path, checkpoint)) and index in (None, "0"):
            what = f"whether {path}, a {owner}, computes as PyTorch's {layer.kind} does (others cannot be exported)"
            assumptions.ask("cell", what, choices=CELLS)
        if (
            lacks := {"bias_ih", "bias_hh"} - weights.keys()
            if len(weights.keys() & {"bias_ih", "bias_hh"}) == 1
            else ()
        ):
            assumptions.notes.append(f"{layer.name} has no {min(lacks)}, which counts as zeros")
        if layer.kind == "RNN":
            nonlinearity = metadata.nonlinearity(checkpoint, path) or assumptions.assume(
                "nonlinearity",
                "tanh",
                "what its simple recurrent layers bend their state with",
                choices=("tanh", "relu"),
                subject="nonlinearity" if statements(checkpoint, "nonlinearity") else "activation",
            )
            layer = replace(layer, nonlinearity=nonlinearity)
        layers.append(layer)
    return layers, {name for name, match in matches.items() if (match[1] or "", match[3]) not in foreign}


def _class_of_owner(path: str, checkpoint: Checkpoint) -> str:
    """The class of a module that has the names of PyTorch's layers and is none of them, nor made from one of them."""
    modules = [checkpoint.modules.get(name) for name in (path, f"{path}.module")]
    kinds = [module.kind for module in modules if module]
    is_of_torch = any(kind.startswith("torch.nn.") for kind in kinds)
    is_made_from_one = any(module and "mode" in module.attributes for module in modules)
    return kinds[0] if kinds and not is_of_torch and not is_made_from_one else ""


def _is_foreign(weights: Mapping[str, Tensor], facts: ModuleFacts | None) -> bool:
    """Whether a cell with the names of `torch.nn` is of a class of the owner's, whose gates may stand in any order."""
    if facts and not facts.kind.startswith("torch.nn."):
        return True
    state = weights.get("weight_hh", torch.empty(0))
    return state.ndim == 2 and state.shape[0] < state.shape[1] and "weight_hr" not in weights


def _is_told_foreign(path: str, checkpoint: Checkpoint, assumptions: Assumptions) -> bool:
    """Whether a person says that a cell with names and shapes of `torch.nn`, of a class that the file does not tell,
    has gates in an order of its own.
    """
    if path in checkpoint.modules:
        return False
    what = "whether its recurrent cells are those of torch.nn, or your own under their names"
    return assumptions.assume("cell", "torch", what, choices=CELLS) == "own"


def _torch_layer(name: str, weights: dict[str, Tensor]) -> RecurrentLayer:
    if not weights.keys() >= {"weight_ih", "weight_hh"}:
        raise TuiGenError(f"{name} lacks weight_ih or weight_hh; the checkpoint is incomplete")
    shapes = ", ".join(f"{leaf} {list(tensor.shape)}" for leaf, tensor in weights.items())
    unknown = TuiGenError(f"{name} is no RNN, LSTM or GRU that is known: {shapes}")
    if any(tensor.ndim != 2 for leaf, tensor in weights.items() if leaf.startswith("weight")):
        raise unknown
    weights = {leaf: tensor.flatten() if leaf.startswith("bias") else tensor for leaf, tensor in weights.items()}
    kind = _kind(weights)
    if kind is None:
        raise unknown
    biases = weights.get("bias_ih"), weights.get("bias_hh")
    return RecurrentLayer(name, kind, weights["weight_ih"], weights["weight_hh"], *biases, weights.get("weight_hr"))


def _kind(weights: dict[str, Tensor]) -> Kind | None:
    """By how many gates the rows make; None for sizes that fit no layer."""
    rows, outputs = weights["weight_hh"].shape
    hidden_size = weights.get("weight_hr", weights["weight_hh"]).shape[1]
    kind = _KINDS.get(rows // hidden_size) if hidden_size and outputs and rows % hidden_size == 0 else None
    if "weight_hr" in weights and not (kind == "LSTM" and len(weights["weight_hr"]) == outputs):
        return None
    return kind if {len(tensor) for leaf, tensor in weights.items() if leaf != "weight_hr"} == {rows} else None


def find_hand_written_layers(
    tensors: Mapping[str, Tensor], assumptions: Assumptions
) -> tuple[list[Recurrent], set[str]]:
    """Layers in the order of the file, and the names of their tensors."""
    layers, names = list[Recurrent](), set[str]()
    for cell in collect_cell_weights(tensors, assumptions):
        match = _cell_by_gate(cell) or _cell_with_table(cell) or _cell_of_joint_gates(cell)
        if match:
            layers.append(match[0])
            names |= {name for weight in match[1] for name in weight.names}
    return layers, names


def _cell_by_gate(cell: CellWeights) -> CellLayer | None:
    """Weights for each gate: an LSTM if there is a forget gate, a GRU if there is a reset gate; None otherwise."""
    candidate = next((gate for gate in _CANDIDATES if cell.of(gate)), "")
    if cell.of("f") and cell.of("o"):  # its input gate may be called the update gate
        return _gated_layer(cell, "LSTM", {"i": "i" if cell.of("i") else "z", "f": "f", "g": candidate, "o": "o"})
    return _gated_layer(cell, "GRU", {"r": "r", "z": "z", "n": candidate}) if cell.of("r") else None


def _gated_layer(cell: CellWeights, kind: Kind, letters: dict[str, str]) -> CellLayer | None:
    """letters: what the gates of PyTorch go by in this cell."""
    by_gate = {gate: cell.of(letter) for gate, letter in letters.items()}
    if not all(by_gate.values()):
        return None
    model = by_gate["f" if kind == "LSTM" else "r"][:2]  # no other part of a network goes by these names
    shapes = [weight.weight.shape for weight in model]
    hidden_size = min(shapes[0]) if len(shapes) == 1 else max({*shapes[0]} & {*shapes[1]}, default=0)
    fitting = {gate: [w for w in weights if w.weight.shape in shapes][:2] for gate, weights in by_gate.items()}
    gates = {gate: CellGate(build_terms(cell, weights, hidden_size=hidden_size)) for gate, weights in fitting.items()}
    inputs = {gate.inputs(hidden_size) for gate in gates.values()}
    if not all(gate.terms for gate in gates.values()) or len(inputs) > 1:
        return None
    equations = CellEquations(kind, gates)
    if kind == "GRU":
        equations = _with_gru_conventions(cell, equations, candidate=letters["n"])
    return equations.layer(cell.name, inputs.pop()), [weight for weights in fitting.values() for weight in weights]


def _with_gru_conventions(cell: CellWeights, equations: CellEquations, *, candidate: str) -> CellEquations:
    """What no tensor tells of a GRU: when it resets, and what its update gate lets through."""
    joint = len(equations.gates["n"].terms) == 1  # reads [x, r h], so it resets before its product
    reset, assumptions = "before", cell.assumptions
    if not joint:
        what = f"whether {cell.name} resets its state before or after the product"
        choices = ("after", "before") if candidate == "n" else ("before", "after")
        reset = assumptions.ask("reset", what, choices=choices)
    return replace(equations, reset_first=reset == "before", update_keeps=_update_keeps(cell, joint=joint))


def _update_keeps(cell: CellWeights, *, joint: bool) -> bool:
    what = f"whether the update gate of {cell.name} says what to keep of the old state, or what to write of the new"
    choices = ("write", "keep") if joint else ("keep", "write")
    return cell.assumptions.ask("update", what, choices=choices) == "keep"


def _cell_with_table(cell: CellWeights) -> CellLayer | None:
    """A table [tokens, hidden] called as what reads the token, and one square product on the state; else None.

    h' = activation(W (h + row) + b), or W h + b + row: no tensor tells, so it is asked.
    """
    weights = cell.of("h")
    table = next((weight for weight in weights if weight.role.source == "x" and _is_table(weight)), None)
    state = next((weight for weight in weights if weight.role.source == "h" and not weight.bare), None)
    if not table or not state or len(weights) != 2 or {*state.weight.shape} != {table.weight.shape[1]}:
        return None
    nonlinearity = _nonlinearity(cell, "relu", is_usual=False)
    what = f"whether {table.stem}'s row is added to the state before {state.stem} multiplies it, or after"
    before = cell.assumptions.ask("row", what, choices=("before", "after")) == "before"
    row = Term("x", state.weight if before else torch.eye(len(state.weight)))
    gate = CellGate((row, Term("h", state.weight, state.bias)))
    equations = CellEquations("RNN", {"h": gate}, nonlinearity=nonlinearity)
    return equations.layer(cell.name, len(state.weight)), [state]


def _is_table(weight: Weight) -> bool:
    """Whether it is an embedding, and not a linear layer, by which side is the state's."""
    return not weight.bare and weight.bias is None and len({*weight.weight.shape}) == 2


def _nonlinearity(cell: CellWeights, default: str, *, is_usual: bool = True) -> str:
    """is_usual: whether all but a few scripts have the default."""
    what, choices = f"the activation function of the state in {cell.name}", _STATE_ACTIVATIONS
    stated = None if is_usual else cell.assumptions.stated("nonlinearity", choices=choices)
    if is_usual or stated:
        return cell.assumptions.assume("nonlinearity", default, what, choices=choices, subject="nonlinearity")
    return cell.assumptions.ask("nonlinearity", what, choices=tuple(dict.fromkeys((default, *choices))))


def _cell_of_joint_gates(cell: CellWeights) -> CellLayer | None:
    """All gates, be it one, in one weight on [x, h], or in one on x and one on h; None if there is no such thing."""
    weights = _u_w_weights(cell, cell.of("h", "*"))
    if len(weights) not in (1, 2) or not all(weight.role.source or weight.role.gate == "*" for weight in weights):
        return None
    for kind, gates in sorted(GATES.items(), key=lambda pair: -pair[1]):
        hidden_size = _joint_hidden_size(cell, weights, gates)
        products = build_terms(cell, weights, hidden_size=hidden_size, gates=gates) if hidden_size else ()
        if products and kind == "RNN":
            return _simple_cell(cell, products, weights)
        if products:
            layer = _with_gates(cell, kind, products).layer(cell.name, CellGate(products).inputs(hidden_size))
            return layer, weights
    output = _output_beside_state(cell, weights[0].weight.shape[1]) if len(weights) == 1 else None
    if output:
        rows, columns = weights[0].weight.shape
        raise TuiGenError(
            f"{weights[0].names[0]} reads {columns - rows} numbers beside its state, but {output.names[0]} predicts "
            f"{len(output.weight)} tokens: a network that is told more than the last token, such as a category, "
            "cannot be exported"
        )
    return None


def _u_w_weights(cell: CellWeights, weights: Sequence[Weight]) -> list[Weight]:
    """The same weights; U and W with their roles exchanged where only that fits their shapes, or if told so.

    Of several gates in one weight, W is for the token's features and U for the state, as Keras has it.
    """
    if sorted(weight.stem.lower() for weight in weights) != ["u", "w"]:
        return list(weights)
    state, other = sorted(weights, key=lambda weight: weight.role.source != "h")
    fits, exchange = _keeps_state(state.weight, other.weight), _keeps_state(other.weight, state.weight)
    if fits and exchange:
        default = "U" if len(set(state.weight.shape)) > 1 else "W"
        what = f"which weight of {cell.name} multiplies its state"
        name = cell.assumptions.ask("state", what, choices=(default, "W" if default == "U" else "U"))
        exchange = name.lower() != state.stem.lower()
    return [_exchange_source(weight) for weight in weights] if exchange else list(weights)


def _exchange_source(weight: Weight) -> Weight:
    return replace(weight, role=Role("x" if weight.role.source == "h" else "h", weight.role.gate))


def _keeps_state(state: Tensor, features: Tensor) -> bool:
    """Whether a matrix turns a state into all gates, as many as the other one turns features into."""
    small, large = sorted(state.shape)
    return any(large == gates * small for gates in GATES.values()) and large in features.shape


def _joint_hidden_size(cell: CellWeights, weights: Sequence[Weight], gates: int) -> int:
    """Width of the state if the weights hold so many gates; 0 if they cannot."""
    state = next((weight for weight in weights if weight.role.source == "h"), None)
    if state:
        small, large = sorted(state.weight.shape)
        return small if large == gates * small else 0
    shape = tuple(weights[0].weight.shape)
    for rows, columns in (shape, shape[::-1]) if weights[0].bare else (shape,):
        inputs = columns - rows // gates
        if rows % gates == 0 and inputs in cell.widths and gates != GATES["GRU"]:  # [x, h] with h reset is no product
            return rows // gates
    return 0


def _with_gates(cell: CellWeights, kind: Kind, products: tuple[Term, ...]) -> CellEquations:
    choices, size = _ORDERS[kind], len(products[0].weight) // GATES[kind]
    what = f"the order of the gates in {cell.name} ({_LETTERS[kind]})"
    order = cell.assumptions.ask("gates", what, choices=choices)
    blocks = {gate: CellGate(products, slice(at * size, (at + 1) * size)) for at, gate in enumerate(order)}
    keeps = kind != "GRU" or _update_keeps(cell, joint=False)
    return CellEquations(kind, blocks, reset_first=False, update_keeps=keeps)


def _simple_cell(cell: CellWeights, products: tuple[Term, ...], weights: Sequence[Weight]) -> CellLayer:
    """A cell without gates, as tutorials have it: linear where it reads [x, h] under the name `i2h`, else tanh."""
    joint = len(products) == 1
    output = _output_beside_state(cell, products[0].weight.shape[1]) if joint else None
    is_linear = joint and (output is not None or weights[0].stem.lower() == "i2h")
    is_tutorial = any(weight.stem.lower() == "o2o" for weight in cell.weights)  # its copies bend the state
    nonlinearity = _nonlinearity(cell, "none" if is_linear else "tanh", is_usual=is_tutorial or not is_linear)
    if output:
        state = Linear(cell.name, products[0].weight, products[0].bias, nonlinearity)
        return _tutorial_rnn(cell, state, output, weights)
    gate = CellGate(products)
    equations = CellEquations("RNN", {"h": gate}, nonlinearity=nonlinearity)
    return equations.layer(cell.name, gate.inputs(len(products[0].weight))), weights


def _output_beside_state(cell: CellWeights, columns: int) -> Weight | None:
    """A prediction that reads the same as the state does."""
    return next((weight for weight in cell.of("o", "y") if weight.weight.shape[1] == columns), None)


def _tutorial_rnn(cell: CellWeights, state: Linear, output: Weight, weights: Sequence[Weight]) -> CellLayer:
    """A cell whose prediction reads the token beside the state."""
    width = state.outputs + len(output.weight)
    weight = features_first(cell, output.stem, output.weight, state.outputs)
    last = next((w for w in cell.of("o") if w.role.source == "y" and w.weight.shape[1] == width), None)
    layer = TutorialRNN(cell.name, state, Linear(output.stem, weight, output.bias))
    if last:
        layer = replace(layer, last=Linear(last.stem, last.weight, last.bias))
    return layer, [*weights, output, *([last] if last else [])]
