"""Checkpoints of torch.distributed.checkpoint: a list of tensors, and files with their parts, one or more a process.

The list is a pickle of `torch/distributed/checkpoint/metadata.py`; each part is a file of torch.save inside a file.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from tui_gen.errors import TuiGenError

from .allowed_globals import DTYPES
from .formats import read_pickle
from .unpickler import Global, Placeholder
from .values import MEMORY

_DAMAGED = "its list of tensors is damaged"
_MOST_DIMENSIONS = 64
_DEEPEST = 100
_METADATA = "torch.distributed.checkpoint.metadata."


def read_distributed(metadata: bytes, files: Mapping[str, bytes], read_part: Callable[[bytes], Any]) -> dict[Any, Any]:
    """Tensors and other values as they were nested when they were saved.

    files: contents by name. read_part: the plain value of a file of torch.save. Raises TuiGenError for a list that is
    damaged, and for tensors of which parts are missing, overlap or do not fit.
    """
    lists = _state(read_pickle(io.BytesIO(metadata)), f"{_METADATA}Metadata")
    described, stored, paths = (lists.get(key) for key in ("state_dict_metadata", "storage_data", "planner_data"))
    if not isinstance(described, dict) or not isinstance(stored, dict):
        raise TuiGenError(_DAMAGED)
    parts = _Parts(stored, files, read_part)
    memory = MEMORY + 4 * sum(map(len, files.values()))
    values: dict[Any, Any] = {}
    for name, entry in described.items():
        if not isinstance(name, str):
            raise TuiGenError(_DAMAGED)
        is_tensor = isinstance(entry, Placeholder) and entry.kind == f"{_METADATA}TensorStorageMetadata"
        if is_tensor:
            size, dtype = _size_and_dtype(_state(entry))
            memory -= math.prod(length or 1 for length in size) * dtype.itemsize
            if memory < 0:
                raise TuiGenError("it lists tensors that are larger than its files")
            value = parts.tensor(name, size, dtype)
        else:
            value = parts.value(name)
        _put(values, paths.get(name) if isinstance(paths, dict) else None, name, value)
    return values


def _state(value: Any, kind: str = "") -> dict[Any, Any]:
    """The attributes of an object."""
    if not isinstance(value, Placeholder) or not isinstance(value.state, dict) or (kind and value.kind != kind):
        raise TuiGenError(_DAMAGED)
    return value.state


def _size_and_dtype(entry: Mapping[Any, Any]) -> tuple[tuple[int, ...], torch.dtype]:
    properties = entry.get("properties")
    state = properties.state if isinstance(properties, Placeholder) else None
    name = state.get("dtype") if isinstance(state, dict) else state[0] if isinstance(state, tuple) and state else None
    if not isinstance(name, Global) or name.name not in DTYPES:
        raise TuiGenError("it lists a tensor of a type that is not known")
    return _whole_numbers(entry.get("size")), DTYPES[name.name]


def _whole_numbers(numbers: Any) -> tuple[int, ...]:
    fits = isinstance(numbers, (tuple, list)) and len(numbers) <= _MOST_DIMENSIONS
    if not fits or not all(type(value) is int and 0 <= value < 2**62 for value in numbers):
        raise TuiGenError(_DAMAGED)
    return tuple(numbers)


class _Parts:
    """Where in the files the parts of each tensor are."""

    def __init__(
        self, stored: Mapping[Any, Any], files: Mapping[str, bytes], read_part: Callable[[bytes], Any]
    ) -> None:
        self._places: dict[Any, list[tuple[tuple[int, ...], Mapping[Any, Any]]]] = {}
        self._files, self._read_part = files, read_part
        self._budget = sum(map(len, files.values()))
        for index, place in stored.items():
            key = _state(index)
            offset = _whole_numbers(key.get("offset") or ())
            name = key.get("fqn")
            self._places.setdefault(name if isinstance(name, str) else "", []).append((offset, _state(place)))

    def value(self, name: str) -> Any:
        """What is no tensor."""
        places = self._places.get(name, [])
        return self._read(places[0][1]) if places else None

    def tensor(self, name: str, size: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor put together."""
        whole, covered = torch.zeros(size, dtype=dtype), 0
        filled = torch.zeros(size, dtype=torch.bool)
        for offset, place in self._places.get(name, []):
            part, start = self._read(place), offset or (0,) * len(size)
            fits = isinstance(part, Tensor) and part.dtype == dtype and part.ndim == len(size) == len(start)
            if not fits or any(o + n > s for o, n, s in zip(start, part.shape, size, strict=True)):
                raise TuiGenError(f"it has a part of {name:.100} that does not fit into the tensor")
            at = tuple(slice(first, first + length) for first, length in zip(start, part.shape, strict=True))
            whole[at], filled[at] = part, True
            covered += part.numel()
        if covered != whole.numel() or not filled.all():
            raise TuiGenError(f"it lacks parts of {name:.100}, or has some twice; save it anew")
        return whole

    def _read(self, place: Mapping[Any, Any]) -> Any:
        file, offset, length = (place.get(key) for key in ("relative_path", "offset", "length"))
        if place.get("transform_descriptors"):
            raise TuiGenError("has parts that are compressed or changed; save it without extensions")
        if not isinstance(file, str):
            raise TuiGenError(_DAMAGED)
        if file not in self._files:
            raise TuiGenError(f"lacks its part {file:.100}; fetch it and put it beside the others")
        start, size = _whole_numbers((offset, length))
        self._budget -= size
        if start + size > len(self._files[file]) or self._budget < 0:
            raise TuiGenError(f"ends too early: {file:.100} is shorter than the list of tensors says; copy it again")
        return self._read_part(self._files[file][start : start + size])


def _put(values: dict[Any, Any], path: Any, name: Any, value: Any) -> None:
    """Puts a value where it was in the nested dicts and lists that were saved; by its name if that is not known."""
    keys = path if isinstance(path, tuple) and path else (name,)
    if len(keys) > _DEEPEST or not all(isinstance(key, (str, int)) for key in keys):
        raise TuiGenError(_DAMAGED)
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise TuiGenError(_DAMAGED)
    values[keys[-1]] = value
