"""Cells that read features and state side by side: no tensor tells which came first, so it is assumed aloud."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.verify import step_logits
from tests.export.text.checkpoints import build, checkpoint_of, model_of, read

V, E, H = 11, 5, 7


class JoinedLSTM(nn.Module):
    """Four layers on the state and the features, in this order or the other."""

    def __init__(self, *, state_first: bool) -> None:
        super().__init__()
        self.embed, self.wy, self.state_first = nn.Embedding(V, E), nn.Linear(H, V), state_first
        self.wf, self.wi, self.wc, self.wo = (nn.Linear(E + H, H) for _ in range(4))

    def forward(self, tokens: Tensor) -> Tensor:
        h = c = torch.zeros(len(tokens), H)
        outputs = []
        for x in self.embed(tokens).unbind(1):
            z = torch.cat([h, x] if self.state_first else [x, h], 1)
            c = torch.sigmoid(self.wf(z)) * c + torch.sigmoid(self.wi(z)) * torch.tanh(self.wc(z))
            h = torch.sigmoid(self.wo(z)) * torch.tanh(c)
            outputs.append(self.wy(h))
        return torch.stack(outputs, 1)


class NamedOrder(nn.Module):
    """A simple cell whose weight says that the state comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.hx2h, self.out = nn.Embedding(V, E), nn.Linear(E + H, H), nn.Linear(H, V)

    def forward(self, tokens: Tensor) -> Tensor:
        h, outputs = torch.zeros(len(tokens), H), []
        for x in self.embed(tokens).unbind(1):
            h = torch.tanh(self.hx2h(torch.cat([h, x], 1)))
            outputs.append(self.out(h))
        return torch.stack(outputs, 1)


def _assert_equal(module: nn.Module, **assume: str) -> None:
    exportable = build(checkpoint_of(module), **assume)
    tokens = np.random.default_rng(0).integers(V, size=(3, 12))
    with torch.no_grad():
        whole = module(torch.from_numpy(tokens)).numpy()
    np.testing.assert_allclose(step_logits(model_of(exportable), tokens), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("make", "assume"),
    [
        (lambda: JoinedLSTM(state_first=False), {}),
        (lambda: JoinedLSTM(state_first=True), {"joined": "hx"}),
        (NamedOrder, {}),
    ],
    ids=["features first", "state first", "state first by name"],
)
def test_either_order_is_exact(make: Callable[[], nn.Module], assume: dict[str, str]) -> None:
    torch.manual_seed(0)
    _assert_equal(make(), **assume)


def test_the_order_is_assumed_aloud() -> None:
    missing = {m.option: m.default for m in read(checkpoint_of(JoinedLSTM(state_first=True))).diagnosis.missing}
    assert missing["--assume joined=xh|hx"] == "xh"
    options = {m.option: m.default for m in read(checkpoint_of(NamedOrder())).diagnosis.missing}
    assert options["--assume joined=hx|xh"] == "hx"
