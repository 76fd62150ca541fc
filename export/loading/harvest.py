"""From inert objects to plain values: dicts, lists, numbers, texts, tensors, and the modules of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from export.loading.modules import CLASS, ITEMS, Module, attributes_of, named_tensors, state_of
from export.loading.stubs import SET, Global, LazyArray, LazyTensor, Stub
from export.loading.tensors import Tensors
from tui_gen.errors import TuiGenError

_MAX_VALUES = 2_000_000
_MAX_DEPTH = 100
_MAX_BITS = 1024
_MEMORY = 2**28
"""Bytes that tensors may take beyond four times the file's size."""


_SIMPLE = (bool, int, float, str, type(None))


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
            (Stub, self._object),
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

    def _object(self, stub: Stub, depth: int) -> Any:
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
