"""From inert objects to plain values: dicts, lists, numbers, texts, tensors, and the modules of a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from export.loading.stubs import Global, LazyArray, LazyTensor, Stub
from export.loading.tensors import array_of, tensor_of, texts_of
from tui_gen.errors import TuiGenError

CLASS = "__class__"
"""Under this key a plain dict says of which class the object was."""
_MAX_VALUES = 1_000_000
_MAX_DEPTH = 200
_INNER = {
    *("_parameters", "_buffers", "_modules", "_flat_weights", "_all_weights", "_flat_weights_names", "training"),
    *("_non_persistent_buffers_set", "_is_full_backward_hook", "_load_state_dict_post_hooks", "dump_patches"),
}


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


def plain(value: Any) -> Any:
    """The value without anything inert in it. Raises TuiGenError for what refers to itself or never ends."""
    return _Harvest().value(value, 0)


class _Harvest:
    def __init__(self) -> None:
        self._left = _MAX_VALUES
        self._tensors: dict[int, Tensor] = {}
        self._open: set[int] = set()

    def value(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > _MAX_DEPTH:
            raise TuiGenError("it is nested without end")
        if value is None or isinstance(value, (bool, int, float, str, bytes)):
            return value
        if isinstance(value, Tensor):
            return value
        if isinstance(value, (LazyTensor, LazyArray)):
            return self._numbers(value, depth)
        return value.name if isinstance(value, Global) else self._nested(value, depth + 1)

    def _numbers(self, value: LazyTensor | LazyArray, depth: int) -> Any:
        """A tensor; of a NumPy array of texts, its texts; of a number type, its name."""
        if isinstance(value, LazyTensor):
            if id(value) not in self._tensors:
                self._tensors[id(value)] = tensor_of(value)
            return self._tensors[id(value)]
        texts = texts_of(value)
        if texts is not None:
            return self.value(texts, depth + 1)
        return array_of(value) if value.state is not None and value.dtype is None else str(value.dtype or "")

    def _nested(self, value: Any, depth: int) -> Any:
        if id(value) in self._open:
            return None  # refers to itself, as a module's hook may
        self._open.add(id(value))
        try:
            if isinstance(value, dict):
                return {self._key(key): self.value(item, depth) for key, item in value.items()}
            if isinstance(value, (set, frozenset)):
                return {CLASS: "builtins.set"}  # what it holds has no order that could mean anything
            if isinstance(value, (list, tuple)):
                items = [self.value(item, depth) for item in value]
                return tuple(items) if isinstance(value, tuple) else items
            return self._object(value, depth) if isinstance(value, Stub) else None
        finally:
            self._open.discard(id(value))

    def _key(self, key: Any) -> Any:
        return key if isinstance(key, (bool, int, float, str, type(None))) else str(self.value(key, 0))

    def _object(self, stub: Stub, depth: int) -> Any:
        state = _state_of(stub)
        if isinstance(state.get("_parameters"), dict) and isinstance(state.get("_modules"), dict):
            return self._module(stub.kind, state, depth)
        attributes = {self._key(key): self.value(item, depth) for key, item in state.items()}
        entries = {self._key(key): self.value(item, depth) for key, item in stub.entries.items()}
        items = [self.value(item, depth) for item in stub.items]
        if items and not attributes and not entries:
            return items
        return {CLASS: stub.kind, **attributes, **entries, **({"__items__": items} if items else {})}

    def _module(self, kind: str, state: dict[Any, Any], depth: int) -> Module:
        module, buffers = Module(kind), state.get("_buffers")
        for named in (state["_parameters"], buffers if isinstance(buffers, dict) else {}):
            for name, item in named.items():
                tensor = self.value(item, depth)
                if isinstance(tensor, Tensor):
                    module.tensors[str(name)] = tensor
        for name, item in state["_modules"].items():
            child = self.value(item, depth)
            if isinstance(child, Module):
                module.children[str(name)] = child
        for name, item in state.items():
            if name not in _INNER and not str(name).endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called")):
                module.attributes[str(name)] = self.value(item, depth)
        return module


def _state_of(stub: Stub) -> dict[Any, Any]:
    """The attributes of an object; those of slots come second."""
    state = stub.state
    if isinstance(state, tuple) and len(state) == 2:
        return {**(state[0] if isinstance(state[0], dict) else {}), **(state[1] if isinstance(state[1], dict) else {})}
    return state if isinstance(state, dict) else {}
