"""Weights of hand-written recurrent cells: which gate each is for, by its name, and the equations that they make."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..assumptions import Assumptions
from .layers import Kind, RecurrentLayer, activate

Source = Literal["x", "h", "xh", "y", ""]
"""What a weight multiplies: the token's features, the state, both side by side, a prediction; or unknown."""
_SOURCES: dict[str, Source] = {
    **dict.fromkeys(("x", "xt", "i", "in", "inp", "input", "inputs", "e", "emb", "embed", "embedding"), "x"),
    **dict.fromkeys(("h", "hid", "hidden", "hprev", "state", "prev", "recurrent"), "h"),
    **dict.fromkeys(("xh", "hx", "ih", "combined", "cat", "concat", "concatenated"), "xh"),
    **dict.fromkeys(("o", "out", "output"), "y"),
}
_GATES = {
    **dict.fromkeys(("i", "in", "input", "ingate"), "i"),
    **dict.fromkeys(("f", "forget", "fgt"), "f"),
    **dict.fromkeys(("o", "out", "output"), "o"),
    **dict.fromkeys(("g", "c", "cell", "cand", "candidate", "memory", "modulation", "ctilde", "cbar", "chat"), "g"),
    **dict.fromkeys(("r", "reset"), "r"),
    **dict.fromkeys(("z", "u", "update", "upd"), "z"),
    **dict.fromkeys(("h", "hid", "hidden", "state", "hbar", "htilde", "htilda", "hhat", "hcand"), "h"),
    **dict.fromkeys(("n", "new"), "n"),
    **dict.fromkeys(("y", "q", "v", "vocab", "logits"), "y"),
    **dict.fromkeys(("gates", "all"), "*"),
}
_FILLER = {
    *("w", "weight", "weights", "wt", "linear", "lin", "fc", "dense", "gate", "layer", "kernel", "proj", "b", "bias"),
}
_SOURCE_ALONE: dict[str, Source] = {"x": "x", "wx": "x", "h": "h", "wh": "h"}
_CELL = re.compile(r"(^|[._])(rnn|lstm|gru)?_?(cell|recurrent|recurrence|rnn|lstm)($|[._\d])", re.IGNORECASE)
_ARROW = re.compile(r"(\w+?)_?(?:2|to)_?(\w+)")
_STATE_FIRST = re.compile(r"(^|[_.\d])h_?x", re.IGNORECASE)
"""Names that put the state first, such as `hx2h`."""
_FEATURES_FIRST = re.compile(r"(^|[_.\d])x_?h|^i2[ho]$", re.IGNORECASE)
"""Names that put the features first, and those of PyTorch's tutorial, which does."""
_NUMBERED = re.compile(r"(.*[^\d_.])[_.]?(\d+)")
Prefix = tuple[str, str]
"""A module's path and, where modules of several layers stand in lists, the number in them."""


@dataclass(frozen=True)
class Role:
    """What a weight or a bias is for."""

    source: Source
    gate: str
    """i, f, g, o of an LSTM; r, z, n of a GRU; h: the state; y: a prediction; *: several gates at once."""


_SINGLE_LETTERS = {
    "u": Role("x", "h"),
    "w": Role("h", "h"),
    "v": Role("h", "y"),
    "b": Role("", "h"),
    "bias": Role("", "h"),
    "c": Role("", "y"),
}
"""As Goodfellow et al. (2016), section 10.2, have them; where the shapes say so, U and W are the other way round."""


@dataclass(frozen=True, eq=False)
class Weight:
    """A weight as the file has it."""

    stem: str
    """Its name, without where it stands."""
    role: Role
    names: tuple[str, ...]
    """Of its tensors in the file."""
    weight: Tensor
    """[outputs, inputs] in a linear module; of bare parameters either way round."""
    bias: Tensor | None
    bare: bool
    """Is a parameter, not the weight of a linear module."""


@dataclass(frozen=True)
class CellWeights:
    """The weights that may make one cell."""

    name: str
    weights: Sequence[Weight]
    widths: set[int]
    """Sides of all matrices in the file: what may stand beside a state."""
    assumptions: Assumptions

    def of(self, *gates: str) -> list[Weight]:
        """The weights of some gates."""
        return [weight for weight in self.weights if weight.role.gate in gates]


