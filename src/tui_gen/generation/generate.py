"""The generation loop: a model, a prompt and the knobs in; one Step per token out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from tui_gen.errors import TuiGenError
from tui_gen.generation.protocol import Prefill, RunStart, StepModel, run_start
from tui_gen.sampling.device_protocol import SampleReport
from tui_gen.sampling.params import FREE, Floats, Logits, SamplingParams, Tokens, Weights, draw
from tui_gen.sampling.step import Step, check_finite, non_finite


def generate(
    model: StepModel, prompt: Tokens, params: SamplingParams, *, length: int, seed: int, start: RunStart | None = None
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
    start = start or run_start(model, prompt)
    live, nowhere = start.live, np.zeros(samples, dtype=bool)
    state, tokens, stands = start.state, start.tokens, prompt != FREE
    everywhere = stands.all(axis=0)
    reader, drawer, knobs = Prefill(model, prompt, everywhere), Sampler(model), params.checked()
    noise = knobs.noise(seed, samples, start.drawn)
    for index in range(start.index + 1, given_length + length):
        if params != knobs:
            knobs = params.checked()
        given = stands[:, index] if index < given_length else nowhere
        if index < given_length and everywhere[index]:
            logits, state, seconds = reader.step(index - 1, tokens, state)
            turn = Sampled(prompt[:, index], logits, state, seconds)
            if not callable(logits):
                check_finite(logits, index)
        else:
            turn = drawer.draw(index, tokens, state, noise.draw(live if given is nowhere else live & ~given), knobs)
            state = turn.state
        tokens = turn.tokens if given is nowhere else np.where(given, prompt[:, index], turn.tokens)
        step = Step(index, tokens, given, live, turn.said, turn.drawn_by, knobs, turn.seconds, state, turn.report)
        yield step
        if model.eos is not None and step.sampled:
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


class Sampled(NamedTuple):
    """What comes after a token; the fields are those of `Step`."""

    tokens: Tokens
    said: Logits | Callable[[], Logits]
    state: Any
    seconds: float
    drawn_by: Weights | None = None
    report: SampleReport | None = None


class Sampler:
    """Samples what follows tokens. A model that samples by itself has a `draw` as `tui_gen.runtime.model.Model` has."""

    def __init__(self, model: StepModel) -> None:
        self._model, self._draw = model, getattr(model, "draw", None)

    def draw(self, index: int, tokens: Tokens, state: Any, uniform: Floats, knobs: SamplingParams) -> Sampled:
        """The tokens at a position, after those before it. Raises TuiGenError for logits that are not finite."""
        began = time.perf_counter()
        drawn = self._draw(tokens, state, uniform, knobs) if self._draw else None
        if drawn is not None:
            report = drawn.report
            if not report.finite:
                raise non_finite(index)
            return Sampled(report.tokens, drawn.logits, drawn.state, time.perf_counter() - began, report=report)
        logits, after = self._model.step(tokens, state)
        check_finite(logits, index)
        made = knobs.weights(logits)
        return Sampled(draw(made, uniform), logits, after, time.perf_counter() - began, made)
