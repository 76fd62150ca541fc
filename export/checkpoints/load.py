"""Opens a checkpoint file of any training script as plain values; nothing in it is ever run."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from export.checkpoints.checkpoint import Checkpoint, ModuleFacts, strip
from export.checkpoints.formats import (
    foreign,
    is_legacy,
    is_safetensors,
    read_legacy,
    read_pickle,
    read_safetensors,
    read_zip,
)
from export.checkpoints.values import Module, facts_of, plain
from tui_gen.errors import TuiGenError
from tui_gen.files import read_bytes
from tui_gen.terminal_text import scrub_line

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
_AVERAGED = re.compile(r"(^|_)(ema|swa|averaged?|avg|shadow|best)(_|$)|^ema|ema$", re.IGNORECASE)
_SHOWN = 6


def load_checkpoint(path: Path, *, weights: str = "") -> Checkpoint:
    """What a checkpoint holds. Raises TuiGenError, in one line, for a file that is none or asks to run something.

    weights: where in the file the network's are, such as `ema.model`, if a person says so.
    """
    form, value = _read(path)
    try:
        chosen, notes = _chosen(path, value, weights)
        tensors, modules, stripped = strip(*merged(chosen))
        facts = _facts(value, chosen)
    except RecursionError:
        raise TuiGenError(f"{path} cannot be read: it is nested too deeply") from None
    kind = next((c.modules[""].kind for c in chosen if c.modules), "")
    form = f"{form}, whole module {kind}" if kind else f"{form}, state dict" if tensors else form
    return Checkpoint(form, tensors, modules, facts, (*notes, *stripped))


def _chosen(path: Path, value: Any, weights: str) -> tuple[list[Candidate], list[str]]:
    try:
        return choose(list(candidates(value)), weights)
    except TuiGenError as fault:
        raise TuiGenError(f"{path} {scrub_line(str(fault)[:_MAX_REASON])}") from None


def load_values(path: Path) -> Any:
    """The plain values of a checkpoint or of any pickle: dicts, lists, texts, numbers, tensors.

    Objects of classes are dicts of their attributes with the class's name under `__class__`. Raises TuiGenError as
    load_checkpoint does.
    """
    return _read(path)[1]


def _facts(value: Any, chosen: list[Candidate]) -> Mapping[str, Any]:
    """The facts; those of a list by its indices."""
    named = {str(index): item for index, item in enumerate(value)} if isinstance(value, (list, tuple)) else value
    facts = facts_of(named, weights=frozenset(c.path for c in chosen if not c.modules))
    return {str(key): item for key, item in facts.items()} if isinstance(facts, dict) else {}


def _read(path: Path) -> tuple[str, Any]:
    """What kind of file it is, and its values."""
    data = read_bytes(path)
    what = foreign(data, path.name.lower())
    if what:
        raise TuiGenError(f"{path} {what}")
    try:
        form, value = _open(data, path.suffix.lower())
        return form, plain(value, file_size=len(data))
    except RecursionError:
        raise TuiGenError(f"{path} cannot be read: it is nested too deeply") from None
    except (MemoryError, OverflowError):
        raise TuiGenError(f"{path} cannot be read: it declares more than it holds") from None
    except TuiGenError as fault:
        reason = scrub_line(str(fault)[:_MAX_REASON])
        said = reason if reason.startswith(_VERBS) else f"cannot be read: {reason}"
        raise TuiGenError(f"{path} {said}") from None


def _open(data: bytes, suffix: str) -> tuple[str, Any]:
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
