"""Networks of many designs, and their tensors changed at random."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from export.read import read
from export.reader import Reading, ReadOptions
from tests.support.gated_networks import ColourGated, GenerativeGated, PriorGated, TutorialGated
from tests.support.single_stack_networks import BookPixelCNN, GenerativePixelCNN, sequential


def _text_network(cell: Callable[..., nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.ModuleDict({"emb": nn.Embedding(9, 4), "rnn": cell(4, 6, 2), "out": nn.Linear(6, 9)})


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "rnn": _text_network(nn.RNN),
    "lstm": _text_network(nn.LSTM),
    "gru": _text_network(nn.GRU),
    "sequential": sequential,
    "book": BookPixelCNN,
    "generative": GenerativePixelCNN,
    "generative gated": GenerativeGated,
    "tutorial": TutorialGated,
    "colour": ColourGated,
    "prior": PriorGated,
}


def strange(state: dict[str, Tensor], rng: random.Random) -> dict[str, Tensor]:
    """With one to three tensors lost, cut, turned, flattened, renamed, doubled, emptied or of another type."""
    tensors = dict(state)
    for _ in range(rng.randint(1, 3)):
        name = rng.choice(sorted(tensors))
        tensor = tensors[name]
        change = rng.randrange(8)
        if change == 0:
            del tensors[name]
        elif change == 1 and tensor.ndim:
            tensors[name] = tensor[: max(0, len(tensor) - 1)]
        elif change == 2 and tensor.ndim > 1:
            tensors[name] = tensor.transpose(0, 1)
        elif change == 3:
            tensors[name] = tensor.flatten()
        elif change == 4:
            tensors[name.replace("weight", "wait").replace("bias", "weight")] = tensors.pop(name)
        elif change == 5:
            tensors[name] = torch.cat([tensor.flatten()] * 2) if rng.random() < 0.5 else torch.empty(0)
        elif change == 6:
            tensors[f"more.{name}"] = tensor.clone()
        else:
            tensors[name] = tensor.to(rng.choice([torch.float16, torch.int64, torch.float64, torch.bool]))
        if not tensors:
            return state
    return tensors


def read_with_any_answer(path: Path) -> Reading:
    """The first choice of whatever is asked."""
    options = ReadOptions(size=(4, 16))
    while True:
        _, reading = read(path, options)
        asked = next((missing.option for missing in reading.diagnosis.missing if not missing.default), "")
        key, _, choices = asked.removeprefix("--assume ").partition("=")
        if asked.startswith("--scaling"):
            options = replace(options, scaling="/255")
        elif asked.startswith("--assume") and key not in options.assume:
            options = replace(options, assume={**options.assume, key: choices.partition("|")[0]})
        else:
            return reading
