"""Which of a checkpoint's tensors are the network, and by which names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from export.loading.contents import ModuleFacts
from export.loading.harvest import CLASS, Module

_NETWORK = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "module", "generator")
_OTHERS = re.compile(r"optim|sched|scaler|loss|criterion|grad|exp_avg|momentum|discriminator", re.IGNORECASE)
_AVERAGED = re.compile(r"ema|swa|average|shadow|best", re.IGNORECASE)
_SMALL = 4096
"""Whole numbers of a tensor that is kept as a fact."""


@dataclass(frozen=True)
class Candidate:
    """Tensors that may be the network."""

    path: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    modules: Mapping[str, ModuleFacts] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Where in the file it is."""
        return ".".join(self.path) or "the file itself"


def candidates(value: Any, path: tuple[str, ...] = ()) -> Iterator[Candidate]:
    """Every module and every mapping of names to tensors, outermost first."""
    if isinstance(value, Module):
        yield _of_module(value, path)
    elif isinstance(value, dict):
        tensors = {str(key): item for key, item in value.items() if isinstance(item, Tensor) and isinstance(key, str)}
        if tensors and _looks_like_weights(value, tensors):
            yield Candidate(path, tensors)
        for key, item in value.items():
            yield from candidates(item, (*path, str(key)))
    elif isinstance(value, (list, tuple)):
        tensors = {str(index): item for index, item in enumerate(value) if isinstance(item, Tensor)}
        if tensors and not path and len(tensors) == len(value):
            yield Candidate(path, tensors)
        for index, item in enumerate(value):
            if isinstance(item, (Module, dict)):
                yield from candidates(item, (*path, str(index)))


def _of_module(module: Module, path: tuple[str, ...]) -> Candidate:
    tensors, modules = dict[str, Tensor](), dict[str, ModuleFacts]()
    for where, part in module.walk():
        modules[where] = ModuleFacts(part.kind, part.attributes)
        tensors.update({f"{where}.{name}" if where else name: tensor for name, tensor in part.tensors.items()})
    return Candidate(path, tensors, modules)


def _looks_like_weights(value: dict[Any, Any], tensors: dict[str, Tensor]) -> bool:
    return len(tensors) * 2 >= len(value) or any(name.endswith(("weight", ".bias")) for name in tensors)


def choose(found: list[Candidate]) -> tuple[list[Candidate], list[str]]:
    """The candidates that together are the network, and notes on what else there was."""
    useful = [c for c in found if c.tensors and not _is_other(c)]
    useful = useful or [c for c in found if c.tensors]
    plain = [c for c in useful if not any(_AVERAGED.search(part) for part in c.path)] or useful
    if not plain:
        return [], []
    named = [c for c in plain if not c.path or c.path[-1].lower() in _NETWORK] or plain
    best = max(named, key=lambda c: (len(c.modules) > 0, len(c.tensors)))
    together = [best]
    if best.path and best.path[-1].lower() not in _NETWORK and not best.modules:
        together = [c for c in plain if c.path[:-1] == best.path[:-1] and not c.modules]
    others = [c.name for c in found if c.tensors and c not in together and not _is_other(c)]
    notes = [f"took the weights under {', '.join(c.name for c in together)}"] if any(c.path for c in together) else []
    if others:
        notes.append(f"left alone: {', '.join(others[:6])}" + (", ..." if len(others) > 6 else ""))
    return together, notes


def _is_other(candidate: Candidate) -> bool:
    return any(_OTHERS.search(part) for part in candidate.path)


def merged(chosen: list[Candidate]) -> tuple[dict[str, Tensor], dict[str, ModuleFacts]]:
    """All tensors by name; those of several parts with the part's name in front."""
    if len(chosen) == 1:
        return dict(chosen[0].tensors), dict(chosen[0].modules)
    return {f"{part.path[-1]}.{name}": tensor for part in chosen for name, tensor in part.tensors.items()}, {}


def strip(
    tensors: dict[str, Tensor], modules: dict[str, ModuleFacts]
) -> tuple[dict[str, Tensor], dict[str, ModuleFacts], list[str]]:
    """Names without what DataParallel, torch.compile and one module around the network put in front of them."""
    notes = []
    for wrapper in ("module.", "_orig_mod."):
        inside = all(name.startswith(wrapper) for name in tensors)
        if tensors and (inside or (wrapper == "_orig_mod." and any(wrapper in name for name in tensors))):
            tensors = {name.replace(wrapper, "", 1): tensor for name, tensor in tensors.items()}
            modules = _inner(modules, wrapper) if inside else modules
            notes.append(f"stripped {wrapper!r} from the names")
    prefix = _wrapping_prefix(tensors)
    if prefix:
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        modules = _inner(modules, prefix)
        notes.append(f"stripped {prefix!r} from the names")
    return tensors, modules, notes


def _inner(modules: dict[str, ModuleFacts], prefix: str) -> dict[str, ModuleFacts]:
    """The modules inside of a wrapper, whose own attributes go to the new outermost module."""
    if not modules:
        return modules
    inside = {name.removeprefix(prefix): facts for name, facts in modules.items() if name.startswith(prefix)}
    outer, inner = modules.get("", ModuleFacts("")), modules.get(prefix[:-1], ModuleFacts(""))
    return {"": ModuleFacts(inner.kind, {**outer.attributes, **inner.attributes}), **inside}


def _wrapping_prefix(tensors: dict[str, Tensor]) -> str:
    """The one component that all names begin with, if what remains still looks like a network of several parts."""
    first = {name.partition(".")[0] for name in tensors}
    rest = [name.partition(".")[2] for name in tensors]
    several = len({name.partition(".")[0] for name in rest}) > 1
    return f"{first.pop()}." if len(first) == 1 and all(rest) and several and any("." in n for n in rest) else ""


def facts_of(value: Any) -> Any:
    """Plain values without tensors, but for small ones of whole numbers; modules by their attributes."""
    if isinstance(value, Tensor):
        small = not value.is_floating_point() and not value.is_complex() and value.numel() <= _SMALL
        return value.tolist() if small else None
    if isinstance(value, Module):
        return {CLASS: value.kind, **facts_of(value.attributes)}
    if isinstance(value, dict):
        known = {key: facts_of(item) for key, item in value.items()}
        return {key: item for key, item in known.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return type(value)(facts_of(item) for item in value)
    return value
