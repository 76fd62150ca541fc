"""Which convolution plays which part in a gated network of two stacks, told by names and kernels."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from export.images.layers import Conv, Layers, chained
from tui_gen.errors import TuiGenError

Role = Literal["vertical", "columns", "rows", "vertical_pointwise", "link", "horizontal", "residual", "skip"]

_TOKEN = re.compile(r"[a-z]+|\d+x\d+|\d*xn|nx\d*|\d+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_VERTICAL = re.compile(r"v(stack|conv|fc)?$|vert")
_HORIZONTAL = re.compile(r"h(stack|conv|fc)?$|hori")
_LINK = {"link", "vtoh", "vh"}
_BACK = {"htoh", "hh"}
"""From the horizontal stack to itself."""
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
    stem: list[Conv]
    """Ordinary masked convolutions that come before both stacks, where there are such."""
    pixels: Tensor | None = None
    """Embedding of the levels, [levels, planes]; otherwise levels are numbers."""
    classes: Tensor | None = None
    """Embedding of the classes that is added before the head, [classes, features]."""


def gated_parts(layers: Layers) -> GatedParts | None:
    """The parts, by role; None for a network without two stacks. Raises TuiGenError for a part too much."""
    places = [(conv, *_where(conv)) for conv in layers.convs]
    if not {"vertical", "columns"} & {role for _, _, role in places} or len(layers.parts) != len(layers.convs):
        return None
    found: dict[str, GatedLayer] = {}
    others: list[Conv] = []
    for conv, path, role in places:
        if role is None:
            others.append(conv)
        else:
            _place(conv, role, found.setdefault(path, GatedLayer(path)))
    others = [conv for conv in others if not _place_by_shape(conv, found)]
    for layer in found.values():
        if "columns" in layer.convs and "rows" not in layer.convs:  # a vertical kernel one row high
            layer.convs["vertical"] = layer.convs.pop("columns")
    stacks = [layer for layer in found.values() if "horizontal" in layer.convs]
    if not stacks or len(stacks) != len(found):
        return None
    stem = _stem(others, stacks[0], layers)
    parts = GatedParts(stacks, others[len(stem) :], stem)
    if not parts.head:
        return None
    _place_tables(parts, layers.tables)
    return parts


def _place(conv: Conv, role: Role, layer: GatedLayer) -> None:
    if role in layer.convs:
        raise TuiGenError(f"{conv.name} and {layer.convs[role].name} seem to do the same in one layer")
    layer.convs[role] = conv


def _place_by_shape(conv: Conv, found: dict[str, GatedLayer]) -> bool:
    """A 1x1 convolution within a layer, under whatever name: it goes from one stack to the other, or comes after."""
    layer = next((layer for path, layer in found.items() if path and conv.name.startswith(f"{path}.")), None)
    if layer is None or "horizontal" not in layer.convs or not conv.pointwise or conv.inputs != conv.outputs:
        return False
    roles: dict[int, Role] = {1: "link", 2: "residual"}
    role = roles.get(layer.convs["horizontal"].outputs // conv.inputs)
    if role is None or role in layer.convs:
        return False
    layer.convs[role] = conv
    return True


def _stem(others: list[Conv], first: GatedLayer, layers: Layers) -> list[Conv]:
    """What comes before the first layer of both stacks, and makes what that reads."""
    reads = first.convs["horizontal"]
    start = min(layers.convs.index(conv) for conv in first.convs.values())
    before = [conv for conv in others if layers.convs.index(conv) < start]
    fits = before and not before[0].pointwise and before[-1].outputs == reads.inputs and chained(before)
    return before if fits else []


def _where(conv: Conv) -> tuple[str, Role | None]:
    """The layer that a convolution belongs to, and its role there; no role for one of the head."""
    pieces = conv.name.split(".")
    for index in range(len(pieces) - 1, -1, -1):
        role = _role(pieces[index], conv)
        if role:
            return ".".join(pieces[:index]), role
    return "", None


def _role(piece: str, conv: Conv) -> Role | None:
    tokens = set(_TOKEN.findall(_CAMEL.sub("_", piece).lower()))
    vertical, horizontal = (any(map(names.match, tokens)) for names in (_VERTICAL, _HORIZONTAL))
    if (vertical and horizontal) or (tokens & _LINK):
        return "link" if conv.pointwise else None
    if tokens & _SKIP:
        return "skip"
    rows, columns = conv.kernel
    if vertical:
        if conv.pointwise:
            return "vertical_pointwise"
        return "columns" if rows == 1 else "rows" if columns == 1 else "vertical"
    if horizontal or (tokens & _BACK):
        return "residual" if conv.pointwise else "horizontal"
    return None


def _place_tables(parts: GatedParts, tables: dict[str, Tensor]) -> None:
    """Embeddings in a layer are of classes; at the top, of classes if they are called so, else of the levels."""
    for name, table in tables.items():
        layer = next((layer for layer in parts.layers if layer.path and name.startswith(f"{layer.path}.")), None)
        about_class = any(word in name.lower() for word in ("class", "label", "cond"))
        if layer and layer.embedding is None:
            layer.embedding = table
        elif not layer and about_class and parts.classes is None:
            parts.classes = table
        elif not layer and not about_class and parts.pixels is None:
            parts.pixels = table
        else:
            raise TuiGenError(f"{name} is an embedding {list(table.shape)} whose use is not known")
