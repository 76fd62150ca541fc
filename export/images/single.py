"""Reads networks of one stack: masked convolutions in a chain, some of them in residual blocks.

van den Oord, Kalchbrenner, Kavukcuoglu: Pixel Recurrent Neural Networks, 2016, figure 5 and table 1.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

from torch import nn

from export.images.biases import masked_for_themselves, without_unused_biases
from export.images.blocks import Block, convolutions, in_blocks
from export.images.chain import Style, stacked
from export.images.convolution import first_gate, in_raster_order
from export.images.ends import read_ends
from export.images.exportable import reading_of
from export.images.layers import Conv, Layers, Norm, chained
from export.images.network import ImageNetwork
from export.images.order import ACTIVATIONS, Item, Order, order_of
from export.images.parallel import refuse_parallel
from export.images.telling import Answers
from export.reading import Reading

_TIMES = ("none", "once", "twice")


def read_single(layers: Layers, answers: Answers) -> Reading | None:
    """A network whose convolutions follow one another in the order of the file; None for any other."""
    convs = layers.convs
    if layers.left or len(layers.tables) > 1 or not chained(convs) or convs[0].pointwise:
        return None
    if any(rows != columns or rows % 2 == 0 for rows, columns in (conv.kernel for conv in convs)):
        return None
    refuse_parallel(convs)
    order = order_of(layers, answers.checkpoint)
    items = in_blocks(order.items)
    blocks = [item for item in items if isinstance(item, Block)]
    layer_first = bool(blocks) and not blocks[0].activation_first
    notes = without_unused_biases(convs, answers, blocks_of_own=layer_first)
    made = stacked(items, _style(order, items, blocks, answers), in_raster_order(convs, answers))
    table = next(iter(layers.tables.values()), None)
    scaling = "level/levels" if layer_first and masked_for_themselves(convs) else "level/(levels-1)"
    ends = read_ends(convs[0].inputs, convs[-1], table, answers, scaling=scaling)
    made.append(ends.logits)
    height, width = answers.size()
    network = ImageNetwork(
        made.eval(),
        ends.encoding,
        height,
        width,
        ends.levels,
        ends.channels,
        label=f"PixelCNN {len(blocks) or len(convs)}x{convs[0].outputs}",
    )
    return reading_of(network, answers, notes=[*_about(order, convs, blocks), *notes, *ends.notes])


def _style(order: Order, items: list[Item | Block], blocks: list[Block], answers: Answers) -> Style:
    """What the tensors do not say."""

    @cache
    def kind() -> type[nn.Module]:  # asked once, and only if there is one whose kind is not known
        what = "the activation between its layers"
        return ACTIVATIONS[answers.assume("activation", "relu", what, choices=(*ACTIVATIONS,))]

    def activation() -> nn.Module:
        return kind()()

    convs = convolutions(items)
    gated = any(conv.outputs == 2 * after.inputs for conv, after in pairwise(convs))
    return Style(
        activation=activation,
        gate=first_gate(answers) if gated else "tanh",
        residual=_residual(blocks, answers) if blocks else 0,
        end=_end(items, blocks, answers) if blocks else "none",
        order=order,
    )


def _residual(blocks: list[Block], answers: Answers) -> int:
    """How many times a block adds its input."""
    path = blocks[0].path
    default = "once" if any(block.bottleneck for block in blocks) or "res" in path.lower() else "none"
    # Blocks that keep their layers in a private attribute and begin with an activation have been found to add their
    # input themselves, and to be called by something that adds it again.
    if blocks[0].activation_first and path.rpartition(".")[2].startswith("_"):
        default = "twice"
    told = answers.assume("residual", default, "how often a block adds its input", choices=_TIMES)
    return _TIMES.index(told)


def _end(items: list[Item | Block], blocks: list[Block], answers: Answers) -> str:
    """Where the last activation of a block is: on the sum, before it, or nowhere."""
    if blocks[0].activation_first:
        return "none"
    following = items[items.index(blocks[0]) + 1 :]
    beside = next((item for item in following if isinstance(item, Block) or not isinstance(item.part, Norm)), None)
    outside = isinstance(beside, Item) and beside.part is None
    default = "none" if outside or any(block.gated for block in blocks) else "after"
    return answers.assume(
        "block_end",
        default,
        "whether a block ends with an activation, before or after it adds its input",
        choices=("after", "before", "none"),
    )


def _about(order: Order, convs: list[Conv], blocks: list[Block]) -> list[str]:
    """What was inferred from what."""
    notes = [f"{len(convs)} convolutions in the order of the file, {len(blocks)} blocks among them"]
    if order.told:
        notes.append("activations stand where the file's modules have them")
    elif order.complete:
        notes.append("activations stand where the numbers in the names of layers have gaps")
    return notes
