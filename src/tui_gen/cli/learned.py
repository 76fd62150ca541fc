"""`tui-gen learned`: the losses of every epoch and what the network made after it, also of several models."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import isnan, nan
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from tui_gen.cli import options
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.terminal_text import scrub, show, show_text

if TYPE_CHECKING:  # the help loads nothing that a table needs
    from tui_gen.card import ImageSpec, ModelCard
    from tui_gen.checkpoint import Answers
    from tui_gen.training_log import Epoch, Learning

_TRAINING_LOSS = "the training loss is averaged over the epoch"
_HELD_OUT_LOSS = "; the held-out loss is taken after it, so that it may be lower"
_LINE = 30
"""Cells of the line on which losses are marked."""
_MARKS = "abcdefghijklmnopqrstuvwxyz"
"""Of runs that are compared."""


@dataclass(frozen=True)
class Training:
    """How one model, or the networks of one run, learned."""

    name: str
    card: ModelCard | None
    """Of the newest network; None where there is none yet."""
    learning: Learning


def configure(parser: argparse.ArgumentParser) -> None:
    """Describes the command's options."""
    parser.description = (
        "Shows how a model, or a run, learned: the losses of every epoch, and what it made after it. Several are "
        "compared: their losses beside each other, and what each made of the same noise in the end."
    )
    parser.add_argument("models", metavar="MODEL", nargs="+", help=f"{options.MODEL}, or the folder of a run")
    parser.add_argument("--epoch", type=int, metavar="N", help="only this one")
    parser.add_argument("--format", choices=("ascii", "blocks"), help="how to draw pictures")
    parser.add_argument("--json", action="store_true", help="a JSON object for each model")
    options.add_checkpoint_options(parser)


def run(args: argparse.Namespace) -> int:
    """Prints what was asked for; returns the exit status."""
    if len(args.models) > len(_MARKS):
        raise UsageError(f"at most {len(_MARKS)} are compared")
    trainings = [_read(model, args.answers) for model in args.models]
    if len({training.name for training in trainings}) < len(trainings):
        trainings = [replace(each, name=model) for each, model in zip(trainings, args.models, strict=True)]
    if args.format and not any(training.card and training.card.image for training in trainings):
        raise UsageError(f"{trainings[0].name} writes text; --format {args.format} is for pictures")
    if args.json:
        show(*(json.dumps(_facts(training, _select(training.learning, args.epoch))) for training in trainings))
    elif len(trainings) == 1:
        _show_one(trainings[0], _select(trainings[0].learning, args.epoch), args.format)
    else:
        show(*_comparison(trainings))
        for training in trainings:
            show(f"{training.name}:")
            _show_samples(training, _select(training.learning, args.epoch)[-1:], args.format)
    return 0


def _read(model: str, answers: Answers) -> Training:
    """Raises TuiGenError where nothing says how it learned."""
    from tui_gen.library import locate, model_folder, read_card
    from tui_gen.training_log import read_learning
    from tui_gen.training_run import is_run, log_folder, newest_model

    network = newest_model(model) if is_run(model) else model_folder(locate(model), answers)
    card = read_card(network) if network else None
    folder = log_folder(network) if network else Path(model)
    learning, name = read_learning(folder, card), card.name if card else Path(model).resolve().name
    if not learning.epochs:
        raise TuiGenError(f"{folder} does not say how {name} learned: it has no training.jsonl, or an empty one")
    return Training(name, card, learning)


def _facts(training: Training, epochs: Sequence[Epoch]) -> dict[str, object]:
    """As JSON has it: null for a loss that is not known, or no number."""

    def known(loss: float) -> float | None:
        return None if isnan(loss) else loss

    entries = [
        {
            "epoch": epoch.number,
            "part": epoch.part,
            "restart": epoch.is_restart,
            "train_loss": known(epoch.train_loss),
            "validation_loss": known(epoch.validation_loss),
            "seeds": epoch.settings.seeds,
            "temperature": epoch.settings.temperature,
            "samples": [sample if isinstance(sample, str) else sample.tolist() for sample in epoch.samples],
        }
        for epoch in epochs
    ]
    learning = training.learning
    return {"name": training.name, "unit": learning.unit, "prompt": learning.prompt, "epochs": entries}


def _show_one(training: Training, epochs: Sequence[Epoch], form: str | None) -> None:
    show(*_table(training.learning, epochs))
    _show_samples(training, epochs, form)


def _show_samples(training: Training, epochs: Sequence[Epoch], form: str | None) -> None:
    """What was made after epochs, those that drew in the same way together."""
    card = training.card
    if not card:
        return
    for _, group in groupby((epoch for epoch in epochs if epoch.samples), key=lambda epoch: epoch.settings):
        alike = list(group)
        show(_introduction(training.learning, card, alike), "")
        if card.image:
            _draw(card.image, alike, form)
        else:
            _write(alike)


