"""Checkpoints of small networks, as training scripts leave them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

CHARACTERS = "\nabc "


def write_lstm(path: Path, *, seed: int = 1, vocabulary: bool = True) -> Path:
    """One layer of 8 units over these characters, in random numbers."""
    torch.manual_seed(seed)
    size = len(CHARACTERS)
    parts = nn.ModuleDict(
        {"emb": nn.Embedding(size, 4), "lstm": nn.LSTM(4, 8, batch_first=True), "out": nn.Linear(8, size)}
    )
    itos = {"itos": dict(enumerate(CHARACTERS))} if vocabulary else {}
    torch.save({"model": parts.state_dict(), **itos}, path)
    return path
