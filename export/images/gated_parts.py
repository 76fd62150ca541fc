"""The parts of a gated network of two stacks: which convolution has which role, and what a class adds where.

Roles are told by the names of tensors, and how a stack sees only what is drawn by shapes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from tui_gen.errors import TuiGenError

from ..assumptions import Assumptions
from .layers import Conv, Layers, Norm, Table, follows, is_chain, refuse

ConvRole = Literal["vertical", "columns", "rows", "vertical_pointwise", "link", "horizontal", "residual", "skip"]
_WORDS: dict[ConvRole, str] = {
    "vertical": "the vertical convolution",
    "columns": "the vertical convolution over columns",
    "rows": "the vertical convolution over rows",
    "vertical_pointwise": "the 1x1 convolution of the vertical stack",
    "link": "the way from the vertical stack to the horizontal one",
    "horizontal": "the horizontal convolution",
    "residual": "the 1x1 convolution of the horizontal stack",
    "skip": "the way to the head",
}
_TOKEN = re.compile(r"[a-z]+|\d+x\d+|\d*xn|nx\d*|\d+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_VERTICAL = re.compile(r"v(stack|conv|fc)?$|vert")
_HORIZONTAL = re.compile(r"h(stack|conv|fc)?$|hori")
_LINK = {"link", "vtoh", "vh"}
_BACK = {"htoh", "hh"}
"""From the horizontal stack to itself."""
_SKIP = {"skip"}
_ABOUT_CLASS = re.compile(r"class|label|cond|(^|[._])(y|cls)([._]|$)")
VerticalStyle = Literal["masked", "zeroed", "split", "above", "moved", "shifted"]
"""How the vertical stack sees only what is above: by masked kernels; by half kernels up to the own row, which in the
first layer is zero; by a row and a column kernel above the place; by kernels above the place; by half kernels whose
result moves down by a row; by half kernels whose result goes to the horizontal stack one row further down."""


Stack = Literal["vertical", "horizontal"]


@dataclass
class GatedLayer:
    """The convolutions of one layer, and what a class adds to its stacks."""

    path: str
    convs: dict[ConvRole, Conv] = field(default_factory=dict)
    classes: dict[Stack, Tensor] = field(default_factory=dict)
    """[classes, features], before the gate of each stack."""


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

    @property
    def width(self) -> int:
        """Features that the last layer makes for the head."""
        last = self.layers[-1].convs
        before = last.get("skip") or last.get("residual")
        return before.outputs if before else last["horizontal"].outputs // 2

    @property
    def joins_stacks(self) -> bool:
        """Whether the head reads the features of both stacks, side by side."""
        last = self.layers[-1].convs
        return "skip" not in last and self.head[0].inputs == self.width + last["horizontal"].outputs // 2

    @property
    def of_tutorial(self) -> bool:
        """Whether its first convolutions have the names of a tutorial whose script is known."""
        return {"conv_vstack", "conv_hstack"} <= {conv.name.partition(".")[0] for conv in self.first_convs}

    @property
    def reads(self) -> int:
        """Planes that its first layer reads."""
        return (self.stem[0] if self.stem else self.layers[0].convs["horizontal"]).inputs

    @property
    def classes_count(self) -> int:
        """Classes that it draws; 0 if it has none. Raises TuiGenError if its embeddings are of several numbers."""
        sizes = {len(table) for layer in self.layers for table in layer.classes.values()}
        sizes |= {len(self.classes)} if self.classes is not None else set()
        if len(sizes) > 1:
            raise TuiGenError(f"its class embeddings have different sizes: {sorted(sizes)}")
        return sizes.pop() if sizes else 0

    @property
    def first_convs(self) -> list[Conv]:
        """Of the first layer."""
        return list(self.layers[0].convs.values())


def gated_parts(layers: Layers, assumptions: Assumptions) -> GatedParts | None:
    """The parts, by role; None for a network without two stacks. Raises TuiGenError for a part too much."""
    tables = [*layers.tables, *filter(None, map(_class_planes, layers.convs))]
    by_planes = {table.name for table in tables}
    places = [(conv, *_where(conv)) for conv in layers.convs if conv.name not in by_planes]
    if not {"vertical", "columns"} & {role for _, _, role in places}:
        return None
    by_path: dict[str, GatedLayer] = {}
    others: list[Conv] = []
    for conv, path, role in places:
        if role is None:
            others.append(conv)
        else:
            _place(conv, role, by_path.setdefault(path, GatedLayer(path)))
    others = [conv for conv in others if not _place_by_shape(conv, by_path)]
    for layer in by_path.values():
        if "columns" in layer.convs and "rows" not in layer.convs:  # a vertical kernel one row high
            layer.convs["vertical"] = layer.convs.pop("columns")
    stacks = [layer for layer in by_path.values() if "horizontal" in layer.convs]
    if not stacks or len(stacks) != len(by_path):
        return None
    norms = [part.name for part in layers.parts if isinstance(part, Norm)]
    if norms:
        refuse(
            f"it is a network of two stacks with {len(norms)} normalisations, such as {norms[0]}, whose places and "
            "what comes after them no file tells"
        )
    for layer in stacks:
        _check_widths(layer)
    stem = _stem_layers(others, stacks[0], layers)
    parts = GatedParts(stacks, others[len(stem) :], stem)
    if not parts.head:
        return None
    _check_head(parts)
    _place_tables(parts, tables, assumptions)
    return parts


def _place(conv: Conv, role: ConvRole, layer: GatedLayer) -> None:
    if role in layer.convs:
        refuse(
            f"{conv.name} {list(conv.weight.shape)} and {layer.convs[role].name} "
            f"{list(layer.convs[role].weight.shape)} both look like {_WORDS[role]} of {layer.path or 'one layer'}, "
            "and how they are joined no file tells"
        )
    layer.convs[role] = conv


def _check_widths(layer: GatedLayer) -> None:
    """Raises TuiGenError for features that cannot be added, or passed on, as two stacks with gates do."""
    beside, link = layer.convs["horizontal"], layer.convs.get("link")
    if link is None:
        return
    above = layer.convs.get("vertical") or layer.convs.get("rows")
    if above is None:
        refuse(f"{layer.path or 'a layer'} has no vertical convolution")
    for conv, width, partner in ((link, link.outputs, beside), (above, link.inputs, link)):
        other = partner.outputs if partner is beside else conv.outputs
        if width != other:
            refuse(
                f"{conv.name} and {partner.name} do not fit as in a network of two stacks ({width} features and "
                f"{other}), so they are joined in another way"
            )
    following = [layer.convs[role] for role in ("residual", "skip") if role in layer.convs]
    odd = next((conv for conv in following if 2 * conv.inputs != beside.outputs), None)
    if odd:
        refuse(
            f"{odd.name} reads {odd.inputs} features, where the gate after {beside.name} makes "
            f"{beside.outputs // 2} of {beside.outputs}, so they are joined in another way"
        )


def _check_head(parts: GatedParts) -> None:
    """Raises TuiGenError if the head cannot read what the layers make."""
    if not (parts.head[0].inputs == parts.width or parts.joins_stacks) or not is_chain(parts.head):
        refuse(
            f"{parts.head[0].name} {list(parts.head[0].weight.shape)} cannot read the {parts.width} features that the "
            "last layer makes, as the head of a network of two stacks does, so they are joined in another way"
        )


def _place_by_shape(conv: Conv, layers: dict[str, GatedLayer]) -> bool:
    """A 1x1 convolution within a layer, under whatever name: it goes from one stack to the other, or comes after."""
    layer = next((layer for path, layer in layers.items() if path and conv.name.startswith(f"{path}.")), None)
    if layer is None or "horizontal" not in layer.convs or not conv.pointwise or conv.inputs != conv.outputs:
        return False
    roles: dict[int, ConvRole] = {1: "link", 2: "residual"}
    role = roles.get(layer.convs["horizontal"].outputs // conv.inputs)
    if role is None or role in layer.convs:
        return False
    layer.convs[role] = conv
    return True


def _stem_layers(others: list[Conv], first: GatedLayer, layers: Layers) -> list[Conv]:
    """What comes before the first layer of both stacks, and makes what that reads; the last may have a gate.

    Raises TuiGenError for layers before it that do not.
    """
    reads = first.convs["horizontal"]
    start = min(layers.convs.index(conv) for conv in first.convs.values())
    before = [conv for conv in others if layers.convs.index(conv) < start]
    if before and (before[0].pointwise or not follows(reads.inputs, before[-1].outputs) or not is_chain(before)):
        return []
    return before


def _where(conv: Conv) -> tuple[str, ConvRole | None]:
    """The layer that a convolution belongs to, and its role there; no role for one of the head."""
    pieces = conv.name.split(".")
    for index in range(len(pieces) - 1, -1, -1):
        role = _role(pieces[index], conv)
        if role:
            return ".".join(pieces[:index]), role
    return "", None


def _role(piece: str, conv: Conv) -> ConvRole | None:
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


def _class_planes(conv: Conv) -> Table | None:
    """A 1x1 convolution over planes of which one, that of the class, is 1: a linear layer of a one-hot class."""
    if not conv.pointwise or not _ABOUT_CLASS.search(conv.name.rpartition(".")[2].lower()):
        return None
    return Table(conv.name, conv.weight[:, :, 0, 0], torch.zeros(conv.outputs) if conv.bias is None else conv.bias)


def _place_tables(parts: GatedParts, tables: list[Table], assumptions: Assumptions) -> None:
    """Embeddings in a layer are of classes; at the top, of classes if they are called so, else of the levels."""
    for table in tables:
        layer = next((layer for layer in parts.layers if layer.path and table.name.startswith(f"{layer.path}.")), None)
        about_class = table.bias is not None or _ABOUT_CLASS.search(table.name.lower())
        if layer:
            _place_classes(table, layer, assumptions)
        elif about_class and parts.classes is None:
            parts.classes = _by_class(table, parts.head[0].inputs, assumptions)
        elif not about_class and parts.pixels is None:
            if table.weight.shape[1] != parts.reads:
                refuse(
                    f"{table.name} {list(table.weight.shape)} is no embedding of the {parts.reads} planes that "
                    f"its first layer reads; if its script does not use it, --assume ignore={table.name}"
                )
            parts.pixels = table.weight
        else:
            refuse(f"{table.name} is an embedding {list(table.weight.shape)} whose use is not known")


def _place_classes(table: Table, layer: GatedLayer, assumptions: Assumptions) -> None:
    """What a class adds before the gates: to the stack that the name tells, or else to both."""
    leaf = table.name.removeprefix(f"{layer.path}.")
    tokens = set(_TOKEN.findall(_CAMEL.sub("_", leaf).lower()))
    vertical, horizontal = (any(map(names.match, tokens)) for names in (_VERTICAL, _HORIZONTAL))
    stacks: list[Stack] = ["vertical"] if vertical else ["horizontal"] if horizontal else ["vertical", "horizontal"]
    if vertical == horizontal:
        what = "which of the two stacks a class is added to"
        answer = assumptions.assume("class", "both", what, choices=("both", "vertical", "horizontal"))
        stacks = [stack for stack in stacks if answer in ("both", stack)]
    for stack in stacks:
        if stack in layer.classes:
            refuse(f"{table.name} {list(table.weight.shape)} is not the only one that adds a class to one stack")
        layer.classes[stack] = _by_class(table, layer.convs["horizontal"].outputs, assumptions)


def _by_class(table: Table, features: int, assumptions: Assumptions) -> Tensor:
    """What each class adds, [classes, features]: an embedding, or a linear layer of a one-hot class.

    Raises TuiGenError if it adds to another number of features.
    """
    rows, columns = table.weight.shape
    linear = rows == features and (columns != features or table.bias is not None)
    if not linear and columns != features:
        refuse(
            f"{table.name} [{rows}, {columns}] adds no class to {features} features, neither as an embedding nor as "
            "a linear layer"
        )
    if rows == columns and table.bias is None and "emb" not in table.name.lower():
        what = "whether the weights of its classes are those of an embedding, or of a linear layer of a one-hot class"
        linear = assumptions.ask("class_weights", what, choices=("embedding", "linear")) == "linear"
    return table.weight if not linear else table.weight.T + (0 if table.bias is None else table.bias)


def style_of(layer: GatedLayer) -> VerticalStyle:
    """Raises TuiGenError for a layer that looks around in another way."""
    roles = layer.convs.keys()
    if {"columns", "rows"} <= roles:
        return "split"
    vertical = layer.convs.get("vertical")
    if vertical is None:
        refuse(f"{layer.path or 'a layer'} has no vertical convolution")
    rows, columns = vertical.kernel
    if vertical.masked or rows == columns:
        return "masked"
    if wholly_above(vertical):
        return "above"
    if rows != columns // 2 + 1:
        refuse(f"{vertical.name} has a kernel of {rows}x{columns}, which is neither square nor half of one")
    return "shifted" if "vertical_pointwise" in roles else "zeroed"


def wholly_above(vertical: Conv) -> bool:
    """Whether a kernel has the rows of half a square, and none for the own row."""
    rows, columns = vertical.kernel
    return not vertical.masked and rows == columns // 2
