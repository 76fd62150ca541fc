"""A checkpoint as plain values: tensors by name, modules, settings; names without wrappers, weights without norms."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor

_INNER_WRAPPERS = frozenset(
    {"_orig_mod", "_fsdp_wrapped_module", "_fpw_module", "_checkpoint_wrapped_module", "_forward_module"}
)
"""What torch.compile, FSDP, activation checkpointing and Lightning put anywhere into a name: no person's module is
called so."""
_DEEPEST = 20
"""Components of a name in which wrappers are looked for."""
_PARAMETRIZATION = re.compile(r"((?:.*\.)?)parametrizations\.(\w+)\.original(0?)")


@dataclass(frozen=True)
class ModuleFacts:
    """A module of a pickled network. Its class was never imported."""

    kind: str
    """The qualified name of its class, such as `torch.nn.modules.rnn.LSTM` or `model.RNNModel`."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Its plain attributes: numbers, texts, and lists, tuples and dicts of those."""


Tensors = dict[str, Tensor]
Modules = dict[str, ModuleFacts]


@dataclass(frozen=True)
class Choice:
    """A network that was taken by a guess where a file holds others too, such as averaged copies of it."""

    name: str
    others: tuple[str, ...]
    """Names as they are typed after `--assume weights=`."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file's tensors and what stands beside them."""

    form: str
    """What kind of file it is, for people, such as `PyTorch zip file, whole module model.RNNModel`."""
    tensors: Mapping[str, Tensor]
    """Parameters and buffers by dotted name, wrapping prefixes such as `module.` stripped; on the CPU."""
    modules: Mapping[str, ModuleFacts] = field(default_factory=dict)
    """Of a pickled network: every module by its dotted path, `` (empty) for the outermost; in order of definition."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Plain values beside the tensors, as the file nests them: hyper-parameters, vocabularies, epochs."""
    notes: tuple[str, ...] = ()
    """Which of several networks was taken, which prefixes were stripped: for people."""
    choice: Choice | None = None
    others: tuple[str, ...] = ()
    """What else in the file could be asked for with `--assume weights=NAME`, with sizes."""


def strip(tensors: Tensors, modules: Modules) -> tuple[Tensors, Modules, list[str]]:
    """Names without what wrappers, and modules around the network, put into them, in any order and nesting."""
    notes = []
    wrappers = {part for name in tensors for part in name.split(".")} & _INNER_WRAPPERS
    bare = {_without(name, wrappers) for name in tensors}
    if wrappers and len(bare) == len(tensors):  # otherwise two names would become one
        tensors, modules = _renamed(tensors, modules, lambda name: _without(name, wrappers))
        notes += [f"stripped {f'{wrapper}.'!r} from the names" for wrapper in sorted(wrappers)]
    common = _common_components(tensors)
    if "module" in common:
        tensors, modules = _renamed(tensors, modules, partial(_without_outer_wrappers, common=common))
        notes.append("stripped 'module.' from the names")
    if prefix := _wrapping_prefix(tensors):
        for part in prefix.split("."):
            tensors, modules = _without_prefix(tensors, modules, f"{part}.")
        notes.append(f"stripped {f'{prefix}.'!r} from the names")
    return tensors, modules, notes


def _renamed(tensors: Tensors, modules: Modules, name: Callable[[str], str]) -> tuple[Tensors, Modules]:
    """With other names. A module that gets the name of the one around it has the attributes of both."""
    bare = Modules()
    for path, facts in modules.items():
        outer = bare.get(name(path), ModuleFacts(""))
        bare[name(path)] = ModuleFacts(facts.kind, {**outer.attributes, **facts.attributes})
    return {name(key): tensor for key, tensor in tensors.items()}, bare


def _without(name: str, wrappers: Collection[str]) -> str:
    return ".".join(part for part in name.split(".") if part not in wrappers)


def _without_outer_wrappers(name: str, *, common: list[str]) -> str:
    """Without each `module` in the part of the path that all names have in common."""
    parts = name.split(".")
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(parts, common, strict=False)))
    return ".".join([*(part for part in parts[:same] if part != "module"), *parts[same:]])


def _without_prefix(tensors: Tensors, modules: Modules, prefix: str) -> tuple[Tensors, Modules]:
    """What is inside of a wrapper, whose own attributes go to the new outermost module."""
    tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    if not modules:
        return tensors, modules
    inside = {name.removeprefix(prefix): facts for name, facts in modules.items() if name.startswith(prefix)}
    outer, inner = modules.get("", ModuleFacts("")), modules.get(prefix[:-1], ModuleFacts(""))
    return tensors, {"": ModuleFacts(inner.kind, {**outer.attributes, **inner.attributes}), **inside}


