"""A checkpoint's tensors as the pieces of a language model, before their order is known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from export.assumptions import Questions
from export.checkpoints.checkpoint import Checkpoint
from export.text import evidence
from export.text.cell_weights import roles
from export.text.cells import hand_written, standard_layers
from export.text.evidence import is_attention
from export.text.layers import ACTIVATIONS, BatchNorm, Layer, LayerNorm, Linear, Map, Part, Recurrence

_NAMED = re.compile(r"start|init|begin|first|learned|^[hc]_?[0x]$|^(hidden|cell|state)_?0$")
_OF_C = re.compile(r"(^|_)(c|cell|cell_state|c[0xt])(_|\d|$)")
_HARMLESS = re.compile(
    r"(^|\.)(num_batches_tracked|(criterion|loss|loss_fn|loss_function)\..*|_flat_weights.*|dummy\w*)$"
)
_DROPPED_COPY = "module."
_PARAMETRIZED = re.compile(r"((?:.*\.)?)parametrizations\.(\w+)\.original(0?)")


@dataclass
class Pieces:
    """What was recognised, each in the order of the file."""

    layers: list[Layer] = field(default_factory=list)
    maps: list[Map] = field(default_factory=list)
    tables: dict[str, Tensor] = field(default_factory=dict)
    """Matrices without a bias, by the name of their module or parameter: an embedding is one of them."""
    loose: dict[str, Tensor] = field(default_factory=dict)
    """What is none of these, by name."""
    notes: list[str] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    """Where in the file the tensors of each part begin, by its name."""

    def parts(self, *, without: str = "") -> list[Part]:
        """Layers and maps in the order of the file. without: the name of a map to leave out."""
        every = [*self.layers, *(part for part in self.maps if part.name != without)]
        return sorted(every, key=lambda part: self.places.get(part.name, len(self.places)))


def take_apart(tensors: Mapping[str, Tensor], checkpoint: Checkpoint, questions: Questions) -> Pieces:
    """Pieces without layers if nothing here is recurrent. Raises TuiGenError for a layer that cannot write text."""
    standard = standard_layers(tensors, checkpoint, questions)
    rest = {name: tensor for name, tensor in tensors.items() if name not in standard.used}
    pieces = Pieces([*standard.layers])
    if not pieces.layers and not any(tensor.ndim > 3 or is_attention(name) for name, tensor in tensors.items()):
        cells = hand_written(rest, questions)
        pieces.layers = cells.layers
        rest = {name: tensor for name, tensor in rest.items() if name not in cells.used}
    if pieces.layers:
        _sort_modules(rest, checkpoint, pieces)
        _take_bare_output(pieces)
        _drop_copies(pieces)
        pieces.places = _call_order(pieces, list(tensors))
    return pieces


def _call_order(pieces: Pieces, names: list[str]) -> dict[str, int]:
    """Where each part stands. A file that is sorted by name says nothing: there, layers come before other parts."""
    parts: list[Part] = [*pieces.layers, *pieces.maps]
    if names != sorted(names):
        return {part.name: _first(part, names) for part in parts}
    homes = {_root(layer.name) for layer in pieces.layers}
    parts.sort(key=lambda part: (_root(part.name) not in homes, _natural(part.name)))
    return {part.name: at for at, part in enumerate(parts)}


def _first(part: Part, names: list[str]) -> int:
    """The place of its first tensor."""
    prefix = re.sub(r"\.l\d+$", "", part.name) if isinstance(part, Layer) else part.name
    return next((at for at, name in enumerate(names) if name == prefix or name.startswith(f"{prefix}.")), len(names))


def _root(name: str) -> str:
    return name.partition(".")[0]


def _natural(name: str) -> list[tuple[int, str]]:
    """Numbers by their size."""
    return [(int(word), "") if word.isdecimal() else (-1, word) for word in re.split(r"(\d+)", name)]


def _sort_modules(tensors: Mapping[str, Tensor], checkpoint: Checkpoint, pieces: Pieces) -> None:
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        path, _, leaf = name.rpartition(".")
        modules.setdefault(path, {})[leaf] = tensor
    for path, leaves in modules.items():
        made = _map(path, leaves, checkpoint) if path else None
        if made:
            pieces.maps.append(made)
            if isinstance(made, Linear) and made.bias is None:
                pieces.tables[path] = made.weight
            continue
        for leaf, tensor in leaves.items():
            name = f"{path}.{leaf}" if path else leaf
            matrix = tensor.ndim == 2 and min(tensor.shape) > 1 and not is_start(name)
            (pieces.tables if matrix else pieces.loose)[name] = tensor


def _map(path: str, leaves: dict[str, Tensor], checkpoint: Checkpoint) -> Map | None:
    """A linear layer, an embedding or a normalisation, by its tensors."""
    renamed = {"gamma": "weight", "beta": "bias"}
    leaves = {renamed.get(leaf, leaf): tensor for leaf, tensor in leaves.items()}
    weight, bias, rest = leaves.get("weight"), leaves.get("bias"), leaves.keys() - {"weight", "bias"}
    epsilon = evidence.epsilon(checkpoint, path)
    if len({tuple(tensor.shape[:1]) for tensor in leaves.values()}) > 1 or (bias is not None and bias.ndim != 1):
        return None
    if rest == {"running_mean", "running_var"} and all(tensor.ndim == 1 for tensor in leaves.values()):
        return BatchNorm(path, leaves["running_mean"], leaves["running_var"], weight, bias, epsilon)
    if rest or weight is None:
        return None
    if weight.ndim == 2 and min(weight.shape) > 0:
        return Linear(path, weight, bias)
    normal = bias is not None or evidence.module_kind(checkpoint, path) == "LayerNorm"
    return LayerNorm(path, weight, bias, epsilon) if weight.ndim == 1 and normal else None


def _take_bare_output(pieces: Pieces) -> None:
    """A prediction's weight that is a bare parameter, such as `W_hq`, either way round."""
    widths, modules = {layer.outputs for layer in pieces.layers}, {part.name for part in pieces.maps}
    for name, weight in list(pieces.tables.items()):
        stem = name.rpartition(".")[2]
        role = roles([stem, "U", "W"] if stem in ("V", "v") else [stem]).get(stem)
        if not role or role.gate not in ("y", "o") or not set(weight.shape) & widths or name in modules:
            continue
        turned = weight.shape[1] not in widths or weight.shape[0] in widths
        matrix = weight.T if turned else weight
        bias = _bias_of(pieces, role.gate, len(matrix))
        pieces.maps.append(Linear(name, matrix, bias))
        del pieces.tables[name]


