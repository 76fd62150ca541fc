"""Hand-written cells whose weights are named by a letter, by what they read, or after the whole cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.verify import step_logits
from tests.export.text.checkpoints import build, checkpoint_of, model_of

V, E, H = 11, 5, 7
Step = Callable[[Any, Tensor, tuple[Tensor, Tensor]], tuple[Tensor, Tensor]]
"""(module, the token's features, (h, c)) -> (h, c)"""


class Written(nn.Module):
    """An embedding, a cell of one's own, and a linear layer."""

    def __init__(self, step: Step, *, width: int = E, **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.table, self.out, self.step = nn.Embedding(V, width), nn.Linear(H, V), step
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, tokens: Tensor) -> Tensor:
        state, outputs = (torch.zeros(len(tokens), H), torch.zeros(len(tokens), H)), []
        for x in self.table(tokens).unbind(1):
            state = self.step(self, x, state)
            outputs.append(self.out(state[0]))
        return torch.stack(outputs, 1)


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


def _lstm(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = gates.chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _letters(module: Any, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return _lstm(x @ module.W + state[0] @ module.U + module.bias, state[1])


def _goodfellow(module: Any, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return torch.tanh(module.U(x) + module.W(state[0])), state[1]


def _by_source(module: Any, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return _lstm(x @ module.Wx + state[0] @ module.Wh + module.b, state[1])


def _lone(module: Any, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return torch.relu(module.rnn_cell(torch.cat([x, state[0]], 1))), state[1]


def _inside(module: Any, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return _lstm(module.cell["linear"](torch.cat([x, state[0]], 1)), state[1])


def _random(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) / 2)


WRITTEN: dict[str, tuple[Callable[[], nn.Module], dict[str, str]]] = {
    "W, U and bias of all gates": (
        lambda: Written(_letters, W=_random(E, 4 * H), U=_random(H, 4 * H), bias=_random(4 * H)),
        {},
    ),
    "W and U of equal shapes": (
        lambda: Written(_letters, width=H, W=_random(H, 4 * H), U=_random(H, 4 * H), bias=_random(4 * H)),
        {},
    ),
    "U for the features": (lambda: Written(_goodfellow, U=nn.Linear(E, H), W=nn.Linear(H, H)), {}),
    "squares, U for the features": (
        lambda: Written(_goodfellow, width=H, U=nn.Linear(H, H), W=nn.Linear(H, H)),
        {"state": "W"},
    ),
    "Wx and Wh": (lambda: Written(_by_source, Wx=_random(E, 4 * H), Wh=_random(H, 4 * H), b=_random(4 * H)), {}),
    "a lone layer called after the cell": (
        lambda: Written(_lone, rnn_cell=nn.Linear(E + H, H)),
        {"nonlinearity": "relu"},
    ),
    "a lone layer inside the cell": (
        lambda: Written(_inside, cell=nn.ModuleDict({"linear": nn.Linear(E + H, 4 * H)})),
        {},
    ),
    "a row added before the product": (lambda: Summed(before=True, bend=functional.relu), {}),
    "a row added after the product": (
        lambda: Summed(before=False, bend=torch.tanh),
        {"row": "after", "nonlinearity": "tanh"},
    ),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_it_is_exact(name: str) -> None:
    torch.manual_seed(0)
    make, assume = WRITTEN[name]
    module = make()
    tokens = np.random.default_rng(0).integers(V, size=(3, 12))
    with torch.no_grad():
        whole = module(torch.from_numpy(tokens)).numpy()
    steps = step_logits(model_of(build(checkpoint_of(module), **assume)), tokens)
    np.testing.assert_allclose(steps, whole, atol=1e-5, rtol=0)
