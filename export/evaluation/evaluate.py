"""Measures a model folder on held-out data.

It scores the exported ONNX file, step by step as the player runs it, and writes the figure into config.json. Of a
language model it also writes down what it writes: samples, and how far they repeat themselves or the training text.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from tokenizers import Tokenizer

from export.evaluation.text_report import text_report
from export.files import fingerprint
from export.folder import update_card, with_figures
from export.images.streaming import phrase, without_guidance
from export.training.data import Ids, Images
from export.training.presets import PRESETS, Training
from export.training.tasks import DocumentTask, ImageTask, StreamTask, Task, in_unit
from tui_gen.card import ModelCard, Quality
from tui_gen.errors import TuiGenError
from tui_gen.library import LoadedModel, open_model
from tui_gen.runtime.model import Model
from tui_gen.sampling.params import FREE, Tokens, log_softmax

BATCH = 250
Part = Literal["held-out", "training"]


def check_data(loaded_model: LoadedModel, training: Training, data: Path) -> None:
    """Raises TuiGenError if it was not held out of this data, or its token ids mean something else to the model."""
    card, known = without_guidance(loaded_model.card, _vocabulary(loaded_model))
    trained_on = card.export.get("data_sha256")
    if trained_on and trained_on != fingerprint(data):
        raise TuiGenError(
            f"{loaded_model.path} was trained on other data than {data}: nothing of this was held out of it"
        )
    if known != (training.tokenizer.get_vocab() if training.tokenizer else {}) or not _same_pictures(card, training):
        raise TuiGenError(f"this data has another vocabulary or size than {loaded_model.path} was trained on")


def _vocabulary(loaded_model: LoadedModel) -> dict[str, int]:
    path = loaded_model.path / "tokenizer.json"
    return Tokenizer.from_file(str(path)).get_vocab() if path.exists() else {}


def _same_pictures(card: ModelCard, training: Training) -> bool:
    """Whether both mean the same tokens; how a step function warms up is its own business."""
    ours, theirs = card.image, training.card.image
    return ours == theirs or (ours is not None and theirs is not None and replace(ours, warm_up=()) == theirs)


def _measured(loaded_model: LoadedModel, task: Task, *, train: bool) -> ModelCard:
    """The card with its figure, and what else is measured of the model.

    train: also how well it predicts the training data.
    """
    card, model, figures = loaded_model.card, loaded_model.model, dict[str, str]()
    if isinstance(task, DocumentTask | StreamTask):
        card = replace(card, measured={**card.measured, **text_report(loaded_model, task.texts)})
    quality = evaluate(model, task)
    if (guidance := card.export.get("guidance")) is not None:
        figures[f"held-out figure with {phrase(guidance)}, as it draws"] = f"{quality}"
        learned = phrase(1)
        own = evaluate(model, task, named=[_vocabulary(loaded_model)[learned]])
        quality = replace(own, split=f"{own.split}, {learned}")
    if train:
        known = evaluate(model, task, part="training")
        figures["figure on the training data"] = f"{known} on {known.split}"
    return replace(with_figures(card, figures), quality=quality)


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m export.evaluate") -> int:
    """The command line; returns the exit status. prog: what the help calls the program."""
    parser = argparse.ArgumentParser(
        prog=prog, description=f"Measures a model folder on held-out data: `{prog} DIR --data FILE`."
    )
    parser.add_argument("folder", type=Path, help="a model folder")
    parser.add_argument(
        "--data", type=Path, required=True, help="the data it was trained on; the held-out part is scored"
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), help="how to read the data; default: the model's name")
    parser.add_argument("--train", action="store_true", help="score the training data as well, which takes longer")
    args = parser.parse_args(arguments)
    try:
        loaded_model = open_model(args.folder, provider="cpu")
        name = args.preset or loaded_model.card.name
        if name not in PRESETS:
            raise TuiGenError(f"how to read the data of {name!r} is not known; name a --preset")
        training = PRESETS[name].prepare(args.data, BATCH)
        check_data(loaded_model, training, args.data)
        card = _measured(loaded_model, training.task, train=args.train)
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


def evaluate(model: Model, task: Task, *, part: Part = "held-out", named: Sequence[int] = ()) -> Quality:
    """The mean negative log-likelihood of a part of the data.

    named: ids of what a prompt says besides a picture's conditions.
    """
    if isinstance(task, ImageTask):
        nats, count = _score_images(model, task.images, part, named)
        given = ", their conditions given" if task.images.phrases else ""
        pictures = f"{count // _area(task.images):,} {part} pictures{given}"
        return Quality(round(in_unit(nats / count, task.unit), 4), task.unit, pictures)
    assert isinstance(task, DocumentTask | StreamTask)
    texts = task.texts
    nats, count = _score_texts(model, texts.held_out if part == "held-out" else texts.train)
    what = "characters" if texts.in_characters else "words and marks"
    ends = ", ends counted" if texts.eos is not None else ""
    return Quality(round(nats / count, 4), texts.unit, f"{count:,} {part} {what}{ends}")


def score(model: Model, tokens: Tokens) -> tuple[float, int]:
    """Negative log-likelihood in nats of int64[batch, n], and of how many tokens.

    The first column and everything up to the last prefix token is only read; `FREE` pads and does not count.
    """
    state, nats, count = model.start(len(tokens)), 0.0, 0
    for now, after in zip(tokens.T[:-1], tokens.T[1:], strict=True):
        logits, state = model.step(np.maximum(now, 0), state)
        rows = np.flatnonzero((after >= 0) & (after < model.card.vocab_size))
        nats -= float(log_softmax(logits[rows])[np.arange(len(rows)), after[rows]].sum())
        count += len(rows)
    return nats, count


def _score_texts(model: Model, documents: Sequence[Ids]) -> tuple[float, int]:
    documents = sorted(documents, key=len)
    batches = [documents[at : at + BATCH] for at in range(0, len(documents), BATCH)]
    return _total(score(model, _padded(batch)) for batch in batches)


def _score_images(model: Model, images: Images, part: Part, named: Sequence[int]) -> tuple[float, int]:
    total, training = len(images.pixels), len(images.pixels) - images.held_out
    first, last = (training, total) if part == "held-out" else (0, training)
    batches = (range(at, min(at + BATCH, last)) for at in range(first, last, BATCH))
    assert model.card.image
    last_of_prompt = [*named, *model.card.image.warm_up]
    return _total(score(model, _picture_tokens(images, list(batch), last_of_prompt)) for batch in batches)


def _picture_tokens(images: Images, chosen: list[int], last_of_prompt: Sequence[int]) -> Tokens:
    """Start tokens, the picture's conditions, what every prompt ends with, its pixels: int64[batch, n]."""
    start = images.levels
    named = [[start + 1 + int(c) for c in np.flatnonzero(images.conditions[index])] for index in chosen]
    width = max(map(len, named))
    prefix = np.array([[start] * (1 + width - len(row)) + row + [*last_of_prompt] for row in named], dtype=np.int64)
    return np.concatenate([prefix, images.pixels[chosen].reshape(len(chosen), -1).astype(np.int64)], axis=1)


def _padded(documents: Sequence[Tokens]) -> Tokens:
    padded = np.full((len(documents), max(map(len, documents))), FREE, dtype=np.int64)
    for row, document in enumerate(documents):
        padded[row, : len(document)] = document
    return padded


def _total(parts: Iterator[tuple[float, int]] | Sequence[tuple[float, int]]) -> tuple[float, int]:
    scored = list(parts)
    nats, count = sum(nats for nats, _ in scored), sum(count for _, count in scored)
    if not count:
        raise TuiGenError("the data is too small: nothing of it is held out")
    return nats, count


def _area(images: Images) -> int:
    return int(images.pixels[0].size)
