"""Reads gated networks of two stacks, whichever script wrote them."""

from __future__ import annotations

import re

from torch import Tensor

from export.images.chain import Levels, plane_per_channel
from export.images.exportable import reading_of
from export.images.gated import GatedBlock, GatedNet, GatedStyle, style_of
from export.images.gated_roles import GatedParts, gated_parts
from export.images.layers import Layers
from export.images.network import ImageNetwork
from export.images.telling import Answers
from export.reading import Reading
from tui_gen.errors import TuiGenError

_INDEX = re.compile(r"\.(\d+)$")
_HOW = {
    "masked": "square vertical kernels, masked",
    "zeroed": "half vertical kernels; those of the first layer lose their last row, which would be the pixel's own",
    "split": "vertical kernels of a row and of a column, above the pixel",
    "shifted": "half vertical kernels, linked one row further down",
}


def read_gated(layers: Layers, answers: Answers) -> Reading | None:
    """A network of two stacks; None for any other."""
    parts = gated_parts(layers)
    if parts is None:
        return None
    if layers.left:
        raise TuiGenError(f"it has tensors whose use is not known: {', '.join(layers.left[:5])}")
    style = style_of(parts.layers[-1])
    channels = 1 if parts.pixels is not None else parts.layers[0].convs["horizontal"].inputs
    rows = parts.head[-1].outputs
    levels = answers.levels(rows, channels)
    how = GatedStyle(style, _first_gate(answers), _vertical_residual(style, answers))
    dilations = _dilations(parts, style, answers)
    blocks = [
        GatedBlock(layer, how, first=index == 0, dilation=dilation)
        for index, (layer, dilation) in enumerate(zip(parts.layers, dilations, strict=True))
    ]
    skips = any("skip" in layer.convs for layer in parts.layers)
    before = _before_head(parts, answers, skips=skips)
    head = GatedNet(
        blocks, parts.head, Levels(levels, channels, single=rows == 1), before=before, classes=parts.classes
    )
    classes = _classes(parts)
    height, width = answers.size()
    network = ImageNetwork(
        head.eval(),
        _encoding(parts, levels, channels, style, answers),
        height,
        width,
        levels,
        channels,
        condition="class" if classes else "none",
        conditions=classes,
        label=f"Gated PixelCNN {len(parts.layers)}x{parts.layers[-1].convs['horizontal'].outputs // 2}, two stacks",
    )
    return reading_of(network, answers, notes=[_HOW[style]])


def _first_gate(answers: Answers) -> str:
    return answers.assume(
        "gate", "tanh", "what the first half of a gate's channels goes through", choices=("tanh", "sigmoid")
    )


def _vertical_residual(style: str, answers: Answers) -> bool:
    """Whether the vertical stack adds its input too; only those that hand rows on do so anywhere."""
    if style != "shifted":
        return False
    told = answers.assume(
        "vertical_residual", "yes", "whether the vertical stack adds its input", choices=("yes", "no")
    )
    return told == "yes"


def _dilations(parts: GatedParts, style: str, answers: Answers) -> list[int]:
    """Of each layer. Nothing in the tensors says them; masked kernels are the only ones that have been dilated."""
    count = len(parts.layers)
    if style != "masked":
        return [1] * count
    inner = count - 1
    known = [1, 2, 1, 4, 1, 2, 1]
    default = known if inner == len(known) else [1] * inner
    told = answers.assume("dilations", ",".join(map(str, default)), "the dilations of its layers after the first")
    numbers = told.split(",")
    if len(numbers) != inner or not all(number.strip().isdecimal() and int(number) for number in numbers):
        raise TuiGenError(f"--assume dilations must be {inner} whole numbers with commas, not {told!r}")
    return [1, *(int(number) for number in numbers)]


def _before_head(parts: GatedParts, answers: Answers, *, skips: bool) -> str:
    """The activation before the head: a Sequential's numbers show one; a lone layer does not."""
    index = _INDEX.search(parts.head[0].name)
    if index:
        return "relu" if int(index[1]) == 1 else "none"
    default = "relu" if skips else "elu"
    return answers.assume("head", default, "the activation before the head", choices=("relu", "elu", "none"))


def _classes(parts: GatedParts) -> int:
    sizes = {len(layer.embedding) for layer in parts.layers if layer.embedding is not None}
    sizes |= {len(parts.classes)} if parts.classes is not None else set()
    if len(sizes) > 1:
        raise TuiGenError(f"its class embeddings have different sizes: {sorted(sizes)}")
    return sizes.pop() if sizes else 0


def _encoding(parts: GatedParts, levels: int, channels: int, style: str, answers: Answers) -> Tensor:
    if parts.pixels is not None:
        return parts.pixels[None].contiguous()
    default = "-1..1" if style == "masked" else "level/(levels-1)"
    return plane_per_channel(answers.scaling(levels, default), channels)
