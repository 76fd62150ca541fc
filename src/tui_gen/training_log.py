"""The training log of a model, training.jsonl: losses and a sample of every epoch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tui_gen.card import ImageSpec, ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.files import read_text
from tui_gen.images.picture import Picture
from tui_gen.json_fields import JsonFields
from tui_gen.sampling.params import Tokens

LOG = "training.jsonl"


@dataclass(frozen=True, eq=False)
class Epoch:
    """A pass over the training data, and what the network made after it."""

    number: int
    train_loss: float
    validation_loss: float
    """On held-out data, or a part of it; both in the unit of `Learning`."""
    sample: str | Tokens
    """A text with its prompt, or the levels of a picture, int64[height, width], or [height, width, 3]."""


@dataclass(frozen=True, eq=False)
class Learning:
    """The epochs of a training, first to last; none where nothing is known of it."""

    unit: str = ""
    """What the losses are counted in, such as `bits per pixel`."""
    prompt: str = ""
    """That all samples were made from, with the same random numbers."""
    epochs: tuple[Epoch, ...] = ()

    def __len__(self) -> int:
        """Epochs."""
        return len(self.epochs)


def read_learning(folder: Path, card: ModelCard) -> Learning:
    """Reads the log of a model folder. Raises TuiGenError that names the line and the key at fault."""
    path = folder / LOG
    if not path.exists() or (path.is_file() and not path.stat().st_size):
        return Learning()
    lines = read_text(path).splitlines()
    entries = [_entry(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not entries:
        return Learning()
    last = entries[-1]
    return Learning(last.text("unit"), last.text("prompt", ""), tuple(_epoch(entry, card.image) for entry in entries))


def _entry(path: Path, number: int, line: str) -> JsonFields:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as fault:
        raise TuiGenError(f"{path}, line {number} is not JSON: {fault}") from fault
    if not isinstance(entry, dict):
        raise TuiGenError(f"{path}, line {number} must hold a JSON object")
    return JsonFields(entry, f"{path}, line {number}: ")


def _epoch(entry: JsonFields, image: ImageSpec | None) -> Epoch:
    sample = _levels(entry, image) if image else entry.text("sample")
    losses = entry.number("train_loss"), entry.number("validation_loss")
    return Epoch(entry.integer("epoch"), *losses, sample)


def _levels(entry: JsonFields, image: ImageSpec) -> Tokens:
    try:
        levels = np.array(entry.items("sample"))
    except ValueError:  # rows of several lengths
        levels = np.zeros(0)
    fits = levels.shape == image.shape and levels.dtype.kind == "i"
    if not fits or levels.min() < 0 or levels.max() >= image.levels:
        raise entry.fault("sample", f"must be {image.height} rows of {image.width} levels from 0 to {image.levels - 1}")
    return levels.astype(np.int64)


def pictures(epochs: Sequence[Epoch], image: ImageSpec) -> Picture:
    """What was drawn after each of some epochs, as samples of one picture."""
    picture = Picture(image, len(epochs))
    picture.take(np.stack([np.ravel(epoch.sample) for epoch in epochs], axis=1))
    return picture