def _bias_of(pieces: Pieces, gate: str, width: int) -> Tensor | None:
    for name, tensor in pieces.loose.items():
        stem = name.rpartition(".")[2]
        role = roles([stem, "U", "W"] if stem == "c" else [stem]).get(stem)
        if role and role.gate in (gate, "y") and tensor.numel() == width:
            del pieces.loose[name]
            return tensor.flatten()
    return None


def _drop_copies(pieces: Pieces) -> None:
    """Of equal matrices without a bias one is enough; the output that shares the embedding's weights is one of them."""
    kept: dict[str, Tensor] = {}
    for name, table in pieces.tables.items():
        original = next((other for other, seen in kept.items() if torch.equal(seen, table)), None)
        if original is None:
            kept[name] = table
        else:
            pieces.notes.append(f"{name} equals {original}")
            pieces.maps = [part for part in pieces.maps if part.name != name]
    pieces.tables = kept


def is_start(name: str) -> bool:
    """Whether a parameter is called like a first state."""
    return bool(_NAMED.search(_split(name)[1].lower()))


def _split(name: str) -> tuple[str, str, str]:
    """`rnn.h0.1` -> (`rnn`, `h0`, `1`); `rnn.h0` -> (`rnn`, `h0`, ``)."""
    path, _, leaf = name.rpartition(".")
    if not leaf.isdecimal():
        return path, leaf, ""
    number = leaf
    path, _, leaf = path.rpartition(".")
    return path, leaf, number


