"""Reads PixelCNN++: an up pass and a down pass over two streams, and a mixture of logistics at the end."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.images.ends import plane_per_channel
from export.images.exportable import reading_of
from export.images.layers import without_weight_norm
from export.images.mixture import LEVELS, LogisticMixture
from export.images.network import ImageNetwork
from export.images.shifted import Enlarged, GatedResidual, Pointwise, Shifted, Weights
from export.images.telling import Answers
from export.loading.contents import Checkpoint
from export.reading import Reading, ReadOptions
from tui_gen.errors import TuiGenError

_PARTS = ("u_init", "ul_init", "up_layers", "down_layers", "nin_out")
Pair = tuple[Tensor, Tensor]
"""The streams of what is above, and of what is above or to the left."""


class PixelCNNpp(nn.Module):
    """Both passes; forward(pixels [batch, channels, h, w] in [-1, 1]) -> log-probabilities of the levels."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.first_above = Shifted(weights, "u_init", right=False, move="down")
        self.first_beside = nn.ModuleList(
            [
                Shifted(weights, "ul_init.0", right=False, move="down"),
                Shifted(weights, "ul_init.1", right=True, move="right"),
            ]
        )
        scales = weights.count("up_layers.")
        self.up = nn.ModuleList(UpPass(weights, f"up_layers.{scale}") for scale in range(scales))
        self.down = nn.ModuleList(DownPass(weights, f"down_layers.{scale}") for scale in range(scales))
        self.smaller = nn.ModuleList(_resized(weights, "downsize", scale) for scale in range(scales - 1))
        self.larger = nn.ModuleList(_resized(weights, "upsize", scale) for scale in range(scales - 1))
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
        kept: list[Pair] = [(self.first_above(image), sum(first(image) for first in self.first_beside))]
        for scale, up in enumerate(self.up):
            kept += up(*kept[-1])
            if scale < len(self.smaller):
                kept.append(self.smaller[scale](*kept[-1]))
        pair = kept.pop()
        for scale, down in enumerate(self.down):
            pair = down(*pair, kept)
            if scale < len(self.larger):
                pair = self.larger[scale](*pair)
        return pair[1]


class UpPass(nn.Module):
    """Residual layers at one scale: above on its own, beside with what above makes."""

    def __init__(self, weights: Weights, name: str) -> None:
        super().__init__()
        self.above, self.beside = _streams(weights, name, above_skips=False)

    def forward(self, above: Tensor, beside: Tensor) -> list[Pair]:
        """Both streams after every layer, [batch, filters, h, w] each."""
        made = []
        for up, left in zip(self.above, self.beside, strict=True):
            above = up(above)
            beside = left(beside, above)
            made.append((above, beside))
        return made


class DownPass(nn.Module):
    """Residual layers at one scale, each with what the up pass kept of the layer opposite."""

    def __init__(self, weights: Weights, name: str) -> None:
        super().__init__()
        self.above, self.beside = _streams(weights, name, above_skips=True)

    def forward(self, above: Tensor, beside: Tensor, kept: list[Pair]) -> Pair:
        """Both streams after the last layer; takes what it uses from the end of `kept`."""
        for up, left in zip(self.above, self.beside, strict=True):
            opposite = kept.pop()
            above = up(above, opposite[0])
            beside = left(beside, torch.cat([above, opposite[1]], dim=1))
        return above, beside


class Resized(nn.Module):
    """Both streams at another scale."""

    def __init__(self, above: nn.Module, beside: nn.Module) -> None:
        super().__init__()
        self.above, self.beside = above, beside

    def forward(self, above: Tensor, beside: Tensor) -> Pair:
        """[batch, filters, h, w] each."""
        return self.above(above), self.beside(beside)


def _streams(weights: Weights, name: str, *, above_skips: bool) -> tuple[nn.ModuleList, nn.ModuleList]:
    """The residual layers of both streams at one scale."""

    def stream(which: str, *, right: bool, skips: bool) -> nn.ModuleList:
        names = (f"{name}.{which}.{layer}" for layer in range(weights.count(f"{name}.{which}.")))
        return nn.ModuleList(GatedResidual(weights, layer, right=right, skips=skips) for layer in names)

    return stream("u_stream", right=False, skips=above_skips), stream("ul_stream", right=True, skips=True)


def _resized(weights: Weights, which: str, index: int) -> Resized:
    """The layers of both streams between two scales."""
    names = [(f"{which}_{stream}.{index}", stream == "ul_stream") for stream in ("u_stream", "ul_stream")]
    if which == "upsize":
        return Resized(*(Enlarged(weights, name, right=right) for name, right in names))
    return Resized(*(Shifted(weights, name, right=right, stride=2) for name, right in names))


def read_pixelcnnpp(checkpoint: Checkpoint, options: ReadOptions) -> Reading | None:
    """The reading of such a network; None for any other."""
    names = {name.partition(".")[0] for name in checkpoint.tensors}
    if not names >= set(_PARTS):
        return None
    weights, answers = Weights(without_weight_norm(checkpoint.tensors)), Answers(options, checkpoint)
    module = PixelCNNpp(weights)
    left = sorted(set(weights.tensors) - weights.used)
    if left:
        raise TuiGenError(f"it has tensors whose use is not known: {', '.join(left[:5])}")
    if module.channels not in (1, 3):
        raise TuiGenError(f"a PixelCNN++ over {module.channels} channels is not known")
    if options.levels not in (None, LEVELS):
        raise TuiGenError(f"--levels {options.levels} does not fit: its mixture is over {LEVELS} levels")
    height, width = answers.size()
    network = ImageNetwork(
        module.eval(),
        plane_per_channel(answers.scaling(LEVELS, "-1..1"), module.channels),
        height,
        width,
        LEVELS,
        module.channels,
        label=f"PixelCNN++ {module.first_above.weight.shape[0]}",
    )
    answers.check_all_used()
    note = f"a mixture of {module.mixture.components} logistics; slow, for its strides need the whole image per token"
    return reading_of(network, answers, notes=[note])
