"""A simple recurrent cell whose prediction reads the token beside the state, as in tutorials on generating names."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from export.text.maps import Linear


@dataclass(frozen=True, eq=False)
class Combined:
    """A simple recurrent cell that predicts from the token and the state before it, both at once.

    h' = activation(state [x, h]); y = output [x, h]; then, where there is one, y = last [h', y].
    """

    name: str
    state: Linear
    """[hidden, inputs + hidden], with the state's activation"""
    output: Linear
    """[vocab, inputs + hidden]"""
    last: Linear | None = None
    """[vocab, hidden + vocab]"""
    start_h: Tensor | None = None
    """[hidden]: a learned state before the first token"""

    @property
    def inputs(self) -> int:
        """Width of what it reads."""
        return self.state.inputs - self.hidden

    @property
    def hidden(self) -> int:
        """Width of h."""
        return self.state.outputs

    @property
    def outputs(self) -> int:
        """Width of what it gives."""
        return (self.last or self.output).outputs

    def states(self) -> dict[str, int]:
        """Width of each state by its name."""
        return {"h": self.hidden}

    def start(self, state: str) -> Tensor | None:
        """[width]: what a state is before the first token; None for zeros."""
        return self.start_h if state == "h" else None

    def full(self, value: Tensor) -> Tensor:
        """[batch, n, inputs] -> [batch, n, outputs]."""
        h = torch.zeros(len(value), self.hidden) if self.start_h is None else self.start_h.expand(len(value), -1)
        made = []
        for moment in value.unbind(1):
            both = torch.cat([moment, h], dim=1)
            h, y = self.state.full(both), self.output.full(both)
            made.append(self.last.full(torch.cat([h, y], dim=1)) if self.last else y)
        return torch.stack(made, dim=1)

    def tensors(self) -> tuple[Tensor | None, ...]:
        """Trained numbers."""
        last = self.last.tensors() if self.last else ()
        return *self.state.tensors(), *self.output.tensors(), *last, self.start_h
