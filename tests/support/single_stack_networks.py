"""Networks of one stack as people's training scripts write them, with their own forward passes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.causal_networks import MaskedConv, gate


def normalise(module: nn.Module) -> None:
    """Batch normalisations that have seen something."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.5, 0.5)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 2)
            nn.init.uniform_(part.bias, 0, 0.5)  # above zero, so that activations let something through


def sequential(depth: int = 3, width: int = 6, levels: int = 8, channels: int = 1, kernel: int = 5) -> nn.Sequential:
    """Masked convolutions without bias, normalisations and activations, and a 1x1 convolution."""
    layers: list[nn.Module] = []
    for index in range(depth):
        conv = MaskedConv("B" if index else "A", width if index else channels, width, kernel, bias=False)
        layers += [conv, nn.BatchNorm2d(width), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Conv2d(width, levels * channels, 1))
    normalise(net)
    return net.eval()


class _BookMasked(MaskedConv):
    """Stores a bias that it never adds."""

    def forward(self, image: Tensor) -> Tensor:
        return functional.conv2d(image, self.weight * self.mask, padding=self.padding)


class _BookBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_1 = nn.Sequential(nn.Conv2d(width, width // 2, 1), nn.ReLU())
        self.pixel_conv = nn.Sequential(_BookMasked("B", width // 2, width // 2, 3), nn.ReLU())
        self.conv_2 = nn.Conv2d(width // 2, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv_2(self.pixel_conv(self.conv_1(x))) + x)


class BookPixelCNN(nn.Module):
    """Residual blocks that end in an activation."""

    def __init__(self, width: int = 8, blocks: int = 2, levels: int = 4, first: int = 7) -> None:
        super().__init__()
        self.masked_conv_1 = nn.Sequential(_BookMasked("A", 1, width, first), nn.ReLU())
        self.res_convs = nn.Sequential(*(_BookBlock(width) for _ in range(blocks)))
        self.masked_conv_2 = nn.Sequential(
            *(nn.Sequential(_BookMasked("B", width, width, 1), nn.ReLU()) for _ in range(2))
        )
        self.output_conv = nn.Conv2d(width, levels, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.output_conv(self.masked_conv_2(self.res_convs(self.masked_conv_1(x))))
        return logits


class _Causal(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self._net = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(width, width // 2, 1),
            nn.ReLU(),
            MaskedConv("B", width // 2, width // 2, 3),
            nn.ReLU(),
            nn.Conv2d(width // 2, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self._net(x)


class GenerativePixelCNN(nn.Module):
    """Activations before convolutions, and a residual that is added inside the block and outside of it."""

    def __init__(self, width: int = 8, blocks: int = 2, head: int = 5) -> None:
        super().__init__()
        for name, size in (("_c", 1), ("_h", 6), ("_w", 7)):
            self.register_buffer(name, torch.tensor(size))
        self._input = MaskedConv("A", 1, width, 7)
        self._causal_layers = nn.ModuleList(_Causal(width) for _ in range(blocks))
        self._head = nn.Sequential(nn.ReLU(), nn.Conv2d(width, head, 1), nn.ReLU(), nn.Conv2d(head, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self._input(x)
        for layer in self._causal_layers:
            x = x + layer(x)
        logit = self._head(x)
        return torch.cat([torch.zeros_like(logit), logit], 1)


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
