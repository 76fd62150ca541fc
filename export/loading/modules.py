"""The modules of a pickled network, and where PyTorch keeps what in their state (torch.nn.Module.__dict__)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from export.loading.stubs import Stub

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


def state_of(stub: Stub) -> dict[Any, Any]:
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
