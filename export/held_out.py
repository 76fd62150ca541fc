"""How well an exported model predicts what was held out of its training, or what it was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from export.data import Ids, Images
from export.tasks import DocumentTask, ImageTask, StreamTask, Task, in_unit
from tui_gen.card import Quality
from tui_gen.errors import TuiGenError
from tui_gen.generate import FREE
from tui_gen.model import Model
from tui_gen.sampling import Tokens, log_softmax

BATCH = 250


Part = Literal["held-out", "training"]


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
