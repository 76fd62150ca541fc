"""A mixture of logistic distributions over the values of a pixel, as logits of its levels.

Salimans, Karpathy, Chen, Kingma: PixelCNN++, 2017, equations 1 to 3: each value gets the probability of its bin, the
first and the last reach to infinity; the means of green and blue depend on the values of the channels before them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LEVELS = 256
_HALF = 1 / 255
"""Half of a bin, for values in [-1, 1]."""
_MIN_LOG_SCALE = -7.0
_EDGE = 0.999


class LogisticMixture(nn.Module):
    """Parameters and the pixels themselves to logits; those of a channel know the channels before it."""

    values: Tensor

    def __init__(self, components: int, channels: int) -> None:
        super().__init__()
        self.components, self.channels = components, channels
        self.register_buffer("values", torch.linspace(-1, 1, LEVELS)[:, None, None], persistent=False)

    def forward(self, parameters: Tensor, pixels: Tensor) -> Tensor:
        """Log-probabilities of every level.

        parameters: [batch, components * (1 + 3 * channels), h, w], or [batch, 3 * components, h, w] for one channel.
        pixels: [batch, channels, h, w] in [-1, 1]. Returns [batch, 256, h, w] or [batch, 256, channels, h, w].
        """
        count = self.components
        weights = functional.log_softmax(parameters[:, :count], dim=1)
        per_channel = (3 if self.channels > 1 else 2) * count
        logits = []
        for channel in range(self.channels):
            first = count + channel * per_channel
            mean, log_scale = parameters[:, first : first + count], parameters[:, first + count : first + 2 * count]
            mean = mean + self._from_earlier(parameters, pixels, channel)
            log_scale = log_scale.clamp(min=_MIN_LOG_SCALE)
            every = log_probability(self.values.to(mean), mean[:, :, None], log_scale[:, :, None])
            logits.append(torch.logsumexp(weights[:, :, None] + every, dim=1))
            own = log_probability(pixels[:, channel : channel + 1], mean, log_scale)
            weights = functional.log_softmax(weights + own, dim=1)  # what the channel says of the components
        return logits[0] if self.channels == 1 else torch.stack(logits, dim=2)

    def _from_earlier(self, parameters: Tensor, pixels: Tensor, channel: int) -> Tensor | float:
        """What the channels before add to a channel's means."""
        if channel == 0:
            return 0.0
        count, added = self.components, []
        for earlier in range(channel):
            which = 0 if channel == 1 else 1 + earlier
            first = count + which * 3 * count + 2 * count
            added.append(torch.tanh(parameters[:, first : first + count]) * pixels[:, earlier : earlier + 1])
        return sum(added[1:], added[0])


def log_probability(value: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Of the bin around a value in [-1, 1], under a logistic distribution; shapes by broadcasting.

    Between the bin's ends a and b, sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)): as logarithms,
    exact however small it is.
    """
    centred, inverse = value - mean, torch.exp(-log_scale)
    below_end = -functional.softplus(-inverse * (centred + _HALF))
    above_start = -functional.softplus(inverse * (centred - _HALF))
    half = inverse * _HALF
    found = below_end + above_start + torch.log(2 * torch.sinh(half)) - half
    found = torch.where(value < -_EDGE, below_end, found)
    return torch.where(value > _EDGE, above_start, found)
