"""From inert objects to plain values: dicts, lists, numbers, texts, tensors, and the modules of a network."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from export.checkpoints.allowed_globals import stored_type
from export.checkpoints.unpickler import SET, Global, LazyArray, LazyTensor, Placeholder, Storage
from tui_gen.errors import TuiGenError

_MAX_VALUES = 2_000_000
_MAX_DEPTH = 100
_MAX_BITS = 1024
_MEMORY = 2**28
"""Bytes that tensors may take beyond four times the file's size."""
_SIMPLE = (bool, int, float, str, type(None))
CLASS = "__class__"
"""Under this key a plain dict says of which class the object was."""
STATE = "__state__"
ITEMS = "__items__"
_INNER = {
    *("_parameters", "_buffers", "_modules", "_flat_weights", "_all_weights", "_flat_weights_names", "training"),
    *("_non_persistent_buffers_set", "_is_full_backward_hook", "dump_patches", "_compiled_call_impl", "_backend"),
    "_flat_weight_refs",
}
_HOOKS = ("_hooks", "_hooks_with_kwargs", "_hooks_always_called")
_SMALL = 4096
"""Whole numbers of a tensor that is kept as a fact."""
_PLAIN = (str, int, float, bytes)
Path = tuple[str, ...]
_LARGER = "it has a tensor that is larger than the file"
_NUMBERS = {np.dtype(kind) for kind in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")}


def plain(value: Any, *, file_size: int) -> Any:
    """The value without anything inert in it. Raises TuiGenError for what never ends, or is out of proportion."""
    return _Harvest(Tensors(_MEMORY + 4 * file_size)).value(value, 0)


class _Harvest:
    """Makes each object once, however often it is referred to, but counts it each time.

    What the file refers to again and again stays small here, yet would not for those who walk through it.
    """

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self._counted = 0
        self._done: dict[int, tuple[Any, int]] = {}
        self._open: set[int] = set()
        self._makers: tuple[tuple[type, Callable[[Any, int], Any]], ...] = (
            (LazyTensor, lambda lazy, _: tensors.tensor(lazy)),
            (LazyArray, self._array),
            (Global, lambda named, _: named.name),
            (dict, self._dict),
            (list, self._list),
            (tuple, lambda items, depth: tuple(self._list(items, depth))),
            (Placeholder, self._object),
        )

    def value(self, value: Any, depth: int) -> Any:
        """The plain value."""
        kind = type(value)
        if value is None or kind in (str, float, bool, bytes):
            self._count(1)
            return value
        if kind is int:
            return self._whole(value)
        if id(value) in self._done:
            made, size = self._done[id(value)]
            self._count(size)
            return made
        if id(value) in self._open:
            return None  # refers to itself, as a module's hook may
        return self._first_time(value, depth + 1)

    def _count(self, size: int) -> None:
        self._counted += size
        if self._counted > _MAX_VALUES:
            raise TuiGenError("it holds more values than a checkpoint does")

    def _whole(self, value: int) -> int:
        self._count(1)
        if value.bit_length() > _MAX_BITS:
            raise TuiGenError(f"it has a number of {value.bit_length():,} bits")
        return value

    def _first_time(self, value: Any, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise TuiGenError("it is nested without end")
        before = self._counted
        self._count(1)
        self._open.add(id(value))
        made = self._made(value, depth)
        self._open.discard(id(value))
        self._done[id(value)] = made, self._counted - before
        return made

    def _made(self, value: Any, depth: int) -> Any:
        for kind, make in self._makers:
            if isinstance(value, kind):
                return make(value, depth)
        return value if isinstance(value, Tensor) else None

    def _list(self, items: Iterable[Any], depth: int) -> list[Any]:
        return [self.value(item, depth) for item in items]

    def _dict(self, entries: dict[Any, Any], depth: int) -> dict[Any, Any]:
        return {self._key(key, depth): self.value(item, depth) for key, item in entries.items()}

    def _key(self, key: Any, depth: int) -> Any:
        if isinstance(key, tuple) and all(isinstance(part, _SIMPLE) for part in key):
            return str(key)
        made = self.value(key, depth)
        return made if isinstance(made, _SIMPLE) else f"a {type(key).__name__}"

    def _array(self, array: LazyArray, depth: int) -> Any:
        if array.dtype is not None:
            return str(array.dtype)
        made = self._tensors.array(array)
        return made if isinstance(made, Tensor) else self.value(made, depth)

    def _object(self, stub: Placeholder, depth: int) -> Any:
        if stub.kind == SET:
            return {CLASS: SET}
        state = state_of(stub)
        if isinstance(state.get("_parameters"), dict) and isinstance(state.get("_modules"), dict):
            return self._module(stub.kind, state, depth)
        named = {**self._dict(state, depth), **self._dict(stub.entries, depth)}
        # what an object of a class that extends a list, a tuple, a text or a number was made of
        made_of = self.value(stub.arguments[0] if len(stub.arguments) == 1 else stub.arguments, depth)
        items = self._list(stub.items, depth) or made_of
        if not named and items != ():
            return items
        return {CLASS: stub.kind, **named, **({ITEMS: items} if items != () else {})}

    def _module(self, kind: str, state: dict[Any, Any], depth: int) -> Module:
        module = Module(kind)
        for name, item in named_tensors(state):
            tensor = self.value(item, depth)
            if isinstance(tensor, Tensor):
                module.tensors[name] = tensor
        for name, item in state["_modules"].items():
            child = self.value(item, depth)
            if isinstance(child, Module) and isinstance(name, str):
                module.children[name] = child
        module.attributes.update(self._dict(attributes_of(state), depth))
        return module


@dataclass(frozen=True, eq=False)
class Module:
    """A pickled module: its tensors and plain attributes, and the modules inside of it."""

    kind: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    children: dict[str, Module] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)

    def walk(self, path: str = "") -> Iterator[tuple[str, Module]]:
        """Every module by its dotted path, itself first."""
        yield path, self
        for name, child in self.children.items():
            yield from child.walk(f"{path}.{name}" if path else name)


def state_of(stub: Placeholder) -> dict[Any, Any]:
    """The attributes of an object, those of slots last. States of other forms, as C code has, by STATE."""
    state = stub.state
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    if not all(part is None or isinstance(part, dict) for part in parts):
        return {STATE: state}
    return {key: item for part in parts if part for key, item in part.items()}


def named_tensors(state: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Parameters and buffers of a module's state, those that are not saved with a state dict included."""
    for place in ("_parameters", "_buffers"):
        named = state.get(place)
        if isinstance(named, dict):
            yield from ((name, item) for name, item in named.items() if isinstance(name, str))


def attributes_of(state: dict[Any, Any]) -> dict[str, Any]:
    """What the class itself put into a module's state."""
    named = {name: item for name, item in state.items() if isinstance(name, str)}
    return {name: item for name, item in named.items() if name not in _INNER and not name.endswith(_HOOKS)}


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


def item_size(dtype: torch.dtype) -> int:
    """Bytes of a number."""
    return torch.empty(0, dtype=dtype).element_size()


class Tensors:
    """Makes the tensors of one file, which all in all may take no more memory than the file makes credible."""

    def __init__(self, limit: int) -> None:
        """limit: bytes."""
        self._left = limit

    def tensor(self, lazy: LazyTensor) -> Tensor:
        """A view of the storage's numbers, which tensors share as they did when they were saved.

        Raises TuiGenError for one that reaches outside of its storage.
        """
        data, start = _bytes_of(lazy.storage)
        size = item_size(lazy.dtype)
        self._spend(math.prod(lazy.size) * size)
        if 0 in lazy.size:
            return _empty(lazy)
        first = start + lazy.offset * size
        reach = 1 + sum((length - 1) * step for length, step in zip(lazy.size, lazy.stride, strict=True))
        if first + reach * size > len(data):
            raise TuiGenError(_LARGER)
        return torch.frombuffer(data, dtype=lazy.dtype, count=reach, offset=first).as_strided(lazy.size, lazy.stride)

    def array(self, lazy: LazyArray) -> Any:
        """A NumPy array as a tensor, one of texts as a list, one of objects as the objects; None for any other."""
        dtype = lazy.state[2] if isinstance(lazy.state, tuple) and len(lazy.state) == 5 else None
        kind = stored_type(dtype) if isinstance(dtype, LazyArray) else None
        if kind is None:
            return None
        _, shape, _, fortran, data = lazy.state
        if kind.kind == "O":
            return data
        content = data.encode("latin1") if isinstance(data, str) else data  # Python 2 has bytes as texts
        if not isinstance(content, (bytes, bytearray)) or not isinstance(shape, tuple):
            return None
        if not all(type(size) is int and size >= 0 for size in shape) or kind.itemsize == 0:
            return None
        self._spend(2 * len(content))
        if math.prod(shape) * kind.itemsize != len(content):
            raise TuiGenError("it has an array that is larger than the file")
        return _numbers_or_texts(np.frombuffer(content, dtype=kind).reshape(shape, order="F" if fortran else "C"))

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise TuiGenError(_LARGER)


def _numbers_or_texts(stored: Any) -> Any:
    array = stored.astype(stored.dtype.newbyteorder("="))
    if array.dtype in _NUMBERS:
        return torch.from_numpy(array)
    if array.dtype.kind == "U" and np.frombuffer(array.tobytes(), np.uint32).max(initial=0) > sys.maxunicode:
        raise TuiGenError("it has an array of texts with impossible characters")
    return array.tolist() if array.dtype.kind in "SU" else None


def _empty(lazy: LazyTensor) -> Tensor:
    if math.prod(length or 1 for length in lazy.size) > 2**40:
        raise TuiGenError("it has a tensor of an impossible shape")
    return torch.empty(lazy.size, dtype=lazy.dtype)


def _bytes_of(storage: Storage) -> tuple[bytearray, int]:
    """The bytes of a storage, and at which of them it begins."""
    source = storage.base or storage
    if source.data is None:
        raise TuiGenError("it has a tensor whose numbers are not in the file")
    return source.data, storage.offset * item_size(storage.dtype)
