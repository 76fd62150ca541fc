"""Reads gated networks of two stacks: a vertical one over the rows above, a horizontal one to the left in the row.

van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu: Conditional Image Generation with PixelCNN
Decoders, 2016, section 2. Roles are told by the names of tensors, and how a stack sees only what is drawn by shapes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tui_gen.errors import TuiGenError

from ..assumptions import Assumptions
from ..reader import Reading
from .input_output import Habits, check_statements, read_input_output
from .layers import (
    Conv,
    Convolution,
    GatedActivation,
    Layers,
    Norm,
    Table,
    dilations_of,
    first_gate,
    follows,
    is_chain,
    raster_mask,
    raster_masks,
    refuse,
    same_convolution,
)
from .streaming import reading_of

_INDEX = re.compile(r"\.(\d+)$")
_DILATIONS = (1, 2, 1, 4, 1, 2, 1)
_NOTES: dict[VerticalStyle, str] = {
    "masked": "vertical kernels are masked",
    "zeroed": "half vertical kernels; those of the first layer see nothing of the pixel's own row",
    "split": "vertical kernels of a row and of a column, above the pixel",
    "above": "vertical kernels that are wholly above the pixel",
    "moved": "half vertical kernels, whose result moves down by a row",
    "shifted": "half vertical kernels, linked one row further down",
}
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
_ACTIVATIONS: dict[str, nn.Module] = {"relu": nn.ReLU(), "elu": nn.ELU(), "none": nn.Identity()}


def read_gated(layers: Layers, assumptions: Assumptions) -> Reading | None:
    """A network of two stacks; None for any other."""
    layers = layers.without(assumptions.names("ignore", "NAME,NAME"))
    parts = gated_parts(layers, assumptions)
    if parts is None:
        return None
    if layers.unknown:
        refuse(f"it is a network of two stacks, in which the use of {', '.join(layers.unknown[:5])} is not known")
    config = _config(parts, assumptions)
    layout = read_input_output(
        _first_reads(parts), parts.head[-1], parts.pixels, assumptions, habits=_habits(parts, config)
    )
    label = f"Gated PixelCNN {len(parts.layers)}x{parts.layers[-1].convs['horizontal'].outputs // 2}, two stacks"
    classes, size = _classes(parts), assumptions.size()
    check_statements(layers, assumptions, classes=classes or layout.planes.classes)
    module = GatedNet(parts, config, assumptions)
    stem = ["a masked convolution comes before both stacks"] if parts.stem else []
    network = layout.network(size, module, label=label, classes=classes)
    return reading_of(network, assumptions, notes=[_NOTES[config.style], *stem, *layout.notes])


def _first_reads(parts: GatedParts) -> int:
    """Planes that its first layer reads."""
    return (parts.stem[0] if parts.stem else parts.layers[0].convs["horizontal"]).inputs


def _habits(parts: GatedParts, config: GatedConfig) -> Habits:
    """What is known of the scripts that use these names."""
    paths = {layer.path for layer in parts.layers}
    if config.style == "masked" and parts.of_tutorial:
        return Habits("-1..1", "levels-first")
    if config.style == "split" or (config.style == "shifted" and "causal_conv" in paths):
        return Habits("level/(levels-1)", "levels-first")
    return Habits()


@dataclass(frozen=True)
class GatedConfig:
    """What the tensors do not say of the layers."""

    style: VerticalStyle
    first_gate: str = "tanh"
    """Which half of the channels goes through tanh: the first (`tanh`) or the second (`sigmoid`)."""
    vertical_residual: bool = False
    horizontal_residual: bool = True
    after_stem: bool = False
    """Whether the first layer reads features that see what is left of them, which only the horizontal stack may."""
    views: bool = False
    """Whether what is added to the vertical features in place is in those one row further up as well."""


def _config(parts: GatedParts, assumptions: Assumptions) -> GatedConfig:
    style = style_of(parts.layers[-1])
    if style == "zeroed" and parts.stem:
        style = "above"
    elif style == "zeroed" and _moves(parts, assumptions):
        style = "moved"
    what = "whether the horizontal stack adds its input"
    return GatedConfig(
        style,
        first_gate(assumptions),
        _vertical_residual(style, assumptions),
        assumptions.assume("residual", "yes", what, choices=("yes", "no"), subject="block_residual") == "yes",
        bool(parts.stem),
        style == "shifted" and _crops_are_views(assumptions),
    )


def _crops_are_views(assumptions: Assumptions) -> bool:
    """Whether both crops of a vertical convolution's result share memory, so that `a += b` changes the other, too."""
    what = (
        "whether its two crops of the vertical features share memory: views, if the script adds to one with +=, which "
        "then changes the other; copies, if it adds with + or clones"
    )
    return assumptions.ask("crops", what, choices=("views", "copies")) == "views"


