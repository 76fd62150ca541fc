"""Reads networks of one stack: masked convolutions in a chain, some of them in residual blocks.

van den Oord, Kalchbrenner, Kavukcuoglu: Pixel Recurrent Neural Networks, 2016, figure 5 and table 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..assumptions import Assumptions
from ..checkpoints.checkpoint import Checkpoint
from ..reader import Reading
from .input_output import LEVELS, Habits, read_input_output
from .layers import (
    ACTIVATIONS,
    Affine,
    Conv,
    GatedActivation,
    Item,
    LayerOrder,
    Layers,
    Norm,
    first_gate,
    follows,
    is_chain,
    order_of,
    raster_masks,
    refuse,
    same_convolution,
)
from .streaming import reading_of

_TIMES = ("none", "once", "twice")
_GATES = frozenset({"sigmoid", "sigm", "gate", "g"})
_SIGNALS = frozenset({"tanh", "filter", "signal", "f"})
_SKIPS = frozenset({"skip"})


def read_single(layers: Layers, assumptions: Assumptions) -> Reading | None:
    """A network whose convolutions follow one another in the order of the file; None for any other."""
    convs = layers.convs
    if layers.unknown or len(layers.tables) > 1 or not is_chain(convs) or convs[0].pointwise:
        return None
    if any(rows != columns or rows % 2 == 0 for rows, columns in (conv.kernel for conv in convs)):
        return None
    refuse_parallel(convs)
    order = order_of(layers, assumptions.checkpoint)
    items = group_blocks(order.items)
    blocks = [item for item in items if isinstance(item, LayerBlock)]
    layer_first = bool(blocks) and not blocks[0].activation_first
    notes = ignore_unused_biases(convs, assumptions, blocks_of_own=layer_first)
    module = _Stack(_style(order, items, blocks, assumptions), raster_masks(convs, assumptions)).build(items)
    table = layers.tables[0].weight if layers.tables else None
    habits = _habits(layers, assumptions.checkpoint, book=layer_first and masks_itself(convs))
    layout = read_input_output(convs[0].inputs, convs[-1], table, assumptions, habits=habits)
    label = f"PixelCNN {len(blocks) or len(convs)}x{convs[0].outputs}"
    network = layout.network(assumptions.size(), module, label=label)
    return reading_of(network, assumptions, notes=[*_notes(order, convs, blocks), *notes, *layout.notes])


def _habits(layers: Layers, checkpoint: Checkpoint, *, book: bool) -> Habits:
    """What is known of the scripts that write such files.

    book: blocks that begin with a layer, masked by a class of their own.
    """
    if book:
        return Habits("level/levels")
    names = {name.rpartition(".")[2] for name in checkpoint.tensors}
    sequential = all(part.name.isdecimal() for part in layers.parts)
    if {"_c", "_h", "_w"} <= names or (sequential and layers.convs[-1].outputs == LEVELS):
        return Habits("level/(levels-1)")
    return Habits()


@dataclass(frozen=True)
class StackStyle:
    """What the tensors do not say."""

    activation: Callable[[], nn.Module]
    """A new one, where the file does not say which."""
    gate: str
    """What the first half of twice as many channels as the next layer reads goes through."""
    residual: int
    """How many times a block adds its input."""
    end: str
    """Where the last activation of a block is: `after` the sum, `before` it, or `none`."""
    order: LayerOrder


def _style(
    order: LayerOrder, items: list[Item | LayerBlock], blocks: list[LayerBlock], assumptions: Assumptions
) -> StackStyle:
    @cache
    def kind() -> type[nn.Module]:  # asked once, and only if there is one whose kind is not known
        what = "the activation between its layers"
        return ACTIVATIONS[assumptions.assume("activation", "relu", what, choices=(*ACTIVATIONS,))]

    def activation() -> nn.Module:
        return kind()()

    gate = any(conv.outputs == 2 * after.inputs for conv, after in pairwise(convolutions(items)))
    return StackStyle(
        activation=activation,
        gate=first_gate(assumptions) if gate else "tanh",
        residual=_residual(blocks, assumptions) if blocks else 0,
        end=_end(items, blocks, assumptions) if blocks else "none",
        order=order,
    )


def _residual(blocks: list[LayerBlock], assumptions: Assumptions) -> int:
    """How many times a block adds its input."""
    path = blocks[0].path
    default = "once" if any(block.bottleneck for block in blocks) or "res" in path.lower() else "none"
    # Blocks that keep their layers in a private attribute and begin with an activation have been found to add their
    # input themselves, and to be called by something that adds it again.
    if blocks[0].activation_first and path.rpartition(".")[2].startswith("_"):
        default = "twice"
    return _TIMES.index(assumptions.assume("residual", default, "how often a block adds its input", choices=_TIMES))


def _end(items: list[Item | LayerBlock], blocks: list[LayerBlock], assumptions: Assumptions) -> str:
    """Where the last activation of a block is: on the sum, before it, or nowhere."""
    if blocks[0].activation_first:
        return "none"
    following = items[items.index(blocks[0]) + 1 :]
    beside = next((item for item in following if isinstance(item, LayerBlock) or not isinstance(item.part, Norm)), None)
    outside = isinstance(beside, Item) and beside.part is None
    default = "none" if outside or any(block.has_gate for block in blocks) else "after"
    what = "whether a block ends with an activation, before or after it adds its input"
    return assumptions.assume("block_end", default, what, choices=("after", "before", "none"))


def _notes(order: LayerOrder, convs: list[Conv], blocks: list[LayerBlock]) -> list[str]:
    """What was inferred from what."""
    notes = [f"{len(convs)} convolutions in the order of the file, {len(blocks)} blocks among them"]
    if order.from_modules:
        notes.append("activations stand where the file's modules have them")
    elif order.complete:
        notes.append("activations stand where the numbers in the names of layers have gaps")
    return notes


class Residual(nn.Module):
    """Layers, and their input once or several times; with an activation at the end, or not."""

    def __init__(self, inner: nn.Module, times: int, before: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.inner, self.times, self.before, self.after = inner, times, before, after

    def forward(self, features: Tensor) -> Tensor:
        """[batch, features, h, w], and the same out."""
        inner = self.before(self.inner(features))
        output: Tensor = self.after(inner + self.times * features if self.times else inner)
        return output


class _Stack:
    """Puts activations where they are known to be, and elsewhere before a layer that none has come before.

    masks: convolutions in place of others.
    """

    def __init__(self, style: StackStyle, masks: Mapping[Conv, Conv]) -> None:
        self.style, self.masks = style, masks
        self.modules: list[nn.Module] = []
        self.width = 0  # channels so far; 0 before the first layer
        self.last = ""  # the convolution that no activation has followed yet

    def build(self, items: Sequence[Item | LayerBlock]) -> nn.Sequential:
        """The network, without what turns its last numbers into logits."""
        for index, item in enumerate(items):
            if isinstance(item, LayerBlock):
                self._add_block(item)
            elif item.part is None:
                self._activate(_reads(items[index + 1 :]), item.activation)
            else:
                self._add(item.part)
        return nn.Sequential(*self.modules)

    def _add(self, part: Conv | Norm) -> None:
        reads = part.inputs
        if self.width == 2 * reads or (self.last and isinstance(part, Conv) and not self._adjacent(part.name)):
            self._activate(reads)
        if isinstance(part, Norm):
            self.modules.append(Affine(part))
        else:
            self.modules.append(same_convolution(self.masks.get(part, part)))
            self.width, self.last = part.outputs, part.name

    def _add_block(self, block: LayerBlock) -> None:
        style, reads = self.style, block.convs[0].inputs
        if self.width == 2 * reads or (self.last and not block.activation_first and not block.has_gate):
            self._activate(reads)
        stack = _Stack(style, self.masks)
        inner = stack.build(block.items)
        if stack.width == 2 * reads:
            inner.append(GatedActivation(style.gate))
        before, after = (style.activation() if style.end == end else nn.Identity() for end in ("before", "after"))
        self.modules.append(Residual(inner, style.residual, before, after))
        self.width, self.last = reads, block.path if style.end == "none" else ""

    def _activate(self, reads: int, activation: nn.Module | None = None) -> None:
        """An activation; a gate if the next layer reads half of the channels."""
        gate = self.width == 2 * reads
        self.modules.append(GatedActivation(self.style.gate) if gate else activation or self.style.activation())
        self.width, self.last = reads if gate else self.width, ""

    def _adjacent(self, name: str) -> bool:
        """Whether nothing can be between the last convolution and this one."""
        container = name.rpartition(".")[0]
        return container in self.style.order.complete and container == self.last.rpartition(".")[0]


def _reads(items: Sequence[Item | LayerBlock]) -> int:
    """Channels that the next layer reads; 0 if there is none."""
    for item in items:
        if isinstance(item, LayerBlock):
            return item.convs[0].inputs
        if item.part is not None:
            return item.part.inputs
    return 0


@dataclass(eq=False)
class LayerBlock:
    """Layers that give back as many channels as they took."""

    path: str
    items: list[Item]

    @property
    def convs(self) -> list[Conv]:
        """Its convolutions."""
        return convolutions(self.items)

    @property
    def activation_first(self) -> bool:
        """Whether an activation comes before the first layer."""
        return self.items[0].part is None

    @property
    def has_gate(self) -> bool:
        """Whether a layer within puts out twice as many channels as the next, or the block's input, has."""
        convs = self.convs
        reads = [*(conv.inputs for conv in convs[1:]), convs[0].inputs]
        return any(conv.outputs == 2 * width for conv, width in zip(convs, reads, strict=True))

    @property
    def bottleneck(self) -> bool:
        """Whether 1x1 convolutions stand around others, as in the blocks of the paper."""
        return len({conv.pointwise for conv in self.convs}) == 2


