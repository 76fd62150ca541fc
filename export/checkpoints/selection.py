"""Which tensors of a file are the network: one of several, or parts that lie side by side."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from tui_gen.errors import TuiGenError

from .allowed_globals import QUANTISED
from .checkpoint import Choice, ModuleFacts, Modules, Tensors, strip
from .values import Module

TOOK = "took the weights under"
"""How a note begins that says where in the file they are."""
_NETWORK = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "module", "generator")
_OTHERS = re.compile(
    r"optim|sched|scaler|loss|criterion|exp_avg|momentum|discriminator|(^|_)grads?(_|$)", re.IGNORECASE
)
_OF_OPTIMIZERS = re.compile(
    r"(exp_)?avg(_sq)?|exp_inf|step|square_avg|sum|momentum_buffer|acc_delta|max_exp_avg_sq|ax|mu|eta"
)
_COPY = re.compile(r"(^|_)(ema|swa|averaged?|avg|shadow|raw)(_|$)|^ema|ema$", re.IGNORECASE)
_COUNTS = re.compile(r"n_averaged|num_updates|decay|initted|step|epoch|global_step|iteration")
"""Numbers that those who average weights keep beside them."""
_QUANTISED_NAMES = re.compile(
    r"(^|\.)(_packed_params|_all_weight_values|weight_fake_quant|activation_post_process|fake_quant_enabled|qweight|"
    r"qzeros|SCB|absmax|quant_map|quant_state|weight_packed)(\.|$)|\.nn\.(int|qat\.)?quantized\."
)
_FLAT_NAMES = re.compile(r"(^|\.)_?flat_param(_\d+)?$")
_BYTES = (torch.int8, torch.uint8, torch.float8_e4m3fn, torch.float8_e5m2)
_TORCHS_OWN = "torch.nn.modules."
_LONGEST_LIST = 6
_MOST_ALIKE = 20
"""Networks of the same code that are compared."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """Tensors that may be the network."""

    path: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    modules: Mapping[str, ModuleFacts] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    """Names of what is no tensor."""
    inside: tuple[str, ...] | None = None
    """The path of the state dict that it is a part of."""

    @property
    def origin(self) -> tuple[str, ...]:
        """The path of the dict in the file that holds its tensors."""
        return self.path if self.inside is None else self.inside

    @property
    def name(self) -> str:
        """Where in the file it is."""
        return ".".join(self.path) or "the file itself"

    @property
    def size(self) -> str:
        """Its name with what there is of it, for people."""
        kind = f"{self.modules[''].kind.rpartition('.')[2]}, " if "" in self.modules else ""
        count, numbers = len(self.tensors), sum(tensor.numel() for tensor in self.tensors.values())
        return f"{self.name} ({kind}{count} {'tensor' if count == 1 else 'tensors'}, {numbers:,} numbers)"

    @property
    def is_other(self) -> bool:
        """Whether it is rather the optimizer's, or another part of the training."""
        kind = self.modules[""].kind.rpartition(".")[2] if "" in self.modules else ""
        by_name = any(map(_OTHERS.search, self.path)) or kind.endswith(("Loss", "Criterion"))
        return by_name or all(map(_OF_OPTIMIZERS.fullmatch, self.tensors))

    @property
    def is_network(self) -> bool:
        """Whether it stands under a name that says network."""
        return not self.path or self.path[-1].lower() in _NETWORK

    @property
    def is_copy(self) -> bool:
        """Whether it is a second copy of the network, averaged over the training, or not as the first is."""
        return any(_COPY.search(part) for part in self.path)

    @cached_property
    def signature(self) -> frozenset[tuple[str, tuple[int, ...]]]:
        """What networks of the same code have in common: names without wrappers and dots, and shapes."""
        tensors, _, _ = strip(dict(self.tensors), {})
        return frozenset((name.replace(".", ""), tuple(tensor.shape)) for name, tensor in tensors.items())

    def part(self, prefix: str) -> Candidate:
        """What is under a name; nothing if there is no such."""
        start = f"{prefix}."
        tensors = {name.removeprefix(start): item for name, item in self.tensors.items() if name.startswith(start)}
        modules = {path.removeprefix(start): facts for path, facts in self.modules.items() if path.startswith(start)}
        if prefix in self.modules:
            modules = {"": self.modules[prefix], **modules}
        keys = tuple(key for key in self.keys if key.startswith(start))
        return Candidate((*self.path, *prefix.split(".")), tensors, modules, keys, self.origin)

    def equals(self, other: Candidate) -> bool:
        """Whether two of the same signature have the same numbers."""
        mine, its = (
            {name.replace(".", ""): item for name, item in _stripped(one).tensors.items()} for one in (self, other)
        )
        return all(torch.equal(mine[name], its[name]) for name in mine)


