"""What the generation loop asks of a model, and where a run can begin or go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tui_gen.sampling import Logits, Mask, Tokens


class Stepper(Protocol):
    """What `generate` asks of a model; `tui_gen.model.Model` is one. It may have `read` and `draw`, as `Model` has."""

    @property
    def eos(self) -> int | None:
        """The token that ends a sample, if the model has one."""
        ...

    def start(self, batch: int) -> Any:
        """The state before the first token."""
        ...

    def step(self, tokens: Tokens, state: Any) -> tuple[Logits, Any]:
        """Tokens [batch] and the state before them to logits [batch, vocab] and the state after them."""
        ...


class Endless:
    """A model without an end token, so that what would end early runs to its length."""

    eos = None

    def __init__(self, model: Stepper) -> None:
        self.start, self.step = model.start, model.step
        self.read, self.draw = getattr(model, "read", None), getattr(model, "draw", None)


@dataclass(frozen=True, eq=False)
class Point:
    """Where a run can begin or go on: a token of every sample that is known and not read yet."""

    index: int
    """Its position in the sequence."""
    tokens: Tokens
    """[samples]"""
    state: Any
    """The model's state before it."""
    live: Mask
    """[samples]: whether the sample goes on after it."""
    drawn: Tokens
    """[samples]: how many random numbers the sample has taken so far."""


def first_point(model: Stepper, prompt: Tokens) -> Point:
    """Where a run with a prompt [samples, n] begins."""
    samples = len(prompt)
    live, drawn = np.ones(samples, dtype=bool), np.zeros(samples, dtype=np.int64)
    return Point(0, prompt[:, 0], model.start(samples), live, drawn)
