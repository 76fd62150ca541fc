"""Modules without tensors between the layers of a network: gaps in the numbers of their names.

In an `nn.Sequential` with the layers `0` and `2`, module 1 has no tensors: an activation, or a dropout, which is
nothing once a network is trained. A pickled network says which. A state dict does not, so such a gap is asked about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tui_gen.errors import TuiGenError

from .checkpoints.checkpoint import ModuleFacts

_WITHOUT_EFFECT = re.compile(
    r"drop|loss$|criterion|metric|accuracy|Identity$|Softmax$|torch\.nn\.modules\.(loss|container)\.|"
    r"torch\.nn\.utils\.parametrizations\._(Weight|Spectral)Norm$",
    re.IGNORECASE,
)
"""Classes of modules that change nothing in a trained network; a softmax at its end, nothing of its distribution; and
norms of weights, which are multiplied out.
"""
_FUNCTIONS = {
    "ReLU": "relu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "LeakyReLU": "leaky_relu",
    "ELU": "elu",
    "GELU": "gelu",
    "SiLU": "silu",
    "SELU": "selu",
    "Softplus": "softplus",
}
_SHAPES = {"LeakyReLU": ("negative_slope", 0.01), "ELU": ("alpha", 1.0), "Softplus": ("beta", 1.0)}
"""The attribute that the shape of an activation depends on, and PyTorch's value of it."""

_DIGITS, _LONGEST = 9, 100
"""No honest file has longer numbers, or more modules without tensors side by side."""


@dataclass(frozen=True)
class Gap:
    """Modules without tensors, side by side in a container."""

    container: str
    first: int
    """The number of the first of them."""
    count: int

    @property
    def names(self) -> tuple[str, ...]:
        """The paths of the modules."""
        prefix = f"{self.container}." if self.container else ""
        return tuple(f"{prefix}{number}" for number in range(self.first, self.first + self.count))


def find_gaps(layers: Sequence[str], modules: Mapping[str, ModuleFacts] | None = None) -> list[tuple[Gap, ...]]:
    """What is missing in the numbering right before each layer; nothing before the first.

    layers: their names, in the order in which they follow one another. modules: of a pickled network, which also tell
    what follows the last layer of a container.
    """
    numbers: dict[str, int] = {}
    gaps, before = list[tuple[Gap, ...]](), ""
    for at, name in enumerate(layers):
        places = dict(_numbered_places(name))
        ends = [_end_of(container, number, modules or {}) for container, number in _numbered_places(before)]
        here = [gap for gap in ends if gap.count and gap.container not in places]
        for container, number in places.items():
            last = numbers.get(container, -1)
            count = min(number - last - 1, _LONGEST)
            here += [Gap(container, last + 1, count)] if count > 0 else []
            numbers[container] = max(number, last)
        gaps.append(tuple(here) if at else ())
        before = name
    return gaps


def modules_after(name: str, modules: Mapping[str, ModuleFacts]) -> dict[str, str]:
    """What follows the last layer of a pickled network in its sequences: activations, by their paths; empty for others.

    Raises TuiGenError for a module whose effect is not known.
    """
    sequences = {path for path, facts in modules.items() if facts.kind.endswith(".Sequential")}
    places = [place for place in _numbered_places(name) if place[0] in sequences]
    ends = [_end_of(container, number, modules) for container, number in places]
    leaves = [path for gap in ends for inside in gap.names for path in _leaves(inside, modules)]
    return {path: function_of(path, modules[path]) for path in leaves}


def _numbered_places(name: str) -> Iterator[tuple[str, int]]:
    """Every container with numbered modules on the way to a layer, and the layer's number there."""
    pieces = name.split(".")
    for index, piece in enumerate(pieces):
        if piece.isdecimal() and len(piece) < _DIGITS:
            yield ".".join(pieces[:index]), int(piece)


def _end_of(container: str, number: int, modules: Mapping[str, ModuleFacts]) -> Gap:
    """The modules of a container after one of them."""
    count = 0
    while (f"{container}." if container else "") + str(number + 1 + count) in modules:
        count += 1
    return Gap(container, number + 1, count)


def activations_in(gap: Gap, modules: Mapping[str, ModuleFacts]) -> list[str] | None:
    """The activations among the modules of a gap, such as `relu` or `leaky_relu(0.2)`; None if the file has no modules.

    Raises TuiGenError for a module whose effect is not known.
    """
    if not all(name in modules for name in gap.names):
        return None
    leaves = [path for name in gap.names for path in _leaves(name, modules)]
    softmax = next((path for path in leaves if modules[path].kind.endswith("Softmax")), None)
    if softmax:
        raise _unknown(softmax, modules[softmax])
    functions = [function_of(path, modules[path]) for path in leaves]
    return [function for function in functions if function]


def _leaves(name: str, modules: Mapping[str, ModuleFacts]) -> list[str]:
    """A module, or those within it that have none within."""
    inside = [path for path in modules if path.startswith(f"{name}.")]
    return [path for path in inside if not any(other.startswith(f"{path}.") for other in inside)] or [name]


def function_of(path: str, facts: ModuleFacts) -> str:
    """What a module without tensors does: an activation; empty for nothing. Raises TuiGenError if it is not known."""
    kind = facts.kind.rpartition(".")[2]
    if kind in _FUNCTIONS and facts.kind.startswith("torch.nn."):
        attribute, usual = _SHAPES.get(kind, ("", None))
        shape = facts.attributes.get(attribute, usual)
        tanh = "_tanh" if facts.attributes.get("approximate") == "tanh" else ""
        return _FUNCTIONS[kind] + tanh + ("" if shape == usual else f"({shape:g})")
    if _WITHOUT_EFFECT.search(facts.kind):
        return ""
    raise _unknown(path, facts)


def _unknown(path: str, facts: ModuleFacts) -> TuiGenError:
    return TuiGenError(
        f"what {path} does, a {facts.kind}, is not known; "
        "the network can be exported with --factory package.module:function"
    )
