"""What a pickle's objects become: inert values that know their class by name and can do nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from tui_gen.errors import TuiGenError

_MAX_NAME = 1_000


@dataclass(frozen=True)
class Global:
    """A class or function that the pickle names. It is never imported. Raises TuiGenError for an endless name."""

    name: str

    def __post_init__(self) -> None:
        if len(self.name) > _MAX_NAME:
            raise TuiGenError("it names something in more letters than any name has")


@dataclass(eq=False)
class Stub:
    """An object of a class that was not imported: what it was made of, and what was put into it."""

    kind: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)
    entries: dict[Any, Any] = field(default_factory=dict)


SET = "builtins.set"
"""The kind of a Stub that stands for a set."""


@dataclass(eq=False)
class Storage:
    """Numbers of a file, of which tensors are views. Legacy files deliver them after the objects."""

    dtype: torch.dtype
    data: bytearray | None = None
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
