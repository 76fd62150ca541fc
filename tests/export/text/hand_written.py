"""Language models with recurrent cells that people write themselves, with their own forward passes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.export.text.checkpoints import E, H, V


class HandWritten(nn.Module):
    """Embedding, a cell of the subclass, a linear layer; a learned start where there is a parameter of that name."""

    embedding: nn.Module
    output: nn.Module

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def start_of(self, batch: int) -> Tensor:
        return self.start.expand(batch, -1) if hasattr(self, "start") else torch.zeros(batch, H)

    def forward(self, tokens: Tensor) -> Tensor:
        h, c, outputs = self.start_of(len(tokens)), torch.zeros(len(tokens), H), []
        for x in self.embedding(tokens).unbind(1):
            h, c = self.step(x, h, c)
            outputs.append(self.output(h))
        return torch.stack(outputs, dim=1)


class JoinedRnn(HandWritten):
    """One linear layer on features and state."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.embedding = nn.Parameter(torch.randn(1, H)), nn.Embedding(V, E)
        self.cell = nn.ModuleDict({"xh_to_h": nn.Linear(E + H, H)})
        self.output = nn.Linear(H, V)

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tanh(self.cell["xh_to_h"](torch.cat([x, h], dim=1))), c


class JoinedGru(HandWritten):
    """A linear layer for each gate, on features and state; the update gate writes."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.embedding = nn.Parameter(torch.randn(1, H)), nn.Embedding(V, E)
        self.cell = nn.ModuleDict({f"xh_to_{gate}": nn.Linear(E + H, H) for gate in ("z", "r", "hbar")})
        self.output = nn.Linear(H, V)

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat([x, h], dim=1)
        r, z = torch.sigmoid(self.cell["xh_to_r"](both)), torch.sigmoid(self.cell["xh_to_z"](both))
        new = torch.tanh(self.cell["xh_to_hbar"](torch.cat([x, r * h], dim=1)))
        return (1 - z) * h + z * new, c


class JoinedLstm(HandWritten):
    """Four linear layers under long names, or one of four times the width."""

    def __init__(self, *, fused: bool = False) -> None:
        super().__init__()
        self.embedding, self.output = nn.Embedding(V, E), nn.Linear(H, V)
        self.fused = fused
        if fused:
            self.gates = nn.Linear(E + H, 4 * H)
        else:
            self.forget_gate, self.input_gate = nn.Linear(E + H, H), nn.Linear(E + H, H)
            self.output_gate, self.cell_gate = nn.Linear(E + H, H), nn.Linear(E + H, H)

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat([x, h], dim=1)
        if self.fused:
            i, f, g, o = self.gates(both).chunk(4, dim=1)
        else:
            i, f, g, o = (gate(both) for gate in (self.input_gate, self.forget_gate, self.cell_gate, self.output_gate))
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class PairedGates(HandWritten):
    """i2h and h2h of several gates at once, as many as the kind has."""

    def __init__(self, gates: int) -> None:
        super().__init__()
        self.embedding, self.output = nn.Embedding(V, E), nn.Linear(H, V)
        self.gates, self.i2h, self.h2h = gates, nn.Linear(E, gates * H), nn.Linear(H, gates * H)

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        of_x, of_h = self.i2h(x).chunk(self.gates, dim=1), self.h2h(h).chunk(self.gates, dim=1)
        if self.gates == 1:
            return torch.tanh(of_x[0] + of_h[0]), c
        if self.gates == 3:
            r, z = torch.sigmoid(of_x[0] + of_h[0]), torch.sigmoid(of_x[1] + of_h[1])
            return z * h + (1 - z) * torch.tanh(of_x[2] + r * of_h[2]), c
        i, f, g, o = (one + other for one, other in zip(of_x, of_h, strict=True))
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


def bare(*shape: int) -> nn.Parameter:
    """A parameter without a module."""
    return nn.Parameter(torch.randn(*shape) * 0.4)


class BareRnn(nn.Module):
    """From scratch, on a 1 among zeros: x W and h W."""

    def __init__(self) -> None:
        super().__init__()
        self.W_xh, self.W_hh, self.b_h = bare(V, H), bare(H, H), bare(H)
        self.W_hq, self.b_q = bare(H, V), bare(V)

    def forward(self, tokens: Tensor) -> Tensor:
        h, outputs = torch.zeros(len(tokens), H), []
        for x in functional.one_hot(tokens, V).float().unbind(1):
            h = torch.tanh(x @ self.W_xh + h @ self.W_hh + self.b_h)
            outputs.append(h @ self.W_hq + self.b_q)
        return torch.stack(outputs, dim=1)


class SingleLetters(nn.Module):
    """U for the input, W for the state, V for the prediction: as a textbook has them, W x."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(V, E)
        self.U, self.W, self.b = bare(H, E), bare(H, H), bare(H)
        self.V, self.c = bare(V, H), bare(V)

    def forward(self, tokens: Tensor) -> Tensor:
        h, outputs = torch.zeros(len(tokens), H), []
        for x in self.table(tokens).unbind(1):
            h = torch.tanh(x @ self.U.T + h @ self.W.T + self.b)
            outputs.append(h @ self.V.T + self.c)
        return torch.stack(outputs, dim=1)


