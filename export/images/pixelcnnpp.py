"""The network of PixelCNN++: streams over the pixels above, and above and to the left, at three resolutions.

Salimans, Karpathy, Chen, Kingma: PixelCNN++, 2017, section 2. Convolutions see only what comes before by being padded
on one side; the first ones are shifted by a row or a column.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from tui_gen.errors import TuiGenError

from ..assumptions import OF_TEXTS, Assumptions
from ..checkpoints.checkpoint import Checkpoint, without_weight_norm
from ..image_network import ImageNetwork
from ..reader import Reading, ReadOptions
from .input_output import LEVELS, LogisticMixture, check_levels, is_mixture, plane_per_channel
from .layers import Conv, Convolution, refuse
from .streaming import reading_of

_PARTS = ("u_init", "ul_init", "up_layers", "down_layers", "nin_out")
Streams = tuple[Tensor, Tensor]
"""The streams of what is above, and of what is above or to the left."""


def read_pixelcnnpp(checkpoint: Checkpoint, options: ReadOptions) -> Reading | None:
    """The reading of such a network; None for any other."""
    names = {name.partition(".")[0] for name in checkpoint.tensors}
    if not names >= set(_PARTS):
        return None
    weights, assumptions = CheckpointWeights(without_weight_norm(checkpoint.tensors)), Assumptions(options, checkpoint)
    module = PixelCNNpp(weights)
    unknown = sorted(set(weights.tensors) - weights.used)
    if unknown:
        refuse(f"it is a PixelCNN++ with tensors whose use is not known: {', '.join(unknown[:5])}")
    if module.channels not in (1, 3):
        refuse(f"it is a PixelCNN++ over {module.channels} channels, which are neither grey nor colour")
    rows = module.last.weight.shape[0]
    if not is_mixture(rows, module.channels):
        refuse(f"it is a PixelCNN++ that puts out {rows} numbers per pixel, which are no mixture of logistics")
    check_levels(assumptions)
    if options.scaling not in (None, "-1..1"):
        raise TuiGenError(f"--scaling {options.scaling} does not fit: its mixture is over values from -1 to 1")
    size, scaling = assumptions.size(), assumptions.scaling(LEVELS, "-1..1")
    label = f"PixelCNN++ {module.first_above.weight.shape[0]}"
    encoding = plane_per_channel(scaling, module.channels)
    network = ImageNetwork(module.eval(), encoding, *size, LEVELS, module.channels, label=label)
    assumptions.check_all_used(OF_TEXTS)
    note = f"a mixture of {module.mixture.components} logistics; slow, for its strides need the whole image per token"
    return reading_of(network, assumptions, notes=[note])


class PixelCNNpp(nn.Module):
    """Both passes; forward(pixels [batch, channels, h, w] in [-1, 1]) -> log-probabilities of the levels."""

    def __init__(self, weights: CheckpointWeights) -> None:
        super().__init__()
        self.first_above = _convolution(weights, "u_init", right=False, move="down")
        beside = (_convolution(weights, f"ul_init.{at}", right=bool(at), move=("down", "right")[at]) for at in range(2))
        self.first_beside = nn.ModuleList(beside)
        scales = weights.count("up_layers.")
        self.up = nn.ModuleList(Pass(weights, f"up_layers.{scale}", down=False) for scale in range(scales))
        self.down = nn.ModuleList(Pass(weights, f"down_layers.{scale}", down=True) for scale in range(scales))
        self.smaller = nn.ModuleList(Resize(weights, "downsize", scale) for scale in range(scales - 1))
        self.larger = nn.ModuleList(Resize(weights, "upsize", scale) for scale in range(scales - 1))
        self.last = Pointwise(weights, "nin_out")
        self.channels = self.first_above.weight.shape[1] - 1
        rows = self.last.weight.shape[0]
        self.mixture = LogisticMixture(rows // (10 if self.channels == 3 else 3), self.channels)

    def forward(self, pixels: Tensor) -> Tensor:
        """See the class."""
        return self.at_each_place(self.over_the_image(pixels), pixels)

    def at_each_place(self, features: Tensor, pixels: Tensor) -> Tensor:
        """The mixture; the last part of the network, and half of the work where there are many levels."""
        logits: Tensor = self.mixture(self.last(functional.elu(features)), pixels)
        return logits

    def over_the_image(self, pixels: Tensor) -> Tensor:
        """Both passes: what is known of every pixel before its own channels are, [batch, filters, h, w]."""
        image = torch.cat([pixels, torch.ones_like(pixels[:, :1])], dim=1)
        pairs: list[Streams] = [(self.first_above(image), sum(first(image) for first in self.first_beside))]
        for scale, up in enumerate(self.up):
            pairs += up(*pairs[-1])
            if scale < len(self.smaller):
                pairs.append(self.smaller[scale](*pairs[-1]))
        pair = pairs.pop()
        for scale, down in enumerate(self.down):
            pair = down(*pair, pairs)[-1]
            if scale < len(self.larger):
                pair = self.larger[scale](*pair)
        return pair[1]


class Pass(nn.Module):
    """Residual layers of both streams at one scale: above on its own, beside with what above makes.

    On the way down each also reads what the layer opposite made on the way up.
    """

    def __init__(self, weights: CheckpointWeights, name: str, *, down: bool) -> None:
        super().__init__()

        def stream(path: str, *, right: bool, skips: bool) -> nn.ModuleList:
            names = (f"{path}.{layer}" for layer in range(weights.count(f"{path}.")))
            return nn.ModuleList(GatedResidual(weights, layer, right=right, skips=skips) for layer in names)

        self.above = stream(f"{name}.u_stream", right=False, skips=down)
        self.beside = stream(f"{name}.ul_stream", right=True, skips=True)

    def forward(self, above: Tensor, beside: Tensor, opposite: list[Streams] | None = None) -> list[Streams]:
        """Both streams after every layer, [batch, filters, h, w] each; pops what it reads from `opposite`."""
        pairs = []
        for layer_above, layer_beside in zip(self.above, self.beside, strict=True):
            if opposite is None:
                above = layer_above(above)
                beside = layer_beside(beside, above)
            else:
                other_above, other_beside = opposite.pop()
                above = layer_above(above, other_above)
                beside = layer_beside(beside, torch.cat([above, other_beside], dim=1))
            pairs.append((above, beside))
        return pairs


class Resize(nn.Module):
    """Both streams at another scale: the layers `downsize` or `upsize` between two scales."""

    def __init__(self, weights: CheckpointWeights, which: str, index: int) -> None:
        super().__init__()
        above, beside = f"{which}_u_stream.{index}", f"{which}_ul_stream.{index}"
        layer = Enlarged if which == "upsize" else partial(_convolution, stride=2)
        self.above, self.beside = layer(weights, above, right=False), layer(weights, beside, right=True)

    def forward(self, above: Tensor, beside: Tensor) -> Streams:
        """[batch, filters, h, w] each."""
        return self.above(above), self.beside(beside)


class CheckpointWeights:
    """Tensors by name; knows which are used."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors, self.used = tensors, set[str]()

    def take(self, name: str) -> Conv:
        """Weight and bias of a layer. Raises TuiGenError that names what is missing."""
        weight, bias = self.tensors.get(f"{name}.weight"), self.tensors.get(f"{name}.bias")
        if weight is None:
            raise TuiGenError(f"it lacks {name}, which a network of this kind has")
        self.used.update((f"{name}.weight", f"{name}.bias"))
        return Conv(name, weight.float(), None if bias is None else bias.float(), False)

    def count(self, prefix: str) -> int:
        """How many numbered parts there are under a name."""
        numbers = {name.removeprefix(prefix).partition(".")[0] for name in self.tensors if name.startswith(prefix)}
        return len([number for number in numbers if number.isdecimal()])


