"""Single-stack networks of residual blocks: 1x1, masked k x k, 1x1; a first masked layer before, 1x1 layers after.

van den Oord, Kalchbrenner, Kavukcuoglu: Pixel Recurrent Neural Networks, 2016, figure 5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from export.images.chain import Levels, plane_per_channel
from export.images.exportable import reading_of
from export.images.layers import Conv, Layers, centred, raster_mask
from export.images.network import ImageNetwork
from export.images.telling import Answers
from export.reading import Reading

_INDEX = re.compile(r"(^|\.)(\d+)(\.|$)")


@dataclass(frozen=True)
class Blocks:
    """The convolutions of such a network by their roles."""

    first: Conv
    blocks: list[tuple[Conv, Conv, Conv]]
    head: list[Conv]


class Block(nn.Module):
    """Reduces, looks around, expands; an activation before each convolution, or after the first two."""

    def __init__(self, convs: tuple[Conv, Conv, Conv], *, before: bool, residual: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(centred(conv) for conv in convs)
        self.before, self.residual = before, residual

    def forward(self, features: Tensor) -> Tensor:
        """[batch, features, h, w], and the same out."""
        inner = features
        for number, layer in enumerate(self.layers):
            inner = layer(torch.relu(inner) if self.before or number else inner)
        times = {"once": 1, "twice": 2}[self.residual]
        return inner + times * features if self.before else torch.relu(inner + times * features)


class ResidualNet(nn.Module):
    """First layer, blocks, head."""

    def __init__(self, parts: Blocks, blocks: list[Block], levels: Levels, *, before: bool) -> None:
        super().__init__()
        self.first, self.blocks = centred(parts.first), nn.ModuleList(blocks)
        self.head, self.levels, self.before = nn.ModuleList(map(centred, parts.head)), levels, before

    def forward(self, planes: Tensor) -> Tensor:
        """[batch, planes, h, w] -> logits."""
        features = self.first(planes)
        if not self.before:
            features = torch.relu(features)
        for block in self.blocks:
            features = block(features)
        for number, layer in enumerate(self.head):
            features = layer(torch.relu(features) if self.before or number else features)
        logits: Tensor = self.levels(features)
        return logits


def read_residual(layers: Layers, answers: Answers) -> Reading | None:
    """A network of such blocks; None for any other."""
    parts = _roles(layers.convs)
    if parts is None or layers.left or layers.tables or len(layers.parts) != len(layers.convs):
        return None
    before = _activations_come_first(parts)
    channels, rows = parts.first.inputs, parts.head[-1].outputs
    levels = answers.levels(rows, channels)
    notes = ["activations stand before the convolutions" if before else "activations stand after the convolutions"]
    if not before:
        parts, said = _without_stored_biases(parts, answers)
        notes += said
    twice = before and parts.blocks[0][0].name.split(".")[-2].startswith("_")
    residual = answers.assume(
        "residual", "twice" if twice else "once", "how often a block adds its input", choices=("once", "twice")
    )
    parts = _masked(parts, answers)
    blocks = [Block(block, before=before, residual=residual) for block in parts.blocks]
    height, width = answers.size()
    network = ImageNetwork(
        ResidualNet(parts, blocks, Levels(levels, channels, single=rows == 1), before=before).eval(),
        plane_per_channel(answers.scaling(levels, "level/(levels-1)" if before else "level/levels"), channels),
        height,
        width,
        levels,
        channels,
        label=f"PixelCNN {len(blocks)}x{parts.first.outputs}",
    )
    return reading_of(network, answers, notes=notes)


def _roles(convs: list[Conv]) -> Blocks | None:
    """First a layer that looks around, then threes of 1x1, k x k and 1x1 that give back what they took, then 1x1."""
    if len(convs) < 5 or convs[0].pointwise:
        return None
    width, at, blocks = convs[0].outputs, 1, list[tuple[Conv, Conv, Conv]]()
    while at + 2 < len(convs):
        reduce, look, expand = convs[at : at + 3]
        shape = reduce.pointwise and not look.pointwise and expand.pointwise
        if not shape or (reduce.inputs, expand.outputs) != (width, width) or expand.inputs != look.outputs:
            break
        blocks.append((reduce, look, expand))
        at += 3
    head = convs[at:]
    fits = head and head[0].inputs == width and all(conv.pointwise for conv in head)
    return Blocks(convs[0], blocks, head) if blocks and fits else None


def _activations_come_first(parts: Blocks) -> bool:
    """Layers of a Sequential without tensors leave gaps in its numbers: one before the first means an activation."""
    numbers = [int(match[2]) for conv in parts.blocks[0] for match in list(_INDEX.finditer(conv.name))[-1:]]
    return len(numbers) == 3 and numbers == [1, 3, 5]


def _without_stored_biases(parts: Blocks, answers: Answers) -> tuple[Blocks, list[str]]:
    """A masked convolution of its own class may store a bias that its forward pass never adds."""
    masked = [parts.first, *(block[1] for block in parts.blocks), *(conv for conv in parts.head if conv.masked)]
    stored = [conv for conv in masked if conv.masked and conv.bias is not None]
    if not stored:
        return parts, []
    how = answers.assume(
        "masked_bias",
        "ignored",
        "whether its masked convolutions add the bias that they store",
        choices=("ignored", "added"),
    )
    if how == "ignored":
        for conv in stored:
            conv.bias = None
    return parts, [f"the stored biases of {len(stored)} masked convolutions are {how}"]


def _masked(parts: Blocks, answers: Answers) -> Blocks:
    """The same with masks, where the file has none."""
    if parts.first.masked and all(block[1].masked for block in parts.blocks):
        return parts
    answers.assume("masks", "A first, then B", "the masks of its convolutions")
    blocks = [(reduce, raster_mask(look, own=True), expand) for reduce, look, expand in parts.blocks]
    return Blocks(raster_mask(parts.first, own=False), blocks, parts.head)
