"""The equations of hand-written recurrent cells in their own tensors, and the same cells in PyTorch's order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from export.text.maps import ACTIVATIONS
from export.text.recurrence import Kind, Recurrence
from export.text.roles import Source


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
    """One token of a cell. Callable as `export.text.recurrence.Cell`."""

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
