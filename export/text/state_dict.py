"""The tensors of a checkpoint as the parts of a language model, before their order is known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..assumptions import Assumptions
from ..checkpoints.checkpoint import Checkpoint, without_spectral_norm, without_weight_norm
from . import metadata
from .cell_weights import Role, assign_roles
from .cells import find_hand_written_layers, find_torch_layers
from .layers import NORMS, BatchNorm, Feedforward, Layer, LayerNorm, Linear, Recurrent, RecurrentLayer

_INITIAL_STATE = re.compile(r"start|init|begin|first|learned|^[hc]_?[0x]$|^(hidden|cell|state)_?0$")
_OF_C = re.compile(r"(^|_)(c|cell|cell_state|c[0xt])(_|\d|$)")
_HARMLESS = re.compile(
    r"(^|\.)(num_batches_tracked|version|(criterion|loss|loss_fn|loss_function)\..*|_flat_weights.*|dummy\w*)$"
)
_DROPPED_COPY = "module."
_EPSILON = 1e-5
"""What PyTorch's normalisations add to a variance."""
_NORM_NAMES = (
    *(("weight", "bias"), ("gamma", "beta"), ("a_2", "b_2"), ("scale", "shift"), ("scale", "bias"), ("gain", "bias")),
    *(("g", "b"), ("alpha", "bias"), ("weight",), ("gamma",), ("scale",), ("gain",), ("g",)),
)
"""What the tensors of a normalisation are called."""


@dataclass
class StateDictParts:
    """What was recognised, each in the order of the file."""

    recurrent: list[Recurrent] = field(default_factory=list)
    feedforward: list[Feedforward] = field(default_factory=list)
    tables: dict[str, Tensor] = field(default_factory=dict)
    """Matrices without a bias, by the name of their module or parameter: an embedding is one of them."""
    rest: dict[str, Tensor] = field(default_factory=dict)
    """What is none of these, by name."""
    notes: list[str] = field(default_factory=list)
    positions: dict[str, int] = field(default_factory=dict)
    """Where in the file the tensors of each layer begin, by its name."""
    has_order: bool = True
    """False for a file that is sorted by name."""

    def layers(self, *, without: str = "") -> list[Layer]:
        """All of them in the order of the file. without: the name of one without a state to leave out."""
        every = [*self.recurrent, *(layer for layer in self.feedforward if layer.name != without)]
        return sorted(every, key=lambda layer: self.positions.get(layer.name, len(self.positions)))

    def outputs(self) -> list[Feedforward]:
        """Layers without a state that cannot be the embedding."""
        return [layer for layer in self.feedforward if layer.name not in self.tables]