@dataclass(frozen=True)
class Selection:
    """The candidates that together are the network."""

    parts: Sequence[Candidate]
    notes: Sequence[str] = ()
    choice: Choice | None = None
    """Where other networks were left alone."""
    others: Sequence[str] = ()
    """What else could be asked for, with sizes."""

    def merge(self) -> tuple[Tensors, Modules]:
        """All tensors and modules by name; those of several parts with the part's name in front."""
        if len(self.parts) == 1:
            return dict(self.parts[0].tensors), dict(self.parts[0].modules)
        last = {part.path[-1:] for part in self.parts}
        tensors, modules = Tensors(), Modules()
        for part in self.parts:
            prefix = part.path[-1] if part.path and len(last) == len(self.parts) else part.name
            tensors |= {f"{prefix}.{name}" if name else prefix: tensor for name, tensor in part.tensors.items()}
            modules |= {f"{prefix}.{path}" if path else prefix: facts for path, facts in part.modules.items()}
        return tensors, {"": ModuleFacts(""), **modules} if modules else {}


def select(value: Any, weights: str = "") -> Selection:
    """The network of a file. value: plain values and modules.

    weights: names of what a person asks for, with commas between. Raises TuiGenError that lists what there is, if there
    is none of that name, or if without one nothing tells which of several it is.
    """
    candidates = [part for candidate in _candidates(value) if candidate.tensors for part in _networks_in(candidate)]
    if weights:
        parts = [_asked_for(candidates, name) for name in filter(None, weights.split(","))]
        _check_trained(parts)
        return Selection(parts, [f"{TOOK} {weights}, as told"])
    if candidates and all(_OF_OPTIMIZERS.fullmatch(name) for part in candidates for name in part.tensors):
        raise TuiGenError("holds the state of an optimizer and no network; name the file that the network is saved in")
    useful = _without_copies([candidate for candidate in candidates if not candidate.is_other] or candidates)
    current = [candidate for candidate in useful if not candidate.is_copy] or useful
    if not current:
        return Selection([])
    best = max([c for c in current if c.is_network] or current, key=lambda c: (len(c.modules) > 0, len(c.tensors)))
    _ask_which_of_equals(best, current)
    parts = [best] if best.is_network else _side_by_side(best, current)
    _check_trained(parts)
    return _with_notes(parts, useful)


def _with_notes(parts: list[Candidate], useful: list[Candidate]) -> Selection:
    """With what else there is: other networks, which is a guess to tell, and what is none."""
    notes = [f"{TOOK} {', '.join(part.name for part in parts)}"] if any(p.path for p in parts) else []
    left = [candidate for candidate in useful if candidate not in parts]
    networks = [candidate.name for candidate in left if candidate.is_copy or len(_first_components(candidate)) > 1]
    others = [candidate.name for candidate in left if candidate.name not in networks]
    if others:
        more = ", ..." if len(others) > _LONGEST_LIST else ""
        names = f"{', '.join(others[:_LONGEST_LIST])}{more}"
        notes.append(f"left alone: {names}; to convert one of these instead, --assume weights=NAME")
    choice = Choice(",".join(part.name for part in parts), tuple(networks[:_LONGEST_LIST])) if networks else None
    inner = parts if len(parts) > 1 else _parts_of(_stripped(parts[0]))
    return Selection(parts, notes, choice, [candidate.size for candidate in (*left, *inner)])


