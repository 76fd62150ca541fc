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
from .blocks import TIMES, LayerBlock, convolutions, group_blocks, in_turns, layers_as_blocks
from .input_output import LEVELS, Habits, check_statements, read_input_output
from .layers import (
    ACTIVATIONS,
    Affine,
    Conv,
    GatedActivation,
    Item,
    LayerOrder,
    Layers,
    Norm,
    activation_of,
    dilations_of,
    first_gate,
    is_chain,
    order_of,
    raster_masks,
    refuse,
    refuse_classifier,
    same_convolution,
)
from .streaming import reading_of

_ENDS = ("after", "before", "none", "first")
_GATES = frozenset({"sigmoid", "sigm", "gate", "g"})
_SIGNALS = frozenset({"tanh", "filter", "signal", "f"})
_SKIPS = re.compile(r"skip|shortcut|downsample")


def read_single(layers: Layers, assumptions: Assumptions) -> Reading | None:
    """A network whose convolutions follow one another in the order of the file; None for any other."""
    layers = in_turns(layers.without(assumptions.names("ignore", "NAME,NAME")), assumptions)
    layers = _without_last_norm(layers, assumptions)
    convs = layers.convs
    if layers.unknown or len(layers.tables) > 1 or not is_chain(convs) or convs[0].pointwise:
        return None
    if any(rows != columns or rows % 2 == 0 for rows, columns in (conv.kernel for conv in convs)):
        return None
    refuse_parallel(convs)
    order = order_of(layers, assumptions.checkpoint)
    items = layers_as_blocks(group_blocks(order.items), order, assumptions)
    blocks = [item for item in items if isinstance(item, LayerBlock)]
    book = of_book(blocks, convs)
    layer_first = bool(blocks) and not blocks[0].activation_first
    notes = ignore_unused_biases(convs, assumptions, blocks_of_own=layer_first, book=book)
    style = _style(order, items, blocks, assumptions, book=book)
    module = _Stack(style, raster_masks(convs, assumptions), _dilations(convs, assumptions)).build(items)
    last, last_notes = _last_activation(assumptions)
    module.append(last)
    table = _levels_table(layers)
    habits = _habits(layers, assumptions.checkpoint, book=book)
    layout = read_input_output(convs[0].inputs, convs[-1], table, assumptions, habits=habits)
    check_statements(layers, assumptions, classes=layout.planes.classes)
    label = f"PixelCNN {len(blocks) or len(convs)}x{convs[0].outputs}"
    network = layout.network(assumptions.size(), module, label=label)
    return reading_of(network, assumptions, notes=[*_notes(order, convs, blocks), *notes, *last_notes, *layout.notes])


def _last_activation(assumptions: Assumptions) -> tuple[nn.Module, list[str]]:
    """What its last numbers go through, which leaves no trace in a file, and what there is to say of it."""
    function = assumptions.answer("last_activation", choices=(*ACTIVATIONS,))
    told = "no activation follows its last layer; where the script has one, --assume last_activation=relu or the like"
    return (activation_of(function), []) if function else (nn.Identity(), [told])


def _without_last_norm(layers: Layers, assumptions: Assumptions) -> Layers:
    """The same but for a normalisation after the last layer, which scripts define and forget; asked."""
    last = layers.parts[-1]
    if not isinstance(last, Norm) or not layers.convs:
        return layers
    what = f"whether {last.name}, a normalisation after its last layer, is used or forgotten"
    used = assumptions.ask("last_norm", what, choices=("used", "ignored")) == "used"
    return layers if used else layers.without([last.name])


def _levels_table(layers: Layers) -> Tensor | None:
    """The embedding of the levels. Raises TuiGenError for a table that is none, such as one of classes."""
    if not layers.tables:
        return None
    table, reads = layers.tables[0], layers.convs[0].inputs
    if table.bias is not None or table.weight.shape[1] != reads:
        refuse_classifier(layers)
        refuse(
            f"{table.name} {list(table.weight.shape)} is no embedding of the {reads} planes that its first layer "
            f"reads, and where it enters no file tells; if its script does not use it, --assume ignore={table.name}"
        )
    return table.weight


