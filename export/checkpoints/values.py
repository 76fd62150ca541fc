"""From a pickle's placeholders to plain values: dicts, lists, numbers, texts, tensors, and the modules of a network."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tui_gen.errors import TuiGenError

from .allowed_globals import number_type
from .unpickler import SET, Global, LazyArray, LazyTensor, Placeholder

_MAX_VALUES = 2_000_000
_MAX_DEPTH = 100
_MAX_BITS = 1000
"""Of a whole number, which then is one with a point, too."""
MEMORY = 2**28
"""Bytes that tensors may take beyond four times the file's size."""
_SIMPLE = (bool, int, float, str, bytes, type(None))
SCRIPT = "__torch__."
"""What TorchScript puts before the names of classes."""
_MANGLED = re.compile(r"___torch_mangle_\d+\.")
CLASS = "__class__"
"""Under this key a plain dict says of which class the object was."""
STATE = "__state__"
ITEMS = "__items__"
_TORCH_ATTRIBUTES = {
    *("_parameters", "_buffers", "_modules", "_flat_weights", "_all_weights", "_flat_weights_names", "training"),
    *("_non_persistent_buffers_set", "_is_full_backward_hook", "dump_patches", "_compiled_call_impl", "_backend"),
    "_flat_weight_refs",
}
_HOOKS = ("_hooks", "_hooks_with_kwargs", "_hooks_always_called")
_SMALL = 4096
"""Whole numbers of a tensor that is kept as a fact."""
Path = tuple[str, ...]
_LARGER = "it has a tensor that is larger than the file"
_NUMBERS = {np.dtype(kind) for kind in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")}


def plain(value: Any, *, file_size: int) -> Any:
    """The value without any placeholder in it. Raises TuiGenError for what never ends, or is out of proportion."""
    return _PlainValues(_TensorFactory(MEMORY + 4 * file_size)).value(value, 0)


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


def facts_of(value: Any, *, weights: frozenset[Path] = frozenset(), path: Path = ()) -> Any:
    """Plain values without tensors, but for small ones of whole numbers; modules by their attributes.

    weights: paths of the dicts that hold the network, whose tensors are no facts, not even the small ones.
    """
    if isinstance(value, (str, int, float, bytes)):
        return value
    if isinstance(value, Tensor):
        small = not value.is_floating_point() and not value.is_complex() and value.numel() <= _SMALL
        return value.tolist() if small else None
    if isinstance(value, Module):
        return {CLASS: value.kind, **facts_of(value.attributes)}
    if isinstance(value, dict):
        beside = {key: item for key, item in value.items() if path not in weights or not isinstance(item, Tensor)}
        every = {key: facts_of(item, weights=weights, path=(*path, str(key))) for key, item in beside.items()}
        facts = {key: item for key, item in every.items() if item is not None}
        return facts if facts or path not in weights else None
    if isinstance(value, (list, tuple)):
        return type(value)(facts_of(item, weights=weights, path=(*path, str(at))) for at, item in enumerate(value))
    return None


class _PlainValues:
    """Makes each object once, however often it is referred to, but counts it each time.

    What the file refers to again and again stays small here, yet would not for those who walk through it.
    """

    def __init__(self, tensors: _TensorFactory) -> None:
        self._tensors = tensors
        self._count = 0
        self._cache: dict[int, tuple[Any, int]] = {}
        """Plain value and number of values in it, by the object's id."""
        self._open: set[int] = set()
        self._makers: tuple[tuple[type, Callable[[Any, int], Any]], ...] = (
            (LazyTensor, lambda lazy, _: tensors.tensor(lazy)),
            (LazyArray, self._array),
            (Global, lambda function, _: function.name),
            (dict, self._dict),
            (list, self._list),
            (tuple, lambda items, depth: tuple(self._list(items, depth))),
            (Placeholder, self._object),
            (Tensor, lambda tensor, _: tensor),
            (object, lambda *_: None),
        )

    def value(self, value: Any, depth: int) -> Any:
        """The plain value."""
        kind = type(value)
        if value is None or kind in (str, float, bool, bytes, int):
            self._add(1)
            if kind is int and value.bit_length() > _MAX_BITS:
                raise TuiGenError(f"it has a number of {value.bit_length():,} bits")
            return value
        if id(value) in self._cache:
            result, size = self._cache[id(value)]
            self._add(size)
            return result
        if id(value) in self._open:
            return None  # refers to itself, as a module's hook may
        return self._first_time(value, depth + 1)

    def _add(self, size: int) -> None:
        self._count += size
        if self._count > _MAX_VALUES:
            raise TuiGenError("it holds more values than a checkpoint does")

    def _first_time(self, value: Any, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise TuiGenError("it is nested without end")
        before = self._count
        self._add(1)
        self._open.add(id(value))
        make = next(make for kind, make in self._makers if isinstance(value, kind))
        result = make(value, depth)
        self._open.discard(id(value))
        self._cache[id(value)] = result, self._count - before
        return result

    def _list(self, items: Iterable[Any], depth: int) -> list[Any]:
        return [self.value(item, depth) for item in items]

    def _dict(self, entries: dict[Any, Any], depth: int) -> dict[Any, Any]:
        return {self._key(key, depth): self.value(item, depth) for key, item in entries.items()}

    def _key(self, key: Any, depth: int) -> Any:
        if isinstance(key, tuple) and all(isinstance(part, _SIMPLE) for part in key):
            return str(key)
        value = self.value(key, depth)
        return value if isinstance(value, _SIMPLE) else f"a {type(key).__name__}"

    def _array(self, array: LazyArray, depth: int) -> Any:
        if array.dtype is not None:
            return str(array.dtype)
        value = self._tensors.array(array)
        return value if isinstance(value, Tensor) else self.value(value, depth)

    def _object(self, placeholder: Placeholder, depth: int) -> Any:
        if placeholder.kind == SET:
            return {CLASS: SET}
        state = _state_of(placeholder)
        if placeholder.kind.startswith(SCRIPT):
            return self._script_module(_MANGLED.sub("", placeholder.kind.removeprefix(SCRIPT)), state, depth)
        if isinstance(state.get("_parameters"), dict) and isinstance(state.get("_modules"), dict):
            return self._module(placeholder.kind, state, depth)
        attributes = {**self._dict(state, depth), **self._dict(placeholder.entries, depth)}
        # the content of an object of a class that extends a list, a tuple, a text or a number
        arguments = placeholder.arguments
        content = self.value(arguments[0] if len(arguments) == 1 else arguments, depth)
        items = self._list(placeholder.items, depth) or content
        if not attributes and items != ():
            return items
        if placeholder.entries and state:  # of a class that extends dict: apart too, for those who want only these
            items = self._dict(placeholder.entries, depth)
        return {CLASS: placeholder.kind, **attributes, **({ITEMS: items} if items != () else {})}

    def _module(self, kind: str, state: dict[Any, Any], depth: int) -> Module:
        module = Module(kind)
        for place in ("_parameters", "_buffers"):  # also buffers that a state dict leaves out
            tensors = state.get(place)
            for name, item in tensors.items() if isinstance(tensors, dict) else ():
                tensor = self.value(item, depth) if isinstance(name, str) else None
                if isinstance(tensor, Tensor):
                    module.tensors[name] = tensor
        for name, item in state["_modules"].items():
            child = self.value(item, depth)
            if isinstance(child, Module) and isinstance(name, str):
                module.children[name] = child
        return self._with_attributes(module, state, depth)

    def _script_module(self, kind: str, state: dict[Any, Any], depth: int) -> Module:
        """A module of TorchScript, whose tensors and modules are attributes as others are."""
        module, rest = Module(kind), dict[Any, Any]()
        for name, item in state.items():
            value = self.value(item, depth) if isinstance(item, (LazyTensor, Placeholder)) else None
            if isinstance(value, Tensor) and isinstance(name, str):
                module.tensors[name] = value
            elif isinstance(value, Module) and isinstance(name, str):
                module.children[name] = value
            else:
                rest[name] = item
        return self._with_attributes(module, rest, depth)

    def _with_attributes(self, module: Module, state: dict[Any, Any], depth: int) -> Module:
        own = {name: item for name, item in state.items() if isinstance(name, str) and name not in _TORCH_ATTRIBUTES}
        own = {name: item for name, item in own.items() if not name.endswith(_HOOKS)}
        module.attributes.update(self._dict(own, depth))
        return module


def _state_of(placeholder: Placeholder) -> dict[Any, Any]:
    """The attributes of an object, those of slots last. States of other forms, as C code has, by STATE."""
    state = placeholder.state
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    if not all(part is None or isinstance(part, dict) for part in parts):
        return {STATE: state}
    return {key: item for part in parts if part for key, item in part.items()}


class _TensorFactory:
    """Makes the tensors of one file, which all in all may take no more memory than the file makes credible."""

    def __init__(self, limit: int) -> None:
        """limit: bytes."""
        self._budget = limit

    def tensor(self, lazy: LazyTensor) -> Tensor:
        """A view of the storage's numbers, which tensors share as they did when they were saved.

        Raises TuiGenError for one that reaches outside of its storage.
        """
        base, size = lazy.storage.base or lazy.storage, item_size(lazy.dtype)
        if base.data is None:
            raise TuiGenError("it has a tensor whose numbers are not in the file")
        self._spend(math.prod(lazy.size) * size)
        if 0 in lazy.size:
            return _empty(lazy)
        first = lazy.storage.offset * item_size(lazy.storage.dtype) + lazy.offset * size
        reach = 1 + sum((length - 1) * step for length, step in zip(lazy.size, lazy.stride, strict=True))
        if first + reach * size > len(base.data):
            raise TuiGenError(_LARGER)
        numbers = torch.frombuffer(base.data, dtype=lazy.dtype, count=reach, offset=first)
        return numbers.as_strided(lazy.size, lazy.stride)

    def array(self, lazy: LazyArray) -> Any:
        """A NumPy array as a tensor, one of texts as a list, one of objects as the objects; None for any other."""
        dtype = lazy.state[2] if isinstance(lazy.state, tuple) and len(lazy.state) == 5 else None
        kind = number_type(dtype) if isinstance(dtype, LazyArray) else None
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
        self._budget -= size
        if self._budget < 0:
            raise TuiGenError(_LARGER)


def _numbers_or_texts(array: Any) -> Any:
    array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype in _NUMBERS:
        return torch.from_numpy(array)
    if array.dtype.kind == "U" and np.frombuffer(array.tobytes(), np.uint32).max(initial=0) > sys.maxunicode:
        raise TuiGenError("it has an array of texts with impossible characters")
    return array.tolist() if array.dtype.kind in "SU" else None


def _empty(lazy: LazyTensor) -> Tensor:
    if math.prod(length or 1 for length in lazy.size) > 2**40:
        raise TuiGenError("it has a tensor of an impossible shape")
    return torch.empty(lazy.size, dtype=lazy.dtype)


def item_size(dtype: torch.dtype) -> int:
    """Bytes of a number."""
    return torch.empty(0, dtype=dtype).element_size()