def _check_trained(parts: Iterable[Candidate]) -> None:
    """Raises TuiGenError for weights that are quantised, or of which this file has only a part or nothing."""
    for part in parts:
        names = [*part.tensors, *part.keys, *(facts.kind for facts in part.modules.values())]
        scaled = any(name.endswith(("weight_scale", "weight_scale_inv")) for name in names)
        rounded = [name for name, tensor in part.tensors.items() if tensor.dtype in (_BYTES if scaled else _BYTES[:2])]
        if any(name.endswith("weight") for name in rounded) or any(map(_QUANTISED_NAMES.search, names)):
            raise TuiGenError(QUANTISED)
        if any(map(_FLAT_NAMES.search, part.tensors)):
            raise TuiGenError(
                "holds flat parameters of FSDP, without their shapes; save it with StateDictOptions(full_state_dict="
                "True) of torch.distributed.checkpoint.state_dict"
            )
        if not any(tensor.numel() for tensor in part.tensors.values()):
            raise TuiGenError(
                "has the names of the weights but not their numbers, as DeepSpeed writes it; gather the whole folder "
                "first: python zero_to_fp32.py FOLDER model.pt"
            )


def _candidates(value: Any, path: tuple[str, ...] = ()) -> Iterator[Candidate]:
    """Every module and every mapping of names to tensors, outermost first."""
    if isinstance(value, Module):
        yield _of_module(value, path)
    elif isinstance(value, dict):
        tensors = {key: item for key, item in value.items() if isinstance(item, Tensor) and isinstance(key, str)}
        has_weights = any(name.endswith(("weight", ".bias")) for name in tensors)
        if tensors and (len(tensors) * 2 >= len(value) or has_weights):
            yield Candidate(path, tensors, keys=tuple(str(key) for key in value if key not in tensors))
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
    tensors, modules = Tensors(), Modules()
    for where, part in module.walk():
        modules[where] = ModuleFacts(part.kind, part.attributes)
        tensors.update({f"{where}.{name}" if where else name: tensor for name, tensor in part.tensors.items()})
    return Candidate(path, tensors, modules)


def _stripped(candidate: Candidate) -> Candidate:
    tensors, modules, _ = strip(dict(candidate.tensors), dict(candidate.modules))
    return replace(candidate, tensors=tensors, modules=modules)


def _groups(candidate: Candidate) -> dict[str, Candidate]:
    """Its parts by the first component of their names."""
    return {name: candidate.part(name) for name in dict.fromkeys(key.partition(".")[0] for key in candidate.tensors)}


def _networks_in(candidate: Candidate) -> list[Candidate]:
    """The candidate, or the networks that one state dict holds: copies of one, or nothing but networks of one code."""
    candidate = _without_counts(candidate)
    bare = _stripped(candidate)
    groups = {name: group for name, group in _groups(bare).items() if _is_whole(group)}
    copies = {name: group for name, group in groups.items() if _COPY.search(name) and _is_copied(group, groups)}
    current = [group for name, group in groups.items() if name not in copies]
    rest = {name: tensor for name, tensor in bare.tensors.items() if name.partition(".")[0] not in copies}
    is_all = {name.partition(".")[0] for name in rest} == groups.keys() - copies.keys()
    if len(current) > 1 and is_all and len({group.signature for group in current}) == 1:
        return [*current, *copies.values()]
    if not copies:
        return [candidate]
    outside = {path: facts for path, facts in bare.modules.items() if path.partition(".")[0] not in copies}
    network = current[0] if len(current) == 1 and is_all else replace(candidate, tensors=rest, modules=outside)
    return [network, *(_with_names_of(copy, groups) for copy in copies.values())]


def _without_counts(candidate: Candidate) -> Candidate:
    """Without the numbers that stand beside averaged weights, unless there is nothing else."""
    tensors = {
        name: tensor
        for name, tensor in candidate.tensors.items()
        if not (tensor.numel() == 1 and name.count(".") < 2 and _COUNTS.fullmatch(name.rpartition(".")[2]))
    }
    return replace(candidate, tensors=tensors) if tensors else candidate


def _is_copied(group: Candidate, groups: Mapping[str, Candidate]) -> bool:
    """Whether there is another network of the same code."""
    return any(other.signature == group.signature for other in groups.values() if other is not group)


def _with_names_of(copy: Candidate, groups: Mapping[str, Candidate]) -> Candidate:
    """A copy whose names lost their dots, with those of the network that it is a copy of."""
    if any("." in name for name in copy.tensors):
        return copy
    original = next(group for group in groups.values() if group is not copy and group.signature == copy.signature)
    names = {name.replace(".", ""): name for name in _stripped(original).tensors}
    return replace(copy, tensors={names.get(name, name): item for name, item in copy.tensors.items()})


