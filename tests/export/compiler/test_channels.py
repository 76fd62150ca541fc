"""Red, green and blue come one after another; each may see those before it in its own pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.export.compiler.nets import Masked, assert_streams, image_network, raster

LEVELS = 5


def _by_channel(inputs: int, outputs: int, size: int, *, own: bool) -> Masked:
    """Features belong to red, green or blue by thirds; in its own pixel each sees those before it, or also its own."""
    mask = raster(size, own=False).expand(outputs, inputs, size, size).clone()
    source, target = torch.arange(inputs) * 3 // inputs, torch.arange(outputs)[:, None] * 3 // outputs
    mask[:, :, size // 2, size // 2] = ((source <= target) if own else (source < target)).float()
    return Masked(inputs, outputs, mask)


class Coloured(nn.Module):
    """One stack with masks by channel."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = _by_channel(3, 12, 5, own=False), _by_channel(12, 12, 3, own=True)
        self.last = _by_channel(12, 3 * LEVELS, 1, own=True)

    def forward(self, image: Tensor) -> Tensor:
        features = torch.relu(self.first(image))
        logits = self.last(features + torch.tanh(self.second(features)))
        return logits.view(len(image), 3, LEVELS, *image.shape[2:]).transpose(1, 2)


class ColouredTwoStacks(nn.Module):
    """A vertical stack that runs ahead, beside a pixel that comes in three parts."""

    def __init__(self) -> None:
        super().__init__()
        self.above, self.more = nn.Conv2d(3, 12, (2, 5)), nn.Conv2d(12, 12, (2, 3))
        self.link, self.own = nn.Conv2d(12, 12, 1), _by_channel(3, 12, 1, own=False)
        self.beside, self.last = _by_channel(12, 12, 3, own=True), _by_channel(12, 3 * LEVELS, 1, own=True)

    def forward(self, image: Tensor) -> Tensor:
        above = torch.tanh(self.above(functional.pad(image, (2, 2, 2, 0))[:, :, :-1]))
        above = torch.relu(self.more(functional.pad(above, (1, 1, 1, 0))))
        features = self.own(image) + self.link(above)
        logits = self.last(features + torch.tanh(self.beside(features)))
        return logits.view(len(image), 3, LEVELS, *image.shape[2:]).transpose(1, 2)


def _encoding() -> Tensor:
    """Each channel in its own plane."""
    encoding = torch.zeros(3, LEVELS, 3)
    for channel in range(3):
        encoding[channel, :, channel] = torch.linspace(-1, 1, LEVELS)
    return encoding


def test_three_tokens_make_a_pixel() -> None:
    torch.manual_seed(0)
    network = image_network(Coloured(), 5, 6, levels=LEVELS, channels=3, encoding=_encoding())
    assert assert_streams(network).warm_up == 0


def test_a_stack_may_run_ahead_of_a_pixel_in_three_parts() -> None:
    torch.manual_seed(1)
    network = image_network(ColouredTwoStacks(), 5, 6, levels=LEVELS, channels=3, encoding=_encoding())
    assert assert_streams(network).warm_up == 1
