"""What the names of a hand-written recurrent cell's weights say: what each reads, and which gate it opens."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from export.assumptions import Questions
from export.text.layers import ACTIVATIONS, Kind, Recurrence

Source = Literal["x", "h", "xh", "y", ""]
"""The token's features, the state, both side by side, a prediction; or unsaid."""
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
    "w",
    "weight",
    "weights",
    "wt",
    "linear",
    "lin",
    "fc",
    "dense",
    "gate",
    "layer",
    "kernel",
    "proj",
    "b",
    "bias",
}
_SOURCE_ALONE: dict[str, Source] = {"x": "x", "wx": "x", "h": "h", "wh": "h"}
_CELL = re.compile(r"(^|[._])(rnn|lstm|gru)?_?(cell|recurrent|recurrence|rnn|lstm)($|[._\d])", re.IGNORECASE)
_ARROW = re.compile(r"(\w+?)_?(?:2|to)_?(\w+)")
_STATE_FIRST = re.compile(r"(^|[_.\d])h_?x", re.IGNORECASE)
"""Names that put the state first, such as `hx2h`."""
_NUMBERED = re.compile(r"(.*[^\d_.])[_.]?(\d+)")
Place = tuple[str, str]
"""A module's path and, where modules of several layers stand in lists, the number in them."""


@dataclass(frozen=True)
class Role:
    """What a weight or a bias is for."""

    source: Source
    gate: str
    """i, f, g, o of an LSTM; r, z, n of a GRU; h: the state; y: a prediction; *: several gates at once."""


_LETTERS = {
    "u": Role("x", "h"),
    "w": Role("h", "h"),
    "v": Role("h", "y"),
    "b": Role("", "h"),
    "bias": Role("", "h"),
    "c": Role("", "y"),
}
"""As Goodfellow et al. (2016), section 10.2, have them; where the shapes say so, U and W are the other way round."""


def roles(stems: Iterable[str]) -> dict[str, Role]:
    """Of the names of weights that stand side by side, without `.weight`; those that say nothing are left out."""
    stems = list(stems)
    found = {stem: role for stem in stems if (role := _role(stem))}
    if any(role == Role("h", "n") for role in found.values()):  # then `W_in` beside `W_hn` is no input gate
        found.update({stem: Role("x", "n") for stem in found if _words(stem) == ["in"]})
    bare = {stem.lower() for stem in stems}
    if {"u", "w"} <= bare:
        found.update({stem: _LETTERS[stem.lower()] for stem in stems if stem.lower() in _LETTERS})
    return {**found, **_by_source(stems)} if not {role.gate for role in found.values()} & {*"rzif"} else found


def _by_source(stems: list[str]) -> dict[str, Role]:
    """`Wx` beside `Wh`: weights named by what they read alone, and the bias beside them."""
    reads = {stem: source for stem in stems if (source := _SOURCE_ALONE.get("".join(_words(stem))))}
    if sorted(reads.values()) != ["h", "x"]:
        return {}
    named = {stem: Role(source, "h") for stem, source in reads.items()}
    return {**named, **{stem: Role("", "h") for stem in stems if stem.lower() in ("b", "bias")}}


def of_lone_weight(name: str) -> Role | None:
    """Of the only weight of a module, or of one that is called after the whole cell: it reads token and state."""
    return Role("xh", "*") if _CELL.search(name) else None