def _moves(parts: GatedParts, assumptions: Assumptions) -> bool:
    """Whether what half kernels make is moved on by a place.

    Zeros at the end of the first layer's kernels say no, names of a script that is known as well; else it is asked.
    """
    first = parts.layers[0].convs
    if "vertical" not in first or _wholly_above(first["vertical"]):
        return False
    own = first["vertical"].weight[:, :, -1], first["horizontal"].weight[:, :, :, -1]
    if not any(weights.any() for weights in own):
        return False
    what = "whether the first layer's weights on its own place count as zero, or what layers make moves on by a place"
    choices = ("zeroed", "moved")
    if {"vert_stack", "horiz_stack"} <= {conv.name.rpartition(".")[2] for conv in parts.first_convs}:
        return assumptions.assume("first", choices[0], what, choices=choices) == "moved"
    return assumptions.ask("first", what, choices=choices) == "moved"


def _wholly_above(vertical: Conv) -> bool:
    """Whether a kernel has the rows of half a square, and none for the own row."""
    rows, columns = vertical.kernel
    return not vertical.masked and rows == columns // 2


def _vertical_residual(style: VerticalStyle, assumptions: Assumptions) -> bool:
    """Whether the vertical stack adds its input too; only those that hand rows on do so anywhere."""
    if style != "shifted":
        return False
    what = "whether the vertical stack adds its input"
    return assumptions.assume("vertical_residual", "yes", what, choices=("yes", "no")) == "yes"


