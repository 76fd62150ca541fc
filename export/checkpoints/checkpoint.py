"""What a checkpoint file holds, as plain values: the seam between reading files and understanding networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

_WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put in front."""
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class ModuleFacts:
    """A module of a pickled network. Its class was never imported."""

    kind: str
    """The qualified name of its class, such as `torch.nn.modules.rnn.LSTM` or `model.RNNModel`."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Its plain attributes: numbers, texts, and lists, tuples and dicts of those."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file's tensors and what stands beside them."""

    form: str
    """What kind of file it is, for people, such as `PyTorch zip file, whole module model.RNNModel`."""
    tensors: Mapping[str, Tensor]
    """Parameters and buffers by dotted name, wrapping prefixes such as `module.` stripped; on the CPU."""
    modules: Mapping[str, ModuleFacts] = field(default_factory=dict)
    """Of a pickled network: every module by its dotted path, `` (empty) for the outermost; in order of definition."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Plain values beside the tensors, as the file nests them: hyper-parameters, vocabularies, epochs."""
    notes: tuple[str, ...] = ()
    """What was chosen or stripped on the way, for people; a choice is never silent."""


Modules = dict[str, ModuleFacts]


def strip(tensors: Tensors, modules: Modules) -> tuple[Tensors, Modules, list[str]]:
    """Names without what DataParallel, torch.compile and one module around the network put in front of them."""
    notes = []
    while wrapper := next((w for w in _WRAPPERS if tensors and all(name.startswith(w) for name in tensors)), ""):
        tensors, modules = _without(tensors, wrapper), _inner(modules, wrapper)
        notes.append(f"stripped {wrapper!r} from the names")
    if any("_orig_mod." in name for name in tensors):  # parts of the network were compiled
        tensors = {name.replace("_orig_mod.", ""): tensor for name, tensor in tensors.items()}
        modules = {_compiled_part(path): facts for path, facts in modules.items()}
        notes.append("stripped '_orig_mod.' from the names")
    prefix = _wrapping_prefix(tensors)
    if prefix:
        tensors, modules = _without(tensors, prefix), _inner(modules, prefix)
        notes.append(f"stripped {prefix!r} from the names")
    return tensors, modules, notes


def _without(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def _compiled_part(path: str) -> str:
    return path.replace("_orig_mod.", "").removesuffix("._orig_mod")


def _inner(modules: Modules, prefix: str) -> Modules:
    """The modules inside of a wrapper, whose own attributes go to the new outermost module."""
    if not modules:
        return modules
    inside = {name.removeprefix(prefix): facts for name, facts in modules.items() if name.startswith(prefix)}
    outer, inner = modules.get("", ModuleFacts("")), modules.get(prefix[:-1], ModuleFacts(""))
    return {"": ModuleFacts(inner.kind, {**outer.attributes, **inner.attributes}), **inside}


def _wrapping_prefix(tensors: Tensors) -> str:
    """The one component that all names begin with, if what remains still looks like a network of several parts."""
    first = {name.partition(".")[0] for name in tensors}
    rest = [name.partition(".")[2] for name in tensors]
    several = len({name.partition(".")[0] for name in rest}) > 1
    return f"{first.pop()}." if len(first) == 1 and all(rest) and several and any("." in n for n in rest) else ""
