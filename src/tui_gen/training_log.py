"""The training log of a model, training.jsonl: losses and samples of every epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tui_gen.card import MAX_NAME, MAX_PROMPT, MAX_SENTENCES, ImageSpec, ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.files import read_text
from tui_gen.images.picture import Picture
from tui_gen.json_fields import JsonFields, parse_json
from tui_gen.sampling.params import Tokens
from tui_gen.training_run import LOG

_NO_NUMBERS = ("nan", "inf", "-inf")
"""How a loss is noted that went astray."""
MAX_EPOCHS = 20_000


@dataclass(frozen=True)
class SampleSettings:
    """How the samples of an epoch were drawn."""

    seeds: tuple[int, ...]
    """Of each sample, which is the only one of a run with that seed; empty where the log does not say."""
    temperature: float
    guidance: float | None
    """The scale of classifier-free guidance; None for none."""

    def caption(self, card: ModelCard) -> str:
        """Such as `temperature 0.8, guidance 2, seeds 1 to 4`. card: of the model that was exported in the end."""
        parts = ["one sample"] * (len(self.seeds) == 1) + [f"temperature {self.temperature:g}"]
        if self.guidance is not None:
            parts.append(f"guidance {self.guidance:g}")
        elif card.export.get("guidance") is not None:
            parts.append("no guidance")
        return ", ".join([*parts, *self._named_seeds()])

    def remark(self, card: ModelCard) -> str:
        """How the model itself draws unless it is told otherwise, if that is another way; empty if it is not."""
        guidance = card.export.get("guidance")
        if (self.temperature, self.guidance) == (card.temperature, guidance):
            return ""
        also = f", guidance {guidance:g}" if isinstance(guidance, int | float) else ""
        return f"the model: {card.temperature:g}{also}"

    def _named_seeds(self) -> list[str]:
        seeds = self.seeds
        if len(seeds) > 1 and seeds == tuple(range(seeds[0], seeds[-1] + 1)):
            return [f"seeds {seeds[0]} to {seeds[-1]}"]
        return [f"seed{'s' if len(seeds) > 1 else ''} {' '.join(map(str, seeds))}"] if seeds else []


@dataclass(frozen=True, eq=False)
class Epoch:
    """A pass over the training data, and what the network made after it."""

    number: int
    train_loss: float
    validation_loss: float
    """On held-out data, or a part of it; both in the unit of `Learning`; NaN where it is not known, or was none."""
    samples: tuple[str | Tokens, ...]
    """Texts with their prompt, or the levels of pictures, int64[height, width], or [height, width, 3]; none where the
    network could not be converted.
    """
    settings: SampleSettings

    @property
    def losses(self) -> tuple[float, float]:
        """Training and held-out."""
        return self.train_loss, self.validation_loss

    @property
    def headings(self) -> list[str]:
        """What stands at each of several samples; nothing at a single one."""
        seeds = self.settings.seeds
        if len(self.samples) < 2:
            return [""] * len(self.samples)
        return [f"seed {seed}" for seed in seeds] or [f"{number}" for number in range(1, len(self.samples) + 1)]


@dataclass(frozen=True, eq=False)
class Learning:
    """The epochs of a training, first to last; none where nothing is known of it."""

    unit: str = ""
    """What the losses are counted in, such as `bits per pixel`."""
    prompt: str = ""
    """That all samples were made from."""
    epochs: tuple[Epoch, ...] = ()

    def __len__(self) -> int:
        """Epochs."""
        return len(self.epochs)


def read_learning(folder: Path, card: ModelCard | None) -> Learning:
    """Reads the log of a model folder or a run.

    card: None where there is no network yet: nothing tells then what its samples are. Raises TuiGenError that names the
    line and the key at fault.
    """
    path = folder / LOG
    lines = enumerate(whole_lines(path), start=1)
    entries = [_entry(path, number, line) for number, line in lines if line.strip()]
    if not entries:
        return Learning()
    last = entries[-1]
    unit, prompt = last.text("unit", "", longest=MAX_NAME), last.text("prompt", "", longest=MAX_PROMPT)
    return Learning(unit, prompt, tuple(_epoch(entry, card) for entry in entries))


def whole_lines(path: Path) -> list[str]:
    """The lines of a log, none where there is none; without a last one of several that is still being written, or
    was cut. Raises TuiGenError for more than a training can have.
    """
    if not path.exists() or (path.is_file() and not path.stat().st_size):
        return []
    text = read_text(path)
    if text.count("\n") > MAX_EPOCHS:
        raise TuiGenError(f"{path} has more than {MAX_EPOCHS:,} lines, one an epoch")
    lines = text.split("\n")
    is_whole = not lines[-1] or lines[-1].rstrip().endswith("}") or len(lines) == 1
    return lines if is_whole else lines[:-1]


def _entry(path: Path, number: int, line: str) -> JsonFields:
    try:
        entry = parse_json(line)
    except TuiGenError as fault:
        raise TuiGenError(f"{path}, line {number} {fault}") from fault
    if not isinstance(entry, dict):
        raise TuiGenError(f"{path}, line {number} must hold a JSON object")
    return JsonFields(entry, f"{path}, line {number}: ")


def _epoch(entry: JsonFields, card: ModelCard | None) -> Epoch:
    losses = _loss(entry, "train_loss"), _loss(entry, "validation_loss")
    if card is None or entry.has("trouble"):
        return Epoch(entry.integer("epoch"), *losses, (), SampleSettings((), 1.0, None))
    key = "samples" if entry.has("samples") else "sample"
    values = (
        entry.items("samples") if key == "samples" else [entry.items("sample") if card.image else entry.text("sample")]
    )
    if not values:
        raise entry.fault(key, "must hold one sample at least")
    samples = tuple(_sample(entry, key, value, card.image) for value in values)
    return Epoch(entry.integer("epoch"), *losses, samples, _settings(entry, card, len(samples)))


def _loss(entry: JsonFields, key: str) -> float:
    """NaN where it was not noted, or is no number."""
    value = entry.value(key)
    is_astray = value in _NO_NUMBERS or (isinstance(value, float) and not math.isfinite(value))
    return math.nan if value is None or is_astray else entry.number(key)


def _settings(entry: JsonFields, card: ModelCard, count: int) -> SampleSettings:
    """The first version noted nothing: it drew one sample of seed 1, texts at the card's temperature, pictures at 1."""
    if not entry.has("samples"):
        return SampleSettings((1,), entry.number("temperature", 1.0 if card.image else card.temperature), None)
    seeds = tuple(entry.items("seeds"))
    if seeds and (len(seeds) != count or not all(isinstance(seed, int) for seed in seeds)):
        raise entry.fault("seeds", f"must be {count} whole numbers, one a sample")
    guidance = entry.number("guidance") if entry.has("guidance") else None
    return SampleSettings(seeds, entry.number("temperature", card.temperature), guidance)


def _sample(entry: JsonFields, key: str, value: object, image: ImageSpec | None) -> str | Tokens:
    if not image:
        if not isinstance(value, str):
            raise entry.fault(key, f"must be text, not {value!r:.60}")
        if len(value) > MAX_SENTENCES:
            raise entry.fault(key, f"must have at most {MAX_SENTENCES:,} characters, not {len(value):,}")
        return value
    try:
        levels = np.array(value)
    except ValueError:  # rows of several lengths
        levels = np.zeros(0)
    fits = levels.shape == image.shape and levels.dtype.kind == "i"
    if not fits or levels.min() < 0 or levels.max() >= image.levels:
        raise entry.fault(key, f"must be {image.height} rows of {image.width} levels from 0 to {image.levels - 1}")
    return levels.astype(np.int64)


def shown_loss(loss: float) -> str:
    """With three decimals; a dash for one that is not known, or no number."""
    return "-" if math.isnan(loss) else f"{loss:.3f}"


def picture_of(samples: Sequence[str | Tokens], image: ImageSpec) -> Picture:
    """Levels as of `Epoch`, as the samples of one picture."""
    picture = Picture(image, len(samples))
    picture.take(np.stack([np.ravel(levels) for levels in samples], axis=1))
    return picture
