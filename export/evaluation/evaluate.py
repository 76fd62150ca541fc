"""Measures a model folder on held-out data.

It scores the exported ONNX file, as `tui-gen score` does, and writes the figure into config.json. Of a language model
it also writes down what it writes: samples, and how far they repeat themselves or the training text.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from tui_gen.card import ModelCard, Quality
from tui_gen.cli.main import exit_status
from tui_gen.cli.options import Parser, add_trust, add_verbose
from tui_gen.errors import TuiGenError
from tui_gen.library import LoadedModel, open_model, read_tokenizer
from tui_gen.runtime.model import Model
from tui_gen.sampling.params import Tokens
from tui_gen.scoring.score import score
from tui_gen.terminal_text import show
from tui_gen.text.tokenizer import PromptTokenizer

from ..files import fingerprint
from ..training.data import Images, pad
from ..training.presets import PRESETS, Training
from .text_report import text_report

if TYPE_CHECKING:  # the help would wait for PyTorch
    from ..training.tasks import StreamTask, Task

BATCH = 250
WINDOW = 256
"""Characters that networks without a state are often given at once."""
Split = Literal["held-out", "training"]


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m export.evaluate") -> int:
    """The command line; returns the exit status. prog: what the help calls the program."""
    parser = Parser(prog=prog, description=f"Measures a model folder on held-out data: `{prog} DIR --data FILE`.")
    add_verbose(parser)
    parser.add_argument("folder", type=Path, help="a model folder")
    parser.add_argument(
        "--data", type=Path, required=True, help="the data it was trained on; the held-out part is scored"
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), help="how to read the data; default: the model's name")
    parser.add_argument("--train", action="store_true", help="score the training data as well, which takes longer")
    add_trust(parser)
    args = parser.parse_args(arguments)
    return exit_status(lambda: _run(args), args, prog=prog)


def _run(args: argparse.Namespace) -> int:
    from ..folder import update_card

    loaded_model = open_model(args.folder, provider="cpu", trust=args.trust)
    name = args.preset or loaded_model.card.name
    if name not in PRESETS:
        raise TuiGenError(f"how to read the data of {name!r} is not known; name a --preset")
    training = PRESETS[name].prepare(args.data, BATCH)
    check_data(loaded_model, training, args.data)
    card = measure(loaded_model, training.task, train=args.train)
    update_card(args.folder, card)
    assert card.quality
    show(f"{card.name}: {card.quality.value} {card.quality.unit} on {card.quality.split}")
    for name, figure in card.measured.get("figures", {}).items():
        show(f"  {name}: {figure}")
    return 0


def check_data(loaded_model: LoadedModel, training: Training, data: Path) -> None:
    """Raises TuiGenError if it was not held out of this data, or its token ids mean something else to the model."""
    from ..images.streaming import without_guidance

    if loaded_model.path.is_file():
        raise TuiGenError(f"{loaded_model.path} has no config.json for the figures; name a model folder")
    card, vocab = without_guidance(loaded_model.card, _vocabulary(loaded_model))
    data_sha256 = card.export.get("data_sha256")
    if data_sha256 and data_sha256 != fingerprint(data):
        raise TuiGenError(
            f"{loaded_model.path} was trained on other data than {data}: nothing of this was held out of it"
        )
    # how a step function warms up changes no token's meaning
    image = replace(card.image, warm_up=(), layers=(), copies=()) if card.image else None  # what the exporter added
    if vocab != training.tokenizer.get_vocab() or image != training.card.image:
        raise TuiGenError(f"this data has another vocabulary or size than {loaded_model.path} was trained on")


def _vocabulary(loaded_model: LoadedModel) -> dict[str, int]:
    tokenizer = read_tokenizer(loaded_model.path)
    return PromptTokenizer(tokenizer).vocabulary if tokenizer else {}


def measure(loaded_model: LoadedModel, task: Task, *, train: bool) -> ModelCard:
    """The card with its held-out figure, and what else is measured of the model.

    train: also how well it predicts the training data.
    """
    from ..folder import with_figures
    from ..images.streaming import phrase
    from ..training.tasks import StreamTask, TextTask

    card, model, figures = loaded_model.card, loaded_model.model, dict[str, str]()
    if isinstance(task, TextTask):
        card = replace(card, measured={**card.measured, **text_report(loaded_model, task.texts)})
    if isinstance(task, StreamTask):
        figures[f"held-out figure in windows of {WINDOW} characters"] = _in_windows(model, task)
    quality = evaluate(model, task)
    if (guidance := card.export.get("guidance")) is not None:
        figures[f"held-out figure with {phrase(guidance)}, as it draws"] = f"{quality}"
        unguided = phrase(1)
        quality = evaluate(model, task, extra=[_vocabulary(loaded_model)[unguided]])
        quality = replace(quality, split=f"{quality.split}, {unguided}")
    if train:
        figure = evaluate(model, task, split="training")
        figures["figure on the training data"] = f"{figure} on {figure.split}"
    return replace(with_figures(card, figures), quality=quality)


def evaluate(model: Model, task: Task, *, split: Split = "held-out", extra: Sequence[int] = ()) -> Quality:
    """The mean negative log-likelihood of a part of the data.

    extra: ids of what a prompt says besides a picture's conditions. Raises TuiGenError for data of which that part is
    empty.
    """
    from ..training.tasks import ImageTask, TextTask, in_unit

    if isinstance(task, ImageTask):
        nats, count = _total(model, _picture_batches(model, task.images, split, extra))
        given = ", their conditions given" if task.images.phrases else ""
        pictures = f"{count // task.images.area:,} {split} pictures{given}"
        return Quality(round(in_unit(nats / count, task.unit), 4), task.unit, pictures)
    assert isinstance(task, TextTask)
    texts = task.texts
    documents = sorted(texts.held_out if split == "held-out" else texts.train, key=len)
    nats, count = _total(model, (pad(documents[at : at + BATCH]) for at in range(0, len(documents), BATCH)))
    what = "characters" if texts.in_characters else "words and marks"
    ends = ", ends counted" if texts.eos is not None else ""
    return Quality(round(nats / count, 4), texts.unit, f"{count:,} {split} {what}{ends}")


def _in_windows(model: Model, task: StreamTask) -> str:
    """How well it predicts a long text window by window, as networks do that read so many characters at most.

    What is left at the end of the text, and fills no window, is not counted.
    """
    (text,) = task.texts.held_out
    starts = range(0, len(text) - WINDOW, WINDOW)
    windows = np.stack([text[at : at + WINDOW + 1] for at in starts]) if starts else pad([text])
    nats, count = _total(model, (windows[at : at + BATCH] for at in range(0, len(windows), BATCH)))
    how = "each from a state of zeros, as networks of that context are measured; the held-out figure is of one stream"
    return f"{nats / count:.3f} {task.texts.unit}, {how}"


def _picture_batches(model: Model, images: Images, split: Split, extra: Sequence[int]) -> Iterator[Tokens]:
    first, last = (images.train, len(images.pixels)) if split == "held-out" else (0, images.train)
    assert model.card.image
    for at in range(first, last, BATCH):
        yield _picture_tokens(images, range(at, min(at + BATCH, last)), [*extra, *model.card.image.warm_up])


def _picture_tokens(images: Images, rows: Sequence[int], end: Sequence[int]) -> Tokens:
    """Start tokens, the picture's conditions, what every prompt ends with, its pixels: int64[batch, n]."""
    start = images.levels
    conditions = [[start + 1 + int(c) for c in np.flatnonzero(images.conditions[row])] for row in rows]
    width = max(map(len, conditions))
    prompts = np.array([[start] * (1 + width - len(ids)) + ids + [*end] for ids in conditions], dtype=np.int64)
    return np.concatenate([prompts, images.pixels[rows].reshape(len(rows), -1).astype(np.int64)], axis=1)


def _total(model: Model, batches: Iterable[Tokens]) -> tuple[float, int]:
    """Negative log-likelihood in nats of int64[batch, n] each, and of how many tokens.

    The first column and the prompt's ids past the vocabulary are only read; `FREE` pads and does not count.
    """
    nats, count = 0.0, 0
    for tokens in batches:
        logprobs = score(model, np.maximum(tokens, 0))
        counts = (tokens[:, 1:] >= 0) & (tokens[:, 1:] < model.card.vocab_size)
        nats -= float(logprobs[counts].sum(dtype=np.float64))
        count += int(counts.sum())
    if not count:
        raise TuiGenError("the data is too small: nothing of it is held out")
    return nats, count


if __name__ == "__main__":
    raise SystemExit(main())
