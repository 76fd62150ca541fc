"""What a script does without tensors is done when told, asked where it is likely, and never done unasked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.verify import step_logits
from tests.export.text.checkpoints import build, checkpoint_of, logits_of, model_of, read
from tui_gen.errors import TuiGenError

V, H = 11, 7


class Residual(nn.Module):
    """Each layer adds to what it reads; the last one to what stands before its normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(V, H)
        self.first, self.second = nn.LSTM(H, H, batch_first=True), nn.GRU(H, H, batch_first=True)
        self.norm, self.third = nn.LayerNorm(H), nn.LSTM(H, H, batch_first=True)
        self.out = nn.Linear(H, V)
        nn.init.normal_(self.norm.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        x = torch.relu(self.embedding(tokens))
        x = x + self.first(x)[0]
        x = x + self.second(x)[0]
        x = x + self.third(self.norm(x))[0]
        logits: Tensor = self.out(x)
        return logits


TOLD = {"embedding": "relu", "residual": "first,second,norm:third", "order": "embedding,first,second,norm,third,out"}


def test_told_residual_connections_and_activations_are_exact() -> None:
    torch.manual_seed(0)
    module, tokens = Residual(), np.random.default_rng(0).integers(V, size=(3, 12))
    steps = step_logits(model_of(build(checkpoint_of(module), **TOLD)), tokens)
    np.testing.assert_allclose(steps, logits_of(module, tokens), atol=1e-5, rtol=0)


def test_a_likely_residual_connection_is_asked_and_named() -> None:
    checkpoint = checkpoint_of(Residual())
    questions = {missing.option: missing for missing in read(checkpoint, order=TOLD["order"]).diagnosis.missing}
    assert "first, second, third" in questions["--assume residual=NAME,FIRST:LAST,..."].what
    diagnosis = read(checkpoint, **TOLD).diagnosis
    assert ("residual", "what first reads is added to what first gives") in [
        (name, value.partition(";")[0]) for name, value in diagnosis.facts
    ]
    assert not diagnosis.missing or all("residual" not in missing.option for missing in diagnosis.missing)


def test_layers_of_one_module_are_not_asked_about() -> None:
    module = nn.ModuleDict({"e": nn.Embedding(V, H), "rnn": nn.LSTM(H, H, 2), "out": nn.Linear(H, V)})
    assert all("residual" not in missing.option for missing in read(checkpoint_of(module)).diagnosis.missing)


@pytest.mark.parametrize(
    ("assume", "says"),
    [
        ({"residual": "nobody"}, "names no parts in their order, which is first"),
        ({"residual": "second:first"}, "names no parts in their order"),
        ({"residual": "first:out"}, "first reads 7 numbers, out gives 11"),
        ({"embedding": "loud"}, "must be one of none, tanh, relu"),
    ],
)
def test_what_cannot_be_is_told(assume: dict[str, str], says: str) -> None:
    with pytest.raises(TuiGenError, match=says):
        read(checkpoint_of(Residual()), order=TOLD["order"], **assume)
