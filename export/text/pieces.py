"""A checkpoint's tensors as the pieces of a language model, before their order is known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from export.loading.contents import Checkpoint
from export.text import evidence
from export.text.cells import hand_written
from export.text.foreign import is_attention
from export.text.maps import BatchNorm, LayerNorm, Linear
from export.text.parts import Layer, Map, Part
from export.text.questions import Questions
from export.text.roles import roles
from export.text.standard import standard_layers
from export.text.starts import is_start


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
        pieces.places = _places(pieces, list(tensors))
    return pieces


def _places(pieces: Pieces, names: list[str]) -> dict[str, int]:
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
