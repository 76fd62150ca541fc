"""Measures a model folder on held-out data: `python -m export.evaluate DIR --data FILE`.

It scores the exported ONNX file, step by step as the player runs it, and writes the figure into config.json. Of a
language model it also writes down what it writes: samples, and how far they repeat themselves or the training text.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tokenizers import Tokenizer

from export.folder import update_card, with_figures
from export.held_out import BATCH, evaluate
from export.images.guidance import phrase, without_guidance
from export.presets import PRESETS, Training
from export.provenance import fingerprint
from export.tasks import DocumentTask, StreamTask, Task
from export.text_report import text_report
from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.library import Playable, open_model


def check_data(playable: Playable, training: Training, data: Path) -> None:
    """Raises TuiGenError if it was not held out of this data, or its token ids mean something else to the model."""
    card, known = without_guidance(playable.card, _vocabulary(playable))
    trained_on = card.export.get("data_sha256")
    if trained_on and trained_on != fingerprint(data):
        raise TuiGenError(f"{playable.path} was trained on other data than {data}: nothing of this was held out of it")
    if known != (training.tokenizer.get_vocab() if training.tokenizer else {}) or not _same_pictures(card, training):
        raise TuiGenError(f"this data has another vocabulary or size than {playable.path} was trained on")


def _vocabulary(playable: Playable) -> dict[str, int]:
    path = playable.path / "tokenizer.json"
    return Tokenizer.from_file(str(path)).get_vocab() if path.exists() else {}


def _same_pictures(card: ModelCard, training: Training) -> bool:
    """Whether both mean the same tokens; how a step function warms up is its own business."""
    ours, theirs = card.image, training.card.image
    return ours == theirs or (ours is not None and theirs is not None and replace(ours, warm_up=()) == theirs)


def _measured(playable: Playable, task: Task, *, train: bool) -> ModelCard:
    """The card with its figure, and what else is measured of the model.

    train: also how well it predicts the training data.
    """
    card, model, figures = playable.card, playable.model, dict[str, str]()
    if isinstance(task, DocumentTask | StreamTask):
        card = replace(card, measured={**card.measured, **text_report(playable, task.texts)})
    quality = evaluate(model, task)
    if (guidance := card.export.get("guidance")) is not None:
        figures[f"held-out figure with {phrase(guidance)}, as it draws"] = f"{quality}"
        learned = phrase(1)
        own = evaluate(model, task, named=[_vocabulary(playable)[learned]])
        quality = replace(own, split=f"{own.split}, {learned}")
    if train:
        known = evaluate(model, task, part="training")
        figures["figure on the training data"] = f"{known} on {known.split}"
    return replace(with_figures(card, figures), quality=quality)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m export.evaluate", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="a model folder")
    parser.add_argument(
        "--data", type=Path, required=True, help="the data it was trained on; the held-out part is scored"
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), help="how to read the data; default: the model's name")
    parser.add_argument("--train", action="store_true", help="score the training data as well, which takes longer")
    args = parser.parse_args(arguments)
    try:
        playable = open_model(args.folder, provider="cpu")
        name = args.preset or playable.card.name
        if name not in PRESETS:
            raise TuiGenError(f"how to read the data of {name!r} is not known; name a --preset")
        training = PRESETS[name].prepare(args.data, BATCH)
        check_data(playable, training, args.data)
        card = _measured(playable, training.task, train=args.train)
        update_card(args.folder, card)
    except (TuiGenError, OSError) as fault:
        print(f"export.evaluate: {fault}", file=sys.stderr)
        return 1
    assert card.quality
    print(f"{card.name}: {card.quality.value} {card.quality.unit} on {card.quality.split}")
    for name, figure in card.measured.get("figures", {}).items():
        print(f"  {name}: {figure}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
