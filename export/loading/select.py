"""Which of a checkpoint's tensors are the network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from export.loading.contents import ModuleFacts
from export.loading.modules import Module
from tui_gen.errors import TuiGenError

_NETWORK = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "module", "generator")
_OTHERS = re.compile(
    r"optim|sched|scaler|loss|criterion|exp_avg|momentum|discriminator|(^|_)grads?(_|$)", re.IGNORECASE
)
_OF_OPTIMIZERS = re.compile(
    r"(exp_)?avg(_sq)?|exp_inf|step|square_avg|sum|momentum_buffer|acc_delta|max_exp_avg_sq|ax|mu|eta"
)
_AVERAGED = re.compile(r"(^|_)(ema|swa|averaged?|avg|shadow|best)(_|$)|^ema|ema$", re.IGNORECASE)
_SHOWN = 6


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

    @property
    def other(self) -> bool:
        """Whether it is rather the optimizer's, or another part of the training."""
        return any(_OTHERS.search(part) for part in self.path) or all(map(_OF_OPTIMIZERS.fullmatch, self.tensors))

    @property
    def named(self) -> bool:
        """Whether it stands under a name that says network."""
        return not self.path or self.path[-1].lower() in _NETWORK

    @property
    def averaged(self) -> bool:
        """Whether it is a second copy of the network, averaged over the training."""
        return any(_AVERAGED.search(part) for part in self.path)


def candidates(value: Any, path: tuple[str, ...] = ()) -> Iterator[Candidate]:
    """Every module and every mapping of names to tensors, outermost first."""
    if isinstance(value, Module):
        yield _of_module(value, path)
    elif isinstance(value, dict):
        tensors = {key: item for key, item in value.items() if isinstance(item, Tensor) and isinstance(key, str)}
        if tensors and _looks_like_weights(value, tensors):
            yield Candidate(path, tensors)
        for key, item in value.items():
            if isinstance(item, (Module, dict, list, tuple)):
                yield from candidates(item, (*path, str(key)))
    elif isinstance(value, (list, tuple)):
        numbered = {str(index): item for index, item in enumerate(value) if isinstance(item, Tensor)}
        if numbered and not path and len(numbered) == len(value):
            yield Candidate(path, numbered)
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


def choose(found: list[Candidate], told: str = "") -> tuple[list[Candidate], list[str]]:
    """The candidates that together are the network, and notes on what else there was.

    told: the name of the one that a person asks for. Raises TuiGenError if there is none of that name.
    """
    full = [c for c in found if c.tensors]
    if told:
        return _told(full, told)
    useful = [c for c in full if not c.other] or full
    plain = [c for c in useful if not c.averaged] or useful
    if not plain:
        return [], []
    best = max([c for c in plain if c.named] or plain, key=lambda c: (len(c.modules) > 0, len(c.tensors)))
    together = [best]
    if not best.named and not best.modules:
        together = [c for c in plain if c.path[:-1] == best.path[:-1] and not c.modules]
    return together, _notes(together, [c for c in full if c not in together and not c.other])


def _told(full: list[Candidate], told: str) -> tuple[list[Candidate], list[str]]:
    for candidate in full:
        if candidate.name == told:
            return [candidate], [f"took the weights under {told}, as told"]
    known = ", ".join(candidate.name for candidate in full[:_SHOWN]) or "none at all"
    raise TuiGenError(f"holds no weights under {told}; there are: {known}")


def _notes(together: list[Candidate], others: list[Candidate]) -> list[str]:
    notes = [f"took the weights under {', '.join(c.name for c in together)}"] if any(c.path for c in together) else []
    if others:
        names = ", ".join(c.name for c in others[:_SHOWN])
        more = ", ..." if len(others) > _SHOWN else ""
        notes.append(f"left alone: {names}{more}; to convert one of these instead, --assume weights=NAME")
    return notes


def merged(chosen: list[Candidate]) -> tuple[dict[str, Tensor], dict[str, ModuleFacts]]:
    """All tensors by name; those of several parts with the part's name in front."""
    if len(chosen) == 1:
        return dict(chosen[0].tensors), dict(chosen[0].modules)
    return {f"{part.path[-1]}.{name}": tensor for part in chosen for name, tensor in part.tensors.items()}, {}
