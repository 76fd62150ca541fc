"""The training log of a model, training.jsonl: losses and samples of every epoch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tui_gen.card import MAX_NAME, MAX_PROMPT, MAX_SENTENCES, ImageSpec, ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.files import append_to_file, open_regular, replace_file
from tui_gen.images.picture import Picture
from tui_gen.json_fields import JsonFields, parse_json
from tui_gen.sampling.params import Tokens
from tui_gen.terminal_text import brief
from tui_gen.training_run import LOG, epoch_title

_NO_NUMBERS = ("nan", "inf", "-inf")
"""How a loss is noted that went astray."""
MAX_EPOCHS, MAX_BYTES = 20_000, 2**28


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
    trouble: str = ""
    """Why there is no network, in the training's words."""
    part: float = 1.0
    """How much of the data was read; less than 1 while the epoch goes on."""
    is_restart: bool = False
    """Whether the training script was started again before it, and went on in the same log."""

    @property
    def title(self) -> str:
        """Such as `epoch 3`, or `epoch 3, 12 %` while it goes on."""
        return epoch_title(self.number, self.part)

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

    @property
    def holds_out(self) -> bool:
        """Whether a loss on held-out data is known."""
        return any(not math.isnan(epoch.validation_loss) for epoch in self.epochs)


class TrainingLog:
    """The log of a model folder or a run, which may grow: of what was read before, nothing is read again."""

    def __init__(self, folder: Path) -> None:
        self.path, self.learning = folder / LOG, Learning()
        self._facts: tuple[object, ...] = ()
        """By which the file is known, and what tells what its samples are, as it was read last."""
        self.is_cut = False
        """Whether the last line had no end when it was read."""
        self._begin()

    def _begin(self) -> None:
        self._epochs, self._last_entry = list[Epoch](), JsonFields({}, "")
        self._count, self._end, self._last = 0, 0, b""
        """Of the whole lines that were read: how many, where they end, and the last."""

    def update(self, card: ModelCard | None) -> bool:
        """Reads what is new; says whether anything is. A last line of several that is still being written waits.

        card: None where there is no network yet: nothing tells then what its samples are. Raises TuiGenError that names
        the line and the key at fault.
        """
        facts = (size := _file_facts(self.path), card and (card.image, card.temperature))
        if facts == self._facts:
            return False
        if not self._facts or facts[1] != self._facts[1]:
            self._begin()
        *lines, rest = self._new_content(is_there=bool(size)).split(b"\n")
        if self._count + len(lines) > MAX_EPOCHS:
            raise TuiGenError(f"{self.path} has more than {MAX_EPOCHS:,} lines, one an epoch")
        self.is_cut = bool(rest)
        for line in lines:
            self._take(line + b"\n", card)
        epochs, last = tuple(self._epochs), self._last_entry
        if _is_whole(rest) or (rest and not self._count):
            last = _entry(self.path, self._count + 1, rest)
            epochs = (*epochs, _epoch(last, card))
        unit, prompt = last.text("unit", "", longest=MAX_NAME), last.text("prompt", "", longest=MAX_PROMPT)
        self.learning, self._facts = Learning(unit, prompt, epochs), facts
        return True

    def add(self, entry: Mapping[str, Any]) -> None:
        """Writes the line of an epoch behind the others; one that was noted before, as while it went on, or by a
        training that began anew, is noted once, and a last line that a kill has cut is none.

        Raises OSError, and leaves the log as it was, where that cannot be written.
        """
        self.update(None)
        if self.is_cut or any(epoch.number >= entry["epoch"] for epoch in self.learning.epochs):
            earlier = [parse_json(line) for line in _whole_lines(self.path) if line.strip()]
            before = [each for each in earlier if each["epoch"] < entry["epoch"]]
            replace_file(self.path, json_lines([*before, entry]).encode())
        else:
            append_to_file(self.path, json_lines([entry]).encode())

    def _new_content(self, *, is_there: bool) -> bytes:
        """What follows the last line that was read, where that still stands; else all."""
        if not is_there:
            self._begin()
            return b""
        content = _read_from(self.path, self._end - len(self._last))
        if not content.startswith(self._last):
            self._begin()
            return _read_from(self.path, 0)
        return content[len(self._last) :]

    def _take(self, line: bytes, card: ModelCard | None) -> None:
        if line.strip():
            self._last_entry = _entry(self.path, self._count + 1, line)
            self._epochs.append(_epoch(self._last_entry, card))
        self._count, self._end, self._last = self._count + 1, self._end + len(line), line


