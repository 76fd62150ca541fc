"""Language models as strangers save them: each is exact, asked about, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.support.kinds import Kind, Logits, check
from tests.support.text_networks import Usual
from tests.support.vocabularies import VOCABULARIES


def _saved(network: nn.Module, name: str = "model.pt") -> Callable[[Path], tuple[Path, Logits]]:
    """As a state dict."""

    def save(folder: Path) -> tuple[Path, Logits]:
        torch.save(network.state_dict(), folder / name)
        return folder / name, network.eval()

    return save


KINDS = [
    Kind("a state dict of embedding, LSTM and linear layer", _saved(Usual(nn.LSTM(5, 7)))),
    *VOCABULARIES,
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_is_exact_or_asked_or_refused(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check(kind, tmp_path)
