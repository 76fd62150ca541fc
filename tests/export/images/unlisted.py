"""Image networks in layouts that no reader was written for, with their own forward passes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.export.images.scripts import MaskedConv, gate, normalise


class Attributes(nn.Module):
    """Layers as attributes; masks that are made anew in every pass, and are not in the file."""

    def __init__(self, width: int = 6, levels: int = 4) -> None:
        super().__init__()
        self.conv_a, self.norm_a = nn.Conv2d(1, width, 5, padding=2), nn.BatchNorm2d(width)
        self.conv_b, self.norm_b = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.final = nn.Conv2d(width, levels, 1)
        normalise(self)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm, own in ((self.conv_a, self.norm_a, 0), (self.conv_b, self.norm_b, 1)):
            weight, middle = conv.weight.clone(), conv.kernel_size[0] // 2
            weight[:, :, middle, middle + own :] = 0
            weight[:, :, middle + 1 :] = 0
            x = torch.relu(norm(functional.conv2d(x, weight, conv.bias, padding=middle)))
        logits: Tensor = self.final(x)
        return logits


def activation_before_norm(width: int = 6) -> nn.Module:
    layers: list[nn.Module] = []
    for index in range(3):
        conv = MaskedConv("B" if index else "A", width if index else 1, width, 3)
        layers += [conv, nn.ReLU(), nn.BatchNorm2d(width)]
    net = nn.Sequential(*layers, nn.Conv2d(width, 5, 1))
    normalise(net)
    return net


def without_activation_at_one_place() -> nn.Module:
    """Two layers that follow one another directly, in a Sequential that has activations elsewhere."""
    return nn.Sequential(
        MaskedConv("A", 1, 6, 3), nn.ReLU(), MaskedConv("B", 6, 6, 3), nn.Conv2d(6, 6, 1), nn.ReLU(), nn.Conv2d(6, 4, 1)
    )


def one_hot(levels: int = 5) -> nn.Module:
    return nn.Sequential(MaskedConv("A", levels, 6, 3), nn.ReLU(), nn.Conv2d(6, levels, 1))


def colour_bits() -> nn.Module:
    """A logit for each of three channels."""
    return nn.Sequential(MaskedConv("A", 3, 6, 3), nn.ReLU(), nn.Conv2d(6, 3, 1))


class Codes(nn.Module):
    """An embedding before a chain."""

    def __init__(self, levels: int = 7, width: int = 6) -> None:
        super().__init__()
        self.codebook = nn.Embedding(levels, width)
        self.body = nn.Sequential(
            MaskedConv("A", width, width, 3), nn.ReLU(), MaskedConv("B", width, width, 3), nn.ReLU()
        )
        self.to_logits = nn.Conv2d(width, levels, 1)

    def forward(self, codes: Tensor) -> Tensor:
        logits: Tensor = self.to_logits(self.body(self.codebook(codes).permute(0, 3, 1, 2)))
        return logits


class Inner(nn.Module):
    """A module that adds its input."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


def normalised_blocks(width: int = 8) -> nn.Module:
    """Activation, convolution, normalisation, three times in a block."""

    def block() -> nn.Module:
        layers: list[nn.Module] = []
        for conv in (
            MaskedConv("B", width, 4, 1),
            MaskedConv("B", 4, 4, 3),
            MaskedConv("B", 4, width, 1),
        ):
            layers += [nn.ReLU(), conv, nn.BatchNorm2d(conv.out_channels)]
        return Inner(layers)

    net = nn.Sequential(MaskedConv("A", 1, width, 7), nn.BatchNorm2d(width), block(), block(), nn.ReLU())
    net.append(MaskedConv("B", width, 4, 1))
    normalise(net)
    return net


def blocks_within_activations(width: int = 8) -> nn.Module:
    """Blocks whose last layer is an activation, with a normalisation and an activation after each."""

    def block() -> list[nn.Module]:
        convs = MaskedConv("B", width, 4, 1), MaskedConv("B", 4, 4, 3), MaskedConv("B", 4, width, 1)
        inner = Inner([layer for conv in convs for layer in (conv, nn.ReLU())])
        return [inner, nn.BatchNorm2d(width), nn.ReLU()]

    first = [MaskedConv("A", 1, width, 5), nn.BatchNorm2d(width), nn.ReLU()]
    net = nn.Sequential(*first, *block(), *block(), MaskedConv("B", width, 4, 1))
    normalise(net)
    return net


class Homework(nn.Module):
    """Colour, channels before levels; an activation before every block, and one within."""

    def __init__(self, width: int = 6, levels: int = 4) -> None:
        super().__init__()
        self.levels = levels
        layers: list[nn.Module] = [MaskedConv("A", 3, width, 7)]
        for _ in range(2):
            convs = MaskedConv("B", width, 3, 1), MaskedConv("B", 3, 3, 3), MaskedConv("B", 3, width, 1)
            layers += [nn.ReLU(), Inner([layer for conv in convs for layer in (nn.ReLU(), conv)])]
        layers += [nn.ReLU(), MaskedConv("B", width, 9, 1), nn.ReLU(), MaskedConv("B", 9, 3 * levels, 1)]
        self.net = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.net:
            x = layer(x)
        return x.view(len(x), 3, self.levels, *x.shape[2:]).transpose(1, 2)


