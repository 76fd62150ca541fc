"""`tui-gen learned`: the losses of every epoch, and what the network made after it, with how it was drawn."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from itertools import groupby
from textwrap import wrap
from typing import TYPE_CHECKING

from tui_gen.cli import options
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.terminal_text import scrub, show, show_text

if TYPE_CHECKING:  # the help loads nothing that a table needs
    from tui_gen.card import ImageSpec, ModelCard
    from tui_gen.training_log import Epoch, Learning

_LOSSES = "the training loss is averaged over the epoch; the held-out loss is taken after it, so that it may be lower"


def configure(parser: argparse.ArgumentParser) -> None:
    """Describes the command's options."""
    parser.description = "Shows how a model learned: the losses of every epoch, and what it made after it."
    parser.add_argument("model", metavar="MODEL", help=options.MODEL)
    parser.add_argument("--epoch", type=int, metavar="N", help="only this one")
    parser.add_argument("--format", choices=("ascii", "blocks"), help="how to draw pictures")


def run(args: argparse.Namespace) -> int:
    """Prints what was asked for; returns the exit status."""
    from tui_gen.library import locate, read_card
    from tui_gen.training_log import read_learning

    folder = locate(args.model)
    card = read_card(folder)
    learning = read_learning(folder, card)
    if not learning.epochs:
        raise TuiGenError(f"{folder} does not say how {card.name} learned: it has no training.jsonl, or an empty one")
    if args.format and not card.image:
        raise UsageError(f"{card.name} writes text; --format {args.format} is for pictures")
    epochs = _select(learning, args.epoch)
    show(*_table(learning, epochs))
    for _, group in groupby(epochs, key=lambda epoch: epoch.settings):
        alike = list(group)
        show(_introduction(learning, card, alike), "")
        if card.image:
            _draw(card.image, alike, args.format)
        else:
            _write(alike)
    return 0


def _select(learning: Learning, number: int | None) -> tuple[Epoch, ...]:
    """All epochs, or the one of this number. Raises UsageError where there is none."""
    epochs = tuple(epoch for epoch in learning.epochs if number in (None, epoch.number))
    if not epochs:
        first, last = learning.epochs[0].number, learning.epochs[-1].number
        raise UsageError(f"--epoch must be from {first} to {last}, not {number}")
    return epochs


def _table(learning: Learning, epochs: tuple[Epoch, ...]) -> list[str]:
    rows = [f"{epoch.number:5}  {epoch.train_loss:8.3f}  {epoch.validation_loss:8.3f}" for epoch in epochs]
    return [f"EPOCH  TRAINING  HELD OUT  {learning.unit}", *rows, "", _LOSSES, ""]


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
            show_text(f"after epoch {epoch.number}{heading and ', '}{heading}:\n{text}\n")


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
        captions = [f"epoch {epoch.number} {heading}".rstrip() for epoch in group for heading in epoch.headings]
        samples = [sample for epoch in group for sample in epoch.samples]
        row_writer(picture_of(samples, image), sys.stdout.buffer, form, captions).close()
