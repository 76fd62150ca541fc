"""Which layers of a network of one stack make a block that may add its input: those within a module of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from export.images.layers import Conv, follows
from export.images.order import Item


@dataclass(eq=False)
class Block:
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
    def gated(self) -> bool:
        """Whether a layer within puts out twice as many channels as the next, or the block's input, has."""
        convs = self.convs
        reads = [*(conv.inputs for conv in convs[1:]), convs[0].inputs]
        return any(conv.outputs == 2 * width for conv, width in zip(convs, reads, strict=True))

    @property
    def bottleneck(self) -> bool:
        """Whether 1x1 convolutions stand around others, as in the blocks of the paper."""
        return len({conv.pointwise for conv in self.convs}) == 2


def convolutions(items: Sequence[Item | Block]) -> list[Conv]:
    """All convolutions, in order."""
    found: list[Conv] = []
    for item in items:
        if isinstance(item, Block):
            found += item.convs
        elif isinstance(item.part, Conv):
            found.append(item.part)
    return found


def in_blocks(items: Sequence[Item]) -> list[Item | Block]:
    """The same with blocks in place of their layers."""
    convs = convolutions(items)
    paths = {path for conv in convs if (path := _block_of(conv, convs))}
    grouped: list[Item | Block] = []
    for item in items:
        path = next((path for path in paths if item.name.startswith(f"{path}.")), "")
        last = grouped[-1] if grouped else None
        if path and isinstance(last, Block) and last.path == path:
            last.items.append(item)
        else:
            grouped.append(Block(path, [item]) if path else item)
    return grouped


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
