"""Reads gated networks of two stacks, whichever script wrote them."""

from __future__ import annotations

import re

from torch import nn

from export.images.convolution import centred, first_gate, in_raster_order
from export.images.ends import Ends, read_ends
from export.images.exportable import reading_of
from export.images.gated import GatedBlock, GatedNet, GatedStyle
from export.images.gated_roles import GatedParts, gated_parts
from export.images.layers import Layers
from export.images.looking import Style, style_of
from export.images.network import ImageNetwork
from export.images.telling import Answers
from export.reading import Reading
from tui_gen.errors import TuiGenError

_INDEX = re.compile(r"\.(\d+)$")
_DILATIONS = (1, 2, 1, 4, 1, 2, 1)
_HOW: dict[Style, str] = {
    "masked": "vertical kernels are masked",
    "zeroed": "half vertical kernels; those of the first layer lose their last row, which would be the pixel's own",
    "split": "vertical kernels of a row and of a column, above the pixel",
    "above": "vertical kernels that are wholly above the pixel",
    "moved": "half vertical kernels, whose result moves down by a row",
    "shifted": "half vertical kernels, linked one row further down",
}


def read_gated(layers: Layers, answers: Answers) -> Reading | None:
    """A network of two stacks; None for any other."""
    parts = gated_parts(layers)
    if parts is None:
        return None
    if layers.left:
        raise TuiGenError(f"it has tensors whose use is not known: {', '.join(layers.left[:5])}")
    how = _style(parts, answers)
    first = parts.stem[0] if parts.stem else parts.layers[0].convs["horizontal"]
    scaling = "-1..1" if how.style == "masked" else "level/(levels-1)"
    ends = read_ends(first.inputs, parts.head[-1], parts.pixels, answers, scaling=scaling)
    classes = _classes(parts)
    height, width = answers.size()
    network = ImageNetwork(
        _network(parts, how, ends, answers).eval(),
        ends.encoding,
        height,
        width,
        ends.levels,
        ends.channels,
        condition="class" if classes else "none",
        conditions=classes,
        label=f"Gated PixelCNN {len(parts.layers)}x{parts.layers[-1].convs['horizontal'].outputs // 2}, two stacks",
    )
    stem = ["a masked convolution comes before both stacks"] if parts.stem else []
    return reading_of(network, answers, notes=[_HOW[how.style], *stem, *ends.notes])


def _network(parts: GatedParts, how: GatedStyle, ends: Ends, answers: Answers) -> GatedNet:
    dilations = _dilations(parts, how.style, answers)
    blocks = [
        GatedBlock(layer, how, first=index == 0 and not parts.stem, dilation=dilation)
        for index, (layer, dilation) in enumerate(zip(parts.layers, dilations, strict=True))
    ]
    before = _before_head(parts, answers)
    return GatedNet(_stem(parts, answers), blocks, parts.head, ends.logits, before=before, classes=parts.classes)


def _style(parts: GatedParts, answers: Answers) -> GatedStyle:
    """What the tensors do not say of the layers."""
    style = style_of(parts.layers[-1])
    if style == "zeroed" and parts.stem:
        style = "above"
    elif style == "zeroed" and _moves(parts, answers):
        style = "moved"
    return GatedStyle(style, first_gate(answers), _vertical_residual(style, answers), bool(parts.stem))


def _moves(parts: GatedParts, answers: Answers) -> bool:
    """Whether what half kernels make is moved on by a place; asked if the first layer's last weights are not zero."""
    first = parts.layers[0].convs
    own = (first["vertical"].weight[:, :, -1], first["horizontal"].weight[:, :, :, -1]) if "vertical" in first else ()
    if not any(weights.any() for weights in own):
        return False
    told = answers.assume(
        "first",
        "zeroed",
        "whether the first layer's weights on its own place count as zero, or what layers make moves on by a place",
        choices=("zeroed", "moved"),
    )
    return told == "moved"


def _vertical_residual(style: Style, answers: Answers) -> bool:
    """Whether the vertical stack adds its input too; only those that hand rows on do so anywhere."""
    if style != "shifted":
        return False
    told = answers.assume(
        "vertical_residual", "yes", "whether the vertical stack adds its input", choices=("yes", "no")
    )
    return told == "yes"


def _dilations(parts: GatedParts, style: Style, answers: Answers) -> list[int]:
    """Of each layer. Nothing in the tensors says them; masked kernels are the only ones that have been dilated."""
    if style != "masked":
        return [1] * len(parts.layers)
    inner = len(parts.layers) - 1
    rows, columns = parts.layers[-1].convs["vertical"].kernel
    default = _DILATIONS if inner == len(_DILATIONS) and rows == columns == 3 else (1,) * inner
    told = answers.assume("dilations", ",".join(map(str, default)), "the dilations of its layers after the first")
    numbers = told.split(",") if inner else []
    if len(numbers) != inner or not all(number.strip().isdecimal() and int(number) for number in numbers):
        raise TuiGenError(f"--assume dilations must be {inner} whole numbers with commas, not {told!r}")
    return [1, *(int(number) for number in numbers)]


def _stem(parts: GatedParts, answers: Answers) -> nn.Module:
    """What comes before both stacks."""
    if not parts.stem:
        return nn.Identity()
    default = "relu" if _INDEX.search(parts.stem[-1].name) else "none"  # what is numbered has something beside it
    told = answers.assume("stem", default, "the activation after its first convolution", choices=("relu", "none"))
    masked = in_raster_order(parts.stem, answers)
    layers = [centred(masked.get(conv, conv)) for conv in parts.stem]
    between: list[nn.Module] = [nn.ReLU()] if told == "relu" else []
    return nn.Sequential(*(module for layer in layers for module in (layer, *between)))


def _before_head(parts: GatedParts, answers: Answers) -> str:
    """The activation before the head: a Sequential's numbers show one; a lone layer does not."""
    index = _INDEX.search(parts.head[0].name)
    if index:
        return "relu" if int(index[1]) == 1 else "none"
    default = "relu" if any("skip" in layer.convs for layer in parts.layers) else "elu"
    return answers.assume("head", default, "the activation before the head", choices=("relu", "elu", "none"))


def _classes(parts: GatedParts) -> int:
    sizes = {len(layer.embedding) for layer in parts.layers if layer.embedding is not None}
    sizes |= {len(parts.classes)} if parts.classes is not None else set()
    if len(sizes) > 1:
        raise TuiGenError(f"its class embeddings have different sizes: {sorted(sizes)}")
    return sizes.pop() if sizes else 0