def _dilations(convs: list[Conv], assumptions: Assumptions) -> dict[Conv, int]:
    """Of the convolutions after the first that look around."""
    inner = [conv for conv in convs[1:] if not conv.pointwise]
    return dict(zip(inner, dilations_of(inner, assumptions), strict=True))


def _habits(layers: Layers, checkpoint: Checkpoint, *, book: bool) -> Habits:
    """What is known of the scripts that write such files. book: by `of_book`."""
    if book:
        return Habits("level/levels")
    sequential = all(part.name.isdecimal() for part in layers.parts)
    if keeps_shape(checkpoint) or (sequential and layers.convs[-1].outputs == LEVELS):
        return Habits("level/(levels-1)")
    return Habits()


def keeps_shape(checkpoint: Checkpoint) -> bool:
    """Whether the shape of an image is among the tensors, under the names that one library gives it."""
    return {"_c", "_h", "_w"} <= {name.rpartition(".")[2] for name in checkpoint.tensors}


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
    """Where its activations are: the last `after` or `before` the sum, or `none`; or one before each layer, `first`."""
    order: LayerOrder
    before_blocks: bool = True
    """Whether an activation comes before the first block, where nothing in the file shows one."""
    norms_last: bool = False
    """Whether a normalisation comes after the activation that follows a layer, where nothing in the file shows it."""
    after_blocks: bool = False
    """Whether one follows the last block, where the blocks end with sums and nothing in the file shows one."""


def _style(
    order: LayerOrder, items: list[Item | LayerBlock], blocks: list[LayerBlock], assumptions: Assumptions, *, book: bool
) -> StackStyle:
    """book: whether its script is known, by `of_book`."""

    @cache
    def kind() -> str:  # asked once, and only if there is one whose kind is not known
        if len(order.functions) == 1:
            return next(iter(order.functions))
        what = "the activation between its layers"
        if blocks and not (book or keeps_shape(assumptions.checkpoint)):
            stated = assumptions.stated("activation", choices=ACTIVATIONS)
            return stated or assumptions.ask("activation", what, choices=(*ACTIVATIONS,))
        return assumptions.assume("activation", "relu", what, choices=(*ACTIVATIONS,), subject="activation")

    def activation() -> nn.Module:
        return activation_of(kind())

    gate = any(conv.outputs == 2 * after.inputs for conv, after in pairwise(convolutions(items)))
    end = _end(blocks, assumptions, book=book) if blocks else "none"
    return StackStyle(
        activation=activation,
        gate=first_gate(assumptions) if gate else "tanh",
        residual=_residual(blocks, assumptions) if blocks else 0,
        end=end,
        order=order,
        norms_last=_norms_last(items, order, assumptions),
        before_blocks=book or not blocks or _activation_before(items, blocks[0], end, order, assumptions),
        after_blocks=bool(blocks) and end != "after" and _activation_after(items, blocks[-1], order, assumptions),
    )


def _norms_last(items: Sequence[Item | LayerBlock], order: LayerOrder, assumptions: Assumptions) -> bool:
    """Whether normalisations come after activations; assumed not, unless the numbering shows where each one is."""
    inside = [item for group in items for item in (group.items if isinstance(group, LayerBlock) else [group])]
    doubtful = (
        isinstance(before.part, Conv) and isinstance(after.part, Norm) and not order.adjacent(before.name, after.name)
        for before, after in pairwise(inside)
    )
    if not any(doubtful):
        return False
    what = "whether its normalisations come before activations or after"
    choices = ("before-activations", "after-activations")
    return assumptions.assume("norms", choices[0], what, choices=choices) == choices[1]


