"""Picture networks that differ in what leaves no tensor, or that leave more than one reading of their tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.causal_networks import Masked, MaskedConv, by_channel, gate, raster

WIDTH = 6


def chain(inputs: int = 1, outputs: int = 4, **first: bool) -> nn.Sequential:
    """Masked convolutions with activations between, in one Sequential."""
    layers = [MaskedConv("A", inputs, WIDTH, 5, **first), nn.ReLU(), MaskedConv("B", WIDTH, WIDTH, 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(WIDTH, outputs, 1))


class Beside(nn.Module):
    """Planes beside the picture: of the class, or of ones."""

    def __init__(self, channels: int, classes: int, rows: int, *, first: bool) -> None:
        super().__init__()
        self.classes, self.first = classes, first
        self.net = chain(channels + max(classes, 1), rows)

    def forward(self, picture: Tensor, label: Tensor | None = None) -> Tensor:
        beside = torch.ones_like(picture[:, :1])
        if label is not None:
            one_hot = functional.one_hot(label, self.classes).float()
            beside = one_hot[:, :, None, None].expand(-1, -1, *picture.shape[2:])
        logits: Tensor = self.net(torch.cat([picture, beside] if self.first else [beside, picture], 1))
        return logits


class _StackLayer(nn.Module):
    """Both stacks by masked kernels; label: what a class goes through."""

    def __init__(
        self,
        inputs: int,
        side: int,
        label: Callable[[], nn.Module] | None,
        gates: Callable[[Tensor], Tensor] = gate,
        *,
        first: bool,
    ) -> None:
        super().__init__()
        self.gate = gates
        own = not first
        tall, wide = torch.zeros(side, side), torch.zeros(1, side)
        tall[: side // 2 + own], wide[:, : side // 2 + own] = 1, 1
        self.first = first
        self.vertical, self.horizontal = Masked(inputs, 2 * WIDTH, tall), Masked(inputs, 2 * WIDTH, wide)
        self.v_to_h, self.h_out = nn.Conv2d(2 * WIDTH, 2 * WIDTH, 1), nn.Conv2d(WIDTH, WIDTH, 1)
        if label:
            self.label = label()

    def forward(self, v: Tensor, h: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        up = self.vertical(v)
        added = 0 if label is None else self.label(label)[:, :, None, None]
        out = self.h_out(self.gate(self.horizontal(h) + self.v_to_h(up) + added))
        return self.gate(up + added), out if self.first else out + h


def sigmoid_first(features: Tensor) -> Tensor:
    """A gate whose halves have changed places."""
    first, second = features.chunk(2, dim=1)
    return torch.sigmoid(first) * torch.tanh(second)


def channel_masks(*, zeros: bool) -> nn.Sequential:
    """A colour sees those before it at its own place, and the last layer all features; the masks are in no file.

    zeros: whether the weights are zero where the masks are.
    """
    net = nn.Sequential(by_channel(3, WIDTH, 5, own=False), nn.ReLU(), by_channel(WIDTH, WIDTH, 3, own=True))
    for layer in net[::2]:
        layer.weight.data *= layer.mask if zeros else 1
        layer.register_buffer("mask", layer.mask, persistent=False)
    return net.extend([nn.ReLU(), by_channel(WIDTH, 12, 1, own=True)])


class MaskedStacks(nn.Module):
    """Two stacks with masked kernels and a lone layer at the end.

    one_hot: whether labels are given to their layers as one-hot rows. activation: before the last layer.
    """

    def __init__(
        self,
        label: Callable[[], nn.Module] | None = None,
        *,
        one_hot: int = 0,
        levels: int = 4,
        channels: int = 1,
        activation: Callable[[Tensor], Tensor] = torch.relu,
        gates: Callable[[Tensor], Tensor] = gate,
    ) -> None:
        super().__init__()
        self.one_hot, self.activation, self.channels = one_hot, activation, channels
        self.layers = nn.ModuleList(
            _StackLayer(WIDTH if index else channels, 3 if index else 5, label, gates, first=not index)
            for index in range(2)
        )
        self.last = nn.Conv2d(WIDTH, channels * levels, 1)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        if self.one_hot and label is not None:
            label = functional.one_hot(label, self.one_hot).float()
        v = h = x
        for layer in self.layers:
            v, h = layer(v, h, label)
        logits: Tensor = self.last(self.activation(h))
        return logits


class GatedEnds(nn.Module):
    """Two stacks after a convolution with a gate, and a head with one."""

    def __init__(self) -> None:
        super().__init__()
        self.entry = MaskedConv("A", 1, 2 * WIDTH, 5)
        self.layers = nn.ModuleList(_StackLayer(WIDTH, 3, None, first=False) for _ in range(2))
        for layer in self.layers:
            layer.vertical.mask[:, :, 1] = 0  # its own row is the horizontal stack's
        self.out_1, self.out_2 = nn.Conv2d(WIDTH, 2 * WIDTH, 1), nn.Conv2d(WIDTH, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        v = h = gate(self.entry(x))
        for layer in self.layers:
            v, h = layer(v, h, None)
        logits: Tensor = self.out_2(gate(self.out_1(h)))
        return logits


class _LinkedLower(nn.Module):
    def __init__(self, inputs: int, half: int, *, first: bool) -> None:
        super().__init__()
        self.first, self.half = first, half
        self.v_conv = nn.Conv2d(inputs, 2 * WIDTH, (half + 1, 2 * half + 1))
        self.h_conv = nn.Conv2d(inputs, 2 * WIDTH, (1, half + 1))
        self.v_to_h, self.h_to_h = nn.Conv2d(2 * WIDTH, 2 * WIDTH, 1), nn.Conv2d(WIDTH, WIDTH, 1)

    def forward(self, v: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        tall = self.v_conv(functional.pad(v, (self.half, self.half, self.half + 1, 0)))
        wide = self.h_conv(functional.pad(h, (self.half + self.first, -int(self.first), 0, 0)))
        out = self.h_to_h(gate(wide + self.v_to_h(tall[:, :, :-1])))
        return gate(tall[:, :, 1:]), out if self.first else out + h


class LinkedLower(nn.Module):
    """Half kernels on the own row, whose features the horizontal stack gets a row further down; no other layers."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.ModuleList(_LinkedLower(WIDTH if n else 1, 1 if n else 2, first=not n) for n in range(2))
        self.last = nn.Conv2d(WIDTH, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        v = h = x
        for cell in self.cells:
            v, h = cell(v, h)
        logits: Tensor = self.last(h)
        return logits


class ConcatenatedGates(nn.Module):
    """The halves of the horizontal gate come from one stack each."""

    def __init__(self) -> None:
        super().__init__()
        self.v_conv, self.h_conv = Masked(1, 2 * WIDTH, [[1] * 3, [0] * 3, [0] * 3]), Masked(1, WIDTH, [[1, 0, 0]])
        self.v_to_h, self.h_to_h = nn.Conv2d(2 * WIDTH, WIDTH, 1), nn.Conv2d(WIDTH, WIDTH, 1)
        self.last = nn.Conv2d(WIDTH, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.h_to_h(gate(torch.cat([self.h_conv(x), self.v_to_h(self.v_conv(x))], 1))))
        return logits


class Lists(nn.Module):
    """Lists of layers side by side, which run in turns, around which the input is added."""

    def __init__(self, *, look: int = 3) -> None:
        super().__init__()
        self.entry = MaskedConv("A", 1, WIDTH, 5)
        self.narrow = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 1) for _ in range(2))
        self.look = nn.ModuleList(MaskedConv("B", WIDTH, WIDTH, look) for _ in range(2))
        self.last = nn.Conv2d(WIDTH, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.entry(x))
        for narrow, look in zip(self.narrow, self.look, strict=True):
            x = x + torch.relu(look(torch.relu(narrow(x))))
        logits: Tensor = self.last(x)
        return logits


