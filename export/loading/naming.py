"""The names of a network's tensors without what wrappers put in front of them."""

from __future__ import annotations

from torch import Tensor

from export.loading.contents import ModuleFacts

_WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put in front."""

Tensors = dict[str, Tensor]
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
