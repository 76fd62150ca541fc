"""`StepModel`, the protocol of a model, and prefill: feeding it the tokens of a prompt, many at once where it can."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tui_gen.errors import TuiGenError
from tui_gen.sampling.device_protocol import SampleReport
from tui_gen.sampling.params import Floats, Logits, Mask, Tokens, token_logprobs

CHUNK = 128
"""Tokens that are read at once."""
_LEAST = 32
"""Fewer are not worth it."""


class State(Protocol):
    """What a model keeps of the tokens that it has read, of several samples; only that model can read it."""

    def __len__(self) -> int:
        """Samples."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        ...

    def rows(self, samples: Sequence[int] | NDArray[Any]) -> State:
        """The state of these samples, in this order; one may come several times."""
        ...

    def compact(self) -> State:
        """The same in as little memory as it takes, to be kept for long."""
        ...

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """A copy of the tensors."""
        ...


LogitsSource = Logits | Callable[[], Logits]
StateSource = State | Callable[[], State]
"""Logits or a state, or a callable that fetches or computes them."""


class DeviceSample(NamedTuple):
    """Tokens that were sampled on the GPU, with their logits and the state before them."""

    report: SampleReport
    logits: Callable[[], Logits]
    """Fetches what they were sampled from, [batch, vocab]."""
    state: State


Read = Callable[[Tokens, Any], State | None]
Draw = Callable[[Tokens, Any, Floats, Floats], DeviceSample | None]
Score = Callable[[Tokens, Tokens, Any], tuple[Floats, State] | None]


class StepModel(Protocol):
    """A model as `generate` needs it: a step function, and abilities that are None where a model does not have them.

    A state that it is given is one that it returned.
    """

    @property
    def eos(self) -> int | None:
        """The token that ends a sample, if the model has one."""
        ...

    @property
    def rows_may_leave(self) -> bool:
        """Whether samples that have ended may be taken out of a batch: on the host, if it does not mix rows."""
        ...

    @property
    def mixes_rows(self) -> bool:
        """Whether a row of a batch depends on the others, as where all are rounded by the largest number of any."""
        ...

    def start(self, batch: int) -> State:
        """The state before the first token."""
        ...

    def step(self, tokens: Tokens, state: Any) -> tuple[Logits, State]:
        """Tokens [batch] and the state before them to logits [batch, vocab] and the state after them."""
        ...

    @property
    def read(self) -> Read | None:
        """From tokens [batch, n] and the state before them to the state after them, all at once.

        Returns None where that cannot be done. Raises TuiGenError for a state that is not finite.
        """
        ...

    @property
    def draw(self) -> Draw | None:
        """Reads tokens [batch] and samples what follows, from the state before them, uniform numbers float64[batch] in
        [0, 1) and parameters as of `weights`. Returns None where that is not done beside the model.
        """
        ...

    @property
    def score(self) -> Score | None:
        """Reads tokens [batch, n] at once, given a token [batch, n] that follows each of them, and the state before.

        Returns the natural logarithms of the probability of what follows, [batch, n], and the state after the tokens;
        None where that cannot be done.
        """
        ...


class StatePort(Protocol):
    """An input of the graph."""

    @property
    def name(self) -> str: ...


class StateModel(StepModel, Protocol):
    """A model whose states can be taken apart and put together, as a branch needs it for surgery."""

    @property
    def inputs(self) -> Sequence[StatePort]:
        """The token, then the parts of the state in their order, each called `state.` and a name."""
        ...

    def state(self, arrays: Sequence[NDArray[Any]], batch: int) -> State:
        """A state of tensors that were computed elsewhere, in the order of the inputs; it takes them over."""
        ...


class Endless:
    """Wraps a model and hides its end token, so that runs always reach their full length."""

    eos = None
    rows_may_leave = False

    def __init__(self, model: StepModel) -> None:
        self.start, self.step, self.mixes_rows = model.start, model.step, model.mixes_rows
        self.read, self.draw, self.score = model.read, model.draw, model.score


@dataclass(frozen=True, eq=False)
class RunStart:
    """Where a run can begin or go on: a token of every sample that is known and not read yet."""

    index: int
    """Its position in the sequence."""
    tokens: Tokens
    """[samples]"""
    state: State
    """The model's state before it."""
    live: Mask
    """[samples]: whether the sample goes on after it."""
    draws: Tokens
    """[samples]: how many random numbers the sample has taken so far."""


