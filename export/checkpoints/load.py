"""Opens a checkpoint file of any training script and finds the network in it; nothing in the file is ever run."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from tui_gen.errors import TuiGenError
from tui_gen.files import read_bytes
from tui_gen.terminal_text import scrub_line

from .checkpoint import Checkpoint, ModuleFacts, strip
from .formats import (
    is_legacy,
    is_safetensors,
    read_legacy,
    read_pickle,
    read_safetensors,
    read_zip,
    recognise_foreign,
)
from .values import Module, facts_of, plain

_VERBS = ("is ", "holds ", "was ", "lacks ", "ends ", "unpacks ")
"""What errors begin with whose subject is the file."""
_MAX_REASON = 300
_NETWORK = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "module", "generator")
_OTHERS = re.compile(
    r"optim|sched|scaler|loss|criterion|exp_avg|momentum|discriminator|(^|_)grads?(_|$)", re.IGNORECASE
)
_OF_OPTIMIZERS = re.compile(
    r"(exp_)?avg(_sq)?|exp_inf|step|square_avg|sum|momentum_buffer|acc_delta|max_exp_avg_sq|ax|mu|eta"
)
_AVERAGE = re.compile(r"(^|_)(ema|swa|averaged?|avg|shadow|best)(_|$)|^ema|ema$", re.IGNORECASE)
_LONGEST_LIST = 6


def load_checkpoint(path: Path, *, weights: str = "") -> Checkpoint:
    """What a checkpoint holds. Raises TuiGenError, in one line, for a file that is none or asks to run something.

    weights: where in the file the network's are, such as `ema.model`, if a person says so.
    """
    form, value = _read_file(path)
    try:
        parts, notes = _network_in(list(_candidates(value)), weights)
        tensors, modules, prefix_notes = strip(*_merge(parts))
        facts = _facts(value, parts)
    except TuiGenError as fault:
        raise TuiGenError(f"{path} {scrub_line(str(fault)[:_MAX_REASON])}") from None
    except RecursionError:
        raise TuiGenError(f"{path} cannot be read: it is nested too deeply") from None
    kind = next((part.modules[""].kind for part in parts if part.modules), "")
    form = f"{form}, whole module {kind}" if kind else f"{form}, state dict" if tensors else form
    return Checkpoint(form, tensors, modules, facts, (*notes, *prefix_notes))


def load_values(path: Path) -> Any:
    """The plain values of a checkpoint or of any pickle: dicts, lists, texts, numbers, tensors.

    Objects of classes are dicts of their attributes with the class's name under `__class__`. Raises TuiGenError as
    load_checkpoint does.
    """
    return _read_file(path)[1]


def _read_file(path: Path) -> tuple[str, Any]:
    """What kind of file it is, and its values."""
    data = read_bytes(path)
    what = recognise_foreign(data, path.name.lower())
    if what:
        raise TuiGenError(f"{path} {what}")
    try:
        form, value = _read_format(data, path.suffix.lower())
        return form, plain(value, file_size=len(data))
    except RecursionError:
        raise TuiGenError(f"{path} cannot be read: it is nested too deeply") from None
    except (MemoryError, OverflowError):
        raise TuiGenError(f"{path} cannot be read: it declares more than it holds") from None
    except TuiGenError as fault:
        reason = scrub_line(str(fault)[:_MAX_REASON])
        raise TuiGenError(f"{path} {'' if reason.startswith(_VERBS) else 'cannot be read: '}{reason}") from None


def _read_format(data: bytes, suffix: str) -> tuple[str, Any]:
    if is_safetensors(data) or suffix == ".safetensors":
        return "safetensors file", read_safetensors(data)
    if data[:4] == b"PK\x03\x04" or zipfile.is_zipfile(io.BytesIO(data)):
        return "PyTorch zip file", read_zip(data)
    if is_legacy(data):
        return "PyTorch file of the format before 1.6", read_legacy(io.BytesIO(data))
    return "pickle", read_pickle(io.BytesIO(data))


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
    def is_other(self) -> bool:
        """Whether it is rather the optimizer's, or another part of the training."""
        return any(_OTHERS.search(part) for part in self.path) or all(map(_OF_OPTIMIZERS.fullmatch, self.tensors))

    @property
    def is_network(self) -> bool:
        """Whether it stands under a name that says network."""
        return not self.path or self.path[-1].lower() in _NETWORK

    @property
    def is_average(self) -> bool:
        """Whether it is a second copy of the network, averaged over the training."""
        return any(_AVERAGE.search(part) for part in self.path)


