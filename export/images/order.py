"""The order in which a network of one stack computes: its layers, and the modules without tensors between them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from export.images.layers import Conv, Layers, Norm
from export.loading.contents import Checkpoint, ModuleFacts
from tui_gen.errors import TuiGenError

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "leaky_relu": nn.LeakyReLU,
}
_KINDS = {f"torch.nn.modules.activation.{kind.__name__}": kind for kind in ACTIVATIONS.values()}
_SHAPES = {nn.ELU: "alpha", nn.LeakyReLU: "negative_slope", nn.GELU: "approximate"}
"""The attribute that an activation's shape depends on."""
_WITHOUT_EFFECT = re.compile(r"torch\.nn\.modules\.(dropout\.|loss\.|linear\.Identity$|container\.)")


@dataclass(eq=False)
class Item:
    """A layer, or a module without tensors, which is an activation."""

    name: str
    part: Conv | Norm | None = None
    activation: nn.Module | None = None
    """The one that it is, where the file says it."""


@dataclass(frozen=True)
class Order:
    """What is computed, one after another."""

    items: list[Item]
    told: bool
    """Whether the file says which activations there are."""
    complete: frozenset[str]
    """Paths of containers whose modules run one after another, with nothing else between them."""


def order_of(layers: Layers, checkpoint: Checkpoint) -> Order:
    """By the modules of a pickled network, or else by the numbers that are missing in the names of its layers.

    Raises TuiGenError for a pickled network with a module between its layers that is not known.
    """
    if any(facts.kind in _KINDS for facts in checkpoint.modules.values()):
        sequential = (path for path, facts in checkpoint.modules.items() if facts.kind.endswith(".Sequential"))
        return Order(list(_by_modules(layers, checkpoint)), True, frozenset(sequential))
    items: list[Item] = []
    reached: dict[str, int] = {}
    complete: set[str] = set()
    for part in layers.parts:
        for container, number in _numbers(part.name):
            before = reached.get(container, -1)
            if items and number > before + 1:  # only a Sequential has modules without tensors
                items.append(Item(f"{container}.{before + 1}"))
                complete.add(container)
            reached[container] = number
        items.append(Item(part.name, part))
    return Order(items, False, frozenset(complete))


def _numbers(name: str) -> Iterator[tuple[str, int]]:
    """Every container with numbered modules on the way to a layer, and the layer's number there."""
    pieces = name.split(".")
    for index, piece in enumerate(pieces):
        if piece.isdecimal():
            yield ".".join(pieces[:index]), int(piece)


def _by_modules(layers: Layers, checkpoint: Checkpoint) -> Iterator[Item]:
    parts = {part.name: part for part in layers.parts}
    last = layers.parts[-1].name
    for path, facts in checkpoint.modules.items():
        if path in parts:
            yield Item(path, parts[path])
            if path == last:
                return  # a softmax or the like of the logits changes nothing that is asked for
        elif facts.kind in _KINDS:
            yield Item(path, None, _activation(facts))
        elif _is_leaf(path, checkpoint) and not _WITHOUT_EFFECT.match(facts.kind):
            raise TuiGenError(
                f"what {path} does, a {facts.kind}, is not known; "
                "the network can be exported with --factory package.module:function"
            )


def _activation(facts: ModuleFacts) -> nn.Module:
    kind = _KINDS[facts.kind]
    shape = _SHAPES.get(kind, "")
    return kind(**{shape: facts.attributes[shape]}) if shape in facts.attributes else kind()


def _is_leaf(path: str, checkpoint: Checkpoint) -> bool:
    """Whether there is neither a module nor a tensor within it."""
    inside = f"{path}." if path else ""
    within = (name for names in (checkpoint.modules, checkpoint.tensors) for name in names)
    return not any(name != path and name.startswith(inside) for name in within)
