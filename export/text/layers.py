"""What may stand between the layers of a language model: maps of one moment's features, knowing no other moment."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda value: value,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "leaky_relu": functional.leaky_relu,
    "elu": functional.elu,
    "gelu": functional.gelu,
}
"""What may follow a linear layer or bend the state of a simple recurrent one, with PyTorch's usual settings."""
Kind = Literal["RNN", "LSTM", "GRU"]
GATES: dict[Kind, int] = {"RNN": 1, "LSTM": 4, "GRU": 3}
"""Blocks of `hidden` rows in a recurrent layer's weights; in PyTorch's order: i f g o, and r z n."""
Cell = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(x [batch, inputs], h [batch, hidden], c [batch, hidden]) -> (h, c): one token; c is h where there is none."""
Residuals = tuple[tuple[int, int], ...]
"""(first part, last part): what the first reads is added to what the last gives."""


@dataclass(frozen=True, eq=False)
class Linear:
    """Weight times value plus bias, then an activation."""

    name: str
    weight: Tensor
    """[outputs, inputs]"""
    bias: Tensor | None = None
    activation: str = "none"

    @property
    def inputs(self) -> int:
        """Width of what it reads."""
        return self.weight.shape[1]

    @property
    def outputs(self) -> int:
        """Width of what it gives."""
        return self.weight.shape[0]

    def full(self, value: Tensor) -> Tensor:
        """[batch, n, inputs] -> [batch, n, outputs]."""
        return ACTIVATIONS[self.activation](functional.linear(value, self.weight, self.bias))

    def tensors(self) -> tuple[Tensor | None, ...]:
        """Trained numbers."""
        return self.weight, self.bias


@dataclass(frozen=True, eq=False)
class LayerNorm:
    """Ba et al. (2016), over the last dimension."""

    name: str
    weight: Tensor
    """[width]"""
    bias: Tensor | None = None
    epsilon: float = 1e-5

    @property
    def inputs(self) -> int:
        """Width of what it reads."""
        return self.weight.shape[0]

    @property
    def outputs(self) -> int:
        """Width of what it gives."""
        return self.inputs

    def full(self, value: Tensor) -> Tensor:
        """[batch, n, width] -> [batch, n, width]."""
        return functional.layer_norm(value, (self.inputs,), self.weight, self.bias, self.epsilon)

    def tensors(self) -> tuple[Tensor | None, ...]:
        """Trained numbers."""
        return self.weight, self.bias


@dataclass(frozen=True, eq=False)
class BatchNorm:
    """Ioffe and Szegedy (2015) after training: with the means and variances that it collected."""

    name: str
    mean: Tensor
    """[width], like all of them"""
    variance: Tensor
    weight: Tensor | None = None
    bias: Tensor | None = None
    epsilon: float = 1e-5

    @property
    def inputs(self) -> int:
        """Width of what it reads."""
        return self.mean.shape[0]

    @property
    def outputs(self) -> int:
        """Width of what it gives."""
        return self.inputs

    def full(self, value: Tensor) -> Tensor:
        """[batch, n, width] -> [batch, n, width]."""
        flat = value.reshape(-1, self.inputs)
        normed = functional.batch_norm(flat, self.mean, self.variance, self.weight, self.bias, eps=self.epsilon)
        return normed.view_as(value)

    def tensors(self) -> tuple[Tensor | None, ...]:
        """Trained numbers."""
        return self.weight, self.bias


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


Map = Linear | LayerNorm | BatchNorm
"""Knows one moment only."""


Layer = Recurrence | Combined
"""Remembers."""


Part = Map | Layer
