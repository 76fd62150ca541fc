"""Which convolution plays which part in a gated network of two stacks, told by names and kernels."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from export.images.layers import Conv, Layers
from tui_gen.errors import TuiGenError

Role = Literal["vertical", "columns", "rows", "beside", "vertical_pointwise", "link", "horizontal", "residual", "skip"]

_TOKEN = re.compile(r"[a-z]+|\d+x\d+|\d*xn|nx\d*|\d+")
_VERTICAL = {"v", "vert", "vertical", "vstack", "vconv", "vfc"}
_HORIZONTAL = {"h", "horiz", "horizontal", "hstack", "hconv", "hfc"}
_LINK = {"to", "link", "vtoh", "v2h", "vh"}
_SKIP = {"skip"}


@dataclass
class GatedLayer:
    """The convolutions of one layer, and its class embedding [classes, features]."""

    path: str
    convs: dict[Role, Conv] = field(default_factory=dict)
    embedding: Tensor | None = None


@dataclass
class GatedParts:
    """A gated network of two stacks, in order."""

    layers: list[GatedLayer]
    head: list[Conv]
    pixels: Tensor | None = None
    """Embedding of the levels, [levels, planes]; otherwise levels are numbers."""
    classes: Tensor | None = None
    """Embedding of the classes that is added before the head, [classes, features]."""


def gated_parts(layers: Layers) -> GatedParts | None:
    """The parts, by role; None for a network without two stacks. Raises TuiGenError for a part too much."""
    found: dict[str, GatedLayer] = {}
    head: list[Conv] = []
    for conv in layers.convs:
        path, role = _where(conv)
        if role is None:
            head.append(conv)
            continue
        layer = found.setdefault(path, GatedLayer(path))
        if role in layer.convs:
            raise TuiGenError(f"{conv.name} and {layer.convs[role].name} seem to do the same in one layer")
        layer.convs[role] = conv
    stacks = [layer for layer in found.values() if "horizontal" in layer.convs or "beside" in layer.convs]
    if not stacks or not head or len(layers.parts) != len(layers.convs) or len(stacks) != len(found):
        return None
    parts = GatedParts(stacks, head)
    _place_tables(parts, layers.tables)
    return parts


def _where(conv: Conv) -> tuple[str, Role | None]:
    """The layer that a convolution belongs to, and its role there; no role for one of the head."""
    pieces = conv.name.split(".")
    for index in range(len(pieces) - 1, -1, -1):
        role = _role(pieces[index], conv)
        if role:
            return ".".join(pieces[:index]), role
    return "", None


def _role(piece: str, conv: Conv) -> Role | None:
    tokens = set(_TOKEN.findall(piece.lower()))
    vertical, horizontal = bool(tokens & _VERTICAL), bool(tokens & _HORIZONTAL)
    if (vertical and horizontal) or (tokens & _LINK):
        return "link" if conv.pointwise else None
    if tokens & _SKIP:
        return "skip"
    rows, columns = conv.kernel
    if vertical:
        if conv.pointwise:
            return "vertical_pointwise"
        return "columns" if rows == 1 else "rows" if columns == 1 and rows > 1 else "vertical"
    if horizontal:
        return "residual" if conv.pointwise else "horizontal"
    return None


def _place_tables(parts: GatedParts, tables: dict[str, Tensor]) -> None:
    """Embeddings in a layer are of classes; at the top, that of the levels has as many entries as the head puts out."""
    for name, table in tables.items():
        layer = next((layer for layer in parts.layers if layer.path and name.startswith(f"{layer.path}.")), None)
        about_class = any(word in name.lower() for word in ("class", "label", "cond"))
        if layer:
            layer.embedding = table
        elif about_class:
            parts.classes = table
        elif len(table) == parts.head[-1].outputs:
            parts.pixels = table
        else:
            raise TuiGenError(f"{name} is an embedding {list(table.shape)} whose use is not known")