def read_learning(folder: Path, card: ModelCard | None) -> Learning:
    """The log of a model folder or a run, as it is now; raises TuiGenError as `TrainingLog.update` does."""
    log = TrainingLog(folder)
    log.update(card)
    return log.learning


def count_epochs(folder: Path) -> int:
    """How many whole lines the log of a model folder or a run has now, whatever they say. Raises TuiGenError without
    one.
    """
    return sum(map(_is_whole, _read_from(folder / LOG, 0).split(b"\n")))


def json_lines(entries: Iterable[Mapping[str, Any]]) -> str:
    """One object a line."""
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def _whole_lines(path: Path) -> list[str]:
    """The lines of a log, none where there is none; without a last one of several that was cut."""
    *lines, rest = (_read_from(path, 0) if path.exists() else b"").split(b"\n")
    return [line.decode("utf-8", "replace") for line in (*lines, *([rest] if _is_whole(rest) or not lines else []))]


def _is_whole(line: bytes) -> bool:
    """Whether a last line, behind which no other one begins, has come to its end."""
    return line.rstrip().endswith(b"}")


def _read_from(path: Path, start: int) -> bytes:
    """Raises TuiGenError for what cannot be read, and for what is too large for a log."""
    try:
        with open(open_regular(path), "rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise TuiGenError(f"{path} is larger than {MAX_BYTES >> 20:,} MiB, too large for what it is")
            file.seek(start)
            return file.read()
    except OSError as fault:
        raise TuiGenError(f"{path} cannot be read: {fault.strerror}") from fault


def _file_facts(path: Path) -> tuple[int, ...]:
    try:
        facts = os.stat(path)
    except OSError:
        return ()
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


def _entry(path: Path, number: int, line: bytes) -> JsonFields:
    try:
        entry = parse_json(line.decode("utf-8"))
    except UnicodeDecodeError as fault:
        raise TuiGenError(f"{path} is not UTF-8 text") from fault
    except TuiGenError as fault:
        raise TuiGenError(f"{path}, line {number} {fault}") from fault
    if not isinstance(entry, dict):
        raise TuiGenError(f"{path}, line {number} must hold a JSON object")
    return JsonFields(entry, f"{path}, line {number}: ")


def _epoch(entry: JsonFields, card: ModelCard | None) -> Epoch:
    trouble, part = brief(str(entry.value("trouble") or "")), entry.number("part", 1.0)
    facts = Epoch(
        entry.integer("epoch"),
        _loss(entry, "train_loss"),
        _loss(entry, "validation_loss"),
        samples=(),
        settings=SampleSettings((), 1.0, None),
        trouble=trouble,
        part=part if 0 < part < 1 else 1.0,
        is_restart=entry.value("restart") is True,
    )
    key = "samples" if entry.has("samples") else "sample"
    if card is None or (trouble and not entry.has(key)):
        return facts
    values = (
        entry.items("samples") if key == "samples" else [entry.items("sample") if card.image else entry.text("sample")]
    )
    if not values:
        raise entry.fault(key, "must hold one sample at least")
    samples = tuple(_sample(entry, key, value, card.image) for value in values)
    return replace(facts, samples=samples, settings=_settings(entry, card, len(samples)))


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


class LossLine:
    """A line of so many cells, from the lowest of some losses to the highest, on which losses are marked."""

    def __init__(self, losses: Iterable[float], cells: int) -> None:
        known = [loss for loss in losses if not math.isnan(loss)]
        self.low, self.high, self._cells = min(known, default=0.0), max(known, default=0.0), cells

    def marks(self, losses: Iterable[tuple[str, float]], several: str) -> str:
        """A sign at the place of each loss that is known. several: what stands where they meet."""
        line, span = [" "] * self._cells, (self.high - self.low) or 1.0
        for sign, loss in losses:
            if not math.isnan(loss):
                at = round((loss - self.low) / span * (self._cells - 1))
                line[at] = sign if line[at] == " " else several
        return "".join(line)


def shown_loss(loss: float) -> str:
    """With three decimals; a dash for one that is not known, or no number."""
    return "-" if math.isnan(loss) else f"{loss:.3f}"


def picture_of(samples: Sequence[str | Tokens], image: ImageSpec) -> Picture:
    """Levels as of `Epoch`, as the samples of one picture."""
    picture = Picture(image, len(samples))
    picture.take(np.stack([np.ravel(levels) for levels in samples], axis=1))
    return picture