class BareGru(nn.Module):
    """From scratch, resetting before the product; the update gate keeps."""

    def __init__(self) -> None:
        super().__init__()
        for gate in "zrh":
            setattr(self, f"W_x{gate}", bare(V, H))
            setattr(self, f"W_h{gate}", bare(H, H))
            setattr(self, f"b_{gate}", bare(H))
        self.out = nn.Linear(H, V)

    def gate(self, name: str, x: Tensor, h: Tensor) -> Tensor:
        weights = (getattr(self, f"{kind}{name}") for kind in ("W_x", "W_h", "b_"))
        of_x, of_h, bias = weights
        return x @ of_x + h @ of_h + bias

    def forward(self, tokens: Tensor) -> Tensor:
        h, outputs = torch.zeros(len(tokens), H), []
        for x in functional.one_hot(tokens, V).float().unbind(1):
            z, r = torch.sigmoid(self.gate("z", x, h)), torch.sigmoid(self.gate("r", x, h))
            h = z * h + (1 - z) * torch.tanh(self.gate("h", x, r * h))
            outputs.append(self.out(h))
        return torch.stack(outputs, dim=1)


class LetteredLstm(nn.Module):
    """W, U and b of each gate, W x: as papers write them."""

    def __init__(self) -> None:
        super().__init__()
        self.lookup = nn.Embedding(V, E)
        self.lstm = nn.Module()
        for gate in "ifco":
            setattr(self.lstm, f"W_{gate}", bare(H, E))
            setattr(self.lstm, f"U_{gate}", bare(H, H))
            setattr(self.lstm, f"b_{gate}", bare(H))
        self.project = nn.Linear(H, V)

    def gate(self, name: str, x: Tensor, h: Tensor) -> Tensor:
        weight, recurrent, bias = (getattr(self.lstm, f"{kind}_{name}") for kind in "WUb")
        return x @ weight.T + h @ recurrent.T + bias

    def forward(self, tokens: Tensor) -> Tensor:
        h, c, outputs = torch.zeros(len(tokens), H), torch.zeros(len(tokens), H), []
        for x in self.lookup(tokens).unbind(1):
            c = torch.sigmoid(self.gate("f", x, h)) * c + torch.sigmoid(self.gate("i", x, h)) * torch.tanh(
                self.gate("c", x, h)
            )
            h = torch.sigmoid(self.gate("o", x, h)) * torch.tanh(c)
            outputs.append(self.project(h))
        return torch.stack(outputs, dim=1)


class NamedGru(nn.Module):
    """A linear layer for each product, named as PyTorch's documentation writes them."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.fc = nn.Embedding(V, E), nn.Linear(H, V)
        for gate in "rzn":
            setattr(self, f"W_i{gate}", nn.Linear(E, H))
            setattr(self, f"W_h{gate}", nn.Linear(H, H))

    def forward(self, tokens: Tensor) -> Tensor:
        h, outputs = torch.zeros(len(tokens), H), []
        for x in self.emb(tokens).unbind(1):
            r, z = torch.sigmoid(self.W_ir(x) + self.W_hr(h)), torch.sigmoid(self.W_iz(x) + self.W_hz(h))
            h = z * h + (1 - z) * torch.tanh(self.W_in(x) + r * self.W_hn(h))
            outputs.append(self.fc(h))
        return torch.stack(outputs, dim=1)


class Tutorial(nn.Module):
    """The prediction reads the token beside the state; `o2o`: and then the new state beside the prediction."""

    def __init__(self, *, last: bool) -> None:
        super().__init__()
        self.i2h, self.i2o = nn.Linear(V + H, H), nn.Linear(V + H, V)
        self.o2o = nn.Linear(H + V, V) if last else None

    def forward(self, tokens: Tensor) -> Tensor:
        h, outputs = torch.zeros(len(tokens), H), []
        for x in functional.one_hot(tokens, V).float().unbind(1):
            both = torch.cat([x, h], dim=1)
            h, y = self.i2h(both), self.i2o(both)
            outputs.append(self.o2o(torch.cat([h, y], dim=1)) if self.o2o else y)
        return torch.stack(outputs, dim=1)
