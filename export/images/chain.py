"""Networks that are one chain: masked convolutions one after another, with normalisations and activations between."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.images.exportable import reading_of
from export.images.layers import Conv, Convolution, Layers, Norm, centred, chained, raster_mask
from export.images.network import ImageNetwork
from export.images.telling import Answers
from export.loading.contents import Checkpoint
from export.reading import Reading

_ACTIVATIONS = {"relu": nn.ReLU, "elu": nn.ELU, "gelu": nn.GELU, "tanh": nn.Tanh, "leaky_relu": nn.LeakyReLU}
_MODULES = {f"torch.nn.modules.activation.{kind.__name__}": name for name, kind in _ACTIVATIONS.items()}


class Affine(nn.Module):
    """A batch normalisation at rest: features times scale plus shift."""

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.scale = nn.Parameter(norm.scale[:, None, None], requires_grad=False)
        self.shift = nn.Parameter(norm.shift[:, None, None], requires_grad=False)

    def forward(self, image: Tensor) -> Tensor:
        """float32[batch, features, height, width], and the same out."""
        return image * self.scale + self.shift


class Levels(nn.Module):
    """The last layer's numbers per level and channel; a single number is the logit of the brighter of two levels."""

    def __init__(self, levels: int, channels: int, *, single: bool) -> None:
        super().__init__()
        self.levels, self.channels, self.single = levels, channels, single

    def forward(self, logits: Tensor) -> Tensor:
        """[batch, levels * channels, h, w] -> [batch, levels, h, w], or [batch, levels, channels, h, w]."""
        if self.single:
            return torch.cat([torch.zeros_like(logits), logits], dim=1)
        if self.channels == 1:
            return logits
        return logits.view(logits.shape[0], self.levels, self.channels, *logits.shape[2:])


def read_chain(layers: Layers, answers: Answers) -> Reading | None:
    """A network whose convolutions follow one another in the order of the file; None for any other."""
    convs = layers.convs
    spatial = [conv for conv in convs if not conv.pointwise]
    if not spatial or layers.left or layers.tables or not chained(convs) or spatial[0] is not convs[0]:
        return None
    if any(rows != columns or rows % 2 == 0 for rows, columns in (conv.kernel for conv in spatial)):
        return None
    channels, rows = convs[0].inputs, convs[-1].outputs
    levels = answers.levels(rows, channels)
    parts = [*_layers(layers, answers), Levels(levels, channels, single=rows == 1)]
    height, width = answers.size()
    network = ImageNetwork(
        nn.Sequential(*parts).eval(),
        plane_per_channel(answers.scaling(levels, "level/(levels-1)"), channels),
        height,
        width,
        levels,
        channels,
        label=f"PixelCNN {len(convs)}x{convs[0].outputs}",
    )
    return reading_of(network, answers, notes=[f"{len(convs)} convolutions in a chain, in the order of the file"])


def plane_per_channel(values: Tensor, channels: int) -> Tensor:
    """float32[channels, levels, channels]: each channel's levels [levels] in a plane of its own."""
    encoding = torch.zeros(channels, len(values), channels)
    for channel in range(channels):
        encoding[channel, :, channel] = values
    return encoding


def _layers(layers: Layers, answers: Answers) -> list[nn.Module]:
    """The chain, with activations where a pickled module has them, or else after all convolutions but the last."""
    known = _known_activations(answers.checkpoint)
    default = (
        ""
        if known
        else answers.assume("activation", "relu", "the activation between its layers", choices=(*_ACTIVATIONS,))
    )
    made: list[nn.Module] = []
    for index, part in enumerate(layers.parts):
        made.append(Affine(part) if isinstance(part, Norm) else _conv(part, part is layers.convs[0], answers))
        following = layers.parts[index + 1] if index + 1 < len(layers.parts) else None
        if known:
            made += [_ACTIVATIONS[name]() for name in known.get(part.name, ())]
        elif isinstance(following, Conv):
            made.append(_ACTIVATIONS[default]())
    return made


def _conv(conv: Conv, first: bool, answers: Answers) -> Convolution:
    if conv.masked or conv.pointwise:
        return centred(conv)
    answers.assume("masks", "A first, then B", "the masks of its convolutions")
    return centred(raster_mask(conv, own=not first))


def _known_activations(checkpoint: Checkpoint) -> dict[str, list[str]]:
    """Of a pickled Sequential: the activations that follow each layer with tensors, by the layer's name."""
    found: dict[str, list[str]] = {}
    before = ""
    for path, facts in checkpoint.modules.items():
        if facts.kind in _MODULES:
            found.setdefault(before, []).append(_MODULES[facts.kind])
        elif any(name.startswith(f"{path}.") for name in checkpoint.tensors) and path:
            before = path
    return found