def effective_weights(stored: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """float32 tensors by name, in the checkpoint's order, and notes on what was made of which."""
    notes: list[str] = []
    tensors = {name: tensor for name, tensor in stored.items() if not _HARMLESS.search(name)}
    counts = [name for name, tensor in tensors.items() if not tensor.is_floating_point()]
    if any(tensors[name].numel() > 1 for name in counts):
        notes.append(f"{', '.join(counts)}: whole numbers are no weights and are left out")
    tensors = {name: tensor for name, tensor in tensors.items() if name not in counts}
    before, tensors = len(tensors), without_spectral_norm(tensors)
    if len(tensors) < before:
        count = (before - len(tensors)) // 2
        notes.append(f"{count} weights are stored before spectral normalisation; they are divided by it")
    before, tensors = len(tensors), without_weight_norm(tensors)
    if len(tensors) < before:
        notes.append(f"{before - len(tensors)} weights are stored as direction and length; they are multiplied out")
    tensors = _without_weight_drop(tensors, notes)
    shared: dict[tuple[int, tuple[int, ...]], Tensor] = {}
    for tensor in tensors.values():
        shared.setdefault(_memory(tensor), tensor.detach().float())
    return {name: shared[_memory(tensor)] for name, tensor in tensors.items()}, notes


def _memory(tensor: Tensor) -> tuple[int, tuple[int, ...]]:
    """What tensors that share their numbers have in common."""
    return tensor.data_ptr(), (*tensor.shape, *tensor.stride())


def _without_weight_drop(tensors: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Dropout on weights (Merity et al., 2017) keeps the trained ones as `..._raw`, beside copies with gaps."""
    raw = [name for name in tensors if name.endswith("_raw")]
    if not raw:
        return tensors
    notes.append(f"{', '.join(raw)}: the weights without dropout are used, as when a network is not training")
    wrappers = {name.rpartition(".")[0] for name in raw}
    inside = {_without_wrapper(name, wrappers): tensor for name, tensor in tensors.items() if name not in raw}
    return {**inside, **{name.removesuffix("_raw"): tensors[name] for name in raw}}


def _without_wrapper(name: str, wrappers: set[str]) -> str:
    """`rnn.module.bias` -> `rnn.bias`, where `rnn` keeps the raw weights of `rnn.module`."""
    for wrapper in wrappers:
        prefix = f"{wrapper}." if wrapper else ""
        if name.startswith(prefix + _DROPPED_COPY):
            return prefix + name.removeprefix(prefix + _DROPPED_COPY)
    return name


def split_state_dict(tensors: Mapping[str, Tensor], checkpoint: Checkpoint, assumptions: Assumptions) -> StateDictParts:
    """Nothing if no layer is recurrent. Raises TuiGenError for a layer that cannot write text."""
    recurrent, names = find_torch_layers(tensors, checkpoint, assumptions)
    attention = any(tensor.ndim > 3 or metadata.is_attention(name) for name, tensor in tensors.items())
    left = {name: tensor for name, tensor in tensors.items() if name not in names}
    if not attention and (not recurrent or any(name.endswith("weight_hh") for name in left)):
        others, names_of_others = find_hand_written_layers(left, assumptions)
        recurrent, names = [*recurrent, *others], names | names_of_others
    parts = StateDictParts(recurrent)
    if recurrent:
        _sort_modules({name: tensors[name] for name in tensors if name not in names}, assumptions, parts)
        _take_bare_output(parts)
        _drop_copies(parts)
        parts.positions = _positions(parts, list(tensors))
        parts.has_order = list(tensors) != sorted(tensors)
    return parts


def _sort_modules(tensors: Mapping[str, Tensor], assumptions: Assumptions, parts: StateDictParts) -> None:
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        path, _, leaf = name.rpartition(".")
        modules.setdefault(path, {})[leaf] = tensor
    for path, leaves in modules.items():
        layer = _feedforward(path, _usual_names(leaves), assumptions) if path else None
        if layer:
            parts.feedforward.append(layer)
            if isinstance(layer, Linear) and layer.bias is None:
                parts.tables[path] = layer.weight
            continue
        for leaf, tensor in leaves.items():
            name = f"{path}.{leaf}" if path else leaf
            is_matrix = tensor.ndim == 2 and min(tensor.shape) > 1 and not _is_initial_state(name)
            (parts.tables if is_matrix else parts.rest)[name] = tensor


def _usual_names(leaves: dict[str, Tensor]) -> dict[str, Tensor]:
    """`weight` and `bias` for `W` and `b` of a linear layer of the owner's, either way round."""
    weight, bias = leaves.get("W"), leaves.get("b")
    if {*leaves} != {"W", "b"} or weight is None or bias is None or weight.ndim != 2 or len({*weight.shape}) < 2:
        return leaves
    return {"weight": weight if bias.numel() == len(weight) else weight.T, "bias": bias.flatten()}


def _feedforward(path: str, leaves: dict[str, Tensor], assumptions: Assumptions) -> Feedforward | None:
    """A linear layer, an embedding or a normalisation, by its tensors."""
    weight, bias, rest = leaves.get("weight"), leaves.get("bias"), leaves.keys() - {"weight", "bias"}
    if len({tuple(tensor.shape[:1]) for tensor in leaves.values()}) > 1 or (bias is not None and bias.ndim != 1):
        return None
    if rest == {"running_mean", "running_var"} and all(tensor.ndim == 1 for tensor in leaves.values()):
        epsilon = metadata.epsilon(assumptions.checkpoint, path) or _EPSILON
        return BatchNorm(path, leaves["running_mean"], leaves["running_var"], weight, bias, epsilon)
    if not rest and weight is not None and weight.ndim == 2 and min(weight.shape) > 0:
        return Linear(path, weight, bias)
    return _layer_norm(path, leaves, assumptions)


def _layer_norm(path: str, leaves: dict[str, Tensor], assumptions: Assumptions) -> LayerNorm | None:
    """A normalisation over features; of a class of the owner's, or under other names, it is asked of what kind."""
    flat = {leaf: tensor.flatten() for leaf, tensor in leaves.items() if tensor.numel() == max(tensor.shape, default=0)}
    names = next((pair for pair in _NORM_NAMES if {*pair} == {*leaves}), ())
    if (
        not names
        or {*flat} != {*leaves}
        or len({len(tensor) for tensor in flat.values()}) > 1
        or len(flat[names[0]]) < 2
    ):
        return None
    weight, bias = flat[names[0]], flat[names[1]] if len(names) > 1 else None
    kind = metadata.module_kind(assumptions.checkpoint, path)
    epsilon = metadata.epsilon(assumptions.checkpoint, path)
    if metadata.is_of_torch(assumptions.checkpoint, path) and kind not in ("LayerNorm", "RMSNorm"):
        return None
    if names == ("weight", "bias") and metadata.is_of_torch(assumptions.checkpoint, path) in (True, None):
        return LayerNorm(path, weight, bias, epsilon or _EPSILON)
    if bias is None and not (kind or re.search(r"norm|(^|[._])(ln|rms)", path.lower())):
        return None
    choices = (*dict.fromkeys(("rms" if bias is None else "layer", *NORMS)),)
    norm = kind if metadata.is_of_torch(assumptions.checkpoint, path) else ""
    if norm in ("LayerNorm", "RMSNorm"):
        chosen = norm.removesuffix("Norm").lower()
    else:
        what = f"how {path} normalises: as PyTorch's LayerNorm, by the standard deviation plus epsilon, or by the root"
        chosen = assumptions.ask("norm_kind", f"{what} mean square", choices=choices)
        epsilon = epsilon or float(assumptions.assume("epsilon", "1e-06", f"what {path} adds before it divides"))
    return LayerNorm(path, weight, bias, epsilon or _EPSILON, chosen)


def _take_bare_output(parts: StateDictParts) -> None:
    """A prediction's weight that is a bare parameter, such as `W_hq`, either way round."""
    widths, modules = {layer.outputs for layer in parts.recurrent}, {layer.name for layer in parts.feedforward}
    for name, weight in list(parts.tables.items()):
        role = _role(name, letters="Vv")
        if not role or role.gate not in ("y", "o") or not set(weight.shape) & widths or name in modules:
            continue
        matrix = weight.T if weight.shape[1] not in widths or weight.shape[0] in widths else weight
        parts.feedforward.append(Linear(name, matrix, _take_bias(parts, role.gate, len(matrix))))
        del parts.tables[name]


def _take_bias(parts: StateDictParts, gate: str, width: int) -> Tensor | None:
    for name, tensor in parts.rest.items():
        role = _role(name, letters="c")
        if role and role.gate in (gate, "y") and tensor.numel() == width:
            return parts.rest.pop(name).flatten()
    return None


def _role(name: str, *, letters: str) -> Role | None:
    """letters: what is called so is for what textbooks name so, beside U and W."""
    stem = name.rpartition(".")[2]
    return assign_roles([stem, "U", "W"] if stem in [*letters] else [stem]).get(stem)


def _drop_copies(parts: StateDictParts) -> None:
    """Of equal matrices without a bias one is enough; the output that shares the embedding's weights is one of them."""
    originals: dict[str, Tensor] = {}
    for name, table in parts.tables.items():
        original = next((other for other, tensor in originals.items() if torch.equal(tensor, table)), None)
        if original is None:
            originals[name] = table
        else:
            parts.notes.append(f"{name} equals {original}")
            parts.feedforward = [layer for layer in parts.feedforward if layer.name != name]
    parts.tables = originals


def _positions(parts: StateDictParts, names: list[str]) -> dict[str, int]:
    """Where each layer stands. A file that is sorted by name says nothing: there, recurrent ones come first."""
    layers: list[Layer] = [*parts.recurrent, *parts.feedforward]
    if names != sorted(names):
        return {layer.name: _position(layer, names) for layer in layers}
    roots = {layer.name.partition(".")[0] for layer in parts.recurrent}
    layers.sort(key=lambda layer: (layer.name.partition(".")[0] not in roots, _natural(layer.name)))
    return {layer.name: at for at, layer in enumerate(layers)}


def _position(layer: Layer, names: list[str]) -> int:
    """The place of its first tensor."""
    prefix = re.sub(r"\.l\d+$", "", layer.name) if isinstance(layer, Recurrent) else layer.name
    return next((at for at, name in enumerate(names) if name == prefix or name.startswith(f"{prefix}.")), len(names))


def _natural(name: str) -> list[tuple[int, str]]:
    """Numbers by their size."""
    return [(int(word), "") if word.isdecimal() else (-1, word) for word in re.split(r"(\d+)", name)]


def take_initial_states(parts: StateDictParts, assumptions: Assumptions) -> list[str]:
    """Gives learned initial states to their layers, out of the rest; returns their names.

    A state is [layers, 1, width], [layers, width], or [width] of every layer. That it is no memory of a training's last
    batch, which no file tells, is assumed.
    """
    names = []
    for name in filter(_is_initial_state, list(parts.rest)):
        path, leaf, number = _path_leaf_number(name)
        state = "c" if _OF_C.search(leaf.lower()) else "h"
        places = _layers_of_state(parts.recurrent, path, number, state)
        rows = _rows(parts.rest[name], [parts.recurrent[place].states()[state] for place in places])
        if not rows:
            continue
        del parts.rest[name]
        what = "whether its first states are learned, or zeros and those in the file a memory of the training"
        if assumptions.assume("first_state", "learned", what, choices=("learned", "zeros")) == "learned":
            for place, row in zip(places, rows, strict=True):
                parts.recurrent[place] = _with_initial_state(parts.recurrent[place], state, row)
            names.append(name)
    return names


def _is_initial_state(name: str) -> bool:
    """Whether a parameter is called like one."""
    return bool(_INITIAL_STATE.search(_path_leaf_number(name)[1].lower()))


def _path_leaf_number(name: str) -> tuple[str, str, str]:
    """`rnn.h0.1` -> (`rnn`, `h0`, `1`); `rnn.h0` -> (`rnn`, `h0`, ``)."""
    path, _, leaf = name.rpartition(".")
    if not leaf.isdecimal():
        return path, leaf, ""
    parent, _, stem = path.rpartition(".")
    return parent, stem, leaf


def _layers_of_state(layers: Sequence[Recurrent], path: str, number: str, state: str) -> list[int]:
    """Which layers a state is for: those of its own module, if there are any."""
    every = [at for at, layer in enumerate(layers) if state in layer.states()]
    own = [at for at in every if path and (layers[at].name + ".").startswith(path + ".")] or every
    return own[int(number) : int(number) + 1] if number else own


def _rows(value: Tensor, widths: list[int]) -> list[Tensor]:
    """A row for each layer; none if the sizes do not fit."""
    if not widths or len(set(widths)) > 1 or value.shape[-1:] != (widths[0],):
        return []
    rows = value.reshape(-1, widths[0])
    sides = [side for side in value.shape[:-1] if side != 1]
    if len(rows) == len(widths) and len(sides) <= 1:
        return list(rows)
    return [rows[0]] * len(widths) if len(rows) == 1 else []


def _with_initial_state(layer: Recurrent, state: str, row: Tensor) -> Recurrent:
    return replace(layer, c0=row) if isinstance(layer, RecurrentLayer) and state == "c" else replace(layer, h0=row)
