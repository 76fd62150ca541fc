"""Input encoding and output layout of an image network: levels as planes, and its last numbers as logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tui_gen.errors import TuiGenError

from ..assumptions import Assumptions
from ..image_network import ConditionKind, ImageNetwork
from .layers import Conv

COLOURS = 3
LEVELS = 256
_HALF = 1 / 255
"""Half of a bin, for values in [-1, 1]."""
_MIN_LOG_SCALE = -7.0
_EDGE = 0.999


def sort_levels(numbers: Tensor, levels: int, channels: int, *, channels_first: bool) -> Tensor:
    """A last layer's numbers as logits: [batch, levels * channels, h, w] -> [batch, levels[, channels], h, w].

    A single number per channel is the logit of the brighter of two levels. channels_first: whether all levels of red
    come before those of green.
    """
    batch, rows, height, width = numbers.shape
    if rows == channels:
        numbers, channels_first = torch.cat([torch.zeros_like(numbers), numbers], dim=1), False
    if channels == 1:
        return numbers
    if channels_first:
        return numbers.view(batch, channels, levels, height, width).transpose(1, 2)
    return numbers.view(batch, levels, channels, height, width)


class Levels(nn.Module):
    """`sort_levels` at the end of a network."""

    def __init__(self, levels: int, channels: int, *, channels_first: bool = False) -> None:
        super().__init__()
        self.levels, self.channels, self.channels_first = levels, channels, channels_first

    def forward(self, numbers: Tensor) -> Tensor:
        """[batch, rows, h, w] -> logits."""
        return sort_levels(numbers, self.levels, self.channels, channels_first=self.channels_first)


@dataclass(frozen=True)
class InputOutput:
    """What stands before a network's first layer and after its last."""

    channels: int
    levels: int
    encoding: Tensor
    """As `ImageNetwork.encoding`."""
    logits: Levels
    notes: tuple[str, ...] = ()
    """What was inferred from what."""

    def network(self, size: tuple[int, int], module: nn.Module, *, label: str, classes: int = 0) -> ImageNetwork:
        """A module over images of this height and width, whose last layer is `logits`."""
        kind: ConditionKind = "class" if classes else "none"
        return ImageNetwork(
            module.eval(), self.encoding, *size, self.levels, self.channels, kind, conditions=classes, label=label
        )


def read_input_output(
    inputs: int, last: Conv, table: Tensor | None, assumptions: Assumptions, *, scaling: str
) -> InputOutput:
    """From the planes that the first layer reads, the last layer, and an embedding of the levels [levels, planes].

    scaling: what is assumed if levels are numbers. Raises TuiGenError if input and output do not fit together.
    """
    one_hot = table is None and _is_one_hot(inputs, last.outputs, assumptions)
    channels = 1 if one_hot or table is not None else inputs
    if channels not in (1, COLOURS):
        raise TuiGenError(
            f"its first layer reads {inputs} planes, which are neither grey, colour, nor one for each of "
            f"{last.outputs} levels; it can be exported with --factory package.module:function"
        )
    levels = assumptions.levels(last.outputs, channels)
    if table is not None:
        encoding = _table_encoding(table, levels, inputs, assumptions)
    elif one_hot:
        encoding = torch.eye(levels)[None]
    else:
        encoding = plane_per_channel(assumptions.scaling(levels, scaling), channels)
    single = last.outputs == channels
    first = channels > 1 and not single and _channels_first(last, assumptions)
    notes = ["it reads a plane for each level, of which one is 1 (one-hot)"] if one_hot else []
    notes += ["its single number per channel is the logit of the brighter of two levels"] if single else []
    return InputOutput(channels, levels, encoding, Levels(levels, channels, channels_first=first), tuple(notes))


def plane_per_channel(values: Tensor, channels: int) -> Tensor:
    """float32[channels, levels, channels]: each channel's levels [levels] in a plane of its own."""
    encoding = torch.zeros(channels, len(values), channels)
    for channel in range(channels):
        encoding[channel, :, channel] = values
    return encoding


def _is_one_hot(inputs: int, rows: int, assumptions: Assumptions) -> bool:
    """Whether it reads a plane for each level of a single channel."""
    asked = assumptions.options.scaling == "one-hot"
    if asked and inputs != rows:
        raise TuiGenError(f"--scaling one-hot does not fit: it reads {inputs} planes and puts out {rows} levels")
    return asked or (inputs == rows and inputs not in (1, COLOURS))


def _table_encoding(table: Tensor, levels: int, inputs: int, assumptions: Assumptions) -> Tensor:
    if assumptions.options.scaling not in (None, "embedding"):
        raise TuiGenError("--scaling does not fit: the file has an embedding of the levels, which it reads instead")
    if table.shape[1] != inputs or len(table) < levels:
        raise TuiGenError(
            f"its embedding {list(table.shape)} does not fit a network that reads {inputs} planes of {levels} levels"
        )
    return table[None, :levels].contiguous()


def _channels_first(last: Conv, assumptions: Assumptions) -> bool:
    """Whether the levels of red come before those of green: told by which inputs the last layer's rows may see."""
    rows, columns = last.kernel
    inputs = (last.weight[:, :, rows // 2, columns // 2] != 0).sum(1)
    by_level, by_channel = inputs.view(-1, COLOURS), inputs.view(COLOURS, -1).T
    if bool((by_level == by_level[0]).all()) != bool((by_channel == by_channel[0]).all()):
        return bool((by_channel == by_channel[0]).all())
    return ask_channels_first(assumptions)


def ask_channels_first(assumptions: Assumptions) -> bool:
    """Whether the levels of red come before those of green: nothing but the script says it."""
    choices = ("levels-first", "channels-first")
    what = "whether its outputs are sorted by level or by channel first"
    return assumptions.assume("order", choices[0], what, choices=choices) == choices[1]


class LogisticMixture(nn.Module):
    """A mixture of logistics over levels (PixelCNN++, section 2.1); a channel's means depend on those before it."""

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
            weights = functional.log_softmax(weights + own, dim=1)  # the components' posterior, given the channel
        return logits[0] if self.channels == 1 else torch.stack(logits, dim=2)

    def _from_earlier(self, parameters: Tensor, pixels: Tensor, channel: int) -> Tensor | float:
        """What the channels before add to a channel's means."""
        if channel == 0:
            return 0.0
        count, terms = self.components, []
        for earlier in range(channel):
            which = 0 if channel == 1 else 1 + earlier
            first = count + which * 3 * count + 2 * count
            terms.append(torch.tanh(parameters[:, first : first + count]) * pixels[:, earlier : earlier + 1])
        return sum(terms[1:], terms[0])


def log_probability(value: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Of the bin around a value in [-1, 1], under a logistic distribution; shapes by broadcasting.

    Between the bin's ends a and b, sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)): as logarithms,
    exact however small it is.
    """
    distance, inverse = value - mean, torch.exp(-log_scale)
    below_end = -functional.softplus(-inverse * (distance + _HALF))
    above_start = -functional.softplus(inverse * (distance - _HALF))
    half = inverse * _HALF
    inside = below_end + above_start + torch.log(2 * torch.sinh(half)) - half
    inside = torch.where(value < -_EDGE, below_end, inside)
    return torch.where(value > _EDGE, above_start, inside)