def run_start(model: StepModel, prompt: Tokens) -> RunStart:
    """Where a run with a prompt [samples, n] begins."""
    samples = len(prompt)
    live, draws = np.ones(samples, dtype=bool), np.zeros(samples, dtype=np.int64)
    return RunStart(0, prompt[:, 0], model.start(samples), live, draws)


class Chunk:
    """Tokens that were read at once. Logits and states between them are computed when somebody asks."""

    def __init__(self, model: StepModel, read: Read, tokens: Tokens, start: Any, first: int) -> None:
        """tokens: int64[samples, n]. start: the state before them. first: position of the first of them.

        Raises TuiGenError where the model cannot read them at once.
        """
        self._model, self._read, self._tokens, self._start = model, read, tokens, start
        self._latest: tuple[int, State] = (0, start)
        began = time.perf_counter()
        self.after, self.first, self.past = self._read_many(tokens, start), first, first + tokens.shape[1]
        self.seconds = (time.perf_counter() - began) / tokens.shape[1]
        """What reading a token took."""

    def at(self, position: int) -> tuple[LogitsSource, StateSource]:
        """A callable for the logits after the token at this position; the state after it, or a callable for it."""
        count = position - self.first + 1
        after = self.after if position + 1 == self.past else partial(self._state, count)
        return partial(self._logits, count), after

    def _state(self, count: int) -> State:
        """After so many tokens."""
        count_before, state = self._latest if self._latest[0] <= count else (0, self._start)
        return self._read_many(self._tokens[:, count_before:count], state) if count_before < count else state

    def _read_many(self, tokens: Tokens, state: Any) -> State:
        after = self._read(tokens, state)
        if after is None:
            raise TuiGenError("the model reads tokens one by one")
        return after

    def _logits(self, count: int) -> Logits:
        logits, after = self._model.step(self._tokens[:, count - 1], self._state(count - 1))
        self._latest = (count, after)  # who asks for one often asks for the next
        return logits


class Prefill:
    """Feeds a model with the tokens of a run: those of the prompt many at once, if the model can and they are many."""

    def __init__(self, model: StepModel, prompt: Tokens, given: Mask) -> None:
        """prompt: int64[samples, n]. given: [n], whether the tokens of all samples stand at a position."""
        self._model, self._prompt = model, prompt
        self._read = model.read
        # A token is read ahead if the one after it is given as well: for what is sampled, logits are needed at once.
        self._stops = np.flatnonzero(~(given[:-1] & given[1:]))
        self._end = prompt.shape[1] - 1
        self._chunk: Chunk | None = None

    def step(self, position: int, tokens: Tokens, state: Any) -> tuple[LogitsSource, StateSource, float]:
        """Reads the tokens at a position, with the state before them.

        Returns logits [samples, vocab], the state after them, or a callable for either, and seconds that it took.
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
            return Chunk(self._model, self._read, self._prompt[:, position : position + count], state, position)
        except TuiGenError:
            self._read = None  # step by step, any fault comes with the token that it is of
            return None

    def _given_from(self, position: int) -> int:
        """How many tokens from here on may be read ahead."""
        later = self._stops[self._stops >= position]
        return (int(later[0]) if len(later) else self._end) - position


def state_after(model: StepModel, tokens: Tokens, state: Any) -> State:
    """The state after int64[samples, n], read at once where the model can and they are many."""
    after = model.read(tokens, state) if model.read and tokens.shape[1] >= _LEAST else None
    if after is not None:
        return after
    for column in tokens.T:
        _, state = model.step(column, state)
    return state


def score_steps(model: StepModel, tokens: Tokens, following: Tokens, state: Any) -> tuple[Floats, State]:
    """Reads int64[samples, n] one by one; natural logarithms of the probability of what follows each of them, float64
    [samples, n], and the state after them.
    """
    scores = []
    for now, then in zip(tokens.T, following.T, strict=True):
        logits, state = model.step(now, state)
        scores.append(token_logprobs(logits, then))
    return np.stack(scores, axis=1), state
