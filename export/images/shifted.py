"""The network of PixelCNN++: streams over the pixels above, and above and to the left, at three resolutions.

Salimans, Karpathy, Chen, Kingma: PixelCNN++, 2017, section 2. Convolutions see only what comes before by being padded
on one side; the first ones are shifted by a row or a column.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from tui_gen.errors import TuiGenError


class Weights:
    """Tensors by name; knows which are used."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors, self.used = tensors, set[str]()

    def take(self, name: str) -> tuple[nn.Parameter, nn.Parameter | None]:
        """Weight and bias of a layer. Raises TuiGenError that names what is missing."""
        weight, bias = self.tensors.get(f"{name}.weight"), self.tensors.get(f"{name}.bias")
        if weight is None:
            raise TuiGenError(f"it lacks {name}, which a network of this kind has")
        self.used.update((f"{name}.weight", f"{name}.bias"))
        kept = nn.Parameter(weight.float(), requires_grad=False)
        return kept, None if bias is None else nn.Parameter(bias.float(), requires_grad=False)

    def count(self, prefix: str) -> int:
        """How many numbered parts there are under a name."""
        numbers = {name.removeprefix(prefix).partition(".")[0] for name in self.tensors if name.startswith(prefix)}
        return len([number for number in numbers if number.isdecimal()])


class Shifted(nn.Module):
    """A convolution over places above, and to both sides (`down`) or to the left (`right`), by rows and columns."""

    def __init__(self, weights: Weights, name: str, *, right: bool, stride: int = 1, move: str = "") -> None:
        super().__init__()
        self.weight, self.bias = weights.take(f"{name}.conv")
        rows, columns = self.weight.shape[2:]
        sides = (columns - 1, 0) if right else ((columns - 1) // 2, (columns - 1) // 2)
        self.pads = (*sides, rows - 1, 0)
        self.stride = stride
        self.move = {"": None, "down": (0, 0, 1, -1), "right": (1, -1, 0, 0)}[move]

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs, h, w] -> [batch, outputs, h / stride, w / stride]."""
        made = functional.conv2d(functional.pad(x, self.pads), self.weight, self.bias, stride=self.stride)
        return made if self.move is None else functional.pad(made, self.move)


class Enlarged(nn.Module):
    """A transposed convolution to twice the size, cut so that nothing is seen early."""

    def __init__(self, weights: Weights, name: str, *, right: bool) -> None:
        super().__init__()
        self.weight, self.bias = weights.take(f"{name}.deconv")
        self.right = right

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs, h, w] -> [batch, outputs, 2 h, 2 w]."""
        columns = self.weight.shape[3]
        made = functional.conv_transpose2d(x, self.weight, self.bias, stride=2, output_padding=1)
        left = 0 if self.right else (columns - 1) // 2
        return made[:, :, : 2 * x.shape[2], left : left + 2 * x.shape[3]]


def concatenated_elu(x: Tensor) -> Tensor:
    """ELU of the features and of their negatives, twice as many."""
    return functional.elu(torch.cat([x, -x], dim=1))


class GatedResidual(nn.Module):
    """Two convolutions with a gate at the end, and what another stream or an earlier layer adds in between."""

    def __init__(self, weights: Weights, name: str, *, right: bool, skips: bool) -> None:
        super().__init__()
        self.first = Shifted(weights, f"{name}.conv_input", right=right)
        self.second = Shifted(weights, f"{name}.conv_out", right=right)
        self.skip = Pointwise(weights, f"{name}.nin_skip") if skips else None

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """[batch, filters, h, w]; other: as many features, or twice."""
        inner = self.first(concatenated_elu(x))
        if self.skip is not None and other is not None:
            inner = inner + self.skip(concatenated_elu(other))
        signal, gate = self.second(concatenated_elu(inner)).chunk(2, dim=1)
        return x + signal * torch.sigmoid(gate)


class Pointwise(nn.Module):
    """A linear layer over the features of each place."""

    def __init__(self, weights: Weights, name: str) -> None:
        super().__init__()
        self.weight, self.bias = weights.take(f"{name}.lin_a")

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs, h, w] -> [batch, outputs, h, w]."""
        return functional.conv2d(x, self.weight[:, :, None, None], self.bias)
