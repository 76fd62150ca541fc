"""The PixelCNN of a book: Foster, Generative Deep Learning, 2nd edition, 2023, chapter 5."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.pixelcnn import MaskedConv2d


@dataclass(frozen=True)
class BookConfig:
    """Sizes of the book's network. Token ids: pixel levels, then `start`; it takes no condition."""

    height: int
    width: int
    levels: int
    filters: int = 128
    blocks: int = 5

    @property
    def conditions(self) -> int:
        """None."""
        return 0

    @property
    def start(self) -> int:
        """The token before the first pixel."""
        return self.levels

    @property
    def vocab_size(self) -> int:
        """Tokens that the network can read; it predicts the first `levels` of them."""
        return self.levels + 1

    @property
    def label(self) -> str:
        """What the model card calls the architecture, such as `PixelCNN 5x128`."""
        return f"PixelCNN {self.blocks}x{self.filters}"


class BookBlock(nn.Module):
    """A residual block: 1x1 to half the filters, masked 3x3, 1x1 back, a ReLU after each."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(filters, filters // 2, 1)
        self.masked = MaskedConv2d("B", filters // 2, filters // 2, 3)
        self.expand = nn.Conv2d(filters // 2, filters, 1)

    def forward(self, features: Tensor) -> Tensor:
        """float32[batch, filters, height, width] -> the same."""
        inner = functional.relu(self.reduce(features))
        inner = functional.relu(self.masked(inner))
        return features + functional.relu(self.expand(inner))


class BookPixelCNN(nn.Module):
    """Masked 7x7 of type A, residual blocks, two masked 1x1 of type B, each with a ReLU, and the levels' logits.

    It reads level / levels, knows nothing of positions, and takes no condition.
    """

    encoding: Tensor

    def __init__(self, config: BookConfig) -> None:
        super().__init__()
        self.config = config
        filters, levels = config.filters, config.levels
        self.input = MaskedConv2d("A", 1, filters, 7)
        self.blocks = nn.ModuleList(BookBlock(filters) for _ in range(config.blocks))
        self.heads = nn.ModuleList(MaskedConv2d("B", filters, filters, 1) for _ in range(2))
        self.output = nn.Conv2d(filters, levels, 1)
        self.register_buffer("encoding", torch.arange(levels)[:, None] / levels, persistent=False)
        for module in self.modules():  # as Keras does, with which the book's figures were reached
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def encode(self, pixels: Tensor) -> Tensor:
        """int64[batch, h, w] -> float32[batch, 1, h, w]: what the first convolution sees."""
        return functional.embedding(pixels, self.encoding).permute(0, 3, 1, 2)

    def forward(self, planes: Tensor, conditions: Tensor) -> Tensor:
        """Logits float32[batch, levels, height, width] of every pixel given those before it.

        planes: float32[batch, 1, height, width], of `encode`. conditions: [batch, 0].
        """
        del conditions
        features = functional.relu(self.input(planes))
        for block in self.blocks:
            features = block(features)
        for head in self.heads:
            features = functional.relu(head(features))
        logits: Tensor = self.output(features)
        return logits
