"""The layers of a recurrent language model, with their weights: what they compute over a whole sequence."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    "none": lambda value: value,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "leaky_relu": functional.leaky_relu,
    "elu": functional.elu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda value: functional.gelu(value, approximate="tanh"),
    "silu": functional.silu,
    "selu": functional.selu,
    "softplus": functional.softplus,
}
"""What may follow a layer, or the sum in a simple recurrent one: with PyTorch's settings, unless a number says so."""
SHAPED = ("leaky_relu", "elu", "softplus")
"""Activations that a number gives a shape: `leaky_relu(0.2)`."""
Kind = Literal["RNN", "LSTM", "GRU"]
GATES: dict[Kind, int] = {"RNN": 1, "LSTM": 4, "GRU": 3}
"""Blocks of `hidden_size` rows in a recurrent layer's weights; in PyTorch's order: i f g o, and r z n."""
CellFunction = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(x [batch, inputs], h [batch, hidden], c [batch, hidden]) -> (h, c): one token; c is h where there is none."""
NORMS = ("layer", "std", "rms")
"""`layer`: as PyTorch has it; `std`: divides by the standard deviation of n - 1 plus epsilon, as many scripts do after
Rush: The Annotated Transformer (2018); `rms`: Zhang and Sennrich (2019), without the mean."""
Residuals = tuple[tuple[int, int], ...]
"""(first layer, last layer): the input of the first is added to the output of the last."""


def activate(kind: str, value: Tensor) -> Tensor:
    """An activation such as `relu` or `leaky_relu(0.2)` of a tensor of any shape."""
    name, number = split_activation(kind)
    return ACTIVATIONS[name](value) if number is None else ACTIVATIONS[name](value, number)


def split_activation(kind: str) -> tuple[str, float | None]:
    """Name and number of an activation: `leaky_relu(0.2)` -> (`leaky_relu`, 0.2). Raises ValueError for none."""
    name, bracket, number = kind.removesuffix(")").partition("(")
    if name not in ACTIVATIONS or bool(bracket) != kind.endswith(")") or (bracket and name not in SHAPED):
        raise ValueError(kind)
    return name, float(number) if bracket else None


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

    def forward(self, value: Tensor) -> Tensor:
        """[batch, n, inputs] -> [batch, n, outputs]."""
        return activate(self.activation, functional.linear(value, self.weight, self.bias))

    def tensors(self) -> tuple[Tensor | None, ...]:
        """Trained numbers."""
        return self.weight, self.bias


@dataclass(frozen=True, eq=False)
class LayerNorm:
    """Ba et al. (2016), over the last dimension, or what is called so."""

    name: str
    weight: Tensor
    """[width]"""
    bias: Tensor | None = None
    epsilon: float = 1e-5
    kind: str = "layer"
    """One of NORMS."""

    @property
    def inputs(self) -> int:
        """Width of what it reads."""
        return self.weight.shape[0]

    @property
    def outputs(self) -> int:
        """Width of what it gives."""
        return self.inputs

    def forward(self, value: Tensor) -> Tensor:
        """[batch, n, width] -> [batch, n, width]."""
        if self.kind == "layer":
            return functional.layer_norm(value, (self.inputs,), self.weight, self.bias, self.epsilon)
        if self.kind == "rms":
            normed = value / torch.sqrt(value.square().mean(-1, keepdim=True) + self.epsilon)
        else:
            normed = (value - value.mean(-1, keepdim=True)) / (value.std(-1, keepdim=True) + self.epsilon)
        return normed * self.weight + (0.0 if self.bias is None else self.bias)

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

    def forward(self, value: Tensor) -> Tensor:
        """[batch, n, width] -> [batch, n, width]."""
        flat = value.reshape(-1, self.inputs)
        return functional.batch_norm(flat, self.mean, self.variance, self.weight, self.bias, eps=self.epsilon).view_as(
            value
        )

    def tensors(self) -> tuple[Tensor | None, ...]:
        """Trained numbers."""
        return self.weight, self.bias


@dataclass(frozen=True, eq=False)
class Activation:
    """A function of each feature, after a layer that is not linear."""

    name: str
    width: int
    kind: str
    """As `activate` takes it."""

    @property
    def inputs(self) -> int:
        """Width of what it reads."""
        return self.width

    @property
    def outputs(self) -> int:
        """Width of what it gives."""
        return self.width

    def forward(self, value: Tensor) -> Tensor:
        """[batch, n, width] -> [batch, n, width]."""
        return activate(self.kind, value)

    def tensors(self) -> tuple[Tensor | None, ...]:
        """None."""
        return ()


@dataclass(frozen=True, eq=False)
class RecurrentLayer:
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
    h0: Tensor | None = None
    """[outputs]: a learned state before the first token"""
    c0: Tensor | None = None
    """[hidden]"""
    equations: CellFunction | None = None
    """One token with the checkpoint's own tensors, for a layer that `torch.nn` does not have."""
    file_tensors: tuple[Tensor, ...] = ()
    """The checkpoint's own tensors, where the weights above were rearranged from them."""

    @property
    def inputs(self) -> int:
        """Width of what it reads."""
        return self.weight_ih.shape[1]

    @property
    def hidden_size(self) -> int:
        """Width of a gate, and of c."""
        return self.weight_hh.shape[0] // GATES[self.kind]

    @property
    def outputs(self) -> int:
        """Width of h."""
        return self.weight_hh.shape[1]

    def states(self) -> dict[str, int]:
        """Width of each state by its name."""
        return {"h": self.outputs, "c": self.hidden_size} if self.kind == "LSTM" else {"h": self.outputs}

    def initial_state(self, state: str) -> Tensor | None:
        """[width]: what a state is before the first token; None for zeros."""
        return self.h0 if state == "h" else self.c0

    def forward(self, value: Tensor) -> Tensor:
        """[batch, n, inputs] -> [batch, n, outputs]."""
        states = [self._first(state, width, len(value)) for state, width in self.states().items()]
        if self.equations is None:
            h_and_c = tuple(state[None] for state in states)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "LSTM with projections")  # it is slower; nobody waits for it
                output: Tensor = self._torch()(value, h_and_c if self.kind == "LSTM" else h_and_c[0])[0]
            return output
        h, c, outputs = states[0], states[-1], []
        for x in value.unbind(1):
            h, c = self.equations(x, h, c)
            outputs.append(h)
        return torch.stack(outputs, dim=1)

    def tensors(self) -> tuple[Tensor | None, ...]:
        """Trained numbers."""
        own = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh, self.weight_hr)
        return *(self.file_tensors or own), self.h0, self.c0

    def _first(self, state: str, width: int, batch: int) -> Tensor:
        initial_state = self.initial_state(state)
        return torch.zeros(batch, width) if initial_state is None else initial_state.expand(batch, -1)

    def _torch(self) -> nn.RNN | nn.LSTM | nn.GRU:
        """PyTorch's own module with these very weights, made without any others, which would be drawn at random."""
        sizes = (self.inputs, self.hidden_size)
        module: nn.RNN | nn.LSTM | nn.GRU
        if self.kind == "RNN":
            module = nn.RNN(*sizes, batch_first=True, device="meta", nonlinearity=self.nonlinearity)
        elif self.kind == "GRU":
            module = nn.GRU(*sizes, batch_first=True, device="meta")
        else:
            projection = 0 if self.weight_hr is None else self.outputs
            module = nn.LSTM(*sizes, batch_first=True, device="meta", proj_size=projection)
        for name, parameter in [*module.named_parameters()]:
            value = getattr(self, name.removesuffix("_l0"))
            value = torch.zeros(parameter.shape) if value is None else value
            setattr(module, name, nn.Parameter(value, requires_grad=False))
        return module


