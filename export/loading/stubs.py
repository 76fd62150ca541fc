"""What a pickle's objects become: inert values that know their class by name and do nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from tui_gen.errors import TuiGenError


@dataclass(frozen=True)
class Global:
    """A class or function that the pickle names. It is never imported."""

    name: str

    def __setstate__(self, state: Any) -> None:
        raise TuiGenError(f"the file asks to change {self.name}, which is refused")


@dataclass(eq=False)
class Stub:
    """An object of a class that was not imported: what it was made of, and what was put into it."""

    kind: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)
    entries: dict[Any, Any] = field(default_factory=dict)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, item: Any) -> None:
        """As a list of that class would."""
        self.items.append(item)

    extend = None  # so that the unpickler appends one by one
    add = append

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries[key] = value


@dataclass(eq=False)
class Storage:
    """Numbers of a file, of which tensors are views. Legacy files deliver them after the objects."""

    dtype: torch.dtype
    count: int
    data: bytes | None = None
    base: Storage | None = None
    """The storage that this one is a part of, from `offset` on."""
    offset: int = 0


@dataclass(eq=False)
class LazyTensor:
    """A tensor whose numbers are looked up when everything is read."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


@dataclass(eq=False)
class LazyArray:
    """A NumPy array, or a NumPy number type; its state comes after it was made."""

    dtype: Any = None
    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state