def _candidates(value: Any, path: tuple[str, ...] = ()) -> Iterator[Candidate]:
    """Every module and every mapping of names to tensors, outermost first."""
    if isinstance(value, Module):
        yield _of_module(value, path)
    elif isinstance(value, dict):
        tensors = {key: item for key, item in value.items() if isinstance(item, Tensor) and isinstance(key, str)}
        has_weights = any(name.endswith(("weight", ".bias")) for name in tensors)
        if tensors and (len(tensors) * 2 >= len(value) or has_weights):
            yield Candidate(path, tensors)
        for key, item in value.items():
            if isinstance(item, (Module, dict, list, tuple)):
                yield from _candidates(item, (*path, str(key)))
    elif isinstance(value, (list, tuple)):
        tensors = {str(index): item for index, item in enumerate(value) if isinstance(item, Tensor)}
        if tensors and not path and len(tensors) == len(value):
            yield Candidate(path, tensors)
        for index, item in enumerate(value):
            if isinstance(item, (Module, dict)):
                yield from _candidates(item, (*path, str(index)))


def _of_module(module: Module, path: tuple[str, ...]) -> Candidate:
    tensors, modules = dict[str, Tensor](), dict[str, ModuleFacts]()
    for where, part in module.walk():
        modules[where] = ModuleFacts(part.kind, part.attributes)
        tensors.update({f"{where}.{name}" if where else name: tensor for name, tensor in part.tensors.items()})
    return Candidate(path, tensors, modules)


def _network_in(candidates: list[Candidate], weights: str) -> tuple[list[Candidate], list[str]]:
    """The candidates that together are the network, and notes on what else there was.

    weights: the name of the one that a person asks for. Raises TuiGenError if there is none of that name.
    """
    full = [candidate for candidate in candidates if candidate.tensors]
    if weights:
        return _asked_for(full, weights), [f"took the weights under {weights}, as told"]
    useful = [candidate for candidate in full if not candidate.is_other] or full
    current = [candidate for candidate in useful if not candidate.is_average] or useful
    if not current:
        return [], []
    best = max([c for c in current if c.is_network] or current, key=lambda c: (len(c.modules) > 0, len(c.tensors)))
    parts = [best]
    if not best.is_network and not best.modules:
        parts = [c for c in current if c.path[:-1] == best.path[:-1] and not c.modules]
    names = ", ".join(part.name for part in parts)
    notes = [f"took the weights under {names}"] if any(part.path for part in parts) else []
    others = [candidate.name for candidate in full if candidate not in parts and not candidate.is_other]
    if others:
        more = ", ..." if len(others) > _LONGEST_LIST else ""
        names = f"{', '.join(others[:_LONGEST_LIST])}{more}"
        notes.append(f"left alone: {names}; to convert one of these instead, --assume weights=NAME")
    return parts, notes


def _asked_for(candidates: list[Candidate], name: str) -> list[Candidate]:
    matches = [candidate for candidate in candidates if candidate.name == name]
    if not matches:
        names = ", ".join(candidate.name for candidate in candidates[:_LONGEST_LIST]) or "none at all"
        raise TuiGenError(f"holds no weights under {name}; there are: {names}")
    return matches[:1]


def _merge(parts: list[Candidate]) -> tuple[dict[str, Tensor], dict[str, ModuleFacts]]:
    """All tensors by name; those of several parts with the part's name in front."""
    if len(parts) == 1:
        return dict(parts[0].tensors), dict(parts[0].modules)
    return {f"{part.path[-1]}.{name}": tensor for part in parts for name, tensor in part.tensors.items()}, {}


def _facts(value: Any, parts: list[Candidate]) -> Mapping[str, Any]:
    """The facts; those of a list by its indices."""
    by_name = {str(index): item for index, item in enumerate(value)} if isinstance(value, (list, tuple)) else value
    facts = facts_of(by_name, weights=frozenset(part.path for part in parts if not part.modules))
    return {str(key): item for key, item in facts.items()} if isinstance(facts, dict) else {}