def _seen(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """A normalisation that has seen something."""
    nn.init.uniform_(norm.running_mean, -0.5, 0.5)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    return norm


class NormLists(nn.Module):
    """A list of convolutions and one of their normalisations; or attributes with numbers.

    residual: whether all but the first add their input. last: whether normalisations come after activations.
    """

    def __init__(self, *, attributes: bool = False, residual: bool = False, last: bool = False) -> None:
        super().__init__()
        convs = [MaskedConv("B" if n else "A", WIDTH if n else 1, WIDTH, 3) for n in range(3)]
        norms = [_seen(nn.BatchNorm2d(WIDTH)) for _ in range(3)]
        if attributes:
            for number, conv in enumerate(convs, 1):
                setattr(self, f"conv{number}", conv)
            for number, norm in enumerate(norms, 1):
                setattr(self, f"bn{number}", norm)
        else:
            self.convs, self.norms = nn.ModuleList(convs), nn.ModuleList(norms)
        self.last = nn.Conv2d(WIDTH, 4, 1)
        self.layers, self.residual, self.norms_last = list(zip(convs, norms, strict=True)), residual, last

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in self.layers:
            features = norm(torch.relu(conv(x))) if self.norms_last else torch.relu(norm(conv(x)))
            x = features + x if self.residual and x.shape == features.shape else features
        logits: Tensor = self.last(x)
        return logits


class LastNorm(nn.Module):
    """A normalisation after its last layer, which it uses or forgets."""

    def __init__(self, *, used: bool) -> None:
        super().__init__()
        self.net, self.norm, self.used = chain(), _seen(nn.BatchNorm2d(4)), used

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.norm(self.net(x)) if self.used else self.net(x)
        return logits


class _Sum(nn.Module):
    """A block of two layers. end: as `--assume block_end` takes it."""

    def __init__(self, end: str, activation: Callable[[Tensor], Tensor], *, look: int = 3) -> None:
        super().__init__()
        self.end, self.activation = end, activation
        self.conv_1, self.conv_2 = MaskedConv("B", WIDTH, WIDTH, look), nn.Conv2d(WIDTH, WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        act = self.activation
        if self.end == "first":
            return x + self.conv_2(act(self.conv_1(act(x))))
        inner = self.conv_2(act(self.conv_1(x)))
        return x + inner if self.end == "none" else act(inner + x) if self.end == "after" else act(inner) + x


class Sums(nn.Module):
    """Blocks whose last activation is before or after the sum, or nowhere, or that have activations around them."""

    def __init__(
        self, end: str, *, before: bool, after: bool, activation: Callable[[Tensor], Tensor] = torch.relu, look: int = 3
    ) -> None:
        super().__init__()
        self.before, self.after, self.activation = before, after, activation
        self.entry = MaskedConv("A", 1, WIDTH, 5)
        self.blocks = nn.ModuleList(_Sum(end, activation, look=look) for _ in range(2))
        self.last = nn.Conv2d(WIDTH, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.entry(x)) if self.before else self.entry(x)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.last(self.activation(x) if self.after else x)
        return logits


class _Inside(nn.Module):
    """A Sequential that ends with an activation, and its input."""

    def __init__(self, activation: type[nn.Module]) -> None:
        super().__init__()
        convs = nn.Conv2d(WIDTH, 3, 1), MaskedConv("B", 3, 3, 3), nn.Conv2d(3, WIDTH, 1)
        self.layers = nn.Sequential(*(layer for conv in convs for layer in (conv, activation())))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def activations_on_both_sides(activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    """Blocks of which the last module is an activation, and one after each."""
    inside = [layer for _ in range(2) for layer in (_Inside(activation), activation())]
    return nn.Sequential(MaskedConv("A", 1, WIDTH, 5), activation(), *inside, nn.Conv2d(WIDTH, 4, 1))


class _Keras(nn.Module):
    """Each layer with its activation, then the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow, self.look = nn.Conv2d(WIDTH, 3, 1), MaskedConv("B", 3, 3, 3)
        self.widen = nn.Conv2d(3, WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(self.widen(torch.relu(self.look(torch.relu(self.narrow(x))))))


class Keras(nn.Module):
    """Masks where a book's script has them, and its blocks as its own layers have them: activations before the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.entry = MaskedConv("A", 1, WIDTH, 5)
        self.blocks = nn.ModuleList(_Keras() for _ in range(2))
        self.heads = nn.ModuleList(MaskedConv("B", WIDTH, WIDTH, 1) for _ in range(2))
        self.last = nn.Conv2d(WIDTH, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.entry(x))
        for block in self.blocks:
            x = block(x)
        for head in self.heads:
            x = torch.relu(head(x))
        logits: Tensor = self.last(x)
        return logits


class OwnMask(nn.Conv2d):
    """A mask that is made anew in every pass, by the letter that the module keeps."""

    def __init__(self, mask_type: str, inputs: int, outputs: int, side: int, **options: int | str) -> None:
        super().__init__(inputs, outputs, side, **{"padding": side // 2, **options})  # type: ignore[arg-type]
        self.mask_type = mask_type

    def forward(self, x: Tensor) -> Tensor:
        mask = raster(self.kernel_size[0], own=self.mask_type == "B")
        padding = (self.padding[0],) * 4
        x = functional.pad(x, padding, mode="constant" if self.padding_mode == "zeros" else self.padding_mode)  # type: ignore[arg-type]
        return functional.conv2d(x, self.weight * mask, self.bias, self.stride, 0, self.dilation, self.groups)


def own_masks(kinds: Sequence[str], **options: int | str) -> nn.Sequential:
    """Masks of these letters; options of the second layer."""
    layers: list[nn.Module] = [OwnMask(kinds[0], 1, WIDTH, 5), nn.BatchNorm2d(WIDTH, eps=0.1), nn.ELU(0.5)]
    layers += [OwnMask(kinds[1], WIDTH, WIDTH, 3, **options), nn.ReLU(), nn.Conv2d(WIDTH, 4, 1)]
    return nn.Sequential(*layers)


class FunctionAsAttribute(nn.Module):
    """One activation as an attribute, defined before all layers, which runs after each but the last."""

    def __init__(self) -> None:
        super().__init__()
        self.function = nn.ELU(0.5)
        self.one, self.two = MaskedConv("A", 1, WIDTH, 5), MaskedConv("B", WIDTH, WIDTH, 3)
        self.last = nn.Conv2d(WIDTH, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.function(self.two(self.function(self.one(x)))))
        return logits


class Mixture(nn.Module):
    """A mixture of two logistics over 256 grey levels; forward returns log-probabilities.

    Salimans et al.: PixelCNN++, 2017, section 2.1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.net = chain(1, 6)

    def forward(self, x: Tensor) -> Tensor:
        weights, means, scales = self.net(x).double().chunk(3, 1)
        edges = (
            torch.linspace(-1, 1, 256, dtype=torch.float64)[:, None, None, None]
            + torch.tensor([-1, 1]).view(2, 1, 1, 1, 1) / 255
        )
        edges[0, 0], edges[1, -1] = -torch.inf, torch.inf
        below, above = torch.sigmoid((edges[:, :, None] - means) / torch.exp(scales.clamp(min=-7)))
        share = torch.softmax(weights, 1)
        return ((above - below) * share).sum(2).transpose(0, 1).log().float()


def hole() -> nn.Module:
    """Its second mask lacks the middle row."""
    second = raster(3, own=True)
    second[1] = 0
    return nn.Sequential(MaskedConv("A", 1, WIDTH, 3), nn.ReLU(), Masked(WIDTH, WIDTH, second), nn.Conv2d(WIDTH, 4, 1))
