"""A checkpoint as plain values: tensors by name, modules, settings; names without wrappers, weights without norms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

_WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put in front."""
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


def strip(tensors: Tensors, modules: Modules) -> tuple[Tensors, Modules, list[str]]:
    """Names without what DataParallel, torch.compile and one module around the network put in front of them."""
    notes = []
    while wrapper := next((w for w in _WRAPPERS if tensors and all(name.startswith(w) for name in tensors)), ""):
        tensors, modules = _without_prefix(tensors, modules, wrapper)
        notes.append(f"stripped {wrapper!r} from the names")
    if any("_orig_mod." in name for name in tensors):  # parts of the network were compiled
        tensors = {name.replace("_orig_mod.", ""): tensor for name, tensor in tensors.items()}
        modules = {path.replace("_orig_mod.", "").removesuffix("._orig_mod"): facts for path, facts in modules.items()}
        notes.append("stripped '_orig_mod.' from the names")
    if prefix := _wrapping_prefix(tensors):
        tensors, modules = _without_prefix(tensors, modules, prefix)
        notes.append(f"stripped {prefix!r} from the names")
    return tensors, modules, notes


def _without_prefix(tensors: Tensors, modules: Modules, prefix: str) -> tuple[Tensors, Modules]:
    """What is inside of a wrapper, whose own attributes go to the new outermost module."""
    tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    if not modules:
        return tensors, modules
    inside = {name.removeprefix(prefix): facts for name, facts in modules.items() if name.startswith(prefix)}
    outer, inner = modules.get("", ModuleFacts("")), modules.get(prefix[:-1], ModuleFacts(""))
    return tensors, {"": ModuleFacts(inner.kind, {**outer.attributes, **inner.attributes}), **inside}


def _wrapping_prefix(tensors: Tensors) -> str:
    """The one component that all names begin with, if what remains still looks like a network of several parts."""
    first = {name.partition(".")[0] for name in tensors}
    rest = [name.partition(".")[2] for name in tensors]
    several = len({name.partition(".")[0] for name in rest}) > 1
    return f"{first.pop()}." if len(first) == 1 and all(rest) and several and any("." in n for n in rest) else ""


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
