"""What a checkpoint says beside its weights, without anything that is no plain value."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from export.loading.modules import CLASS, Module

_SMALL = 4096
"""Whole numbers of a tensor that is kept as a fact."""
_PLAIN = (str, int, float, bytes)

Path = tuple[str, ...]


def facts_of(value: Any, *, weights: frozenset[Path] = frozenset(), path: Path = ()) -> Any:
    """Plain values without tensors, but for small ones of whole numbers; modules by their attributes.

    weights: paths of the dicts that hold the network, whose tensors are no facts, not even the small ones.
    """
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, Tensor):
        small = not value.is_floating_point() and not value.is_complex() and value.numel() <= _SMALL
        return value.tolist() if small else None
    if isinstance(value, Module):
        return {CLASS: value.kind, **facts_of(value.attributes)}
    if isinstance(value, dict):
        beside = {key: item for key, item in value.items() if path not in weights or not isinstance(item, Tensor)}
        known = {key: facts_of(item, weights=weights, path=(*path, str(key))) for key, item in beside.items()}
        facts = {key: item for key, item in known.items() if item is not None}
        return facts if facts or path not in weights else None
    if isinstance(value, (list, tuple)):
        return type(value)(facts_of(item, weights=weights, path=(*path, str(at))) for at, item in enumerate(value))
    return None
