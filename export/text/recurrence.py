"""A recurrent layer with its weights as PyTorch orders them, and PyTorch's own pass over whole texts."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["RNN", "LSTM", "GRU"]
GATES: dict[Kind, int] = {"RNN": 1, "LSTM": 4, "GRU": 3}
"""Blocks of `hidden` rows in a recurrent layer's weights; in PyTorch's order: i f g o, and r z n."""
Cell = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(x [batch, inputs], h [batch, hidden], c [batch, hidden]) -> (h, c): one token; c is h where there is none."""


@dataclass(frozen=True, eq=False)
class Recurrence:
    """One recurrent layer, with weights as `torch.nn` has them; a missing bias is zero.

    Elman (1990) for RNN; Hochreiter and Schmidhuber (1997) with forget gates for LSTM, Sak et al. (2014) with a
    projection; Cho et al. (2014) for GRU.
    """

    name: str
    kind: Kind
    weight_ih: Tensor
    """[gates * hidden, inputs]"""
    weight_hh: Tensor
    """[gates * hidden, outputs]"""
    bias_ih: Tensor | None = None
    bias_hh: Tensor | None = None
    weight_hr: Tensor | None = None
    """[outputs, hidden]: an LSTM's projection of h"""
    nonlinearity: str = "tanh"
    """Of an RNN; one of ACTIVATIONS."""
    reset_first: bool = False
    """A GRU that resets the state before its product, as in the paper, and not after it, as in cuDNN and PyTorch."""
    start_h: Tensor | None = None
    """[outputs]: a learned state before the first token"""
    start_c: Tensor | None = None
    """[hidden]"""
    cell: Cell | None = None
    """The equations with the checkpoint's own tensors, for a layer that `torch.nn` does not have."""
    trained: tuple[Tensor, ...] = ()
    """The checkpoint's own tensors, where the weights above were rearranged from them."""

    @property
    def inputs(self) -> int:
        """Width of what it reads."""
        return self.weight_ih.shape[1]

    @property
    def hidden(self) -> int:
        """Width of a gate, and of c."""
        return self.weight_hh.shape[0] // GATES[self.kind]

    @property
    def outputs(self) -> int:
        """Width of h."""
        return self.weight_hh.shape[1]

    def states(self) -> dict[str, int]:
        """Width of each state by its name."""
        return {"h": self.outputs, "c": self.hidden} if self.kind == "LSTM" else {"h": self.outputs}

    def start(self, state: str) -> Tensor | None:
        """[width]: what a state is before the first token; None for zeros."""
        return self.start_h if state == "h" else self.start_c

    def full(self, value: Tensor) -> Tensor:
        """[batch, n, inputs] -> [batch, n, outputs]."""
        states = [self._first(state, width, len(value)) for state, width in self.states().items()]
        if self.cell is None:
            before = tuple(state[None] for state in states)
            given = before if self.kind == "LSTM" else before[0]
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "LSTM with projections")  # it is slower; nobody waits for it
                made: Tensor = self._torch()(value, given)[0]
            return made
        h, c, made_h = states[0], states[-1], []
        for moment in value.unbind(1):
            h, c = self.cell(moment, h, c)
            made_h.append(h)
        return torch.stack(made_h, dim=1)

    def tensors(self) -> tuple[Tensor | None, ...]:
        """Trained numbers."""
        own = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh, self.weight_hr)
        return *(self.trained or own), self.start_h, self.start_c

    def _first(self, state: str, width: int, batch: int) -> Tensor:
        start = self.start(state)
        return torch.zeros(batch, width) if start is None else start.expand(batch, -1)

    def _torch(self) -> nn.RNN | nn.LSTM | nn.GRU:
        """PyTorch's own module with these very weights."""
        sizes = (self.inputs, self.hidden)
        module: nn.RNN | nn.LSTM | nn.GRU
        if self.kind == "RNN":
            module = nn.RNN(*sizes, batch_first=True, nonlinearity=self.nonlinearity)
        elif self.kind == "GRU":
            module = nn.GRU(*sizes, batch_first=True)
        else:
            module = nn.LSTM(*sizes, batch_first=True, proj_size=0 if self.weight_hr is None else self.outputs)
        for name, parameter in module.named_parameters():
            value = getattr(self, name.removesuffix("_l0"))
            parameter.data = torch.zeros_like(parameter) if value is None else value
        return module.requires_grad_(False)
