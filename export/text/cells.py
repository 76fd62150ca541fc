"""Hand-written recurrent cells, found by the names and shapes of their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from export.text.cell_terms import Cell
from export.text.cell_weights import cell_weights
from export.text.fused_cell import fused_cell
from export.text.gated_cell import gated_cell
from export.text.parts import Layer
from export.text.questions import Questions
from export.text.summed_cell import summed_cell


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