def with_starts(layers: Sequence[Layer], loose: dict[str, Tensor]) -> tuple[list[Layer], list[str]]:
    """The layers with their first states, which are taken out of `loose`, and the names of these.

    A state is [layers, 1, width], [layers, width], or [width] of every layer.
    """
    layers, taken = list(layers), []
    for name in list(loose):
        path, leaf, number = _split(name)
        if not is_start(name):
            continue
        state = "c" if _OF_C.search(leaf.lower()) else "h"
        places = _layers_of_state(layers, path, number, state)
        rows = _rows(loose[name], [layers[place].states()[state] for place in places])
        if rows:
            for place, row in zip(places, rows, strict=True):
                layers[place] = _started(layers[place], state, row)
            taken.append(name)
            del loose[name]
    return layers, taken


def _layers_of_state(layers: Sequence[Layer], path: str, number: str, state: str) -> list[int]:
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


def _started(layer: Layer, state: str, row: Tensor) -> Layer:
    if isinstance(layer, Recurrence) and state == "c":
        return replace(layer, start_c=row)
    return replace(layer, start_h=row)


def with_activations(parts: Sequence[Part], *, checkpoint: Checkpoint, questions: Questions) -> tuple[Part, ...]:
    """The same parts; each linear one but the last with its activation, if it has one."""
    made: list[Part] = []
    for at, part in enumerate(parts):
        if isinstance(part, Linear) and at + 1 < len(parts):
            made.append(replace(part, activation=_activation(at, parts, checkpoint, questions)))
        else:
            made.append(part)
    return tuple(made)


def _activation(at: int, parts: Sequence[Part], checkpoint: Checkpoint, questions: Questions) -> str:
    name, after = parts[at].name, parts[at + 1]
    known = evidence.activation_after(checkpoint, name)
    if known is None and _adjacent(name, after.name):
        known = "none"
    if known is not None:
        return known
    return questions.ask("activation", f"what follows {name}", _usual(at, parts, checkpoint), ACTIVATIONS)


def _adjacent(name: str, after: str) -> bool:
    """Whether two layers are neighbours in a list of modules, so that no activation is between them."""
    (path, _, first), (other, _, second) = name.rpartition("."), after.rpartition(".")
    return path == other and first.isdecimal() and second.isdecimal() and int(second) == int(first) + 1


def _usual(at: int, parts: Sequence[Part], checkpoint: Checkpoint) -> str:
    """The one activation that the network has as a module; else ReLU, but nothing where features only change width."""
    had = evidence.activations(checkpoint) - {"none"}
    if len(had) == 1:
        return had.pop()
    after, before = parts[at + 1 :], parts[:at]
    narrows = len(after) == 1 and any(part.inputs == parts[at].outputs for part in before[:1])
    enters = any(isinstance(part, Layer) for part in after) and not isinstance(after[0], LayerNorm | BatchNorm)
    return "none" if narrows or enters else "relu"