def collect_cell_weights(tensors: Mapping[str, Tensor], assumptions: Assumptions) -> list[CellWeights]:
    """The weights that may make cells, in the order of the file."""
    leaves: dict[Prefix, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for name in tensors:
        path, _, leaf = name.rpartition(".")
        if path and (leaf == "weight" or (leaf == "bias" and f"{path}.weight" in tensors)):
            parent, _, stem = path.rpartition(".")
            prefix, stem = _split_prefix(parent, stem)
        else:
            prefix, stem = _split_prefix(path, leaf)
            leaf = "bare"
        leaves[prefix][stem][leaf] = name
    widths = {side for tensor in tensors.values() if tensor.ndim == 2 for side in tensor.shape}
    groups = {prefix: _weights(prefix, stems, tensors) for prefix, stems in leaves.items()}
    return [
        CellWeights(".".join(filter(None, prefix)) or "cell", weights, widths, assumptions)
        for prefix, weights in groups.items()
        if weights
    ]


def _split_prefix(path: str, stem: str) -> tuple[Prefix, str]:
    """Takes the number of a layer out of a name: `gates.0` and `gates_0` are both layer 0 of `gates`."""
    if stem.isdecimal():
        parent, _, name = path.rpartition(".")
        return (parent, stem), name
    match = _NUMBERED.fullmatch(stem)
    return ((path, match[2]), match[1]) if match else ((path, ""), stem)


def _weights(prefix: Prefix, stems: dict[str, dict[str, str]], tensors: Mapping[str, Tensor]) -> list[Weight]:
    """stems: names of tensors by their leaf, `weight`, `bias` or `bare`, by their stem."""
    weights, biases = [], defaultdict[Role, list[str]](list)
    for stem, role in _roles_at(prefix, stems).items():
        names = stems[stem]
        main = names.get("weight") or names.get("bare", "")
        if main and tensors[main].ndim == 2 and min(tensors[main].shape) > 1:
            bias = tensors.get(names.get("bias", ""))
            if bias is None or bias.shape == tensors[main].shape[:1]:
                weights.append(Weight(stem, role, tuple(names.values()), tensors[main], bias, "bare" in names))
        elif main and "bare" in names:
            biases[role].append(main)
    return [_with_bare_bias(weight, weights, biases, tensors) if weight.bare else weight for weight in weights]


def _roles_at(prefix: Prefix, stems: Iterable[str]) -> dict[str, Role]:
    """What names say; also of a weight that is called after the whole cell, or of the only one inside of it."""
    stems = list(stems)
    after_cell = [stem for stem in stems if _CELL.search(prefix[0] if len(stems) == 1 else stem)]
    return {**dict.fromkeys(after_cell, Role("xh", "*")), **assign_roles(stems)}


def _with_bare_bias(
    weight: Weight, weights: list[Weight], biases: Mapping[Role, list[str]], tensors: Mapping[str, Tensor]
) -> Weight:
    """The biases of its gate; those that do not say beside what they stand go to the gate's first weight."""
    first = next(other for other in weights if other.role.gate == weight.role.gate)
    fitting = {weight.role, Role("", weight.role.gate)} if first is weight else {weight.role}
    names = [name for role in fitting for name in biases.get(role, [])]
    if len({tensors[name].numel() for name in names}) != 1:
        return weight
    bias = sum((tensors[name].flatten() for name in names), torch.zeros(()))
    return replace(weight, names=(*weight.names, *names), bias=bias)


def assign_roles(stems: Iterable[str]) -> dict[str, Role]:
    """Of the names of weights that stand side by side, without `.weight`; those that say nothing are left out."""
    stems = list(stems)
    known = {stem: role for stem in stems if (role := _role(stem))}
    if any(role == Role("h", "n") for role in known.values()):  # then `W_in` beside `W_hn` is no input gate
        known.update({stem: Role("x", "n") for stem in known if _words(stem) == ["in"]})
    if {*known.values()} == {Role("x", "h"), Role("h", "h")}:  # one bias of both
        known.update({stem: Role("", "h") for stem in stems if stem.lower() in ("b", "bias")})
    if {"u", "w"} <= {stem.lower() for stem in stems}:
        known.update({stem: _SINGLE_LETTERS[stem.lower()] for stem in stems if stem.lower() in _SINGLE_LETTERS})
    return {**known, **_roles_by_source(stems)} if not {role.gate for role in known.values()} & {*"rzif"} else known


def _roles_by_source(stems: list[str]) -> dict[str, Role]:
    """`Wx` beside `Wh`: weights named by what they read alone, and the bias beside them."""
    sources = {stem: source for stem in stems if (source := _SOURCE_ALONE.get("".join(_words(stem))))}
    if sorted(sources.values()) != ["h", "x"]:
        return {}
    biases = [stem for stem in stems if stem.lower() in ("b", "bias")]
    return {**{stem: Role(source, "h") for stem, source in sources.items()}, **dict.fromkeys(biases, Role("", "h"))}


def _words(stem: str) -> list[str]:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", stem).lower()
    return [word for word in re.split(r"[_.]+", words) if word and word not in _FILLER]


def _role(stem: str) -> Role | None:
    words = _words(stem)
    words = ["xh", *words[2:]] if [_SOURCES.get(word) for word in words[:2]] == ["x", "h"] and words[2:] else words
    arrow = _ARROW.fullmatch("_".join(words))
    if arrow and arrow[1] in _SOURCES and arrow[2] in _GATES:
        return Role(_SOURCES[arrow[1]], _GATES[arrow[2]])
    if len(words) == 2:
        first, second = words
        if first == "u" and second in _GATES:  # U is for the state where W is for the input
            return Role("h", _GATES[second])
        for source, gate in ((first, second), (second, first)):
            if source in _SOURCES and gate in _GATES:
                return Role(_SOURCES[source], _GATES[gate])
    return _role_of_word(words[0]) if len(words) == 1 else None


def _role_of_word(word: str) -> Role | None:
    """`forget`, `xf`, `whf`, `uf`."""
    if word in _GATES:
        return Role("", _GATES[word])
    if word[0] in "wb" and len(word) in (2, 3):
        return _role_of_word(word[1:])
    if word[0] == "u" and word[1:] in _GATES:
        return Role("h", _GATES[word[1:]])
    if len(word) == 2 and word[0] in "xeih" and word[1] in _GATES:
        return Role(_SOURCES[word[0]], _GATES[word[1]])
    return None


@dataclass(frozen=True, eq=False)
class Term:
    """A product that is part of a gate."""

    source: Source
    """x, h, or xh: both side by side, the token's features first."""
    weight: Tensor
    """[outputs, inputs]"""
    bias: Tensor | None = None

    def value(self, x: Tensor, h: Tensor) -> Tensor:
        """[batch, outputs]."""
        features = {"x": x, "h": h, "xh": torch.cat([x, h], dim=1)}[self.source]
        return functional.linear(features, self.weight, self.bias)


@dataclass(frozen=True, eq=False)
class CellGate:
    """A sum of products, or some of its rows where several gates share them."""

    terms: tuple[Term, ...]
    rows: slice = field(default_factory=lambda: slice(None))

    def value(self, x: Tensor, h: Tensor) -> Tensor:
        """[batch, hidden], before its sigmoid or tanh."""
        return sum((term.value(x, h) for term in self.terms), torch.zeros(()))[:, self.rows]

    def only(self, source: Source, value: Tensor) -> Tensor:
        """[batch, hidden]: the terms that read x, or h."""
        products = [functional.linear(value, term.weight, term.bias) for term in self.terms if term.source == source]
        return sum(products, torch.zeros(()))[:, self.rows]

    def weights(self, inputs: int) -> tuple[Tensor, Tensor]:
        """[hidden, inputs] of x and [hidden, hidden] of h."""
        terms = sorted(self.terms, key=lambda term: term.source == "h")
        every = torch.cat([term.weight for term in terms], dim=1)[self.rows]
        return every[:, :inputs], every[:, inputs:]

    def biases(self) -> tuple[Tensor, Tensor]:
        """[hidden] beside x, and beside h."""
        zeros = torch.zeros(len(self.terms[0].weight))
        of_x, of_h = (
            [term.bias for term in self.terms if (term.source == "h") == is_state and term.bias is not None]
            for is_state in (False, True)
        )
        return sum(of_x, zeros)[self.rows], sum(of_h, zeros)[self.rows]

    def inputs(self, hidden_size: int) -> int:
        """Width of x."""
        return sum(term.weight.shape[1] for term in self.terms) - hidden_size


@dataclass(frozen=True, eq=False)
class CellEquations:
    """One token of a cell. Callable as `export.text.layers.CellFunction`."""

    kind: Kind
    gates: Mapping[str, CellGate]
    """By the letters of PyTorch: i f g o of an LSTM, r z n of a GRU; h of a simple one."""
    nonlinearity: str = "tanh"
    reset_first: bool = True
    """A GRU that resets the state before its product."""
    update_keeps: bool = True
    """A GRU with h' = z h + (1 - z) n; otherwise h' = (1 - z) h + z n."""

    def __call__(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        if self.kind == "LSTM":
            i, f, o = (torch.sigmoid(self.gates[gate].value(x, h)) for gate in "ifo")
            c = f * c + i * torch.tanh(self.gates["g"].value(x, h))
            return o * torch.tanh(c), c
        h = self._gru(x, h) if self.kind == "GRU" else activate(self.nonlinearity, self.gates["h"].value(x, h))
        return h, h

    def _gru(self, x: Tensor, h: Tensor) -> Tensor:
        r, z = (torch.sigmoid(self.gates[gate].value(x, h)) for gate in "rz")
        new = self.gates["n"]
        n = torch.tanh(new.value(x, r * h) if self.reset_first else new.only("x", x) + r * new.only("h", h))
        return z * h + (1 - z) * n if self.update_keeps else (1 - z) * h + z * n

    def layer(self, name: str, inputs: int) -> RecurrentLayer:
        """The same cell in PyTorch's order of gates. inputs: the width of x."""
        order = {"RNN": "h", "LSTM": "ifgo", "GRU": "rzn"}[self.kind]
        signs = [-1 if gate == "z" and not self.update_keeps else 1 for gate in order]  # 1 - sigmoid(a) = sigmoid(-a)
        blocks = [(*self.gates[gate].weights(inputs), *self.gates[gate].biases()) for gate in order]
        rows = [[sign * block for block in row] for sign, row in zip(signs, blocks, strict=True)]
        weight_ih, weight_hh, bias_ih, bias_hh = (torch.cat(column) for column in zip(*rows, strict=True))
        terms = {id(term): term for gate in self.gates.values() for term in gate.terms}.values()
        return RecurrentLayer(
            name,
            self.kind,
            weight_ih,
            weight_hh,
            bias_ih,
            bias_hh,
            nonlinearity=self.nonlinearity,
            reset_first=self.reset_first,
            equations=self,
            file_tensors=tuple(t for term in terms for t in (term.weight, term.bias) if t is not None),
        )


def build_terms(cell: CellWeights, weights: Sequence[Weight], *, hidden_size: int, gates: int = 1) -> tuple[Term, ...]:
    """The products of one gate, or of several whose rows are stored together; empty if the weights make none."""
    sources, rows = _term_sources(weights, hidden_size), hidden_size * gates
    if not sources:
        return ()
    transposed = _is_transposed(cell, weights, rows)
    matrices = [weight.weight.T if transposed and weight.bare else weight.weight for weight in weights]
    for source, matrix, weight in zip(sources, matrices, weights, strict=True):
        if len(matrix) != rows or (source == "h" and matrix.shape[1] != hidden_size):
            return ()
        if weight.bias is not None and weight.bias.shape != (rows,):
            return ()
    if sources == ["xh"]:
        matrices = [features_first(cell, weights[0].stem, matrices[0], hidden_size)]
    biases = [weight.bias for weight in weights]
    return tuple(Term(*term) for term in zip(sources, matrices, biases, strict=True))


def features_first(cell: CellWeights, stem: str, matrix: Tensor, hidden_size: int) -> Tensor:
    """[rows, inputs + hidden] of a weight on the token's features and the state side by side, whichever came first.

    No tensor tells which did. stem: the weight's name, which may.
    """
    what = f"whether {cell.name} puts the token's features (x) or its state (h) first where it joins them"
    if _STATE_FIRST.search(stem) or _FEATURES_FIRST.search(stem):
        default = "hx" if _STATE_FIRST.search(stem) else "xh"
        first = cell.assumptions.assume("joined", default, what, choices=("xh", "hx"))
    else:
        first = cell.assumptions.ask("joined", what, choices=("xh", "hx"))
    if first == "xh":
        return matrix
    return torch.cat([matrix[:, hidden_size:], matrix[:, :hidden_size]], dim=1)


def _is_transposed(cell: CellWeights, weights: Sequence[Weight], rows: int) -> bool:
    """Whether bare weights are stored as [inputs, outputs]: x W. Squares do not tell."""
    shapes = [weight.weight.shape for weight in weights if weight.bare]
    if shapes and all(shape[0] == shape[1] for shape in shapes):
        what = f"whether {cell.name} multiplies by its bare weights as x W or as W x"
        return cell.assumptions.ask("product", what, choices=("xW", "Wx")) == "xW"
    return any(shape[0] != rows for shape in shapes)


def _term_sources(weights: Sequence[Weight], hidden_size: int) -> list[Source]:
    """What each weight reads: as its name says, or else as the shapes do; empty if that makes no gate."""
    sources = [weight.role.source for weight in weights]
    if len(sources) == 1:
        return ["xh"] if sources[0] != "h" and max(weights[0].weight.shape) > hidden_size else []
    if len(sources) == 2 and sources.count("h") == 1 and set(sources) <= {"x", "h", ""}:
        return ["h" if source == "h" else "x" for source in sources]
    return []
