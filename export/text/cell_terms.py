"""Which way round the weights of a gate are stored, and what each of them reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from export.text.cell_weights import Weight
from export.text.gates import Term
from export.text.questions import Questions
from export.text.roles import Source

_STATE_FIRST = re.compile(r"(^|[_.\d])h_?x", re.IGNORECASE)
"""Names that put the state first, such as `hx2h`."""


@dataclass(frozen=True)
class Cell:
    """The weights that may make one cell."""

    name: str
    weights: Sequence[Weight]
    widths: set[int]
    """Sides of all matrices in the file: what may stand beside a state."""
    questions: Questions

    def of(self, *gates: str) -> list[Weight]:
        """The weights of some gates."""
        return [weight for weight in self.weights if weight.role.gate in gates]

    def has(self, gate: str) -> bool:
        """Whether some weight is for a gate."""
        return bool(self.of(gate))


def terms(cell: Cell, weights: Sequence[Weight], *, hidden: int, gates: int = 1) -> tuple[Term, ...]:
    """The products of one gate, or of several whose rows are stored together; empty if the weights make none."""
    rows = hidden * gates
    sources = _sources(weights, hidden)
    turned = _turned(cell, weights, rows) if sources else False
    matrices = [_matrix(weight, turned=turned) for weight in weights]
    found = list(zip(sources, matrices, strict=True)) if sources else []
    if any(len(matrix) != rows or (source == "h" and matrix.shape[1] != hidden) for source, matrix in found):
        return ()
    if any(weight.bias is not None and weight.bias.shape != (rows,) for weight in weights):
        return ()
    if sources == ["xh"]:
        found = [("xh", features_first(cell, weights[0].stem, matrices[0], hidden))]
    return tuple(Term(source, matrix, weight.bias) for (source, matrix), weight in zip(found, weights, strict=False))


def features_first(cell: Cell, stem: str, matrix: Tensor, hidden: int) -> Tensor:
    """[rows, inputs + hidden] of a weight on the token's features and the state side by side, whichever came first.

    No tensor tells which did. stem: the weight's name, which may.
    """
    named = _STATE_FIRST.search(stem) is not None
    what = f"whether {cell.name} puts the token's features (x) or its state (h) first where it joins them"
    told = cell.questions.ask("joined", what, "hx" if named else "xh", ("xh", "hx"))
    return torch.cat([matrix[:, hidden:], matrix[:, :hidden]], dim=1) if told == "hx" else matrix


def _matrix(weight: Weight, *, turned: bool) -> Tensor:
    return weight.weight.T if turned and weight.bare else weight.weight


def _turned(cell: Cell, weights: Sequence[Weight], rows: int) -> bool:
    """Whether bare weights are stored as [inputs, outputs]: x W. Squares do not tell."""
    bare = [weight.weight.shape for weight in weights if weight.bare]
    if not bare:
        return False
    if all(shape[0] == shape[1] for shape in bare):
        what = f"whether {cell.name} multiplies by its bare weights as x W or as W x"
        return cell.questions.ask("product", what, "xW", ("xW", "Wx")) == "xW"
    return any(shape[0] != rows for shape in bare)


def _sources(weights: Sequence[Weight], hidden: int) -> list[Source]:
    """What each weight reads: as its name says, or else as the shapes do; empty if that makes no gate."""
    said = [weight.role.source for weight in weights]
    if len(said) == 1:
        joined = said[0] != "h" and max(weights[0].weight.shape) > hidden
        return ["xh"] if joined else []
    if len(said) == 2 and said.count("h") == 1 and set(said) <= {"x", "h", ""}:
        return ["h" if source == "h" else "x" for source in said]
    return []
