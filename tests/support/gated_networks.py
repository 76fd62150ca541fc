"""Networks of two stacks as people's training scripts write them: the names of their tensors, their forward passes.

Each is written here from the facts of its layout, straight ahead, and shares nothing with the readers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.causal_networks import Masked, MaskedConv, gate


class _GenerativeLayer(nn.Module):
    def __init__(self, inputs: int, width: int, kernel: int, *, first: bool) -> None:
        super().__init__()
        side, self.first = kernel // 2, first
        self._vstack_1xN = nn.Conv2d(inputs, width, (1, kernel), padding=(0, side))
        self._vstack_Nx1 = nn.Conv2d(width, 2 * width, (side + 1, 1), padding=(side + 1, 0))
        self._vstack_1x1 = nn.Conv2d(inputs, 2 * width, 1)
        self._link = nn.Conv2d(2 * width, 2 * width, 1)
        self._hstack_1xN = nn.Conv2d(inputs, 2 * width, (1, side + 1), padding=(0, side + first))
        self._hstack_residual, self._hstack_skip = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)

    def forward(self, v: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, columns = v.shape[2:]
        up = self._vstack_Nx1(self._vstack_1xN(v))[:, :, :rows]
        product = gate(self._link(up) + self._hstack_1xN(h)[:, :, :, :columns])
        out = self._hstack_residual(product)
        return gate(up + self._vstack_1x1(v)), out if self.first else out + h, self._hstack_skip(product)


class GenerativeGated(nn.Module):
    """Two stacks, the vertical one by a row and a column kernel; skips to the head; a single logit."""

    def __init__(self, width: int = 6, layers: int = 2, first: int = 7) -> None:
        super().__init__()
        for name, size in (("_c", 1), ("_h", 6), ("_w", 9)):
            self.register_buffer(name, torch.tensor(size))
        self._input = _GenerativeLayer(1, width, first, first=True)
        self._gated_layers = nn.ModuleList(_GenerativeLayer(width, width, 3, first=False) for _ in range(layers))
        self._head = nn.Sequential(nn.ReLU(), nn.Conv2d(width, 5, 1), nn.ReLU(), nn.Conv2d(5, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        v, h, total = self._input(x, x)
        for layer in self._gated_layers:
            v, h, skip = layer(v, h)
            total = total + skip
        logit = self._head(total)
        return torch.cat([torch.zeros_like(logit), logit], 1)


class _TutorialConv(nn.Module):
    """Its mask stands beside it, and is as small as its kernel."""

    def __init__(self, inputs: int, outputs: int, mask: Tensor, dilation: int = 1) -> None:
        super().__init__()
        padding = tuple(dilation * (side - 1) // 2 for side in mask.shape)
        self.conv = nn.Conv2d(inputs, outputs, tuple(mask.shape), padding=padding, dilation=dilation)
        self.register_buffer("mask", mask[None, None])

    def forward(self, x: Tensor) -> Tensor:
        conv, weight = self.conv, self.conv.weight * self.mask
        return functional.conv2d(x, weight, conv.bias, padding=conv.padding, dilation=conv.dilation)


def _tutorial_masks(rows: int, *, first: bool, columns: int = 3) -> tuple[Tensor, Tensor]:
    vertical, horizontal = torch.ones(rows, columns), torch.ones(1, columns)
    vertical[rows // 2 + (not first) :] = 0
    horizontal[0, columns // 2 + (not first) :] = 0
    return vertical, horizontal


class _TutorialLayer(nn.Module):
    def __init__(self, width: int, dilation: int, columns: int) -> None:
        super().__init__()
        vertical, horizontal = _tutorial_masks(3, first=False, columns=columns)
        self.conv_vert = _TutorialConv(width, 2 * width, vertical, dilation)
        self.conv_horiz = _TutorialConv(width, 2 * width, horizontal, dilation)
        self.conv_vert_to_horiz = nn.Conv2d(2 * width, 2 * width, 1)
        self.conv_horiz_1x1 = nn.Conv2d(width, width, 1)

    def forward(self, v: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        up = self.conv_vert(v)
        product = gate(self.conv_horiz(h) + self.conv_vert_to_horiz(up))
        return gate(up), self.conv_horiz_1x1(product) + h


class TutorialGated(nn.Module):
    """Two stacks with masked square kernels and dilations; its input is scaled to [-1, 1]."""

    def __init__(
        self,
        channels: int = 1,
        width: int = 6,
        dilations: tuple[int, ...] = (1, 2, 1, 4, 1, 2, 1),
        columns: int = 3,
        levels: int = 256,
    ) -> None:
        super().__init__()
        self.levels = levels
        vertical, horizontal = _tutorial_masks(3, first=True, columns=columns)
        self.conv_vstack = _TutorialConv(channels, width, vertical)
        self.conv_hstack = _TutorialConv(channels, width, horizontal)
        self.conv_layers = nn.ModuleList(_TutorialLayer(width, dilation, columns) for dilation in dilations)
        self.conv_out = nn.Conv2d(width, channels * levels, 1)

    def forward(self, x: Tensor) -> Tensor:
        v, h = self.conv_vstack(x), self.conv_hstack(x)
        for layer in self.conv_layers:
            v, h = layer(v, h)
        out = self.conv_out(functional.elu(h))
        channels = out.shape[1] // self.levels
        return out.view(len(x), self.levels, channels, *out.shape[2:]) if channels > 1 else out


def _spread_conv(kind: str, inputs: int, outputs: int, columns: int) -> Masked:
    """Features belong to red, green, blue in turn; in the own place each sees those before it."""
    mask = torch.zeros(outputs, inputs, 1, columns)
    mask[:, :, :, : columns // 2] = 1
    source, target = torch.arange(inputs) % 3, torch.arange(outputs)[:, None] % 3
    mask[:, :, 0, columns // 2] = (source < target if kind == "A" else source <= target).float()
    return Masked(inputs, outputs, mask)


class _ColourBlock(nn.Module):
    """in_place: whether what is added to one crop changes the other, which shares its memory."""

    def __init__(
        self, inputs: int, width: int, kernel: int, *, kind: str, classes: int = 0, in_place: bool = False
    ) -> None:
        super().__init__()
        side, self.in_place = kernel // 2, in_place
        self.v_conv = nn.Conv2d(inputs, 2 * width, (side + 1, kernel), padding=(side + 1, side))
        self.v_fc = nn.Conv2d(inputs, 2 * width, 1)
        self.v_to_h = nn.Conv2d(2 * width, 2 * width, 1) if kind == "A" else _spread_conv("B", 2 * width, 2 * width, 1)
        self.h_conv = _spread_conv(kind, inputs, 2 * width, kernel)
        self.h_fc = _spread_conv(kind, width, width, 1)
        if classes:
            self.h_skip = _spread_conv("B", width, width, 1)
            self.label_embedding = nn.Embedding(classes, 2 * width)

    def forward(self, v: Tensor, h: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor | int]:
        tall = self.v_conv(v)
        rows = self.v_conv.kernel_size[0]
        up, higher = tall[:, :, 1:-rows], tall[:, :, : -rows - 1]
        first = not hasattr(self, "h_skip")
        of_label = 0 if first else self.label_embedding(label)[:, :, None, None]
        if self.in_place:
            up += self.v_fc(v)
            up += of_label
        else:
            up = up + self.v_fc(v) + of_label
        product = gate(self.h_conv(h) + self.v_to_h(higher) + of_label)
        below = gate(up)
        if first:
            return below, self.h_fc(product), 0
        return below + v, self.h_fc(product) + h, self.h_skip(product)


class ColourGated(nn.Module):
    """Three channels with masks by channel, class labels in every block and before the head."""

    def __init__(
        self, width: int = 6, blocks: int = 2, levels: int = 5, classes: int = 4, *, in_place: bool = False
    ) -> None:
        super().__init__()
        self.levels = levels
        self.causal_conv = _ColourBlock(3, width, 5, kind="A", in_place=in_place)
        self.hidden_conv = nn.Sequential(
            *(_ColourBlock(width, width, 3, kind="B", classes=classes, in_place=in_place) for _ in range(blocks))
        )
        self.label_embedding = nn.Embedding(classes, width)
        self.out_hidden_conv, self.out_conv = _spread_conv("B", width, 9, 1), _spread_conv("B", 9, 3 * levels, 1)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        v, h, total = self.causal_conv(x, x, label)
        for block in self.hidden_conv:
            v, h, skip = block(v, h, label)
            total = total + skip
        out = torch.relu(total + self.label_embedding(label)[:, :, None, None])
        out = self.out_conv(torch.relu(self.out_hidden_conv(out)))
        return out.view(len(x), self.levels, 3, *x.shape[2:])


class _PriorLayer(nn.Module):
    def __init__(self, width: int, kernel: int, *, first: bool, classes: int) -> None:
        super().__init__()
        side, self.first = kernel // 2, first
        if classes:
            self.class_cond_embedding = nn.Embedding(classes, 2 * width)
        self.vert_stack = nn.Conv2d(width, 2 * width, (side + 1, kernel), padding=(side, side))
        self.vert_to_horiz = nn.Conv2d(2 * width, 2 * width, 1)
        self.horiz_stack = nn.Conv2d(width, 2 * width, (1, side + 1), padding=(0, side))
        self.horiz_resid = nn.Conv2d(width, width, 1)

    def forward(self, v: Tensor, h: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        vertical, horizontal = self.vert_stack.weight.clone(), self.horiz_stack.weight.clone()
        if self.first:
            vertical[:, :, -1], horizontal[:, :, :, -1] = 0, 0
        up = functional.conv2d(v, vertical, self.vert_stack.bias, padding=self.vert_stack.padding)[:, :, : v.shape[2]]
        beside = functional.conv2d(h, horizontal, self.horiz_stack.bias, padding=self.horiz_stack.padding)
        of_label = 0 if label is None else self.class_cond_embedding(label)[:, :, None, None]
        out = self.horiz_resid(gate(self.vert_to_horiz(up) + beside[:, :, :, : h.shape[3]] + of_label))
        return gate(up + of_label), out if self.first else out + h


class PriorGated(nn.Module):
    """Over the codes of another network, by an embedding; a first layer that zeroes its weights only when it runs."""

    def __init__(self, levels: int = 8, width: int = 6, layers: int = 3, classes: int = 5, first: int = 5) -> None:
        super().__init__()
        self.embedding = nn.Embedding(levels, width)
        self.layers = nn.ModuleList(
            _PriorLayer(width, 3 if index else first, first=not index, classes=classes) for index in range(layers)
        )
        self.output_conv = nn.Sequential(nn.Conv2d(width, 9, 1), nn.ReLU(), nn.Conv2d(9, levels, 1))

    def forward(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        v = h = self.embedding(codes).permute(0, 3, 1, 2)
        for layer in self.layers:
            v, h = layer(v, h, label)
        logits: Tensor = self.output_conv(h)
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