def _common_components(tensors: Tensors) -> list[str]:
    """What all names begin with, up to the names of the tensors themselves."""
    columns = zip(*(name.split(".", _DEEPEST)[:-1] for name in tensors), strict=False)
    return [column[0] for column in takewhile(lambda column: len({*column}) == 1, columns)]


def _wrapping_prefix(tensors: Tensors) -> str:
    """The components that all names begin with, if what remains still looks like a network of several parts."""
    common = _common_components(tensors)
    for count in range(len(common), 0, -1):
        rest = [name.split(".", count + 1)[count:] for name in tensors]
        if len({parts[0] for parts in rest}) > 1 and any(len(parts) > 1 for parts in rest):
            return ".".join(common[:count])
    return ""


def without_weight_norm(tensors: Mapping[str, Tensor]) -> Tensors:
    """Weights that are stored as a length and a direction, multiplied out, in the place of the length.

    Weight normalisation (Salimans and Kingma, 2016), as old and new versions of PyTorch name it.
    """
    weights = Tensors()
    directions: set[str] = set()
    for name, tensor in tensors.items():
        direction, weight = _weight_norm_names(name)
        if direction in tensors and _fits_direction(tensor, tensors[direction]):
            weights[weight] = _product(tensor, tensors[direction])
            directions.add(direction)
        else:
            weights[name] = tensor
    return {name: tensor for name, tensor in weights.items() if name not in directions}


def _weight_norm_names(name: str) -> tuple[str, str]:
    """The names of direction and weight, if `name` is that of a length; empty if not."""
    match = _PARAMETRIZATION.fullmatch(name)
    if match and match[3]:
        return name.removesuffix("0") + "1", match[1] + match[2]
    return (name.removesuffix("g") + "v", name.removesuffix("_g")) if name.endswith("_g") else ("", "")


def _fits_direction(length: Tensor, direction: Tensor) -> bool:
    sides = zip(length.shape, direction.shape, strict=False)
    alike = length.ndim == direction.ndim and all(side in (1, whole) for side, whole in sides)
    return length.numel() == 1 or (alike and length.numel() > 0)


def _product(length: Tensor, direction: Tensor) -> Tensor:
    """length: as many dimensions as `direction`, of size 1 where the norm is taken; or one number."""
    length, direction = length.detach().float(), direction.detach().float()
    if length.ndim != direction.ndim:
        return direction * (length / direction.norm())
    over = [axis for axis in range(direction.ndim) if length.shape[axis] == 1 and direction.shape[axis] != 1]
    norm = torch.linalg.vector_norm(direction, dim=over, keepdim=True) if over else direction.abs()
    return direction * (length / norm)


def without_spectral_norm(tensors: Mapping[str, Tensor]) -> Tensors:
    """Weights that are stored beside two vectors, divided by the largest singular value which these give.

    Spectral normalisation (Miyato et al., 2018), as old and new versions of PyTorch name it.
    """
    weights = Tensors()
    vectors: set[str] = set()
    for name, tensor in tensors.items():
        left, right, weight = _spectral_norm_names(name)
        if weight and _fit_weight(tensors.get(left), tensors.get(right), tensor):
            matrix, u, v = tensor.detach().float().flatten(1), tensors[left].float(), tensors[right].float()
            weights[weight] = tensor.detach().float() / (u @ matrix @ v)
            vectors |= {left, right}
        else:
            weights[name] = tensor
    return {name: tensor for name, tensor in weights.items() if name not in vectors}


def _spectral_norm_names(name: str) -> tuple[str, str, str]:
    """The names of both vectors and of the weight, if `name` is that of a weight before its normalisation."""
    match = _PARAMETRIZATION.fullmatch(name)
    if match and not match[3]:
        vector = name.removesuffix("original") + "0._"
        return f"{vector}u", f"{vector}v", match[1] + match[2]
    weight = name.removesuffix("_orig")
    return (f"{weight}_u", f"{weight}_v", weight) if weight != name else ("", "", "")


def _fit_weight(left: Tensor | None, right: Tensor | None, weight: Tensor) -> bool:
    if left is None or right is None or weight.ndim < 2:
        return False
    return left.shape == weight.shape[:1] and right.numel() == weight[0].numel() and right.ndim == 1