def _activation_before(
    items: list[Item | LayerBlock], first: LayerBlock, end: str, order: LayerOrder, assumptions: Assumptions
) -> bool:
    """Whether an activation comes before the first block; asked unless the numbering, or the block, shows one."""
    before = items[items.index(first) - 1]
    if isinstance(before, LayerBlock) or before.part is None:
        return True
    if first.activation_first or first.has_gate or end == "first":
        return True
    if order.adjacent(before.name, first.path):
        return False
    what = "whether an activation comes before its first block"
    return assumptions.ask("before_blocks", what, choices=("activation", "none")) == "activation"


def _activation_after(
    items: list[Item | LayerBlock], last: LayerBlock, order: LayerOrder, assumptions: Assumptions
) -> bool:
    """Whether an activation follows the last block that the numbering does not show; asked unless there can be none."""
    beside = _beside(items, last)
    if not isinstance(beside, Item) or beside.part is None or order.adjacent(last.path, beside.name):
        return False
    what = "whether an activation follows its last block"
    return assumptions.ask("after_blocks", what, choices=("activation", "none")) == "activation"


def _beside(items: list[Item | LayerBlock], block: LayerBlock) -> Item | LayerBlock | None:
    """What follows a block, but for normalisations."""
    following = items[items.index(block) + 1 :]
    return next((item for item in following if isinstance(item, LayerBlock) or not isinstance(item.part, Norm)), None)


def _residual(blocks: list[LayerBlock], assumptions: Assumptions) -> int:
    """How many times a block adds its input."""
    path = blocks[0].path
    likely = "once" if any(block.bottleneck for block in blocks) or "res" in path.lower() else ""
    # Blocks that keep their layers in a private attribute and begin with an activation have been found to add their
    # input themselves, and to be called by something that adds it again.
    if blocks[0].activation_first and path.rpartition(".")[2].startswith("_"):
        likely = "twice"
    what = "how often a block adds its input"
    likely = {"yes": "once", "no": "none"}.get(assumptions.stated("block_residual") or "", likely)
    if likely:
        return TIMES.index(assumptions.assume("residual", likely, what, choices=TIMES))
    return TIMES.index(assumptions.ask("residual", what, choices=TIMES))


def _end(blocks: list[LayerBlock], assumptions: Assumptions, *, book: bool) -> str:
    """Where the last activation of a block is: on the sum, before it, or nowhere; asked where nothing shows it."""
    if blocks[0].activation_first or blocks[0].activation_last:
        return "none"
    what = (
        "where the activations of a block are: the last one after it adds its input (after), before that (before), or "
        "none after its last layer (none); or one before each of its layers (first); if layers of it stand side by "
        "side, such as the two of a gate, no answer fits, but --factory does"
    )
    if book or any(block.has_gate for block in blocks):
        return assumptions.assume("block_end", "after" if book else "none", what, choices=_ENDS)
    return assumptions.ask("block_end", what, choices=_ENDS)


