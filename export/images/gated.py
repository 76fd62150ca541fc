"""Reads gated networks of two stacks: a vertical one over the rows above, a horizontal one to the left in the row.

van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu: Conditional Image Generation with PixelCNN
Decoders, 2016, section 2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..assumptions import Assumptions
from ..reader import Reading
from .gated_parts import ConvRole, GatedLayer, GatedParts, Stack, VerticalStyle, gated_parts, style_of, wholly_above
from .input_output import Habits, check_statements, read_input_output
from .layers import (
    Conv,
    Convolution,
    GatedActivation,
    Layers,
    dilations_of,
    first_gate,
    has_masks_of_channels,
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
    layout = read_input_output(parts.reads, parts.head[-1], parts.pixels, assumptions, habits=_habits(parts, config))
    label = f"Gated PixelCNN {len(parts.layers)}x{parts.layers[-1].convs['horizontal'].outputs // 2}, two stacks"
    classes, size = parts.classes_count, assumptions.size()
    check_statements(layers, assumptions, classes=classes or layout.planes.classes)
    module = GatedNet(parts, config, assumptions)
    stem = ["a masked convolution comes before both stacks"] if parts.stem else []
    network = layout.network(size, module, label=label, classes=classes)
    return reading_of(network, assumptions, notes=[_NOTES[config.style], *stem, *layout.notes])


def _habits(parts: GatedParts, config: GatedConfig) -> Habits:
    """What is known of the scripts that use these names."""
    paths = {layer.path for layer in parts.layers}
    if config.style == "masked" and parts.of_tutorial:
        return Habits("-1..1", "levels-first")
    masked = all(layer.convs["horizontal"].masked for layer in parts.layers)
    if config.style == "split" or (config.style == "shifted" and "causal_conv" in paths and masked):
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
    elif style == "zeroed":
        style = _own_row(parts, assumptions)
    what = "whether the horizontal stack adds its input"
    return GatedConfig(
        style,
        first_gate(assumptions, known=_is_known(parts, style)),
        _vertical_residual(style, assumptions),
        assumptions.assume("residual", "yes", what, choices=("yes", "no"), subject="block_residual") == "yes",
        bool(parts.stem),
        style == "shifted" and _crops_are_views(assumptions),
    )


def _is_known(parts: GatedParts, style: VerticalStyle) -> bool:
    """Whether names, or kernels, are those of a script that is known."""
    names = {piece for conv in parts.first_convs for piece in conv.name.split(".")}
    return parts.of_tutorial or style == "split" or names >= {"vert_stack", "horiz_stack"} or "causal_conv" in names


def _crops_are_views(assumptions: Assumptions) -> bool:
    """Whether both crops of a vertical convolution's result share memory, so that `a += b` changes the other, too."""
    what = (
        "whether its two crops of the vertical features share memory: views, if the script adds to one with +=, which "
        "then changes the other; copies, if it adds with + or clones"
    )
    return assumptions.ask("crops", what, choices=("views", "copies")) == "views"


def _own_row(parts: GatedParts, assumptions: Assumptions) -> VerticalStyle:
    """What becomes of the weights of half kernels on the own row, which the horizontal stack may not see.

    Zeros at the end of the first layer's kernels tell it, names of a script that is known as well; else it is asked.
    """
    first = parts.layers[0].convs
    if "vertical" not in first or wholly_above(first["vertical"]):
        return "zeroed"
    if not first["vertical"].weight[:, :, -1].any() and not first["horizontal"].weight[:, :, :, -1].any():
        return "zeroed"
    what = (
        "whether the first layer's weights on its own place count as zero, or what layers make moves on by a place "
        "(moved), or is only linked a row further down (shifted)"
    )
    styles: dict[str, VerticalStyle] = {"zeroed": "zeroed", "moved": "moved", "shifted": "shifted"}
    if {"vert_stack", "horiz_stack"} <= {conv.name.rpartition(".")[2] for conv in parts.first_convs}:
        return styles[assumptions.assume("first", "zeroed", what, choices=(*styles,))]
    return styles[assumptions.ask("first", what, choices=(*styles,))]


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
        if first and config.style == "zeroed" and "vertical" in layer.convs and wholly_above(layer.convs["vertical"]):
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
            for_link = for_link + self._moved_down(added if self.pointwise else added.expand_as(below))
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
        own = not first or has_masks_of_channels(conv)
        return same_convolution(conv if conv.masked else raster_mask(conv, own=own), dilation=dilation)
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
