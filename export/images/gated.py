"""Gated networks of two stacks of other people's: how their layers look around, and the network as a module.

van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016, figure 2. A vertical stack sees the rows
above, a horizontal one the row at hand; scripts differ in how they keep the stacks from seeing too much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from export.images.chain import Levels
from export.images.gated_roles import GatedLayer
from export.images.layers import Conv, Convolution, centred, raster_mask
from tui_gen.errors import TuiGenError

Style = Literal["masked", "zeroed", "split", "shifted"]
"""How the vertical stack sees only what is above: by masked square kernels; by half kernels up to the own row, which in
the first layer is zero; by a row and a column kernel above the place; by half kernels whose result
goes to the horizontal stack one row further down."""


@dataclass(frozen=True)
class GatedStyle:
    """What the tensors do not say."""

    style: Style
    first_gate: str = "tanh"
    """Which half of the channels goes through tanh: the first (`tanh`) or the second (`sigmoid`)."""
    vertical_residual: bool = False


def style_of(layer: GatedLayer) -> Style:
    """Raises TuiGenError for a layer that looks around in another way."""
    roles = layer.convs.keys()
    if {"columns", "rows"} <= roles:
        return "split"
    vertical = layer.convs.get("vertical")
    if vertical is None:
        raise TuiGenError(f"{layer.path or 'a layer'} has no vertical convolution")
    rows, columns = vertical.kernel
    if rows == columns:
        return "masked"
    if rows != columns // 2 + 1:
        raise TuiGenError(f"{vertical.name} has a kernel of {rows}x{columns}, which is neither square nor half of one")
    return "shifted" if "vertical_pointwise" in roles else "zeroed"


class GatedBlock(nn.Module):
    """One layer of both stacks."""

    def __init__(self, layer: GatedLayer, how: GatedStyle, *, first: bool, dilation: int) -> None:
        super().__init__()
        convs, self.how, self.style = layer.convs, how, how.style
        self.vertical, self.columns = _vertical(layer, how.style, first=first, dilation=dilation)
        self.horizontal = _horizontal(convs["horizontal"], how.style, first=first, dilation=dilation)
        self.rows_above = convs["vertical"].kernel[0] if how.style == "shifted" else 0
        self.link, self.pointwise = _maybe(convs.get("link")), _maybe(convs.get("vertical_pointwise"))
        self.residual, self.skip = _maybe(convs.get("residual")), _maybe(convs.get("skip"))
        self.embedding = None if layer.embedding is None else _table(layer.embedding)
        self.adds_input = not first

    def forward(self, above: Tensor, beside: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Both stacks [batch, features, h, w], and what the layer gives to the head beside them."""
        below, for_link = self._look_up(above)
        if self.link is None:  # a first layer that only looks around
            return below, self.horizontal(beside), None
        named = 0 if self.embedding is None or condition is None else self.embedding(condition)[:, :, None, None]
        own = below if self.pointwise is None else below + self.pointwise(above)
        vertical = self._gate(own + named)
        if self.how.vertical_residual and self.adds_input:
            vertical = vertical + above
        gated = self._gate(self.horizontal(beside) + self.link(for_link) + named)
        horizontal = gated if self.residual is None else self.residual(gated)
        if self.adds_input:
            horizontal = horizontal + beside
        return vertical, horizontal, None if self.skip is None else self.skip(gated)

    def _look_up(self, above: Tensor) -> tuple[Tensor, Tensor]:
        """The vertical features of every place, and those that its horizontal stack may see."""
        seen = self.vertical(above if self.columns is None else self.columns(above))
        if self.style != "shifted":
            return seen, seen
        return seen[:, :, 1:], seen[:, :, :-1]  # one row more than the image has: above its first

    def _gate(self, features: Tensor) -> Tensor:
        first, second = features.chunk(2, dim=1)
        if self.how.first_gate == "sigmoid":
            first, second = second, first
        return torch.tanh(first) * torch.sigmoid(second)


def _table(rows: Tensor) -> nn.Embedding:
    """An embedding with these entries [entries, features]."""
    embedding = nn.Embedding(*rows.shape)
    embedding.weight = nn.Parameter(rows, requires_grad=False)
    return embedding


def _maybe(conv: Conv | None) -> Convolution | None:
    return None if conv is None else centred(conv)


def _vertical(layer: GatedLayer, style: Style, *, first: bool, dilation: int) -> tuple[Convolution, Convolution | None]:
    """The convolution over the rows above, and one over the columns that comes before it."""
    convs = layer.convs
    if style == "split":
        rows = convs["rows"].kernel[0]
        return Convolution(convs["rows"], pads=(0, 0, rows, -1)), centred(convs["columns"])
    conv = convs["vertical"]
    rows, columns = conv.kernel
    if style == "masked":
        return centred(conv if conv.masked else _rows_above(conv, own=not first), dilation=dilation), None
    side = columns // 2
    if style == "shifted":
        return Convolution(conv, pads=(side, side, rows, 0)), None
    if first and not conv.masked:
        conv = _without_last(conv, axis=2)
    return Convolution(conv, pads=(side, side, rows - 1, 0)), None


def _horizontal(conv: Conv, style: Style, *, first: bool, dilation: int) -> Convolution:
    rows, columns = conv.kernel
    if rows != 1:
        raise TuiGenError(f"{conv.name} of the horizontal stack sees {rows} rows")
    if style in ("masked", "shifted"):
        return centred(conv if conv.masked else raster_mask(conv, own=not first), dilation=dilation)
    if style == "split" and first:
        return Convolution(conv, pads=(columns, -1, 0, 0))
    if style == "zeroed" and first and not conv.masked:
        conv = _without_last(conv, axis=3)
    return Convolution(conv, pads=(columns - 1, 0, 0, 0))


def _rows_above(conv: Conv, *, own: bool) -> Conv:
    """Masks the rows below, and the own one."""
    mask = torch.zeros(conv.kernel)
    mask[: conv.kernel[0] // 2 + own] = 1
    return Conv(conv.name, conv.weight * mask, conv.bias, True)


def _without_last(conv: Conv, *, axis: int) -> Conv:
    """The first layer may not see its own row, or place, which its kernel ends with."""
    mask = torch.ones(conv.kernel)
    mask.select(axis - 2, -1).zero_()
    return Conv(conv.name, conv.weight * mask, conv.bias, True)


class GatedNet(nn.Module):
    """Layers of two stacks, then the head over the horizontal one, or over the sum of what the layers gave it."""

    def __init__(
        self, blocks: list[GatedBlock], head: list[Conv], levels: Levels, *, before: str, classes: Tensor | None
    ) -> None:
        super().__init__()
        self.blocks, self.head = nn.ModuleList(blocks), nn.ModuleList(map(centred, head))
        self.levels, self.before = levels, before
        self.classes = None if classes is None else _table(classes)

    def forward(self, planes: Tensor, condition: Tensor | None = None) -> Tensor:
        """[batch, planes, h, w], and int64[batch] of classes where the network has them, -> logits."""
        above, beside, given = planes, planes, None
        for block in self.blocks:
            above, beside, more = block(above, beside, condition)
            given = more if given is None else given if more is None else given + more
        features = beside if given is None else given
        if self.classes is not None and condition is not None:
            features = features + self.classes(condition)[:, :, None, None]
        for number, layer in enumerate(self.head):
            features = layer(_ACTIVATIONS["relu" if number else self.before](features))
        logits: Tensor = self.levels(features)
        return logits


_ACTIVATIONS: dict[str, nn.Module] = {"relu": nn.ReLU(), "elu": nn.ELU(), "none": nn.Identity()}
