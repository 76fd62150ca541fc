"""Networks that somebody changed at random are read, or refused in a line; no reader falls over them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.read import read
from export.reader import ReadOptions
from tests.export.images.scripts import (
    BookPixelCNN,
    ColourGated,
    GenerativeGated,
    GenerativePixelCNN,
    PriorGated,
    TutorialGated,
    sequential,
)
from tui_gen.errors import TuiGenError

ROUNDS = 40


def _text(cell: Callable[..., nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.ModuleDict({"emb": nn.Embedding(9, 4), "rnn": cell(4, 6, 2), "out": nn.Linear(6, 9)})


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "rnn": _text(nn.RNN),
    "lstm": _text(nn.LSTM),
    "gru": _text(nn.GRU),
    "sequential": sequential,
    "book": BookPixelCNN,
    "generative": GenerativePixelCNN,
    "generative gated": GenerativeGated,
    "tutorial": TutorialGated,
    "colour": ColourGated,
    "prior": PriorGated,
}


def _changed(state: dict[str, Tensor], rng: random.Random) -> dict[str, Tensor]:
    made = dict(state)
    for _ in range(rng.randint(1, 3)):
        name = rng.choice(sorted(made))
        tensor = made[name]
        change = rng.randrange(8)
        if change == 0:
            del made[name]
        elif change == 1 and tensor.ndim:
            made[name] = tensor[: max(0, len(tensor) - 1)]
        elif change == 2 and tensor.ndim > 1:
            made[name] = tensor.transpose(0, 1)
        elif change == 3:
            made[name] = tensor.flatten()
        elif change == 4:
            made[name.replace("weight", "wait").replace("bias", "weight")] = made.pop(name)
        elif change == 5:
            made[name] = torch.cat([tensor.flatten()] * 2) if rng.random() < 0.5 else torch.empty(0)
        elif change == 6:
            made[f"more.{name}"] = tensor.clone()
        else:
            made[name] = tensor.to(rng.choice([torch.float16, torch.int64, torch.float64, torch.bool]))
        if not made:
            return state
    return made


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_changed_at_random_are_read_or_refused(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    state, rng, path = NETWORKS[name]().state_dict(), random.Random(name), tmp_path / "strange.pt"
    for _ in range(ROUNDS):
        torch.save(_changed(state, rng), path)
        told = ""
        try:
            _, reading = read(path, ReadOptions(size=(4, 16)))
            network = reading.build().network
            network.sequence_logits(torch.from_numpy(network.random_tokens(1, np.random.default_rng(0))))
        except TuiGenError as fault:
            told = str(fault)
        assert "\n" not in told
