"""Language models with recurrent cells that people write themselves, with their own forward passes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.text_networks import E, H, V

State = tuple[Tensor, Tensor]
Step = Callable[[Any, Tensor, Tensor, Tensor], State]
"""(module, the token's features, h, c) -> (h, c)"""


class HandWritten(nn.Module):
    """An embedding, a cell of one's own, and a linear layer; a learned start where there is a part of that name.

    first: the embedding's name; None for a 1 among zeros. last: the last layer's name, or what predicts instead. parts:
    modules and parameters by their names in the script, in its order; the embedding and the last layer come before them
    if they are not among them.
    """

    def __init__(
        self,
        step: Step,
        first: str | None = "table",
        last: str | Callable[[Any, Tensor], Tensor] = "out",
        *,
        width: int = E,
        **parts: nn.Module | nn.Parameter,
    ) -> None:
        super().__init__()
        self.step, self.first, self.last = step, first, last
        if first and first not in parts:
            self.add_module(first, nn.Embedding(V, width))
        if isinstance(last, str) and last not in parts:
            self.add_module(last, nn.Linear(H, V))
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, tokens: Tensor) -> Tensor:
        zeros = torch.zeros(len(tokens), H)
        state, outputs = (self.start.expand_as(zeros) if hasattr(self, "start") else zeros, zeros), []
        features = getattr(self, self.first)(tokens) if self.first else functional.one_hot(tokens, V).float()
        predict = getattr(self, self.last) if isinstance(self.last, str) else partial(self.last, self)
        for x in features.unbind(1):
            state = self.step(self, x, *state)
            outputs.append(predict(state[0]))
        return torch.stack(outputs, dim=1)


