"""What the generation loop asks of a model, and where a run can begin or go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from tui_gen.errors import TuiGenError
from tui_gen.sampling.params import Floats, Logits, Mask, Tokens, log_softmax, picked

CHUNK = 128
"""Tokens that are read at once."""
_LEAST = 32
"""Fewer are not worth it."""
Read = Callable[[Tokens, Any], Any]
"""From tokens [samples, n] and the state before them to the state after them."""


class StepModel(Protocol):
    """What `generate` asks of a model, which may have `read` and `draw`, as `tui_gen.runtime.model.Model` has."""

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

    def __init__(self, model: StepModel) -> None:
        self.start, self.step = model.start, model.step
        self.read, self.draw = getattr(model, "read", None), getattr(model, "draw", None)


@dataclass(frozen=True, eq=False)
class RunStart:
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


def run_start(model: StepModel, prompt: Tokens) -> RunStart:
    """Where a run with a prompt [samples, n] begins."""
    samples = len(prompt)
    live, drawn = np.ones(samples, dtype=bool), np.zeros(samples, dtype=np.int64)
    return RunStart(0, prompt[:, 0], model.start(samples), live, drawn)


class Chunk:
    """Tokens that were read at once. What the model said between them is computed when somebody asks."""

    def __init__(self, model: StepModel, read: Read, tokens: Tokens, start: Any, first: int) -> None:
        """tokens: int64[samples, n]. start: the state before them. first: position of the first of them."""
        self._model, self._read, self._tokens, self._start = model, read, tokens, start
        self._known = (0, start)
        began = time.perf_counter()
        self.after, self.first, self.past = read(tokens, start), first, first + tokens.shape[1]
        self.seconds = (time.perf_counter() - began) / tokens.shape[1]
        """What reading a token took."""

    def at(self, position: int) -> tuple[Any, Any]:
        """What to call for the logits after the token at this position; the state after it, or what to call for it."""
        count = position - self.first + 1
        after = self.after if position + 1 == self.past else partial(self._state, count)
        return partial(self._logits, count), after

    def _state(self, count: int) -> Any:
        """After so many tokens."""
        known, state = self._known if self._known[0] <= count else (0, self._start)
        return self._read(self._tokens[:, known:count], state) if known < count else state

    def _logits(self, count: int) -> Logits:
        logits, after = self._model.step(self._tokens[:, count - 1], self._state(count - 1))
        self._known = (count, after)  # who asks for one often asks for the next
        return logits


class Prefill:
    """Feeds a model with the tokens of a run: those of the prompt many at once, if the model can and they are many."""

    def __init__(self, model: StepModel, prompt: Tokens, given: Mask) -> None:
        """prompt: int64[samples, n]. given: [n], whether the tokens of all samples stand at a position."""
        self._model, self._prompt = model, prompt
        self._read = getattr(model, "read", None)
        # A token is read ahead if the one after it is given as well: for what is sampled, logits are needed at once.
        self._stops = np.flatnonzero(~(given[:-1] & given[1:]))
        self._end = prompt.shape[1] - 1
        self._chunk: Chunk | None = None

    def step(self, position: int, tokens: Tokens, state: Any) -> tuple[Any, Any, float]:
        """Reads the tokens at a position, with the state before them.

        Returns logits [samples, vocab] or what to call for them, the state after them or what to call for it, and
        seconds that it took.
        """
        if self._chunk is None or position >= self._chunk.past:
            self._chunk = self._next_chunk(position, state) if position + _LEAST <= self._end else None
        if self._chunk:
            return *self._chunk.at(position), self._chunk.seconds
        began = time.perf_counter()
        logits, after = self._model.step(tokens, state)
        return logits, after, time.perf_counter() - began

    def _next_chunk(self, position: int, state: Any) -> Chunk | None:
        count = min(CHUNK, self._given_from(position))
        if count < _LEAST or not self._read:
            return None
        try:
            chunk = Chunk(self._model, self._read, self._prompt[:, position : position + count], state, position)
        except TuiGenError:
            chunk = None
        if chunk is None or chunk.after is None:
            self._read = chunk = None  # step by step, any fault comes with the token that it is of
        return chunk

    def _given_from(self, position: int) -> int:
        """How many tokens from here on may be read ahead."""
        later = self._stops[self._stops >= position]
        return (int(later[0]) if len(later) else self._end) - position


def state_after(model: StepModel, tokens: Tokens, state: Any) -> Any:
    """The state after int64[samples, n], read at once where the model can and they are many."""
    read = getattr(model, "read", None) if tokens.shape[1] >= _LEAST else None
    after = read(tokens, state) if read else None
    if after is not None:
        return after
    for column in tokens.T:
        _, state = model.step(column, state)
    return state


def score_steps(model: StepModel, tokens: Tokens, following: Tokens, state: Any) -> tuple[Floats, Any]:
    """Reads int64[samples, n] one by one; natural logarithms of the probability of what follows each of them, float64
    [samples, n], and the state after them.
    """
    scores = []
    for now, then in zip(tokens.T, following.T, strict=True):
        logits, state = model.step(now, state)
        scores.append(picked(log_softmax(logits), then))
    return np.stack(scores, axis=1), state
