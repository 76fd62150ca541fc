"""A long text that is there already: read, and scored, many tokens at once beside one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tui_gen.bench.rows import Row, shown
from tui_gen.bench.timing import Run, in_turns, per_unit
from tui_gen.generate import generate
from tui_gen.library import open_model, shipped_folder
from tui_gen.sampling import SamplingParams, Tokens
from tui_gen.scoring import score
from tui_gen.stepper import Stepper

_LENGTH, _WINDOW = 100_000, 1_000
"""Tokens of the text, and how many of them are read one by one."""
_PRODUCT = (
    "the profile: half of a token is the product with the 7,734 words of the vocabulary, at the processor's speed; the "
    "recurrence and the softmax take most of the rest"
)


class _Stepped:
    """A model as it was without its ways to read many tokens at once."""

    def __init__(self, model: Stepper) -> None:
        self.eos, self.start, self.step = model.eos, model.start, model.step


def readings() -> Iterator[Row]:
    """Through `generate`, as a prompt; and through `score`."""
    playable = open_model(shipped_folder() / "recipes-lstm", provider="cpu")
    text = np.random.default_rng(0).integers(1, playable.card.vocab_size, (1, _LENGTH))
    for what, work, note in (("reading", _read, ""), ("scoring", score, _PRODUCT)):
        runs: dict[str, Run] = {
            "ours": _timed(work, playable.model, text),
            "steps": _timed(work, _Stepped(playable.model), text[:, :_WINDOW]),
        }
        times = in_turns(runs, rounds=3)
        yield Row(
            f"recipes-lstm, {what} a text of {_LENGTH:,} tokens",
            f"a token {shown(times['ours'])}",
            f"step by step {shown(times['steps'])}",
            times["steps"].over(times["ours"]),
            8,
            note=note,
        )


def _read(model: Stepper, text: Tokens) -> None:
    for _ in generate(model, text, SamplingParams(), length=0, seed=0):
        pass


def _timed(work: Callable[[Any, Tokens], object], model: Stepper, text: Tokens) -> Run:
    return lambda: per_unit(lambda: work(model, text), text.shape[1])