def _notes(order: LayerOrder, convs: list[Conv], blocks: list[LayerBlock]) -> list[str]:
    """What was inferred from what."""
    notes = [f"{len(convs)} convolutions in the order of the file, {len(blocks)} blocks among them"]
    if order.from_modules:
        notes.append("activations stand where the file's modules have them")
        notes += [
            f"its other activations are {name}, a module of it" for name in order.functions if len(order.functions) == 1
        ]
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

    masks: convolutions in place of others. dilations: of those that may have any.
    """

    def __init__(self, style: StackStyle, masks: Mapping[Conv, Conv], dilations: Mapping[Conv, int]) -> None:
        self.style, self.masks, self.dilations = style, masks, dilations
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
        open_to_one = isinstance(part, Conv) or self.style.norms_last
        apart = self.last and open_to_one and not self.style.order.adjacent(self.last, part.name)
        if self.width == 2 * reads or apart:
            self._activate(reads)
        if isinstance(part, Norm):
            self.modules.append(Affine(part))
        else:
            dilation = self.dilations.get(part, 1)
            self.modules.append(same_convolution(self.masks.get(part, part), dilation=dilation))
            self.width, self.last = part.outputs, part.name

    def _add_block(self, block: LayerBlock) -> None:
        style, reads = self.style, block.convs[0].inputs
        first = not any(isinstance(module, Residual) for module in self.modules)
        bare = block.activation_first or block.has_gate or style.end == "first"
        if self.width == 2 * reads or (first and self.last and style.before_blocks and not bare):
            self._activate(reads)
        stack = _Stack(style, self.masks, self.dilations)
        inner = stack.build(block.items_with_first if style.end == "first" else block.items)
        if stack.width == 2 * reads:
            inner.append(GatedActivation(style.gate))
        before, after = (style.activation() if style.end == end else nn.Identity() for end in ("before", "after"))
        self.modules.append(Residual(inner, style.residual, before, after))
        self.width, self.last = reads, block.path if style.after_blocks else ""

    def _activate(self, reads: int, activation: nn.Module | None = None) -> None:
        """An activation; a gate if the next layer reads half of the channels."""
        gate = self.width == 2 * reads
        self.modules.append(GatedActivation(self.style.gate) if gate else activation or self.style.activation())
        self.width, self.last = reads if gate else self.width, ""


def _reads(items: Sequence[Item | LayerBlock]) -> int:
    """Channels that the next layer reads; 0 if there is none."""
    for item in items:
        if isinstance(item, LayerBlock):
            return item.convs[0].inputs
        if item.part is not None:
            return item.part.inputs
    return 0


def ignore_unused_biases(
    convs: Sequence[Conv], assumptions: Assumptions, *, blocks_of_own: bool, book: bool
) -> list[str]:
    """Takes away biases that are stored but not added, and says so; or else changes nothing.

    blocks_of_own: whether there are blocks that begin with a layer, whose scripts are known to do that, above all the
    one of `of_book`.
    """
    masked = [conv for conv in convs if conv.masked and conv.bias is not None]
    others = [conv for conv in convs if not conv.masked]
    initial = not any(map(_was_trained, masked)) and any(map(_was_trained, others))
    unused = initial or book
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


def of_book(blocks: Sequence[LayerBlock], convs: Sequence[Conv]) -> bool:
    """Whether the masks are those of a book's script: on 1x1 convolutions of the head, but not on those of blocks.

    Its masked convolutions are of a class with its own forward pass, which never adds their biases: where one has been
    trained, the script is another one, such as a port of David Foster's network. In its blocks each layer but the last
    has a Sequential of its own, with its activation: other scripts of the same masks have them elsewhere.
    """
    numbered = [[conv.name.endswith(".0") for conv in block.convs] for block in blocks]
    if any(conv.masked and _was_trained(conv) for conv in convs):
        return False
    if any(last or not all(others) for *others, last in numbered):
        return False
    inner = [conv for block in blocks for conv in block.convs if conv.pointwise]
    head = [conv for conv in convs if conv.pointwise and conv not in inner]
    starts_with_layer = bool(blocks) and not blocks[0].activation_first
    masked = any(conv.masked for conv in head) and not convs[-1].masked and not any(conv.masked for conv in inner)
    return starts_with_layer and bool(inner) and masked


def refuse_parallel(convs: Sequence[Conv]) -> None:
    """Raises TuiGenError for the two convolutions of a gate (tanh and sigmoid), and for one that skips to the head."""
    names = {conv: conv.name.rpartition(".") for conv in convs}
    words = {conv: set(names[conv][2].lower().split("_")) for conv in convs}
    for conv in convs:
        beside = [other for other in convs if names[other][0] == names[conv][0] and other is not conv]
        signals = [other for other in beside if words[other] & _SIGNALS and other.outputs == conv.outputs]
        if words[conv] & _GATES and signals:
            refuse(f"{signals[0].name} and {conv.name} seem to make a gate together, and how no file tells")
        if _SKIPS.search(names[conv][2].lower()) and beside:
            refuse(f"{conv.name} seems to skip layers, and which no file tells")
