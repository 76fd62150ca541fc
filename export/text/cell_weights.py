"""The weights of hand-written recurrent cells, gathered by where they stand and told apart by their names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from export.text.roles import Role, of_lone_weight, roles

_NUMBERED = re.compile(r"(.*[^\d_.])[_.]?(\d+)")
Place = tuple[str, str]
"""A module's path and, where modules of several layers stand in lists, the number in them."""


@dataclass(frozen=True, eq=False)
class Weight:
    """A weight as the file has it."""

    stem: str
    """Its name, without where it stands."""
    role: Role
    names: tuple[str, ...]
    """Of its tensors in the file."""
    weight: Tensor
    """[outputs, inputs] in a linear module; of bare parameters either way round."""
    bias: Tensor | None
    bare: bool
    """Is a parameter, not the weight of a linear module."""


def cell_weights(tensors: Mapping[str, Tensor]) -> dict[Place, list[Weight]]:
    """The weights that may make a cell together, in the order of the file."""
    gathered: dict[Place, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for name in tensors:
        path, _, leaf = name.rpartition(".")
        if path and (leaf == "weight" or (leaf == "bias" and f"{path}.weight" in tensors)):
            place, stem = _placed(*_split(path))
        else:
            place, stem = _placed(path, leaf)
            leaf = "bare"
        gathered[place][stem][leaf] = name
    groups = {place: _weights(place, stems, tensors) for place, stems in gathered.items()}
    return {place: group for place, group in groups.items() if group}


def _split(path: str) -> tuple[str, str]:
    parent, _, stem = path.rpartition(".")
    return parent, stem


def _placed(path: str, stem: str) -> tuple[Place, str]:
    """Takes the number of a layer out of a name: `gates.0` and `gates_0` are both place 0 of `gates`."""
    if stem.isdecimal():
        path, name = _split(path)
        return (path, stem), name
    match = _NUMBERED.fullmatch(stem)
    return ((path, match[2]), match[1]) if match else ((path, ""), stem)


def _roles(place: Place, stems: dict[str, dict[str, str]]) -> dict[str, Role]:
    """What names say; of the only weight that stands somewhere, also what the names around it say."""
    known = roles(stems)
    alone = {} if len(stems) > 1 else {next(iter(stems)): of_lone_weight(place[0])}
    said = {**{stem: of_lone_weight(stem) for stem in stems}, **alone}
    return {**{stem: role for stem, role in said.items() if role}, **known}


def _weights(place: Place, stems: dict[str, dict[str, str]], tensors: Mapping[str, Tensor]) -> list[Weight]:
    known = _roles(place, stems)
    weights, biases = [], defaultdict[Role, list[str]](list)
    for stem, role in known.items():
        names = stems[stem]
        main = names.get("weight") or names.get("bare", "")
        if main and tensors[main].ndim == 2 and min(tensors[main].shape) > 1:
            bias = tensors.get(names.get("bias", ""))
            if bias is not None and bias.shape != tensors[main].shape[:1]:
                continue
            weights.append(Weight(stem, role, tuple(names.values()), tensors[main], bias, "bare" in names))
        elif main and "bare" in names:
            biases[role].append(main)
    return [_with_bare_bias(weight, weights, biases, tensors) if weight.bare else weight for weight in weights]


def _with_bare_bias(
    weight: Weight, weights: list[Weight], biases: Mapping[Role, list[str]], tensors: Mapping[str, Tensor]
) -> Weight:
    """The biases of its gate; those that do not say beside what they stand go to the gate's first weight."""
    first = next(other for other in weights if other.role.gate == weight.role.gate)
    wanted = {weight.role, Role("", weight.role.gate)} if first is weight else {weight.role}
    names = [name for role in wanted for name in biases.get(role, [])]
    if not names:
        return weight
    if len({tensors[name].numel() for name in names}) > 1:
        return weight
    bias = sum((tensors[name].flatten() for name in names), torch.zeros(()))
    return replace(weight, names=(*weight.names, *names), bias=bias)