def settled(stored: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """float32 tensors by name, in the checkpoint's order, and notes on what was made of which."""
    notes: list[str] = []
    tensors = {name: tensor for name, tensor in stored.items() if not _HARMLESS.search(name)}
    counts = [name for name, tensor in tensors.items() if not tensor.is_floating_point()]
    if any(tensors[name].numel() > 1 for name in counts):
        notes.append(f"{', '.join(counts)}: whole numbers are no weights and are left out")
    tensors = {name: tensor for name, tensor in tensors.items() if name not in counts}
    tensors = multiplied(tensors, notes)
    tensors = _undropped(tensors, notes)
    shared: dict[tuple[int, tuple[int, ...]], Tensor] = {}
    for tensor in tensors.values():
        shared.setdefault(_place(tensor), tensor.detach().float())
    return {name: shared[_place(tensor)] for name, tensor in tensors.items()}, notes


def _place(tensor: Tensor) -> tuple[int, tuple[int, ...]]:
    """What tensors that share their numbers have in common."""
    return tensor.data_ptr(), (*tensor.shape, *tensor.stride())


def _undropped(tensors: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Dropout on weights (Merity et al., 2017) keeps the trained ones as `..._raw`, beside copies with gaps."""
    raw = [name for name in tensors if name.endswith("_raw")]
    if not raw:
        return tensors
    notes.append(f"{', '.join(raw)}: the weights without dropout are used, as when a network is not training")
    wrappers = {name.rpartition(".")[0] for name in raw}
    named = {_unwrapped(name, wrappers): tensor for name, tensor in tensors.items() if name not in raw}
    return {**named, **{name.removesuffix("_raw"): tensors[name] for name in raw}}


def _unwrapped(name: str, wrappers: set[str]) -> str:
    """`rnn.module.bias` -> `rnn.bias`, where `rnn` keeps the raw weights of `rnn.module`."""
    for wrapper in wrappers:
        prefix = f"{wrapper}." if wrapper else ""
        if name.startswith(prefix + _DROPPED_COPY):
            return prefix + name.removeprefix(prefix + _DROPPED_COPY)
    return name


def multiplied(tensors: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """The weights themselves, in the place of what they are made of.

    Weight normalisation (Salimans and Kingma, 2016): a direction and a length. Spectral normalisation (Miyato et al.,
    2018): a weight and two vectors that give its largest singular value.
    """
    tensors = _divided(tensors, notes)
    made: dict[str, Tensor] = {}
    taken: set[str] = set()
    for name, tensor in tensors.items():
        length, direction, whole = _pair(name)
        if whole and direction in tensors and _fits(tensor, tensors[direction]):
            made[whole] = _weight(tensors[length], tensors[direction])
            taken |= {length, direction}
        elif name not in taken:
            made[name] = tensor
    if taken:
        notes.append(f"{len(taken) // 2} weights are stored as direction and length; they are multiplied out")
    return {name: tensor for name, tensor in made.items() if name not in taken}


def _pair(name: str) -> tuple[str, str, str]:
    """The names of length, direction and their product, if `name` is that of a length."""
    match = _PARAMETRIZED.fullmatch(name)
    if match and match[3]:
        return name, name.removesuffix("0") + "1", match[1] + match[2]
    if name.endswith("_g"):
        return name, name.removesuffix("g") + "v", name.removesuffix("_g")
    return "", "", ""


def _fits(length: Tensor, direction: Tensor) -> bool:
    sides = zip(length.shape, direction.shape, strict=False)
    alike = length.ndim == direction.ndim and all(side in (1, whole) for side, whole in sides)
    return length.numel() == 1 or (alike and length.numel() > 0)


def _weight(length: Tensor, direction: Tensor) -> Tensor:
    """length: as many dimensions as `direction`, of size 1 where the norm is taken; or one number."""
    direction, length = direction.detach().float(), length.detach().float()
    if length.ndim != direction.ndim:
        return direction * (length / direction.norm())
    over = [axis for axis in range(direction.ndim) if length.shape[axis] == 1 and direction.shape[axis] != 1]
    norm = torch.linalg.vector_norm(direction, dim=over, keepdim=True) if over else direction.abs()
    return direction * (length / norm)


def _divided(tensors: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Spectral normalisation undone, as far as there is any."""
    made, taken = dict[str, Tensor](), set[str]()
    for name, tensor in tensors.items():
        whole, left, right = _norm_of(name)
        if whole and _vectors_fit(tensor, tensors.get(left), tensors.get(right)):
            flat, u, v = tensor.detach().float().flatten(1), tensors[left].float(), tensors[right].float()
            made[whole] = tensor.detach().float() / (u @ flat @ v)
            taken |= {left, right}
        else:
            made[name] = tensor
    if taken:
        notes.append(f"{len(taken) // 2} weights are stored before spectral normalisation; they are divided by it")
    return {name: tensor for name, tensor in made.items() if name not in taken}


def _norm_of(name: str) -> tuple[str, str, str]:
    """The names of the weight and of its two vectors, if `name` is that of a weight before its normalisation."""
    match = _PARAMETRIZED.fullmatch(name)
    if match and not match[3]:
        vectors = name.removesuffix("original") + "0._"
        return match[1] + match[2], f"{vectors}u", f"{vectors}v"
    whole = name.removesuffix("_orig")
    return (whole, f"{whole}_u", f"{whole}_v") if whole != name else ("", "", "")


def _vectors_fit(weight: Tensor, left: Tensor | None, right: Tensor | None) -> bool:
    if left is None or right is None or weight.ndim < 2:
        return False
    return left.shape == weight.shape[:1] and right.numel() == weight[0].numel() and right.ndim == 1
