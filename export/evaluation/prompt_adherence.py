"""Whether a picture model draws what its prompt asks for.

A small network learns from the training pictures to tell what they show, and is tried on those held out. Then the model
draws from prompts of the held-out pictures, and the network says what it sees: how often it is what was asked for, and
how often it would be by chance, with each picture held against everybody's prompt.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from export.evaluation.evaluate import check_data
from export.folder import update_card, with_figures
from export.training.data import Images
from export.training.presets import PRESETS
from export.training.tasks import ImageTask
from tui_gen.errors import TuiGenError
from tui_gen.generation.generate import generate
from tui_gen.images.codec import ImageCodec
from tui_gen.library import LoadedModel, open_model
from tui_gen.sampling.params import SamplingParams

PROMPTS, BATCH, SEED = 500, 100, 7
WEAPONS = (
    *("axe", "bow", "club", "crossbow", "dagger", "flail", "halberd", "mace", "pickaxe", "scythe", "sling", "spear"),
    *("staff", "sword", "trident", "wand", "whip"),
)
CLASSIFIER_SEED = 7
_EPOCHS, _TRAINING_BATCH, _RATE = 4, 128, 2e-3
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Obedience:
    """What was found for a kind of phrase, as parts of 1."""

    kind: str
    seen: float
    """Of the held-out pictures with these captions, how many the judging network recognises."""
    drawn: float
    """Of pictures of the model, how many show what was asked for."""
    chance: float
    """The same if each caption were held against the picture of any of them."""
    prompts: int
    """How many were drawn."""


def measured(loaded_model: LoadedModel, images: Images, judge: Judge, *, prompts: int = PROMPTS) -> list[Obedience]:
    """Draws from the captions of held-out pictures that name one of each kind, and looks at what comes out."""
    asked = kinds(images)
    labels = np.stack([kind.labels(images) for kind in asked], axis=1)
    held_out = np.arange(len(images.pixels) - images.held_out, len(images.pixels))
    chosen = held_out[labels[held_out].all(axis=1)][:prompts]
    if not len(chosen):
        raise TuiGenError("no held-out picture's caption names both a cloak and a weapon")
    said = judge.says(_drawn(loaded_model, [_caption(images, index) for index in chosen]))
    seen, wanted = judge.says(images.pixels[chosen]), labels[chosen]
    return [
        Obedience(
            kind.name,
            seen=float((seen[:, at] == wanted[:, at]).mean()),
            drawn=float((said[:, at] == wanted[:, at]).mean()),
            chance=float((said[:, at] == wanted[:, None, at]).mean()),
            prompts=len(chosen),
        )
        for at, kind in enumerate(asked)
    ]


def _caption(images: Images, index: int) -> str:
    return ", ".join(images.phrases[number] for number in np.flatnonzero(images.conditions[index]))


def _drawn(loaded_model: LoadedModel, captions: Sequence[str]) -> NDArray[np.int64]:
    """[captions, height, width]: what the model draws at its card's temperature."""
    codec, params = loaded_model.codec, SamplingParams(loaded_model.card.temperature)
    assert isinstance(codec, ImageCodec)
    pictures = []
    for at in range(0, len(captions), BATCH):
        prompt = codec.prompt(list(captions[at : at + BATCH]))
        area = codec.image.area
        steps = generate(loaded_model.model, prompt, params, length=area, seed=SEED + at)
        tokens = [step.tokens for step in steps][-area:]
        pictures.append(np.stack(tokens, axis=1).reshape(-1, codec.image.height, codec.image.width))
    return np.concatenate(pictures)


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m export.obedience") -> int:
    """The command line; returns the exit status. prog: what the help calls the program."""
    parser = argparse.ArgumentParser(
        prog=prog, description=f"Whether a picture model draws what its prompt asks for: `{prog} DIR --data FILE`."
    )
    parser.add_argument("folder", type=Path, help="a model folder")
    parser.add_argument("--data", type=Path, required=True, help="the pictures and captions that it was trained on")
    args = parser.parse_args(arguments)
    try:
        loaded_model, images = _opened(args.folder, args.data)
        found = measured(loaded_model, images, trained_judge(images, kinds(images)))
        figures = {f"prompts obeyed: {one.kind}": _said(one, loaded_model) for one in found}
        update_card(args.folder, with_figures(loaded_model.card, figures))
    except (TuiGenError, OSError) as fault:
        print(f"export.obedience: {fault}", file=sys.stderr)
        return 1
    print("\n".join(f"{name}: {value}" for name, value in figures.items()))
    return 0


def _opened(folder: Path, data: Path) -> tuple[LoadedModel, Images]:
    """The model and what it was trained on. Raises TuiGenError if it was trained on something else."""
    training = PRESETS["adventurers"].prepare(data, BATCH)
    loaded_model = open_model(folder, provider="cpu")
    check_data(loaded_model, training, data)
    assert isinstance(training.task, ImageTask)
    return loaded_model, training.task.images


def _said(found: Obedience, loaded_model: LoadedModel) -> str:
    scale = loaded_model.card.export.get("guidance")
    how = f"at temperature {loaded_model.card.temperature:g}" + (
        f" and guidance {scale:g}" if scale is not None else ""
    )
    error = 1.96 * math.sqrt(found.drawn * (1 - found.drawn) / found.prompts)
    asked = f"{found.drawn:.1%} (± {error:.1%}) of {found.prompts} pictures {how} show what was asked for"
    return (
        f"{asked}, by chance {found.chance:.1%}; so says a network that is right for {found.seen:.1%} of real pictures"
    )


if __name__ == "__main__":
    raise SystemExit(main())


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
    torch.manual_seed(CLASSIFIER_SEED)
    rng, count = np.random.default_rng(CLASSIFIER_SEED), len(images.pixels) - images.held_out
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
