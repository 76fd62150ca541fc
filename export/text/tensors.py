"""The tensors that a network computes with: stored pairs multiplied out, copies under dropout replaced."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from export.text.products import multiplied

_HARMLESS = re.compile(
    r"(^|\.)(num_batches_tracked|(criterion|loss|loss_fn|loss_function)\..*|_flat_weights.*|dummy\w*)$"
)
_DROPPED_COPY = "module."


def settled(stored: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """float32 tensors by name, in the checkpoint's order, and notes on what was made of which."""
    notes: list[str] = []
    tensors = {name: tensor for name, tensor in stored.items() if not _HARMLESS.search(name)}
    counts = [name for name, tensor in tensors.items() if not tensor.is_floating_point()]
    if any(tensors[name].numel() > 1 for name in counts):
        notes.append(f"{', '.join(counts)}: whole numbers are no weights and are left out")
    tensors = {name: tensor for name, tensor in tensors.items() if name not in counts}
    tensors = multiplied(tensors, notes)
    tensors = _undropped(tensors, notes)
    shared: dict[tuple[int, tuple[int, ...]], Tensor] = {}
    for tensor in tensors.values():
        shared.setdefault(_place(tensor), tensor.detach().float())
    return {name: shared[_place(tensor)] for name, tensor in tensors.items()}, notes


def _place(tensor: Tensor) -> tuple[int, tuple[int, ...]]:
    """What tensors that share their numbers have in common."""
    return tensor.data_ptr(), (*tensor.shape, *tensor.stride())


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