def convolutions(items: Sequence[Item | LayerBlock]) -> list[Conv]:
    """All convolutions, in order."""
    convs: list[Conv] = []
    for item in items:
        if isinstance(item, LayerBlock):
            convs += item.convs
        elif isinstance(item.part, Conv):
            convs.append(item.part)
    return convs


def group_blocks(items: Sequence[Item]) -> list[Item | LayerBlock]:
    """The same with blocks in place of their layers."""
    convs = convolutions(items)
    paths = {path for conv in convs if (path := _block_of(conv, convs))}
    groups: list[Item | LayerBlock] = []
    for item in items:
        path = next((path for path in paths if item.name.startswith(f"{path}.")), "")
        last = groups[-1] if groups else None
        if path and isinstance(last, LayerBlock) and last.path == path:
            last.items.append(item)
        else:
            groups.append(LayerBlock(path, [item]) if path else item)
    return groups


def _block_of(conv: Conv, convs: Sequence[Conv]) -> str:
    """The innermost module around a convolution that has the shape of a block; empty if there is none."""
    pieces = conv.name.split(".")
    for length in range(len(pieces) - 1, 0, -1):
        path = ".".join(pieces[:length])
        inside = [other for other in convs if other.name.startswith(f"{path}.")]
        if len(inside) > 1:
            return path if _is_block(path, inside, convs) else ""
    return ""