def _is_whole(group: Candidate) -> bool:
    """Whether it has several layers, as a network has and a layer has not; or may have names that lost their dots."""
    several = len(_first_components(group)) > 1 or bool(_COPY.search(group.path[-1]))
    return bool(group.tensors) and several and not group.path[-1].isdecimal()


def _first_components(candidate: Candidate) -> set[str]:
    """Of names with several."""
    return {name.partition(".")[0] for name in _stripped(candidate).tensors if "." in name}


def _parts_of(candidate: Candidate) -> list[Candidate]:
    """Parts of a larger model that may be a network of their own: several, or one whose layers have names."""
    groups = _groups(candidate)
    parts = [group for group in groups.values() if _is_whole(group)]
    is_named = any(not name.isdecimal() for part in parts for name in _first_components(part))
    return parts if len(parts) > 1 or (is_named and len(groups) > 1) else []


def _without_copies(candidates: list[Candidate]) -> list[Candidate]:
    """One of each that have the same numbers: a whole module before a state dict, otherwise the first."""
    originals: dict[object, list[Candidate]] = defaultdict(list)
    for candidate in sorted(candidates, key=lambda c: not c.modules):
        alike = originals[candidate.signature]
        if len(alike) < _MOST_ALIKE and not any(map(candidate.equals, alike)):
            alike.append(candidate)
    ids = {id(candidate) for alike in originals.values() for candidate in alike}
    return [candidate for candidate in candidates if id(candidate) in ids]


def _ask_which_of_equals(best: Candidate, current: list[Candidate]) -> None:
    """Raises TuiGenError if there are others of the same code, which is no single layer."""
    equals = [candidate for candidate in current if candidate.signature == best.signature]
    if len(equals) > 1 and len(_first_components(best)) > 1:
        names = [candidate.name for candidate in equals[:_LONGEST_LIST]]
        beside = [candidate.name for candidate in current if candidate.path[:-1] == best.path[:-1]]
        raise TuiGenError(
            f"holds {len(equals)} networks of the same code: {_listing(equals)}; the file does not say which is to be "
            f"played; tell it with --assume weights={'|'.join(names)} (or {','.join(beside[:_LONGEST_LIST])} if they "
            "are parts of one)"
        )


def _side_by_side(best: Candidate, current: list[Candidate]) -> list[Candidate]:
    """Parts of a network under names of their own.

    Raises TuiGenError for whole modules of strangers' classes, each of which may be a network.
    """
    siblings = [c for c in current if c.path[:-1] == best.path[:-1] and bool(c.modules) == bool(best.modules)]
    if not best.modules or all(part.modules[""].kind.startswith(_TORCHS_OWN) for part in siblings):
        return siblings
    if len(siblings) > 1:
        names = [candidate.name for candidate in siblings[:_LONGEST_LIST]]
        raise TuiGenError(
            f"holds {len(siblings)} modules side by side: {_listing(siblings)}; the file does not say which are the "
            f"network; tell it with --assume weights={'|'.join(names)}, or --assume weights={','.join(names)} to join "
            "them"
        )
    return siblings


def _asked_for(candidates: list[Candidate], name: str) -> Candidate:
    """A candidate, or what is under a name inside of one."""
    for candidate in candidates:
        if candidate.name == name:
            return candidate
    for candidate in candidates:
        inside = name.removeprefix(f"{candidate.name}.") if candidate.path else name
        for variant in (candidate, _stripped(candidate)):
            part = variant.part(inside)
            if part.tensors:
                return part
            if inside in variant.tensors:
                path = (*variant.path, *inside.split("."))
                return Candidate(path, {"": variant.tensors[inside]}, inside=variant.origin)
    inner = [part for candidate in candidates for part in _groups(_stripped(candidate)).values() if part.tensors]
    raise TuiGenError(f"holds no weights under {name}; there are: {_listing([*candidates, *inner]) or 'none at all'}")


def _listing(candidates: Iterable[Candidate]) -> str:
    sizes = list(dict.fromkeys(candidate.size for candidate in candidates))
    return ", ".join(sizes[:_LONGEST_LIST]) + (", ..." if len(sizes) > _LONGEST_LIST else "")
