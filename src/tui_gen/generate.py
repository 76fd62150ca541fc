"""The generation loop: a model, a prompt and the knobs in; one Step per token out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from tui_gen.errors import TuiGenError
from tui_gen.reading import PromptReader
from tui_gen.sampling import (
    Floats,
    Logits,
    Mask,
    Noise,
    SamplingParams,
    Tokens,
    Weights,
    draw,
    entropy_bits,
    log_softmax,
    normalised,
    picked,
    weights,
)

FREE = -1
"""In a prompt: sample this position."""


class Stepper(Protocol):
    """What `generate` asks of a model; `tui_gen.model.Model` is one. It may have a `read` as `Model` has, too."""

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


class Endless:
    """A model without an end token, so that what would end early runs to its length."""

    eos = None

    def __init__(self, model: Stepper) -> None:
        self.start, self.step, self.read = model.start, model.step, getattr(model, "read", None)


@dataclass(frozen=True, eq=False)
class Step:
    """One token of every sample, and how it came about."""

    index: int
    """Position in the sequence. The first token of a prompt has position 0 and no Step, for nothing predicts it."""

    tokens: Tokens
    """[samples]: the tokens at this position."""

    given: Mask
    """[samples]: whether the token stood in the prompt; otherwise it was sampled."""

    live: Mask
    """[samples]: whether the sample still runs. A sample that has ended keeps its row, which then means nothing."""

    said: Logits | Callable[[], Logits]
    """`logits`, or what to call for them."""

    drawn_by: Weights | None
    """[samples, vocab]: what a sampled token was drawn by; None where every token stood in the prompt."""

    params: SamplingParams
    """The knobs that counted for this step."""

    seconds: float
    """What model and sampling took."""

    kept: Any
    """`state`, or what to call for it."""

    @cached_property
    def logits(self) -> Logits:
        """[samples, vocab]: what the model said before this token."""
        if not callable(self.said):
            return self.said
        logits = self.said()
        _check_finite(logits, self.index)
        return logits

    @cached_property
    def state(self) -> Any:
        """The model's state before this token; feed it the token to go on from here."""
        return self.kept() if callable(self.kept) else self.kept

    def light(self) -> Step:
        """The same without what is large: logits, what was drawn by, state; all that follows from them is lost."""
        nothing = np.empty((len(self.tokens), 0), dtype=np.float32)
        return Step(self.index, self.tokens, self.given, self.live, nothing, None, self.params, self.seconds, None)

    @cached_property
    def weights(self) -> Weights:
        """[samples, vocab]: proportional to `probs`."""
        return weights(self.logits, self.params) if self.drawn_by is None else self.drawn_by

    @cached_property
    def probs(self) -> Floats:
        """[samples, vocab]: the distribution after all knobs, from which a sampled token was drawn."""
        return normalised(self.weights)

    def likeliest(self, count: int, *, sample: int = 0) -> Tokens:
        """[at most count]: the tokens of the highest probability after all knobs, likeliest first, lower ids first."""
        row = self.weights[sample]
        if count >= len(row):
            return np.argsort(-row, kind="stable")
        top = np.argpartition(row, -count)[-count:]
        return top[np.lexsort((top, -row[top]))]

    @cached_property
    def logprob(self) -> Floats:
        """[samples]: natural logarithm of the model's own probability (temperature 1, nothing cut) of the token."""
        return picked(self._log_softmax, self.tokens)

    @cached_property
    def entropy(self) -> Floats:
        """[samples]: entropy of the model's own distribution, in bits."""
        return entropy_bits(np.exp(self._log_softmax))

    @cached_property
    def _log_softmax(self) -> Floats:
        return log_softmax(self.logits)


def generate(
    model: Stepper, prompt: Tokens, params: SamplingParams, *, length: int, seed: int, start: Point | None = None
) -> Iterator[Step]:
    """Yields the tokens of all samples, one position at a time; nothing is computed before it is asked for.

    prompt: int64[samples, n], n >= 1. A token id keeps that position, `FREE` samples it; position 0 is given.
    params: read afresh at every step, so a change counts for the very next token.
    length: how many positions to sample past the end of the prompt.
    seed: same model, prompt, seed and knobs give the same tokens; sample i does not depend on the other samples.
    start: goes on from there; what the prompt says of positions up to there does not count.

    Ends after `length` positions or when every sample has drawn the model's end token. Raises TuiGenError for a
    prompt or knob that cannot be used and for logits that are not finite.
    """
    samples, given_length = _check(prompt, length)
    start = start or first_point(model, prompt)
    noise, live, nowhere = Noise(seed, samples, start.drawn), start.live, np.zeros(samples, dtype=bool)
    state, tokens, stands = start.state, start.tokens, prompt != FREE
    everywhere = stands.all(axis=0)
    reader, knobs = PromptReader(model, prompt, everywhere), params.checked()
    for index in range(start.index + 1, given_length + length):
        logits, state, seconds = reader.step(index - 1, tokens, state)
        began = time.perf_counter()
        if not callable(logits):
            _check_finite(logits, index)
        if params != knobs:
            knobs = params.checked()
        given, made = stands[:, index] if index < given_length else nowhere, None
        if index < given_length and everywhere[index]:
            tokens = prompt[:, index]
        else:
            made = weights(logits, knobs)
            drawn = draw(made, noise.draw(live if given is nowhere else live & ~given))
            tokens = drawn if index >= given_length else np.where(given, prompt[:, index], drawn)
        seconds += time.perf_counter() - began
        yield Step(index, tokens, given, live, logits, made, knobs, seconds, state)
        if model.eos is not None and made is not None:
            live = live & (given | (tokens != model.eos))  # a new array: the Step keeps the old one
            if not live.any():
                return


def _check(prompt: Tokens, length: int) -> tuple[int, int]:
    if prompt.ndim != 2 or 0 in prompt.shape or (prompt[:, 0] == FREE).any():
        raise TuiGenError("a prompt needs at least one sample, and a token at its first position")
    if prompt.min() < FREE:
        raise TuiGenError(f"a prompt holds token ids and FREE ({FREE}), not {prompt.min()}")
    if length < 0:
        raise TuiGenError(f"the length must be 0 or more, not {length}")
    samples, given_length = prompt.shape
    return samples, given_length


def _check_finite(logits: Logits, index: int) -> None:
    if not np.isfinite(logits).all():
        raise TuiGenError(f"the model gave non-finite logits at token {index}: its weights are damaged or it overflows")