def _is_block(path: str, inside: Sequence[Conv], convs: Sequence[Conv]) -> bool:
    at = convs.index(inside[0])
    fits = (
        list(convs[at : at + len(inside)]) == list(inside)
        and 0 < at < len(convs) - len(inside)
        and follows(inside[0].inputs, inside[-1].outputs)
        and not all(conv.pointwise for conv in inside)
    )
    # Layers of one kernel, and no other module like theirs: a list of layers, not a block.
    return fits and (len({conv.kernel for conv in inside}) > 1 or _has_sibling(path, inside, convs))


def _has_sibling(path: str, inside: Sequence[Conv], convs: Sequence[Conv]) -> bool:
    """Whether another module has the same name but for a number, and the same layers within."""
    names = {conv.name.removeprefix(path) for conv in inside}
    pattern = re.compile(re.sub(r"\d+", r"\\d+", re.escape(path)))
    others: dict[str, set[str]] = {}
    for conv in convs:
        match = pattern.match(conv.name)
        if match and match[0] != path:
            others.setdefault(match[0], set()).add(conv.name.removeprefix(match[0]))
    return names in others.values()


def ignore_unused_biases(convs: Sequence[Conv], assumptions: Assumptions, *, blocks_of_own: bool) -> list[str]:
    """Takes away biases that are stored but not added, and says so; or else changes nothing.

    blocks_of_own: whether there are blocks that begin with a layer, whose scripts are known to do that.
    """
    masked = [conv for conv in convs if conv.masked and conv.bias is not None]
    others = [conv for conv in convs if not conv.masked]
    initial = not any(map(_was_trained, masked)) and any(map(_was_trained, others))
    unused = initial or (blocks_of_own and masks_itself(convs))
    if not masked or not (unused or blocks_of_own):
        return []
    what, choices = "whether its masked convolutions add the bias that they store", ("ignored", "added")
    answer = assumptions.assume("masked_bias", choices[0] if unused else choices[1], what, choices=choices)
    if answer == "ignored":
        for conv in masked:
            conv.bias = None
    return [f"the stored biases of {len(masked)} masked convolutions are {answer}"]


def _was_trained(conv: Conv) -> bool:
    """Whether a bias has left the interval that PyTorch draws it from: plus and minus 1 / sqrt(inputs of a feature)."""
    if conv.bias is None:
        return False
    limit = 1 / math.sqrt(conv.weight[0].numel())
    return bool((conv.bias.abs() > limit * (1 + 1e-5)).any()) and bool(torch.isfinite(conv.bias).all())


def masks_itself(convs: Sequence[Conv]) -> bool:
    """Masked 1x1 convolutions before a last one without a mask: the masked are of a class with its own forward pass."""
    return not convs[-1].masked and any(conv.masked and conv.pointwise for conv in convs)


def refuse_parallel(convs: Sequence[Conv]) -> None:
    """Raises TuiGenError for the two convolutions of a gate (tanh and sigmoid), and for one that skips to the head."""
    names = {conv: conv.name.rpartition(".") for conv in convs}
    words = {conv: set(names[conv][2].lower().split("_")) for conv in convs}
    for conv in convs:
        beside = [other for other in convs if names[other][0] == names[conv][0] and other is not conv]
        signals = [other for other in beside if words[other] & _SIGNALS and other.outputs == conv.outputs]
        if words[conv] & _GATES and signals:
            refuse(f"{signals[0].name} and {conv.name} seem to make a gate together, and how no file tells")
        if words[conv] & _SKIPS and beside:
            refuse(f"{conv.name} seems to skip to the head, and from where no file tells")