def _words(stem: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", stem).lower()
    return [word for word in re.split(r"[_.]+", spaced) if word and word not in _FILLER]


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
    return _one_word(words[0]) if len(words) == 1 else None


def _one_word(word: str) -> Role | None:
    """`forget`, `xf`, `whf`, `uf`."""
    if word in _GATES:
        return Role("", _GATES[word])
    if word[0] in "wb" and len(word) in (2, 3):
        return _one_word(word[1:])
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
        read = {"x": x, "h": h, "xh": torch.cat([x, h], dim=1)}[self.source]
        return functional.linear(read, self.weight, self.bias)


@dataclass(frozen=True, eq=False)
class Gate:
    """A sum of products, or some of its rows where several gates share them."""

    terms: tuple[Term, ...]
    rows: slice = field(default_factory=lambda: slice(None))

    def value(self, x: Tensor, h: Tensor) -> Tensor:
        """[batch, hidden], before its sigmoid or tanh."""
        return sum((term.value(x, h) for term in self.terms), torch.zeros(()))[:, self.rows]

    def only(self, source: Source, value: Tensor) -> Tensor:
        """[batch, hidden]: the part that reads x, or h."""
        parts = [functional.linear(value, term.weight, term.bias) for term in self.terms if term.source == source]
        return sum(parts, torch.zeros(()))[:, self.rows]

    def weights(self, inputs: int) -> tuple[Tensor, Tensor]:
        """[hidden, inputs] of x and [hidden, hidden] of h."""
        every = torch.cat([term.weight for term in self._sorted()], dim=1)[self.rows]
        return every[:, :inputs], every[:, inputs:]

    def biases(self) -> tuple[Tensor, Tensor]:
        """[hidden] beside x, and beside h."""
        nothing = torch.zeros(len(self.terms[0].weight))
        seen = [term.bias for term in self.terms if term.source != "h" and term.bias is not None]
        kept = [term.bias for term in self.terms if term.source == "h" and term.bias is not None]
        return sum(seen, nothing)[self.rows], sum(kept, nothing)[self.rows]

    def inputs(self, hidden: int) -> int:
        """Width of x."""
        return sum(term.weight.shape[1] for term in self.terms) - hidden

    def _sorted(self) -> list[Term]:
        return sorted(self.terms, key=lambda term: term.source == "h")


@dataclass(frozen=True, eq=False)
class Equations:
    """One token of a cell. Callable as `export.text.layers.Cell`."""

    kind: Kind
    gates: Mapping[str, Gate]
    """By the letters of PyTorch: i f g o of an LSTM, r z n of a GRU; h of a simple one."""
    nonlinearity: str = "tanh"
    reset_first: bool = True
    """A GRU that resets the state before its product."""
    update_keeps: bool = True
    """A GRU with h' = z h + (1 - z) n; otherwise h' = (1 - z) h + z n."""

    def __call__(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        gates = self.gates
        if self.kind == "RNN":
            after = ACTIVATIONS[self.nonlinearity](gates["h"].value(x, h))
            return after, after
        if self.kind == "GRU":
            after = self._gru(x, h)
            return after, after
        i, f, o = (torch.sigmoid(gates[gate].value(x, h)) for gate in "ifo")
        c = f * c + i * torch.tanh(gates["g"].value(x, h))
        return o * torch.tanh(c), c

    def _gru(self, x: Tensor, h: Tensor) -> Tensor:
        r, z = (torch.sigmoid(self.gates[gate].value(x, h)) for gate in "rz")
        new = self.gates["n"]
        reset = new.value(x, r * h) if self.reset_first else new.only("x", x) + r * new.only("h", h)
        n = torch.tanh(reset)
        return z * h + (1 - z) * n if self.update_keeps else (1 - z) * h + z * n

    def layer(self, name: str, inputs: int) -> Recurrence:
        """The same cell in PyTorch's order of gates. inputs: the width of x."""
        order = {"RNN": "h", "LSTM": "ifgo", "GRU": "rzn"}[self.kind]
        signs = [-1 if gate == "z" and not self.update_keeps else 1 for gate in order]  # 1 - sigmoid(a) = sigmoid(-a)
        blocks = [(*self.gates[gate].weights(inputs), *self.gates[gate].biases()) for gate in order]
        signed = [[sign * block for block in row] for sign, row in zip(signs, blocks, strict=True)]
        weight_ih, weight_hh, bias_ih, bias_hh = (torch.cat(column) for column in zip(*signed, strict=True))
        return Recurrence(
            name,
            self.kind,
            weight_ih,
            weight_hh,
            bias_ih,
            bias_hh,
            nonlinearity=self.nonlinearity,
            reset_first=self.reset_first,
            cell=self,
            trained=self._trained(),
        )

    def _trained(self) -> tuple[Tensor, ...]:
        """The file's own tensors, each once."""
        terms = {id(term): term for gate in self.gates.values() for term in gate.terms}.values()
        return tuple(tensor for term in terms for tensor in (term.weight, term.bias) if tensor is not None)


@dataclass(frozen=True)
class Cell:
    """The weights that may make one cell."""

    name: str
    weights: Sequence[Weight]
    widths: set[int]
    """Sides of all matrices in the file: what may stand beside a state."""
    questions: Questions

    def of(self, *gates: str) -> list[Weight]:
        """The weights of some gates."""
        return [weight for weight in self.weights if weight.role.gate in gates]

    def has(self, gate: str) -> bool:
        """Whether some weight is for a gate."""
        return bool(self.of(gate))


def terms(cell: Cell, weights: Sequence[Weight], *, hidden: int, gates: int = 1) -> tuple[Term, ...]:
    """The products of one gate, or of several whose rows are stored together; empty if the weights make none."""
    rows = hidden * gates
    sources = _sources(weights, hidden)
    turned = _turned(cell, weights, rows) if sources else False
    matrices = [_matrix(weight, turned=turned) for weight in weights]
    found = list(zip(sources, matrices, strict=True)) if sources else []
    if any(len(matrix) != rows or (source == "h" and matrix.shape[1] != hidden) for source, matrix in found):
        return ()
    if any(weight.bias is not None and weight.bias.shape != (rows,) for weight in weights):
        return ()
    if sources == ["xh"]:
        found = [("xh", features_first(cell, weights[0].stem, matrices[0], hidden))]
    return tuple(Term(source, matrix, weight.bias) for (source, matrix), weight in zip(found, weights, strict=False))


def features_first(cell: Cell, stem: str, matrix: Tensor, hidden: int) -> Tensor:
    """[rows, inputs + hidden] of a weight on the token's features and the state side by side, whichever came first.

    No tensor tells which did. stem: the weight's name, which may.
    """
    named = _STATE_FIRST.search(stem) is not None
    what = f"whether {cell.name} puts the token's features (x) or its state (h) first where it joins them"
    told = cell.questions.ask("joined", what, "hx" if named else "xh", ("xh", "hx"))
    return torch.cat([matrix[:, hidden:], matrix[:, :hidden]], dim=1) if told == "hx" else matrix


def _matrix(weight: Weight, *, turned: bool) -> Tensor:
    return weight.weight.T if turned and weight.bare else weight.weight


def _turned(cell: Cell, weights: Sequence[Weight], rows: int) -> bool:
    """Whether bare weights are stored as [inputs, outputs]: x W. Squares do not tell."""
    bare = [weight.weight.shape for weight in weights if weight.bare]
    if not bare:
        return False
    if all(shape[0] == shape[1] for shape in bare):
        what = f"whether {cell.name} multiplies by its bare weights as x W or as W x"
        return cell.questions.ask("product", what, "xW", ("xW", "Wx")) == "xW"
    return any(shape[0] != rows for shape in bare)


def _sources(weights: Sequence[Weight], hidden: int) -> list[Source]:
    """What each weight reads: as its name says, or else as the shapes do; empty if that makes no gate."""
    said = [weight.role.source for weight in weights]
    if len(said) == 1:
        joined = said[0] != "h" and max(weights[0].weight.shape) > hidden
        return ["xh"] if joined else []
    if len(said) == 2 and said.count("h") == 1 and set(said) <= {"x", "h", ""}:
        return ["h" if source == "h" else "x" for source in said]
    return []


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


def cell_weights(tensors: Mapping[str, Tensor]) -> dict[Place, list[Weight]]:
    """The weights that may make a cell together, in the order of the file."""
    gathered: dict[Place, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for name in tensors:
        path, _, leaf = name.rpartition(".")
        if path and (leaf == "weight" or (leaf == "bias" and f"{path}.weight" in tensors)):
            place, stem = _placed(*_split(path))
        else:
            place, stem = _placed(path, leaf)
            leaf = "bare"
        gathered[place][stem][leaf] = name
    groups = {place: _weights(place, stems, tensors) for place, stems in gathered.items()}
    return {place: group for place, group in groups.items() if group}


def _split(path: str) -> tuple[str, str]:
    parent, _, stem = path.rpartition(".")
    return parent, stem


def _placed(path: str, stem: str) -> tuple[Place, str]:
    """Takes the number of a layer out of a name: `gates.0` and `gates_0` are both place 0 of `gates`."""
    if stem.isdecimal():
        path, name = _split(path)
        return (path, stem), name
    match = _NUMBERED.fullmatch(stem)
    return ((path, match[2]), match[1]) if match else ((path, ""), stem)


def _roles(place: Place, stems: dict[str, dict[str, str]]) -> dict[str, Role]:
    """What names say; of the only weight that stands somewhere, also what the names around it say."""
    known = roles(stems)
    alone = {} if len(stems) > 1 else {next(iter(stems)): of_lone_weight(place[0])}
    said = {**{stem: of_lone_weight(stem) for stem in stems}, **alone}
    return {**{stem: role for stem, role in said.items() if role}, **known}


def _weights(place: Place, stems: dict[str, dict[str, str]], tensors: Mapping[str, Tensor]) -> list[Weight]:
    known = _roles(place, stems)
    weights, biases = [], defaultdict[Role, list[str]](list)
    for stem, role in known.items():
        names = stems[stem]
        main = names.get("weight") or names.get("bare", "")
        if main and tensors[main].ndim == 2 and min(tensors[main].shape) > 1:
            bias = tensors.get(names.get("bias", ""))
            if bias is not None and bias.shape != tensors[main].shape[:1]:
                continue
            weights.append(Weight(stem, role, tuple(names.values()), tensors[main], bias, "bare" in names))
        elif main and "bare" in names:
            biases[role].append(main)
    return [_with_bare_bias(weight, weights, biases, tensors) if weight.bare else weight for weight in weights]


def _with_bare_bias(
    weight: Weight, weights: list[Weight], biases: Mapping[Role, list[str]], tensors: Mapping[str, Tensor]
) -> Weight:
    """The biases of its gate; those that do not say beside what they stand go to the gate's first weight."""
    first = next(other for other in weights if other.role.gate == weight.role.gate)
    wanted = {weight.role, Role("", weight.role.gate)} if first is weight else {weight.role}
    names = [name for role in wanted for name in biases.get(role, [])]
    if not names:
        return weight
    if len({tensors[name].numel() for name in names}) > 1:
        return weight
    bias = sum((tensors[name].flatten() for name in names), torch.zeros(()))
    return replace(weight, names=(*weight.names, *names), bias=bias)
