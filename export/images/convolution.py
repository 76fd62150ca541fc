"""Convolutions as modules, with their weights as they are and their masks applied."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.images.layers import Conv, Norm
from export.images.telling import Answers

Pads = tuple[int, int, int, int]
_NONE: Pads = (0, 0, 0, 0)


class Convolution(nn.Module):
    """A convolution with its weights as they are, after explicit padding with zeros; negative padding cuts off.

    pads: before it, left, right, top, bottom; moved: the same after it.
    """

    def __init__(self, conv: Conv, *, pads: Pads = _NONE, moved: Pads = _NONE, dilation: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(conv.weight.clone(), requires_grad=False)
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.clone(), requires_grad=False)
        self.pads, self.moved, self.dilation = pads, moved, dilation

    def forward(self, image: Tensor) -> Tensor:
        """float32[batch, inputs, height, width] -> float32[batch, outputs, height, width]."""
        padded = functional.pad(image, self.pads) if any(self.pads) else image
        made = functional.conv2d(padded, self.weight, self.bias, dilation=self.dilation)
        return functional.pad(made, self.moved) if any(self.moved) else made


class Affine(nn.Module):
    """A batch normalisation at rest: features times scale plus shift."""

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.scale = nn.Parameter(norm.scale[:, None, None], requires_grad=False)
        self.shift = nn.Parameter(norm.shift[:, None, None], requires_grad=False)

    def forward(self, image: Tensor) -> Tensor:
        """float32[batch, features, height, width], and the same out."""
        return image * self.scale + self.shift


class Gate(nn.Module):
    """tanh of one half of the channels times sigmoid of the other."""

    def __init__(self, first: str = "tanh") -> None:
        super().__init__()
        self.first = first

    def forward(self, features: Tensor) -> Tensor:
        """[batch, 2 * features, h, w] -> [batch, features, h, w]."""
        first, second = features.chunk(2, dim=1)
        if self.first == "sigmoid":
            first, second = second, first
        return torch.tanh(first) * torch.sigmoid(second)


def first_gate(answers: Answers) -> str:
    """Which function the first half of a gate's channels goes through: `tanh` or `sigmoid`."""
    return answers.assume(
        "gate", "tanh", "what the first half of a gate's channels goes through", choices=("tanh", "sigmoid")
    )


def centred(conv: Conv, *, dilation: int = 1) -> Convolution:
    """A convolution that leaves the image's size."""
    rows, columns = ((side - 1) * dilation // 2 for side in conv.kernel)
    return Convolution(conv, pads=(columns, columns, rows, rows), dilation=dilation)


def raster_mask(conv: Conv, *, own: bool) -> Conv:
    """The convolution with the taps that raster order forbids set to zero; own: it may see its own place."""
    rows, columns = conv.kernel
    mask = torch.zeros(rows, columns)
    mask[: rows // 2] = 1
    mask[rows // 2, : columns // 2 + own] = 1
    return Conv(conv.name, conv.weight * mask, conv.bias, True)


def in_raster_order(convs: list[Conv], answers: Answers) -> dict[Conv, Conv]:
    """Convolutions with masks in place of those that have none: `A` for the first, `B` for the others.

    It is asked for unless their weights are zero there anyway. A mask of 1x1 `B` would change nothing.
    """
    bare = [conv for conv in convs if not conv.masked and not conv.pointwise]
    masked = {conv: raster_mask(conv, own=conv is not convs[0]) for conv in bare}
    if all(torch.equal(conv.weight, masked[conv].weight) for conv in bare):
        return {}
    how = answers.assume(
        "masks", "a-then-b", "the masks of its convolutions, of which the file has none", choices=("a-then-b", "none")
    )
    return masked if how == "a-then-b" else {}
