"""Layers in the order in which they run: lists that run in turns, and blocks that may add their input."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from ..assumptions import Assumptions
from .layers import Conv, Item, LayerOrder, Layers, Norm, follows, is_chain

TIMES = ("none", "once", "twice")
"""How often a block adds its input."""
_NUMBER = re.compile(r"(.*?)(\d{1,9})")


def in_turns(layers: Layers, assumptions: Assumptions) -> Layers:
    """The same with lists of layers that stand side by side in the file, but run in turns, in the order of running.

    A list of normalisations can only belong to the layers of the list before it; of two lists of convolutions it is
    asked where they could run either way. A turn gets the name of a module of its own.
    """
    lists = _lists_of(layers.parts)
    if len(lists) < 2:
        return layers
    first, turns = layers.parts.index(lists[0][1][0]), zip(*(parts for _, parts in lists), strict=True)
    run = [
        replace(part, name=f"turns.{number}.{name.rstrip('.')}")
        for number, turn in enumerate(turns)
        for (name, _), part in zip(lists, turn, strict=True)
    ]
    ordered = Layers([*layers.parts[:first], *run, *layers.parts[first + len(run) :]], layers.tables, layers.unknown)
    names = ", ".join(name.rstrip(".") for name, _ in lists)
    if not is_chain(ordered.convs):
        return layers
    if any(isinstance(parts[0], Norm) for _, parts in lists) or not is_chain(layers.convs):
        assumptions.notes.append(f"the layers of {names} run in turns")
        return ordered
    what = f"whether its lists of {len(lists[0][1])} layers each, {names}, run in turns or one after another"
    return (
        ordered if assumptions.ask("lists", what, choices=("in-turns", "one-after-another")) == "in-turns" else layers
    )


def _lists_of(parts: Sequence[Conv | Norm]) -> list[tuple[str, list[Conv | Norm]]]:
    """The longest run of lists side by side, as long as one another, of layers under their numbers alone.

    Attributes with a number each, such as `norm1`, are a list where normalisations are among them.
    """
    runs: list[tuple[str, list[Conv | Norm]]] = []
    for part in parts:
        container, number = _place(part)
        before = _place(runs[-1][1][-1]) if runs else ("", 0)
        if container and (container, number - 1) == before and runs[-1][0]:
            runs[-1][1].append(part)
        else:
            runs.append((container if 0 <= number <= (not container.endswith(".")) else "", [part]))
    best: list[tuple[str, list[Conv | Norm]]] = []
    for (listed, in_list, length), group in groupby(runs, lambda run: (run[0] != "", run[0][-1:] == ".", len(run[1]))):
        lists = list(group)
        alike = all(len(set(map(type, inner))) == 1 for _, inner in lists)
        numbered = in_list or any(isinstance(inner[0], Norm) for _, inner in lists)
        if listed and length > 1 and len(lists) > len(best) and alike and numbered:
            best = lists
    return best


def _place(part: Conv | Norm) -> tuple[str, int]:
    """What comes before the number at the end of a layer's name, with its dot, and the number; -1 without one."""
    match = _NUMBER.fullmatch(part.name)
    return (match[1], int(match[2])) if match else ("", -1)


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
    def activation_last(self) -> bool:
        """Whether one of its modules is an activation after the last layer, as only a pickled network tells."""
        return self.items[-1].part is None

    @property
    def items_with_first(self) -> list[Item]:
        """The same with an activation before the first convolution, after normalisations that come before it."""
        norms = next(at for at, item in enumerate(self.items) if isinstance(item.part, Conv))
        return [*self.items[:norms], Item(self.path), *self.items[norms:]]

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


def layers_as_blocks(
    items: list[Item | LayerBlock], order: LayerOrder, assumptions: Assumptions
) -> list[Item | LayerBlock]:
    """The same with each layer that may add its input as a block of its own, if it does; asked.

    Those are two or more layers, as wide as their input, of which no Sequential is known to run one after another.
    """
    convs = convolutions(items)
    wide = [
        after
        for before, after in pairwise(convs)
        if not after.pointwise and follows(after.inputs, after.outputs) and not order.adjacent(before.name, after.name)
    ]
    if len(wide) < 2 or any(isinstance(item, LayerBlock) for item in items):
        return items
    what = f"whether layers as wide as their input, such as {wide[0].name} and {wide[1].name}, add it to what they make"
    if assumptions.ask("residual", what, choices=TIMES) == "none":
        return items
    groups: list[Item | LayerBlock] = []
    for item in items:
        last = groups[-1] if groups else None
        if isinstance(item, Item) and item.part in wide:
            groups.append(LayerBlock(item.name, [item]))
        elif isinstance(item, Item) and isinstance(item.part, Norm) and isinstance(last, LayerBlock):
            last.items.append(item)
        else:
            groups.append(item)
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
