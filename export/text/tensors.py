"""The tensors that a network computes with: stored pairs multiplied out, copies under dropout replaced."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_HARMLESS = re.compile(
    r"(^|\.)(num_batches_tracked|(criterion|loss|loss_fn|loss_function)\..*|_flat_weights.*|dummy\w*)$"
)
_PARAMETRIZED = re.compile(r"((?:.*\.)?)parametrizations\.(\w+)\.original0")
_DROPPED_COPY = "module."


def settled(stored: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """float32 tensors by name, in the checkpoint's order, and notes on what was made of which."""
    notes: list[str] = []
    tensors = {name: tensor for name, tensor in stored.items() if not _HARMLESS.search(name)}
    counts = [name for name, tensor in tensors.items() if not tensor.is_floating_point()]
    if any(tensors[name].numel() > 1 for name in counts):
        notes.append(f"{', '.join(counts)}: whole numbers are no weights and are left out")
    tensors = {name: tensor for name, tensor in tensors.items() if name not in counts}
    tensors = _multiplied(tensors, notes)
    tensors = _undropped(tensors, notes)
    shared: dict[tuple[int, tuple[int, ...]], Tensor] = {}
    for tensor in tensors.values():
        shared.setdefault(_place(tensor), tensor.detach().float())
    return {name: shared[_place(tensor)] for name, tensor in tensors.items()}, notes


def _place(tensor: Tensor) -> tuple[int, tuple[int, ...]]:
    """What tensors that share their numbers have in common."""
    return tensor.data_ptr(), (*tensor.shape, *tensor.stride())


def _multiplied(tensors: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Weight normalisation (Salimans and Kingma, 2016): each weight is a direction and a length, stored apart."""
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
    if match := _PARAMETRIZED.fullmatch(name):
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


def _undropped(tensors: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Dropout on weights (Merity et al., 2017) keeps the trained ones as `..._raw`, beside copies with gaps."""
    raw = [name for name in tensors if name.endswith("_raw")]
    if not raw:
        return tensors
    notes.append(f"{', '.join(raw)}: the weights without dropout are used, as when a network is not training")
    wrappers = {name.rpartition(".")[0] for name in raw}
    named = {_unwrapped(name, wrappers): tensor for name, tensor in tensors.items() if name not in raw}
    return {**named, **{name.removesuffix("_raw"): tensors[name] for name in raw}}


def _unwrapped(name: str, wrappers: set[str]) -> str:
    """`rnn.module.bias` -> `rnn.bias`, where `rnn` keeps the raw weights of `rnn.module`."""
    for wrapper in wrappers:
        prefix = f"{wrapper}." if wrapper else ""
        if name.startswith(prefix + _DROPPED_COPY):
            return prefix + name.removeprefix(prefix + _DROPPED_COPY)
    return name
