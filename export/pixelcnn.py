"""PixelCNN: an image as a product of conditional distributions, one pixel after another in raster order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class PixelCNNConfig:
    """Sizes of a PixelCNN. Token ids: pixel levels, then `start`, then the conditions."""

    height: int
    width: int
    levels: int
    """Grey levels or palette entries that a pixel can have."""
    channels: int = 64
    blocks: int = 6
    kernel: int = 3
    """Side of the square type-B kernels; odd."""
    gated: bool = True
    one_hot: bool = True
    """One input plane per level (a palette has no order); otherwise one plane of level / (levels - 1)."""
    conditions: int = 0
    """Classes or phrases that a prompt can name."""
    head: int = 64
    stacks: int = 1
    """1: square masked kernels, with a blind spot to the upper right; 2: a vertical and a horizontal stack, without."""

    @property
    def start(self) -> int:
        """The token before the first pixel; it carries no condition."""
        return self.levels

    @property
    def vocab_size(self) -> int:
        """Tokens that the network can read; it predicts the first `levels` of them."""
        return self.levels + 1 + self.conditions

    @property
    def planes(self) -> int:
        """Input planes: the pixel's encoding and a plane of ones, which tells the image from its border."""
        return (self.levels if self.one_hot else 1) + 1

    @property
    def condition_width(self) -> int:
        """What a block adds its condition to: both halves of each gate, or the features of the k x k convolution."""
        if self.stacks == 2:
            return 4 * self.channels
        return self.channels if self.gated else self.channels // 2

    @property
    def label(self) -> str:
        """What the model card calls the architecture, such as `Gated PixelCNN 6x64`."""
        design = "Two-stack gated " if self.stacks == 2 else "Gated " if self.gated else ""
        return f"{design}PixelCNN {self.blocks}x{self.channels}"


class MaskedConv2d(nn.Conv2d):
    """A convolution that sees only pixels before the current one in raster order (type A) or up to it (type B).

    van den Oord, Kalchbrenner, Kavukcuoglu: Pixel Recurrent Neural Networks, 2016, section 3.4.
    """

    mask: Tensor

    def __init__(self, mask: Literal["A", "B"], inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        seen = torch.zeros(kernel, kernel)
        seen[: kernel // 2] = 1
        seen[kernel // 2, : kernel // 2 + (mask == "B")] = 1
        self.register_buffer("mask", seen, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """float32[batch, inputs, height, width] -> float32[batch, outputs, height, width]."""
        return functional.conv2d(image, self.weight * self.mask, self.bias, padding=self.padding)


class Block(nn.Module):
    """Residual block: 1x1 to half the channels, masked k x k, 1x1 back.

    Plain: figure 5 of van den Oord et al., 2016, ReLU before each convolution. Gated: tanh(a) * sigmoid(b), the
    activation of van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016, section 2.3.
    """

    def __init__(self, config: PixelCNNConfig) -> None:
        super().__init__()
        half = config.channels // 2
        self.gated = config.gated
        self.reduce = nn.Conv2d(config.channels, half, 1)
        self.masked = MaskedConv2d("B", half, config.condition_width, config.kernel)
        self.expand = nn.Conv2d(half, config.channels, 1)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """Features [batch, channels, h, w] and condition [batch, condition_width, 1, 1] -> [batch, channels, h, w]."""
        inner = self.reduce(features if self.gated else functional.relu(features))
        inner = self.masked(inner if self.gated else functional.relu(inner)) + condition
        return features + self.expand(self.activate(inner))

    def activate(self, inner: Tensor) -> Tensor:
        """Gate or ReLU; either way half the channels come out."""
        if not self.gated:
            return functional.relu(inner)
        signal, gate = inner.chunk(2, dim=1)
        return torch.tanh(signal) * torch.sigmoid(gate)


def level_encoding(config: PixelCNNConfig) -> Tensor:
    """float32[levels, planes]: what the first convolution sees of each level."""
    levels = config.levels
    pixels = torch.eye(levels) if config.one_hot else torch.linspace(0, 1, levels)[:, None]
    return torch.cat([pixels, torch.ones(levels, 1)], dim=1)


class PixelCNN(nn.Module):
    """Type A 7x7 convolution, residual blocks, two 1x1 layers; learned row, column and condition biases."""

    encoding: Tensor

    def __init__(self, config: PixelCNNConfig) -> None:
        super().__init__()
        self.config = config
        self.input = MaskedConv2d("A", config.planes, config.channels, 7)
        self.rows = nn.Parameter(torch.zeros(config.height, config.channels))
        self.columns = nn.Parameter(torch.zeros(config.width, config.channels))
        self.condition = nn.Parameter(torch.zeros(config.conditions, config.blocks * config.condition_width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.head = nn.Conv2d(config.channels, config.head, 1)
        self.output = nn.Conv2d(config.head, config.levels, 1)
        self.register_buffer("encoding", level_encoding(config), persistent=False)

    def encode(self, pixels: Tensor) -> Tensor:
        """int64[batch, h, w] -> float32[batch, planes, h, w]: what the first convolution sees."""
        return functional.embedding(pixels, self.encoding).permute(0, 3, 1, 2)

    def forward(self, planes: Tensor, conditions: Tensor) -> Tensor:
        """Logits of every pixel given those before it.

        planes: float32[batch, planes, height, width], of `encode`. conditions: float32[batch, conditions], 1 where a
        condition holds. Returns float32[batch, levels, height, width].
        """
        features = self.input(planes)
        features = features + self.rows.T[:, :, None] + self.columns.T[:, None, :]
        biases = (conditions @ self.condition)[:, :, None, None].chunk(self.config.blocks, dim=1)
        for block, bias in zip(self.blocks, biases, strict=True):
            features = block(features, bias)
        return self.output(functional.relu(self.head(functional.relu(features))))
