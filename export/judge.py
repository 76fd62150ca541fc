"""A network that says what a picture shows: which of some phrases, of each kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from export.data import Images
from tui_gen.errors import TuiGenError

WEAPONS = (
    *("axe", "bow", "club", "crossbow", "dagger", "flail", "halberd", "mace", "pickaxe", "scythe", "sling", "spear"),
    *("staff", "sword", "trident", "wand", "whip"),
)
SEED = 7
_EPOCHS, _TRAINING_BATCH, _RATE = 4, 128, 2e-3
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Kind:
    """Phrases of which a picture shows at most one."""

    name: str
    phrases: tuple[str, ...]

    def labels(self, images: Images) -> Labels:
        """[n]: 1 + the number of the phrase that holds, 0 for none."""
        found = np.zeros(len(images.pixels), dtype=np.int64)
        for number, phrase in enumerate(self.phrases, start=1):
            found[images.conditions[:, images.phrases.index(phrase)] == 1] = number
        return found


def kinds(images: Images) -> list[Kind]:
    """Cloaks by their colour, and weapons. Raises TuiGenError for data without them."""
    cloaks = tuple(phrase for phrase in images.phrases if phrase.endswith(" cloak"))
    weapons = tuple(weapon for weapon in WEAPONS if weapon in images.phrases)
    if not cloaks or not weapons:
        raise TuiGenError("the captions of this data name no cloaks or no weapons")
    return [Kind("cloak colour", cloaks), Kind("weapon", weapons)]


class Judge(nn.Module):
    """Says of each kind which phrase a picture shows."""

    def __init__(self, images: Images, asked: Sequence[Kind]) -> None:
        super().__init__()
        self._levels = images.levels
        height, width = images.pixels.shape[1:]
        sizes, layers = (images.levels, 48, 64, 96, 96), list[nn.Module]()
        for number, (inputs, outputs) in enumerate(pairwise(sizes)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, stride=2 if number else 1), nn.ReLU()]
        area = -(-height // 8) * -(-width // 8)
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(96 * area, 128), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(128, len(kind.phrases) + 1) for kind in asked)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """int64[batch, h, w] -> float32[batch, phrases + 1] of each kind."""
        features = self.body(functional.one_hot(pixels, self._levels).permute(0, 3, 1, 2).float())
        return [head(features) for head in self.heads]

    @torch.no_grad()
    def says(self, pixels: NDArray[np.integer]) -> Labels:
        """Of pixels [batch, height, width]: [batch, kinds], 1 + the number of the phrase, 0 for none."""
        split = np.array_split(pixels.astype(np.int64), -(-len(pixels) // 500))
        parts = [self(torch.from_numpy(part)) for part in split]
        return np.concatenate([torch.stack([head.argmax(1) for head in heads], 1).numpy() for heads in parts])


def trained_judge(images: Images, asked: Sequence[Kind], *, epochs: int = _EPOCHS) -> Judge:
    """Learns from all pictures but those held out."""
    torch.manual_seed(SEED)
    rng, count = np.random.default_rng(SEED), len(images.pixels) - images.held_out
    labels = np.stack([kind.labels(images) for kind in asked], axis=1)
    judge = Judge(images, asked)
    batches = max(1, count // _TRAINING_BATCH)
    optimizer = torch.optim.AdamW(judge.parameters(), _RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    for _ in range(epochs):
        for chosen in np.array_split(rng.permutation(count), batches):
            said = judge(torch.from_numpy(images.pixels[chosen].astype(np.int64)))
            wanted = torch.from_numpy(labels[chosen])
            losses = [functional.cross_entropy(head, wanted[:, at]) for at, head in enumerate(said)]
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return judge.eval()
