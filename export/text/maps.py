"""What may stand between the layers of a language model: maps of one moment's features, knowing no other moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
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
