"""How the convolutions of two stacks look around: what they are padded with and masked by."""

from __future__ import annotations

from typing import Literal

import torch

from export.images.convolution import Convolution, centred, raster_mask
from export.images.gated_roles import GatedLayer
from export.images.layers import Conv
from tui_gen.errors import TuiGenError

Style = Literal["masked", "zeroed", "split", "above", "moved", "shifted"]
"""How the vertical stack sees only what is above: by masked kernels; by half kernels up to the own row, which in the
first layer is zero; by a row and a column kernel above the place; by kernels above the place; by half kernels whose
result moves down by a row; by half kernels whose result goes to the horizontal stack one row further down."""


def style_of(layer: GatedLayer) -> Style:
    """Raises TuiGenError for a layer that looks around in another way."""
    roles = layer.convs.keys()
    if {"columns", "rows"} <= roles:
        return "split"
    vertical = layer.convs.get("vertical")
    if vertical is None:
        raise TuiGenError(f"{layer.path or 'a layer'} has no vertical convolution")
    rows, columns = vertical.kernel
    if vertical.masked or rows == columns:
        return "masked"
    if rows == columns // 2:
        return "above"
    if rows != columns // 2 + 1:
        raise TuiGenError(f"{vertical.name} has a kernel of {rows}x{columns}, which is neither square nor half of one")
    return "shifted" if "vertical_pointwise" in roles else "zeroed"


def vertical(
    layer: GatedLayer, style: Style, *, first: bool, own_row: bool, dilation: int
) -> tuple[Convolution, Convolution | None]:
    """The convolution over the rows above, and one over the columns that comes before it.

    own_row: whether a mask that the file lacks lets it see its own row.
    """
    convs = layer.convs
    if style == "split":
        rows = convs["rows"].kernel[0]
        return Convolution(convs["rows"], pads=(0, 0, rows, -1)), centred(convs["columns"])
    conv = convs["vertical"]
    rows, columns = conv.kernel
    if style == "masked":
        return centred(conv if conv.masked else _rows_above(conv, own=own_row), dilation=dilation), None
    side = columns // 2
    if style == "above":
        return Convolution(conv, pads=(side, side, rows, -1)), None
    if style == "moved":
        return Convolution(conv, pads=(side, side, rows - 1, 0), moved=(0, 0, 1, -1)), None
    if style == "shifted":
        return Convolution(conv, pads=(side, side, rows, 0)), None
    return Convolution(_without_last(conv, axis=2) if first else conv, pads=(side, side, rows - 1, 0)), None


def horizontal(layer: GatedLayer, style: Style, *, first: bool, dilation: int) -> Convolution:
    """A whole kernel, masked, or the half of one that is before the place."""
    conv = layer.convs["horizontal"]
    rows, columns = conv.kernel
    if rows != 1:
        raise TuiGenError(f"{conv.name} of the horizontal stack sees {rows} rows")
    above = layer.convs.get("columns") or layer.convs["vertical"]
    if conv.masked or columns == above.kernel[1]:
        return centred(conv if conv.masked else raster_mask(conv, own=not first), dilation=dilation)
    if first and style == "zeroed":
        return Convolution(_without_last(conv, axis=3), pads=(columns - 1, 0, 0, 0))
    if first and style == "moved":
        return Convolution(conv, pads=(columns - 1, 0, 0, 0), moved=(1, -1, 0, 0))
    return Convolution(conv, pads=(columns, -1, 0, 0) if first else (columns - 1, 0, 0, 0))


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