class _GatedInner(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = MaskedConv("B", width, 2 * width, 3)
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(gate(self.conv(x)))


class GatedSingle(nn.Module):
    """One stack with gates."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.stem = MaskedConv("A", 1, width, 5)
        self.res_blocks = nn.ModuleList(_GatedInner(width) for _ in range(2))
        self.out = nn.Conv2d(width, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.res_blocks:
            x = block(x)
        logits: Tensor = self.out(torch.relu(x))
        return logits


class _RasterStacks(nn.Module):
    """Whole kernels, masked in every pass; names of another script."""

    def __init__(self, inputs: int, width: int, side: int, *, first: bool) -> None:
        super().__init__()
        self.first, self.side = first, side
        self.vconv = nn.Conv2d(inputs, 2 * width, side, padding=side // 2)
        self.hconv = nn.Conv2d(inputs, 2 * width, (1, side), padding=(0, side // 2))
        self.v_to_h_conv, self.h_to_h_conv = nn.Conv2d(2 * width, 2 * width, 1), nn.Conv2d(width, width, 1)

    def forward(self, v: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        tall, wide, middle = self.vconv.weight.clone(), self.hconv.weight.clone(), self.side // 2
        tall[:, :, middle + (not self.first) :] = 0
        wide[:, :, :, middle + (not self.first) :] = 0
        up = functional.conv2d(v, tall, self.vconv.bias, padding=middle)
        beside = functional.conv2d(h, wide, self.hconv.bias, padding=(0, middle))
        out = self.h_to_h_conv(gate(self.v_to_h_conv(up) + beside))
        return gate(up), out if self.first else out + h


class RasterStacks(nn.Module):
    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _RasterStacks(6 if index else 1, width, 3 if index else 5, first=not index) for index in range(3)
        )
        self.out_conv = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(True), nn.Conv2d(width, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        v = h = x
        for layer in self.layers:
            v, h = layer(v, h)
        logits: Tensor = self.out_conv(h)
        return logits


class _AboveLayer(nn.Module):
    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.verticalConv = nn.Conv2d(width, 2 * width, (side // 2, side), padding=side // 2)
        self.horizontalConv = nn.Conv2d(width, 2 * width, (1, side // 2 + 1), padding=(0, side // 2))
        self.connect, self.output = nn.Conv2d(2 * width, 2 * width, 1), nn.Conv2d(width, width, 1)

    def forward(self, v: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        rows, columns = v.shape[2:]
        up = self.verticalConv(v)[:, :, :rows, :columns]
        beside = self.horizontalConv(h)[:, :, :, :columns]
        return gate(up), self.output(gate(self.connect(up) + beside)) + h


class AfterStem(nn.Module):
    """An ordinary masked convolution, then two stacks whose vertical kernels are wholly above."""

    def __init__(self, width: int = 6, side: int = 5) -> None:
        super().__init__()
        self.entry = nn.Sequential(MaskedConv("A", 1, width, 7), nn.ReLU())
        self.gated = nn.ModuleList(_AboveLayer(width, side) for _ in range(2))
        self.exit = nn.Sequential(nn.ReLU(), nn.Conv2d(width, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        v = h = self.entry(x)
        for layer in self.gated:
            v, h = layer(v, h)
        logits: Tensor = self.exit(h)
        return logits


class _ShiftedLayer(nn.Module):
    def __init__(self, inputs: int, width: int, side: int, *, first: bool) -> None:
        super().__init__()
        self.first, self.half = first, side // 2
        self.v_conv = nn.Conv2d(inputs, 2 * width, (self.half + 1, side))
        self.vh_conv = nn.Conv2d(2 * width, 2 * width, 1)
        self.h_conv = nn.Conv2d(inputs, 2 * width, (1, self.half + 1))
        self.h_conv_res = nn.Conv2d(width, width, 1)

    def forward(self, v: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        half = self.half
        up = functional.pad(self.v_conv(functional.pad(v, (half, half, half, 0))), (0, 0, 1, -1))
        beside = self.h_conv(functional.pad(h, (half, 0, 0, 0)))
        if self.first:
            beside = functional.pad(beside, (1, -1, 0, 0))
        out = self.h_conv_res(gate(beside + self.vh_conv(up)))
        return gate(up), out if self.first else out + h


class ShiftedStacks(nn.Module):
    """Half kernels, whose results every layer moves down by a row; in the first, also to the right."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.cells = nn.ModuleList(
            _ShiftedLayer(width if index else 1, width, 3 if index else 5, first=not index) for index in range(3)
        )
        self.last = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        v = h = x
        for cell in self.cells:
            v, h = cell(v, h)
        logits: Tensor = self.last(h)
        return logits


def as_logits(numbers: Tensor, channels: int) -> Tensor:
    """What a script's loss makes of its numbers: [b, rows, h, w] -> [b, levels[, channels], h, w]."""
    if numbers.ndim == 5 or (channels == 1 and numbers.shape[1] > 1):
        return numbers
    if numbers.shape[1] == channels:  # a number for each channel
        both = torch.stack([torch.zeros_like(numbers), numbers], 1)
        return both[:, :, 0] if channels == 1 else both
    return numbers.view(len(numbers), -1, channels, *numbers.shape[2:])