class ParameterLayer(nn.Module):
    """Weight and bias of a layer of whatever shape."""

    def __init__(self, weights: CheckpointWeights, name: str) -> None:
        super().__init__()
        layer = weights.take(name)
        self.weight = nn.Parameter(layer.weight, requires_grad=False)
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias, requires_grad=False)


def _convolution(weights: CheckpointWeights, name: str, *, right: bool, stride: int = 1, move: str = "") -> Convolution:
    """A convolution over places above, and to both sides or (`right`) to the left, moved `down` or `right` by one."""
    conv = weights.take(f"{name}.conv")
    rows, columns = conv.kernel
    sides = (columns - 1, 0) if right else ((columns - 1) // 2, (columns - 1) // 2)
    shift = {"": (0, 0, 0, 0), "down": (0, 0, 1, -1), "right": (1, -1, 0, 0)}[move]
    return Convolution(conv, pads=(*sides, rows - 1, 0), shift=shift, stride=stride)


class Enlarged(ParameterLayer):
    """A transposed convolution to twice the size, cut so that nothing is seen early."""

    def __init__(self, weights: CheckpointWeights, name: str, *, right: bool) -> None:
        super().__init__(weights, f"{name}.deconv")
        self.right = right

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs, h, w] -> [batch, outputs, 2 h, 2 w]."""
        columns = self.weight.shape[3]
        large = functional.conv_transpose2d(x, self.weight, self.bias, stride=2, output_padding=1)
        left = 0 if self.right else (columns - 1) // 2
        return large[:, :, : 2 * x.shape[2], left : left + 2 * x.shape[3]]


def concatenated_elu(x: Tensor) -> Tensor:
    """ELU of the features and of their negatives, twice as many."""
    return functional.elu(torch.cat([x, -x], dim=1))


class GatedResidual(nn.Module):
    """Two convolutions with a gate at the end, and what another stream or an earlier layer adds in between."""

    def __init__(self, weights: CheckpointWeights, name: str, *, right: bool, skips: bool) -> None:
        super().__init__()
        self.first = _convolution(weights, f"{name}.conv_input", right=right)
        self.second = _convolution(weights, f"{name}.conv_out", right=right)
        self.skip = Pointwise(weights, f"{name}.nin_skip") if skips else None

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """[batch, filters, h, w]; other: as many features, or twice."""
        inner = self.first(concatenated_elu(x))
        if self.skip is not None and other is not None:
            inner = inner + self.skip(concatenated_elu(other))
        signal, gate = self.second(concatenated_elu(inner)).chunk(2, dim=1)
        return x + signal * torch.sigmoid(gate)


class Pointwise(ParameterLayer):
    """A linear layer over the features of each place."""

    def __init__(self, weights: CheckpointWeights, name: str) -> None:
        super().__init__(weights, f"{name}.lin_a")

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs, h, w] -> [batch, outputs, h, w]."""
        return functional.conv2d(x, self.weight[:, :, None, None], self.bias)