def _dilations(parts: GatedParts, style: VerticalStyle, assumptions: Assumptions) -> list[int]:
    """Of each layer. Masked kernels are the only ones that have been dilated."""
    inner = [layer.convs["horizontal"] for layer in parts.layers[1:]]
    if style != "masked":
        if any(conv.dilation > 1 for conv in inner):
            refuse(f"{inner[0].name} is dilated, and its kernel is not masked: how it is padded is not known")
        return [1] * len(parts.layers)
    rows, columns = parts.layers[-1].convs["vertical"].kernel
    known = len(inner) == len(_DILATIONS) and rows == columns == 3
    default = ",".join(map(str, _DILATIONS if known else (1,) * len(inner)))
    return [1, *dilations_of(inner, assumptions, default)]


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
            if table.weight.shape[1] != _first_reads(parts):
                refuse(
                    f"{table.name} {list(table.weight.shape)} is no embedding of the {_first_reads(parts)} planes that "
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
    if _wholly_above(vertical):
        return "above"
    if rows != columns // 2 + 1:
        refuse(f"{vertical.name} has a kernel of {rows}x{columns}, which is neither square nor half of one")
    return "shifted" if "vertical_pointwise" in roles else "zeroed"


class GatedNet(nn.Module):
    """Layers of two stacks, then the head over the horizontal one, or over the sum of what the layers gave it."""

    def __init__(self, parts: GatedParts, config: GatedConfig, assumptions: Assumptions) -> None:
        super().__init__()
        dilations = _dilations(parts, config.style, assumptions)
        self.before, self.gate = _before_head(parts, assumptions), GatedActivation(config.first_gate)
        self.stem = _stem(parts, config, assumptions)
        self.blocks = nn.ModuleList(
            GatedBlock(layer, config, first=index == 0 and not parts.stem, dilation=dilation)
            for index, (layer, dilation) in enumerate(zip(parts.layers, dilations, strict=True))
        )
        self.head = nn.ModuleList(map(same_convolution, parts.head))
        self.classes = None if parts.classes is None else _embedding(parts.classes)
        self.joined = _joined_stacks(parts, assumptions)

    def forward(self, planes: Tensor, condition: Tensor | None = None) -> Tensor:
        """[batch, planes, h, w], and int64[batch] of classes where the network has them, -> its last numbers."""
        above = beside = self.stem(planes)
        total = None
        for block in self.blocks:
            above, beside, skip = block(above, beside, condition)
            total = skip if total is None else total if skip is None else total + skip
        features = beside if total is None else total
        if self.joined:
            features = torch.cat([above, beside] if self.joined == "vertical-first" else [beside, above], dim=1)
        if self.classes is not None and condition is not None:
            features = features + self.classes(condition)[:, :, None, None]
        for number, layer in enumerate(self.head):
            assert isinstance(layer, Convolution)
            gated = features.shape[1] == 2 * layer.weight.shape[1]
            activation = self.gate if gated else _ACTIVATIONS["relu" if number else self.before]
            features = layer(activation(features))
        return features


class GatedBlock(nn.Module):
    """One layer of both stacks."""

    def __init__(self, layer: GatedLayer, config: GatedConfig, *, first: bool, dilation: int) -> None:
        super().__init__()
        if first and config.style == "zeroed" and "vertical" in layer.convs and _wholly_above(layer.convs["vertical"]):
            config = replace(config, style="above")
        self.style, self.views = config.style, config.views
        self.adds_input = config.horizontal_residual and not first
        self.vertical_residual = config.vertical_residual and not first
        own_row = not first and not config.after_stem
        self.vertical, self.columns = vertical(layer, config.style, first=first, own_row=own_row, dilation=dilation)
        self.horizontal = horizontal(layer, config.style, first=first, dilation=dilation)
        self.gate = GatedActivation(config.first_gate)
        roles: tuple[ConvRole, ...] = ("link", "vertical_pointwise", "residual", "skip")
        convs = (layer.convs.get(role) for role in roles)
        modules = (None if conv is None else same_convolution(conv) for conv in convs)
        self.link, self.pointwise, self.residual, self.skip = modules
        self.classes = nn.ModuleDict({stack: _embedding(table) for stack, table in layer.classes.items()})

    def forward(self, above: Tensor, beside: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Both stacks [batch, features, h, w], and what the layer gives to the head beside them."""
        below, for_link = self._look_up(above)
        if self.link is None:  # a first layer that only looks around
            return below, self.horizontal(beside), None
        added = self._of_class("vertical", condition)
        added = added if self.pointwise is None else added + self.pointwise(above)
        if self.views and isinstance(added, Tensor):
            for_link = for_link + self._moved_down(added)
        below = self.gate(below + added)
        if self.vertical_residual:
            below = below + above
        gate = self.gate(self.horizontal(beside) + self.link(for_link) + self._of_class("horizontal", condition))
        after = gate if self.residual is None else self.residual(gate)
        if self.adds_input:
            after = after + beside
        return below, after, None if self.skip is None else self.skip(gate)

    def _of_class(self, stack: Stack, condition: Tensor | None) -> Tensor | float:
        """[batch, features, 1, 1]; 0 without a class."""
        if condition is None or stack not in self.classes:
            return 0.0
        features: Tensor = self.classes[stack](condition)
        return features[:, :, None, None]

    @staticmethod
    def _moved_down(features: Tensor) -> Tensor:
        """Each row's features at the next; zeros in the first, which shares no memory with what they are added to."""
        return functional.pad(features, (0, 0, 1, -1))

    def _look_up(self, above: Tensor) -> tuple[Tensor, Tensor]:
        """The vertical features of every place, and those that its horizontal stack may see."""
        features = self.vertical(above if self.columns is None else self.columns(above))
        if self.style != "shifted":
            return features, features
        return features[:, :, 1:], features[:, :, :-1]  # one row more than the image has: above its first


def _embedding(table: Tensor) -> nn.Embedding:
    """With these entries [entries, features]."""
    embedding: nn.Embedding = nn.Embedding.from_pretrained(table)  # type: ignore[no-untyped-call]
    return embedding


def _stem(parts: GatedParts, config: GatedConfig, assumptions: Assumptions) -> nn.Module:
    """What comes before both stacks."""
    if not parts.stem:
        return nn.Identity()
    masks = raster_masks(parts.stem, assumptions)
    layers = [same_convolution(masks.get(conv, conv)) for conv in parts.stem]
    widths = [*(conv.inputs for conv in parts.stem[1:]), parts.first_convs[0].inputs]
    gates = [conv.outputs == 2 * width for conv, width in zip(parts.stem, widths, strict=True)]
    between: nn.Module = nn.Identity()
    if not all(gates):
        default = "relu" if _INDEX.search(parts.stem[-1].name) else "none"  # what is numbered has something beside it
        what = "the activation after its first convolution"
        between = _ACTIVATIONS[assumptions.assume("stem", default, what, choices=("relu", "none"))]
    after = [GatedActivation(config.first_gate) if gate else between for gate in gates]
    return nn.Sequential(*(module for pair in zip(layers, after, strict=True) for module in pair))


def _joined_stacks(parts: GatedParts, assumptions: Assumptions) -> str:
    """Which stack's features come first where the head reads both; empty where it reads one."""
    if not parts.joins_stacks:
        return ""
    what = "which stack's features come first where its head reads those of both"
    return assumptions.ask("joined", what, choices=("vertical-first", "horizontal-first"))


def _before_head(parts: GatedParts, assumptions: Assumptions) -> str:
    """The activation before the head: a Sequential's numbers show one; a lone layer does not."""
    index = _INDEX.search(parts.head[0].name)
    if index:
        return "relu" if int(index[1]) == 1 else "none"
    what, choices = "the activation before the head", ("relu", "elu", "none")
    likely = "relu" if any("skip" in layer.convs for layer in parts.layers) else "elu" if parts.of_tutorial else ""
    if likely:
        return assumptions.assume("head", likely, what, choices=choices)
    return assumptions.ask("head", what, choices=choices)


def _classes(parts: GatedParts) -> int:
    sizes = {len(table) for layer in parts.layers for table in layer.classes.values()}
    sizes |= {len(parts.classes)} if parts.classes is not None else set()
    if len(sizes) > 1:
        raise TuiGenError(f"its class embeddings have different sizes: {sorted(sizes)}")
    return sizes.pop() if sizes else 0


def vertical(
    layer: GatedLayer, style: VerticalStyle, *, first: bool, own_row: bool, dilation: int
) -> tuple[Convolution, Convolution | None]:
    """The convolution over the rows above, and one over the columns that comes before it.

    own_row: whether a mask that the file lacks lets it see its own row.
    """
    convs = layer.convs
    if style == "split":
        rows = convs["rows"].kernel[0]
        return Convolution(convs["rows"], pads=(0, 0, rows, -1)), same_convolution(convs["columns"])
    conv = convs["vertical"]
    rows, columns = conv.kernel
    if style == "masked":
        return same_convolution(conv if conv.masked else _rows_above(conv, own=own_row), dilation=dilation), None
    side = columns // 2
    if style == "above":
        return Convolution(conv, pads=(side, side, rows, -1)), None
    if style == "moved":
        return Convolution(conv, pads=(side, side, rows - 1, 0), shift=(0, 0, 1, -1)), None
    if style == "shifted":
        return Convolution(conv, pads=(side, side, rows, 0)), None
    return Convolution(_without_last(conv, axis=2) if first else conv, pads=(side, side, rows - 1, 0)), None


def horizontal(layer: GatedLayer, style: VerticalStyle, *, first: bool, dilation: int) -> Convolution:
    """A whole kernel, masked, or the half of one that is before the place."""
    conv = layer.convs["horizontal"]
    rows, columns = conv.kernel
    if rows != 1:
        refuse(f"{conv.name} of the horizontal stack sees {rows} rows, not one")
    above = layer.convs.get("columns") or layer.convs["vertical"]
    if conv.masked or columns == above.kernel[1]:
        return same_convolution(conv if conv.masked else raster_mask(conv, own=not first), dilation=dilation)
    if first and style == "zeroed":
        return Convolution(_without_last(conv, axis=3), pads=(columns - 1, 0, 0, 0))
    if first and style == "moved":
        return Convolution(conv, pads=(columns - 1, 0, 0, 0), shift=(1, -1, 0, 0))
    return Convolution(conv, pads=(columns, -1, 0, 0) if first else (columns - 1, 0, 0, 0))


def _rows_above(conv: Conv, *, own: bool) -> Conv:
    """Masks the rows below, and the own one."""
    mask = torch.zeros(conv.kernel)
    mask[: conv.kernel[0] // 2 + own] = 1
    return conv.with_mask(mask)


def _without_last(conv: Conv, *, axis: int) -> Conv:
    """The first layer may not see its own row, or place, which its kernel ends with."""
    mask = torch.ones(conv.kernel)
    mask.select(axis - 2, -1).zero_()
    return conv.with_mask(mask)