@dataclass(frozen=True, eq=False)
class TutorialRNN:
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
    h0: Tensor | None = None
    """[hidden]: a learned state before the first token"""

    @property
    def inputs(self) -> int:
        """Width of what it reads."""
        return self.state.inputs - self.hidden_size

    @property
    def hidden_size(self) -> int:
        """Width of h."""
        return self.state.outputs

    @property
    def outputs(self) -> int:
        """Width of what it gives."""
        return (self.last or self.output).outputs

    def states(self) -> dict[str, int]:
        """Width of each state by its name."""
        return {"h": self.hidden_size}

    def initial_state(self, state: str) -> Tensor | None:
        """[width]: what a state is before the first token; None for zeros."""
        return self.h0 if state == "h" else None

    def forward(self, value: Tensor) -> Tensor:
        """[batch, n, inputs] -> [batch, n, outputs]."""
        h = torch.zeros(len(value), self.hidden_size) if self.h0 is None else self.h0.expand(len(value), -1)
        outputs = []
        for x in value.unbind(1):
            joint = torch.cat([x, h], dim=1)
            h, y = self.state.forward(joint), self.output.forward(joint)
            outputs.append(self.last.forward(torch.cat([h, y], dim=1)) if self.last else y)
        return torch.stack(outputs, dim=1)

    def tensors(self) -> tuple[Tensor | None, ...]:
        """Trained numbers."""
        last = self.last.tensors() if self.last else ()
        return *self.state.tensors(), *self.output.tensors(), *last, self.h0


Feedforward = Linear | LayerNorm | BatchNorm | Activation
"""Without a state."""
Recurrent = RecurrentLayer | TutorialRNN
"""With a state."""
Layer = Feedforward | Recurrent