class Summed(nn.Module):
    """As the fastai course writes it: a table for the input, one square layer, one for the output."""

    def __init__(self, *, before: bool, bend: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.i_h, self.h_h, self.h_o = nn.Embedding(V, H), nn.Linear(H, H), nn.Linear(H, V)
        self.before, self.bend = before, bend

    def forward(self, tokens: Tensor) -> Tensor:
        h, outputs = torch.zeros(len(tokens), H), []
        for x in self.i_h(tokens).unbind(1):
            h = self.bend(self.h_h(h + x) if self.before else self.h_h(h) + x)
            outputs.append(self.h_o(h))
        return torch.stack(outputs, 1)


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


BARE, LETTERED = {"W_x": (V, H), "W_h": (H, H), "b_": (H,)}, {"W": (H, E), "U": (H, H), "b": (H,)}


def bare(**shapes: tuple[int, ...]) -> dict[str, nn.Parameter]:
    """Parameters without a module."""
    return {name: nn.Parameter(torch.randn(shape) * 0.4) for name, shape in shapes.items()}


def joined(names: str, prefix: str = "") -> dict[str, nn.Module]:
    """Linear layers on features and state side by side."""
    return {prefix + name: nn.Linear(E + H, H) for name in names.split()}


def _gates(i: Tensor, f: Tensor, g: Tensor, o: Tensor, c: Tensor) -> State:
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _chunks(gates: Tensor, c: Tensor) -> State:
    return _gates(*gates.chunk(4, dim=1), c)


def _joined_rnn(net: Any, x: Tensor, h: Tensor, c: Tensor) -> State:
    return torch.tanh(net.cell["xh_to_h"](torch.cat([x, h], dim=1))), c


def _joined_gru(net: Any, x: Tensor, h: Tensor, c: Tensor) -> State:
    """The update gate writes."""
    r, z = (torch.sigmoid(net.cell[name](torch.cat([x, h], dim=1))) for name in ("xh_to_r", "xh_to_z"))
    new = torch.tanh(net.cell["xh_to_hbar"](torch.cat([x, r * h], dim=1)))
    return (1 - z) * h + z * new, c


def _joined_lstm(net: Any, x: Tensor, h: Tensor, c: Tensor, *, names: str, state_first: bool = False) -> State:
    both = torch.cat([h, x] if state_first else [x, h], dim=1)
    i, f, g, o = (getattr(net, name)(both) for name in names.split())
    return _gates(i, f, g, o, c)


def _state_first(net: Any, x: Tensor, h: Tensor, c: Tensor) -> State:
    return torch.tanh(net.hx2h(torch.cat([h, x], 1))), c


def _paired(net: Any, x: Tensor, h: Tensor, c: Tensor) -> State:
    """i2h and h2h of several gates at once, as many as the kind has; a GRU's update gate keeps."""
    of_x, of_h = net.i2h(x).split(H, dim=1), net.h2h(h).split(H, dim=1)
    if len(of_x) == 1:
        return torch.tanh(of_x[0] + of_h[0]), c
    if len(of_x) == 4:
        return _chunks(net.i2h(x) + net.h2h(h), c)
    r, z = torch.sigmoid(of_x[0] + of_h[0]), torch.sigmoid(of_x[1] + of_h[1])
    return z * h + (1 - z) * torch.tanh(of_x[2] + r * of_h[2]), c


def _inside_a_cell(step: Step, gates: str) -> nn.Module:
    parts = {"embedding": nn.Embedding(V, E), "cell": nn.ModuleDict(joined(gates, "xh_to_")), "output": nn.Linear(H, V)}
    return HandWritten(step, "embedding", "output", **bare(start=(1, H)), **parts)


def _pairs(gates: int) -> nn.Module:
    parts = {"i2h": nn.Linear(E, gates * H), "h2h": nn.Linear(H, gates * H)}
    return HandWritten(_paired, "embedding", "output", **parts)


def _bare_rnn(net: Any, x: Tensor, h: Tensor, c: Tensor) -> State:
    return torch.tanh(x @ net.W_xh + h @ net.W_hh + net.b_h), c


def _single_letters(net: Any, x: Tensor, h: Tensor, c: Tensor) -> State:
    return torch.tanh(x @ net.U.T + h @ net.W.T + net.b), c


def _bare_gru(net: Any, x: Tensor, h: Tensor, c: Tensor) -> State:
    """Resets before the product; the update gate keeps."""

    def gate(name: str, h: Tensor) -> Tensor:
        return x @ getattr(net, f"W_x{name}") + h @ getattr(net, f"W_h{name}") + getattr(net, f"b_{name}")

    z, r = torch.sigmoid(gate("z", h)), torch.sigmoid(gate("r", h))
    return z * h + (1 - z) * torch.tanh(gate("h", r * h)), c


def _lettered_lstm(net: Any, x: Tensor, h: Tensor, c: Tensor) -> State:
    weights = ((getattr(net.lstm, f"{kind}_{name}") for kind in "WUb") for name in "ifco")
    i, f, g, o = (x @ weight.T + h @ recurrent.T + bias for weight, recurrent, bias in weights)
    return _gates(i, f, g, o, c)


def _named_gru(net: Any, x: Tensor, h: Tensor, c: Tensor) -> State:
    r, z = torch.sigmoid(net.W_ir(x) + net.W_hr(h)), torch.sigmoid(net.W_iz(x) + net.W_hz(h))
    return z * h + (1 - z) * torch.tanh(net.W_in(x) + r * net.W_hn(h)), c


def _letters(net: Any, x: Tensor, h: Tensor, c: Tensor) -> State:
    return _chunks(x @ net.W + h @ net.U + net.bias, c)


def _goodfellow(net: Any, x: Tensor, h: Tensor, c: Tensor) -> State:
    return torch.tanh(net.U(x) + net.W(h)), c


def _by_source(net: Any, x: Tensor, h: Tensor, c: Tensor) -> State:
    return _chunks(x @ net.Wx + h @ net.Wh + net.b, c)


def _lone(net: Any, x: Tensor, h: Tensor, c: Tensor) -> State:
    return torch.relu(net.rnn_cell(torch.cat([x, h], 1))), c


def _inside(net: Any, x: Tensor, h: Tensor, c: Tensor) -> State:
    return _chunks(net.cell["linear"](torch.cat([x, h], 1)), c)


def _fused(net: Any, x: Tensor, h: Tensor, c: Tensor) -> State:
    return _chunks(net.gates(torch.cat([x, h], 1)), c)


LONG, SHORT = "input_gate forget_gate cell_gate output_gate", "wi wf wc wo"
FILED = "forget_gate input_gate output_gate cell_gate"
CELLS: dict[str, Callable[[], nn.Module]] = {
    "joined RNN": lambda: _inside_a_cell(_joined_rnn, "h"),
    "joined GRU": lambda: _inside_a_cell(_joined_gru, "z r hbar"),
    "joined LSTM, four gates": lambda: HandWritten(
        partial(_joined_lstm, names=LONG), "embedding", "output", **joined(FILED)
    ),
    "joined LSTM, all gates at once": lambda: HandWritten(_fused, "embedding", "output", gates=nn.Linear(E + H, 4 * H)),
    "joined LSTM, features first": lambda: HandWritten(
        partial(_joined_lstm, names=SHORT), "embed", "wy", **joined("wf wi wc wo")
    ),
    "joined LSTM, state first": lambda: HandWritten(
        partial(_joined_lstm, names=SHORT, state_first=True), "embed", "wy", **joined("wf wi wc wo")
    ),
    "state first by its name": lambda: HandWritten(_state_first, "embed", **joined("hx2h"), out=nn.Linear(H, V)),
    "i2h and h2h, RNN": lambda: _pairs(1),
    "i2h and h2h, GRU": lambda: _pairs(3),
    "i2h and h2h, LSTM": lambda: _pairs(4),
    "bare RNN": lambda: HandWritten(
        _bare_rnn,
        None,
        lambda net, h: h @ net.W_hq + net.b_q,
        **bare(W_xh=(V, H), W_hh=(H, H), b_h=(H,), W_hq=(H, V), b_q=(V,)),
    ),
    "single letters": lambda: HandWritten(
        _single_letters,
        "table",
        lambda net, h: h @ net.V.T + net.c,
        **bare(U=(H, E), W=(H, H), b=(H,), V=(V, H), c=(V,)),
    ),
    "bare GRU": lambda: HandWritten(
        _bare_gru, None, **bare(**{f"{kind}{gate}": shape for gate in "zrh" for kind, shape in BARE.items()})
    ),
    "lettered LSTM": lambda: HandWritten(
        _lettered_lstm,
        "lookup",
        "project",
        lookup=nn.Embedding(V, E),
        lstm=nn.ParameterDict(
            [*bare(**{f"{kind}_{gate}": shape for gate in "ifco" for kind, shape in LETTERED.items()}).items()]
        ),
        project=nn.Linear(H, V),
    ),
    "named GRU": lambda: HandWritten(
        _named_gru,
        "emb",
        "fc",
        **{f"W_{source}{gate}": nn.Linear(n, H) for gate in "rzn" for source, n in (("i", E), ("h", H))},
    ),
    "tutorial": lambda: Tutorial(last=False),
    "tutorial with a last layer": lambda: Tutorial(last=True),
    "W, U and bias of all gates": lambda: HandWritten(_letters, **bare(W=(E, 4 * H), U=(H, 4 * H), bias=(4 * H,))),
    "W and U of equal shapes": lambda: HandWritten(
        _letters, width=H, **bare(W=(H, 4 * H), U=(H, 4 * H), bias=(4 * H,))
    ),
    "U for the features": lambda: HandWritten(_goodfellow, U=nn.Linear(E, H), W=nn.Linear(H, H)),
    "squares, U for the features": lambda: HandWritten(_goodfellow, width=H, U=nn.Linear(H, H), W=nn.Linear(H, H)),
    "Wx and Wh": lambda: HandWritten(_by_source, **bare(Wx=(E, 4 * H), Wh=(H, 4 * H), b=(4 * H,))),
    "a lone layer called after the cell": lambda: HandWritten(_lone, **joined("rnn_cell")),
    "a lone layer inside the cell": lambda: HandWritten(
        _inside, cell=nn.ModuleDict({"linear": nn.Linear(E + H, 4 * H)})
    ),
    "a row added before the product": lambda: Summed(before=True, bend=functional.relu),
    "a row added after the product": lambda: Summed(before=False, bend=torch.tanh),
}
_GATES = {"gates": "ifgo"}
_GRU = {"update": "keep"}
ANSWERS = {
    "joined GRU": {"update": "write"},
    "joined LSTM, four gates": {"joined": "xh"},
    "joined LSTM, all gates at once": {"joined": "xh", **_GATES},
    "joined LSTM, features first": {"joined": "xh"},
    "joined LSTM, state first": {"joined": "hx"},
    "i2h and h2h, GRU": {"gates": "rzn", **_GRU},
    "i2h and h2h, LSTM": _GATES,
    "bare GRU": {"reset": "before", **_GRU},
    "named GRU": {"reset": "after", **_GRU},
    "tutorial": {"nonlinearity": "none"},
    "W, U and bias of all gates": _GATES,
    "W and U of equal shapes": {"state": "U", **_GATES},
    "squares, U for the features": {"state": "W"},
    "Wx and Wh": _GATES,
    "a lone layer called after the cell": {"nonlinearity": "relu", "joined": "xh"},
    "a lone layer inside the cell": {"joined": "xh", **_GATES},
    "a row added before the product": {"row": "before", "nonlinearity": "relu"},
    "a row added after the product": {"row": "after", "nonlinearity": "tanh"},
}
"""What no tensor of these tells."""
