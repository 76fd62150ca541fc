"""Whether a picture model draws what its prompt asks for.

A small classifier learns from the training pictures what they show, and is tried on those held out. Then the model
draws from prompts of the held-out pictures, and the classifier looks at the drawings: how often they show what was
asked for, and how often they would by chance, with each picture held against everybody's prompt.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tui_gen.cli.main import exit_status
from tui_gen.cli.options import Parser, add_trust, add_verbose
from tui_gen.errors import TuiGenError
from tui_gen.generation.generate import generate
from tui_gen.images.codec import ImageCodec
from tui_gen.library import LoadedModel, open_model
from tui_gen.sampling.params import SamplingParams
from tui_gen.terminal_text import show

from ..folder import update_card, with_figures
from ..training.data import Images
from ..training.presets import PRESETS
from ..training.tasks import ImageTask
from .evaluate import check_data

PROMPTS, BATCH, SEED = 500, 100, 7
WEAPONS = (
    *("axe", "bow", "club", "crossbow", "dagger", "flail", "halberd", "mace", "pickaxe", "scythe", "sling", "spear"),
    *("staff", "sword", "trident", "wand", "whip"),
)
CLASSIFIER_SEED = 7
_EPOCHS, _TRAINING_BATCH, _RATE = 4, 128, 2e-3
Labels = NDArray[np.int64]


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m export.obedience") -> int:
    """The command line; returns the exit status. prog: what the help calls the program."""
    does = "Whether a picture model draws what its prompt asks for"
    parser = Parser(prog=prog, description=f"{does}: `{prog} DIR --data FILE`.")
    add_verbose(parser)
    parser.add_argument("folder", type=Path, help="a model folder")
    parser.add_argument("--data", type=Path, required=True, help="the pictures and captions that it was trained on")
    add_trust(parser)
    args = parser.parse_args(arguments)
    return exit_status(lambda: _run(args), args, prog=prog)


def _run(args: argparse.Namespace) -> int:
    loaded_model, images = _open(args.folder, args.data, trust=args.trust)
    adherences = measure(loaded_model, images, train_classifier(images))
    figures = {f"prompts obeyed: {one.attribute}": _figure(one, loaded_model) for one in adherences}
    update_card(args.folder, with_figures(loaded_model.card, figures))
    show(*(f"{name}: {value}" for name, value in figures.items()))
    return 0


@dataclass(frozen=True)
class PromptAdherence:
    """How often drawings show what was asked for, as parts of 1."""

    attribute: str
    accuracy: float
    """Of pictures of the model, how many show what was asked for."""
    chance: float
    """The same if each caption were held against the picture of any of them."""
    classifier_accuracy: float
    """Of the held-out pictures with these captions, how many the classifier recognises."""
    prompts: int
    """How many were drawn."""


@dataclass(frozen=True)
class Attribute:
    """Phrases of which a picture shows at most one."""

    name: str
    phrases: tuple[str, ...]

    def labels(self, images: Images) -> Labels:
        """[n]: 1 + the number of the phrase that holds, 0 for none."""
        labels = np.zeros(len(images.pixels), dtype=np.int64)
        for number, phrase in enumerate(self.phrases, start=1):
            labels[images.conditions[:, images.phrases.index(phrase)] == 1] = number
        return labels


def attributes(images: Images) -> list[Attribute]:
    """Cloaks by their colour, and weapons. Raises TuiGenError for data without them."""
    cloaks = tuple(phrase for phrase in images.phrases if phrase.endswith(" cloak"))
    weapons = tuple(weapon for weapon in WEAPONS if weapon in images.phrases)
    if not cloaks or not weapons:
        raise TuiGenError("the captions of this data name no cloaks or no weapons")
    return [Attribute("cloak colour", cloaks), Attribute("weapon", weapons)]


def _labels(images: Images) -> Labels:
    """int64[pictures, attributes], as of `Attribute.labels`."""
    return np.stack([attribute.labels(images) for attribute in attributes(images)], axis=1)


def measure(
    loaded_model: LoadedModel, images: Images, classifier: Classifier, *, prompts: int = PROMPTS
) -> list[PromptAdherence]:
    """Draws from the captions of held-out pictures that name one of each attribute, and looks at what comes out."""
    labels = _labels(images)
    held_out = np.arange(images.train, len(images.pixels))
    rows = held_out[labels[held_out].all(axis=1)][:prompts]
    if not len(rows):
        raise TuiGenError("no held-out picture's caption names both a cloak and a weapon")
    drawings = classifier.classify(_draw(loaded_model, [_caption(images, row) for row in rows]))
    originals, labels = classifier.classify(images.pixels[rows]), labels[rows]
    return [
        PromptAdherence(
            attribute.name,
            accuracy=float((drawings[:, at] == labels[:, at]).mean()),
            chance=float((drawings[:, at] == labels[:, None, at]).mean()),
            classifier_accuracy=float((originals[:, at] == labels[:, at]).mean()),
            prompts=len(rows),
        )
        for at, attribute in enumerate(attributes(images))
    ]


def _open(folder: Path, data: Path, *, trust: bool) -> tuple[LoadedModel, Images]:
    """The model and what it was trained on. Raises TuiGenError if it was trained on something else."""
    training = PRESETS["adventurers"].prepare(data, BATCH)
    loaded_model = open_model(folder, provider="cpu", trust=trust)
    check_data(loaded_model, training, data)
    assert isinstance(training.task, ImageTask)
    return loaded_model, training.task.images


def _caption(images: Images, index: int) -> str:
    return ", ".join(images.phrases[number] for number in np.flatnonzero(images.conditions[index]))


def _draw(loaded_model: LoadedModel, captions: Sequence[str]) -> NDArray[np.int64]:
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


def _figure(adherence: PromptAdherence, loaded_model: LoadedModel) -> str:
    """For the model card."""
    accuracy, scale = adherence.accuracy, loaded_model.card.export.get("guidance")
    guidance = f" and guidance {scale:g}" if scale is not None else ""
    error = 1.96 * math.sqrt(accuracy * (1 - accuracy) / adherence.prompts)
    return (
        f"{accuracy:.1%} (± {error:.1%}) of {adherence.prompts} pictures at temperature "
        f"{loaded_model.card.temperature:g}{guidance} show what was asked for, by chance {adherence.chance:.1%}; so "
        f"says a network that is right for {adherence.classifier_accuracy:.1%} of real pictures"
    )


class Classifier(nn.Module):
    """Predicts of each attribute which phrase a picture shows."""

    def __init__(self, images: Images) -> None:
        super().__init__()
        self._levels = images.levels
        height, width = images.pixels.shape[1:]
        sizes, layers = (images.levels, 48, 64, 96, 96), list[nn.Module]()
        for number, (inputs, outputs) in enumerate(pairwise(sizes)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, stride=2 if number else 1), nn.ReLU()]
        area = -(-height // 8) * -(-width // 8)
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(96 * area, 128), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(128, len(attribute.phrases) + 1) for attribute in attributes(images))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """int64[batch, h, w] -> float32[batch, phrases + 1] of each attribute."""
        features = self.body(functional.one_hot(pixels, self._levels).permute(0, 3, 1, 2).float())
        return [head(features) for head in self.heads]

    @torch.no_grad()
    def classify(self, pixels: NDArray[np.integer]) -> Labels:
        """Of pixels [batch, height, width]: [batch, attributes], 1 + the number of the phrase, 0 for none."""
        split = np.array_split(pixels.astype(np.int64), -(-len(pixels) // 500))
        parts = [self(torch.from_numpy(part)) for part in split]
        return np.concatenate([torch.stack([head.argmax(1) for head in heads], 1).numpy() for heads in parts])


def train_classifier(images: Images, *, epochs: int = _EPOCHS) -> Classifier:
    """Learns from all pictures but those held out. Raises TuiGenError for captions without cloaks or weapons."""
    torch.manual_seed(CLASSIFIER_SEED)
    rng = np.random.default_rng(CLASSIFIER_SEED)
    labels = torch.from_numpy(_labels(images))
    classifier = Classifier(images)
    batches = max(1, images.train // _TRAINING_BATCH)
    optimizer = torch.optim.AdamW(classifier.parameters(), _RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(images.train), batches):
            logits = classifier(torch.from_numpy(images.pixels[rows].astype(np.int64)))
            losses = [functional.cross_entropy(head, labels[rows, at]) for at, head in enumerate(logits)]
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return classifier.eval()


if __name__ == "__main__":
    raise SystemExit(main())
