"""Simple cells that add a token's row of a table to their state, as in the fastai course's first language models."""

from __future__ import annotations

import torch
from torch import Tensor

from export.text.cell_terms import Cell
from export.text.cell_weights import Weight
from export.text.gated_cell import MadeCell
from export.text.gates import Equations, Gate, Term
from export.text.questions import Questions

_BENDS = ("relu", "tanh", "sigmoid", "none")


def summed_cell(cell: Cell) -> MadeCell | None:
    """A table [tokens, hidden] called as what reads the token, and one square product on the state; else None.

    h' = activation(W (h + row) + b), or W h + b + row: no tensor tells, so it is asked.
    """
    weights = cell.of("h")
    table = next((weight for weight in weights if weight.role.source == "x" and _is_table(weight)), None)
    state = next((weight for weight in weights if weight.role.source == "h" and not weight.bare), None)
    if not table or not state or len(weights) != 2 or {*state.weight.shape} != {table.weight.shape[1]}:
        return None
    bend = cell.questions.ask("nonlinearity", f"the activation function of the state in {cell.name}", "relu", _BENDS)
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
