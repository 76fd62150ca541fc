"""Gated PixelCNN of two stacks: one sees the rows above, the other the row at hand; together they miss nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.pixelcnn import PixelCNNConfig, level_encoding

FIRST_REACH = 3
"""Rows above, and columns to either side, that the first layer sees."""


class CausalConv2d(nn.Conv2d):
    """A convolution over the places up to `above` rows above and `left` columns left to `right` columns right.

    shift: how far up (rows, columns to the left) the whole window is moved, to leave the place itself out.
    """

    def __init__(
        self, inputs: int, outputs: int, *, above: int, left: int, right: int = 0, shift: tuple[int, int] = (0, 0)
    ) -> None:
        super().__init__(inputs, outputs, (above + 1 - shift[0], left + right + 1 - shift[1]))
        self.margins = (left, right - shift[1], above, -shift[0])

    def forward(self, image: Tensor) -> Tensor:
        """float32[batch, inputs, height, width] -> float32[batch, outputs, height, width]."""
        return super().forward(functional.pad(image, self.margins))


def gate(features: Tensor) -> Tensor:
    """Tanh of one half of the channels times sigmoid of the other."""
    signal, opening = features.chunk(2, dim=1)
    return torch.tanh(signal) * torch.sigmoid(opening)


class TwoStackBlock(nn.Module):
    """Figure 2 of van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016."""

    def __init__(self, config: PixelCNNConfig) -> None:
        super().__init__()
        channels, reach = config.channels, config.kernel // 2
        self.vertical = CausalConv2d(channels, 2 * channels, above=reach, left=reach, right=reach)
        self.horizontal = CausalConv2d(channels, 2 * channels, above=0, left=reach)
        self.link = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.expand = nn.Conv2d(channels, channels, 1)

    def forward(self, vertical: Tensor, horizontal: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Both stacks [batch, channels, h, w] and condition [batch, 4 * channels, 1, 1] -> both stacks."""
        for_vertical, for_horizontal = condition.chunk(2, dim=1)
        above = self.vertical(vertical)
        beside = self.horizontal(horizontal) + self.link(above) + for_horizontal
        return gate(above + for_vertical), horizontal + self.expand(gate(beside))


class TwoStackPixelCNN(nn.Module):
    """Two-stack blocks between 7x7 first layers and two 1x1 layers; learned row, column and condition biases."""

    encoding: Tensor

    def __init__(self, config: PixelCNNConfig) -> None:
        super().__init__()
        self.config = config
        reach, size = FIRST_REACH, (config.planes, config.channels)
        self.above = CausalConv2d(*size, above=reach, left=reach, right=reach, shift=(1, 0))
        self.beside = CausalConv2d(*size, above=0, left=reach, shift=(0, 1))
        self.rows = nn.Parameter(torch.zeros(config.height, 2 * config.channels))
        self.columns = nn.Parameter(torch.zeros(config.width, 2 * config.channels))
        widths = [2 * config.channels, *[config.condition_width] * config.blocks, config.channels, config.head]
        self.widths = widths
        """What a condition adds: to both first layers, to each block, and before and inside the two last layers."""
        self.condition = nn.Parameter(torch.zeros(config.conditions, sum(widths)))
        self.blocks = nn.ModuleList(TwoStackBlock(config) for _ in range(config.blocks))
        self.head = nn.Conv2d(config.channels, config.head, 1)
        self.output = nn.Conv2d(config.head, config.levels, 1)
        self.register_buffer("encoding", level_encoding(config), persistent=False)

    def encode(self, pixels: Tensor) -> Tensor:
        """int64[batch, h, w] -> float32[batch, planes, h, w]: what the first layers see."""
        return functional.embedding(pixels, self.encoding).permute(0, 3, 1, 2)

    def forward(self, planes: Tensor, conditions: Tensor) -> Tensor:
        """Logits of every pixel given those before it.

        planes: float32[batch, planes, height, width], of `encode`. conditions: float32[batch, conditions], 1 where a
        condition holds. Returns float32[batch, levels, height, width].
        """
        rows, columns = self.rows.T[:, :, None].chunk(2), self.columns.T[:, None, :].chunk(2)
        added = (conditions @ self.condition)[:, :, None, None]
        first, *biases, before, inside = torch.split(added, self.widths, dim=1)
        for_vertical, for_horizontal = first.chunk(2, dim=1)
        vertical = self.above(planes) + rows[0] + columns[0] + for_vertical
        horizontal = self.beside(planes) + rows[1] + columns[1] + for_horizontal
        for block, bias in zip(self.blocks, biases, strict=True):
            vertical, horizontal = block(vertical, horizontal, bias)
        hidden = self.head(functional.relu(horizontal + before)) + inside
        return self.output(functional.relu(hidden))