def _comparison(trainings: Sequence[Training]) -> list[str]:
    """A line an epoch: the losses of all, the held-out ones where there are any, also as marks on one scale."""
    from tui_gen.training_log import LossLine, shown_loss

    columns = [
        {epoch.number: epoch.train_loss if isnan(epoch.validation_loss) else epoch.validation_loss for epoch in epochs}
        for epochs in (training.learning.epochs for training in trainings)
    ]
    line = LossLine((loss for column in columns for loss in column.values()), _LINE)
    names = [f"{mark} {training.name[-10:]}" for mark, training in zip(_MARKS, trainings, strict=False)]
    width = max(8, *map(len, names))
    units = {training.learning.unit for training in trainings}
    low, high = f"{line.low:.3f}", f"{line.high:.3f}"
    scale = f"{low}{high:>{_LINE - len(low)}}"
    lines = [f"EPOCH  {'  '.join(f'{name:>{width}}' for name in names)}  {scale}"]
    for number in sorted({number for column in columns for number in column}):
        own = [column.get(number, nan) for column in columns]
        shown = "  ".join(f"{shown_loss(loss):>{width}}" for loss in own)
        lines.append(f"{number:5}  {shown}  {line.marks(zip(_MARKS, own, strict=False), '*')}".rstrip())
    doubt = ["their units differ, so that the numbers cannot be compared"] if len(units) > 1 else []
    unit = f"; in {', '.join(sorted(units))}" if all(units) else ""
    return [*lines, "", f"held-out losses, or training losses where there are none{unit}", *doubt, ""]


def _select(learning: Learning, number: int | None) -> tuple[Epoch, ...]:
    """All epochs, or the one of this number. Raises UsageError where there is none."""
    epochs = tuple(epoch for epoch in learning.epochs if number in (None, epoch.number))
    if not epochs:
        first, last = learning.epochs[0].number, learning.epochs[-1].number
        raise UsageError(f"--epoch must be from {first} to {last}, not {number}")
    return epochs


def _table(learning: Learning, epochs: Sequence[Epoch]) -> list[str]:
    from tui_gen.training_log import shown_loss

    columns = 2 if learning.holds_out else 1
    rows = [
        "  ".join(
            [f"{epoch.number:5}", *(f"{shown_loss(loss):>8}" for loss in epoch.losses[:columns]), *_remarks(epoch)]
        )
        for epoch in epochs
    ]
    names = "  ".join(["EPOCH", *["TRAINING", "HELD OUT"][:columns], learning.unit])
    return [names.rstrip(), *rows, "", _TRAINING_LOSS + (_HELD_OUT_LOSS if learning.holds_out else ""), ""]


def _remarks(epoch: Epoch) -> list[str]:
    """What the losses of an epoch do not say."""
    goes_on = [f"after {100 * epoch.part:.0f} % of its data"] if epoch.part < 1 else []
    return [*(["started again"] if epoch.is_restart else []), *goes_on, *filter(None, [epoch.trouble])]


def _introduction(learning: Learning, card: ModelCard, epochs: Sequence[Epoch]) -> str:
    """What some epochs drew that drew in the same way."""
    prompt = f" from “{learning.prompt}”" if learning.prompt else ""
    settings = epochs[0].settings
    remark = f" ({remark})" if (remark := settings.remark(card)) else ""
    return f"made after {'each' if len(epochs) > 1 else 'it'}{prompt}: {settings.caption(card)}{remark}"


def _write(epochs: Sequence[Epoch]) -> None:
    for epoch in epochs:
        for heading, sample in zip(epoch.headings, epoch.samples, strict=True):
            text = _wrap(scrub(str(sample))) if sys.stdout.isatty() else str(sample)
            show_text(f"after {epoch.title}{heading and ', '}{heading}:\n{text}\n")


def _wrap(text: str) -> str:
    """Between words, for the terminal."""
    width = min(100, shutil.get_terminal_size().columns)
    return "\n".join(part for line in text.splitlines() for part in wrap(line, width) or [""])


def _draw(image: ImageSpec, epochs: Sequence[Epoch], form: str | None) -> None:
    """Epochs of one sample side by side, others below each other with theirs side by side."""
    from tui_gen.images.encode import row_writer
    from tui_gen.training_log import picture_of

    groups = [epochs] if all(len(epoch.samples) == 1 for epoch in epochs) else [[epoch] for epoch in epochs]
    for number, group in enumerate(groups):
        if number:
            show("")
        if len(group[0].samples) > 1:
            show(f"after {group[0].title}:")
        captions = [heading or epoch.title for epoch in group for heading in epoch.headings]
        samples = [sample for epoch in group for sample in epoch.samples]
        row_writer(picture_of(samples, image), sys.stdout.buffer, form, captions).close()
