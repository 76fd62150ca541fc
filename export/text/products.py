"""Weights that a file keeps as what they are made of: as a length and a direction, or with the norm to divide by."""

from __future__ import annotations

import re

import torch
from torch import Tensor

_PARAMETRIZED = re.compile(r"((?:.*\.)?)parametrizations\.(\w+)\.original(0?)")


def multiplied(tensors: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """The weights themselves, in the place of what they are made of.

    Weight normalisation (Salimans and Kingma, 2016): a direction and a length. Spectral normalisation (Miyato et al.,
    2018): a weight and two vectors that give its largest singular value.
    """
    tensors = _divided(tensors, notes)
    made: dict[str, Tensor] = {}
    taken: set[str] = set()
    for name, tensor in tensors.items():
        length, direction, whole = _pair(name)
        if whole and direction in tensors and _fits(tensor, tensors[direction]):
            made[whole] = _weight(tensors[length], tensors[direction])
            taken |= {length, direction}
        elif name not in taken:
            made[name] = tensor
    if taken:
        notes.append(f"{len(taken) // 2} weights are stored as direction and length; they are multiplied out")
    return {name: tensor for name, tensor in made.items() if name not in taken}


def _pair(name: str) -> tuple[str, str, str]:
    """The names of length, direction and their product, if `name` is that of a length."""
    match = _PARAMETRIZED.fullmatch(name)
    if match and match[3]:
        return name, name.removesuffix("0") + "1", match[1] + match[2]
    if name.endswith("_g"):
        return name, name.removesuffix("g") + "v", name.removesuffix("_g")
    return "", "", ""


def _fits(length: Tensor, direction: Tensor) -> bool:
    sides = zip(length.shape, direction.shape, strict=False)
    alike = length.ndim == direction.ndim and all(side in (1, whole) for side, whole in sides)
    return length.numel() == 1 or (alike and length.numel() > 0)


def _weight(length: Tensor, direction: Tensor) -> Tensor:
    """length: as many dimensions as `direction`, of size 1 where the norm is taken; or one number."""
    direction, length = direction.detach().float(), length.detach().float()
    if length.ndim != direction.ndim:
        return direction * (length / direction.norm())
    over = [axis for axis in range(direction.ndim) if length.shape[axis] == 1 and direction.shape[axis] != 1]
    norm = torch.linalg.vector_norm(direction, dim=over, keepdim=True) if over else direction.abs()
    return direction * (length / norm)


def _divided(tensors: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Spectral normalisation undone, as far as there is any."""
    made, taken = dict[str, Tensor](), set[str]()
    for name, tensor in tensors.items():
        whole, left, right = _norm_of(name)
        if whole and _vectors_fit(tensor, tensors.get(left), tensors.get(right)):
            flat, u, v = tensor.detach().float().flatten(1), tensors[left].float(), tensors[right].float()
            made[whole] = tensor.detach().float() / (u @ flat @ v)
            taken |= {left, right}
        else:
            made[name] = tensor
    if taken:
        notes.append(f"{len(taken) // 2} weights are stored before spectral normalisation; they are divided by it")
    return {name: tensor for name, tensor in made.items() if name not in taken}


def _norm_of(name: str) -> tuple[str, str, str]:
    """The names of the weight and of its two vectors, if `name` is that of a weight before its normalisation."""
    match = _PARAMETRIZED.fullmatch(name)
    if match and not match[3]:
        vectors = name.removesuffix("original") + "0._"
        return match[1] + match[2], f"{vectors}u", f"{vectors}v"
    whole = name.removesuffix("_orig")
    return (whole, f"{whole}_u", f"{whole}_v") if whole != name else ("", "", "")


def _vectors_fit(weight: Tensor, left: Tensor | None, right: Tensor | None) -> bool:
    if left is None or right is None or weight.ndim < 2:
        return False
    return left.shape == weight.shape[:1] and right.numel() == weight[0].numel() and right.ndim == 1
