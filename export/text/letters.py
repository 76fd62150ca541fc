"""Cells whose weights are called U and W: which of the two multiplies the state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from export.text.cell_terms import Cell
from export.text.cell_weights import Weight
from export.text.recurrence import GATES
from export.text.roles import Role


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
