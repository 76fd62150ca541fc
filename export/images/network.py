"""A network over whole images, with what it takes to play it one token at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

ConditionKind = Literal["none", "class", "multi_hot"]


@dataclass(frozen=True)
class ImageNetwork:
    """Predicts every pixel of an image from those before it in raster order; not necessarily our own design.

    Token ids: levels 0 to levels - 1, then `start`, then the conditions, then `warm_up` (which only some step
    functions read). An image is height * width * channels tokens: row by row, pixel by pixel, channel by channel.
    """

    module: nn.Module
    """forward(planes) or forward(planes, condition), in eval mode, any batch.

    planes: float32[batch, planes, height, width]. condition, of the kind `condition`: `class` int64[batch], `multi_hot`
    float32[batch, conditions]. Returns logits float32[batch, levels, height, width], or float32[batch, levels,
    channels, height, width] when there are several channels.
    """
    encoding: Tensor
    """float32[channels, levels, planes]: what the module sees of each level of each channel; channels add up."""
    height: int
    width: int
    levels: int
    channels: int = 1
    """Tokens per pixel: 1, or 3 for red, green, blue."""
    condition: ConditionKind = "none"
    conditions: int = 0
    label: str = "PixelCNN"
    """What the model card calls the architecture."""

    @property
    def start(self) -> int:
        """The token before the first pixel; it carries no condition."""
        return self.levels

    @property
    def warm_up(self) -> int:
        """The token that a step function which computes ahead reads before the first pixel, once per position."""
        return self.levels + 1 + self.conditions

    @property
    def area(self) -> int:
        """Tokens of an image."""
        return self.height * self.width * self.channels

    def planes(self, pixels: Tensor) -> Tensor:
        """int64[batch, area] -> float32[batch, planes, height, width]: what the module sees."""
        values = pixels.view(len(pixels), self.height * self.width, self.channels)
        seen = sum(self.encoding[channel][values[:, :, channel]] for channel in range(self.channels))
        assert isinstance(seen, Tensor)
        return seen.transpose(1, 2).reshape(len(pixels), -1, self.height, self.width)

    @torch.no_grad()
    def whole_logits(self, pixels: Tensor, condition: Tensor | None = None) -> Tensor:
        """Every token's logits by one pass over whole images: int64[batch, area] -> float32[batch, area, levels]."""
        arguments = () if condition is None else (condition,)
        logits = self.module(self.planes(pixels), *arguments)
        if self.channels > 1:
            logits = logits.permute(0, 1, 3, 4, 2)  # pixel by pixel, channel by channel
        return logits.flatten(2).transpose(1, 2)
