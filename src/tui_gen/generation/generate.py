"""The generation loop: a model, a prompt and the knobs in; one Step per token out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tui_gen.errors import TuiGenError
from tui_gen.generation.protocol import LogitsSource, Prefill, RunStart, State, StateSource, StepModel, run_start
from tui_gen.sampling.device_protocol import SampleReport
from tui_gen.sampling.noise import Noise
from tui_gen.sampling.params import FREE, Floats, Mask, SamplingParams, Tokens, Weights, draw_tokens, weights
from tui_gen.sampling.step import Step, check_finite, non_finite
from tui_gen.sampling.sweep import Sweep

_MOST_THAT_STAY = 7 / 8
"""Of a batch from which samples leave that have ended."""


def generate(
    model: StepModel,
    prompt: Tokens,
    params: SamplingParams,
    *,
    length: int,
    seed: int | Sequence[int],
    numbers: Sequence[int] | None = None,
    start: RunStart | None = None,
    sweep: Sweep | None = None,
) -> Iterator[Step]:
    """Yields the tokens of all samples, one position at a time; nothing is computed before it is asked for.

    prompt: int64[samples, n], n >= 1. A token id keeps that position, `FREE` samples it; position 0 is given.
    params: read afresh at every step, so a change counts for the very next token.
    length: how many positions to sample past the end of the prompt.
    seed: same model, prompt, seed and knobs give the same tokens; sample i does not depend on the other samples. Of
    several seeds, one a sample, each gives what a run of one sample with that seed gives.
    numbers: which samples of the seed to draw, [samples], 0 or more; those from 0 on, if nothing is said. A sample of
    a number is the same, to the last bit on one type of processor, whichever others it is drawn with.
    start: goes on from there; what the prompt says of positions up to there does not count.
    sweep: gives every sample another value of one knob, and all samples the random numbers of the first one.

    Ends after `length` positions or when every sample has drawn the model's end token. Raises TuiGenError for a
    prompt or knob that cannot be used, for numbers of a model that mixes rows, and for logits that are not finite.
    """
    samples, given_length = _check(prompt, length)
    if sweep and len(sweep) != samples:
        raise TuiGenError(f"a sweep of {len(sweep)} values needs as many samples, not {samples}")
    if numbers is not None:
        _check_numbers(model, numbers, samples)
    start = start or run_start(model, prompt)
    tokens, stands, nowhere = start.tokens, prompt != FREE, np.zeros(samples, dtype=bool)
    everywhere = stands.all(axis=0)
    batch = Batch(model, start.state, start.live, alone=samples == 1 and numbers is None)
    prefill, sampler = Prefill(model, prompt[batch.everyone], everywhere), Sampler(model)
    noise = Noise(seed, samples, start.draws, numbers=numbers, shared=sweep is not None)
    live_params = LiveParams(params, sweep)
    for index in range(start.index + 1, given_length + length):
        live_params.refresh()
        given = stands[:, index] if index < given_length else nowhere
        if index < given_length and everywhere[index]:
            logits, state, seconds = prefill.step(index - 1, tokens[batch.everyone], batch.widened())
            result = Sampled(prompt[:, index], logits, state, seconds)
            if not callable(logits):
                check_finite(logits, index)
        else:
            uniform = noise.uniform(batch.live if given is nowhere else batch.live & ~given)
            result = batch.sample(sampler, index, tokens, uniform, live_params.rows)
        batch.state = result.state
        tokens = result.tokens if given is nowhere else np.where(given, prompt[:, index], result.tokens)
        tokens = batch.after_end(tokens, given)
        step = Step(
            index,
            tokens,
            given,
            batch.live,
            result.logits,
            result.weights,
            live_params.params,
            result.seconds,
            result.state,
            result.report,
            sweep,
            batch.rows,
        )
        yield step
        if step.sampled and batch.end(tokens, given):
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


def _check_numbers(model: StepModel, numbers: Sequence[int], samples: int) -> None:
    if len(numbers) != samples:
        raise TuiGenError(f"{samples} samples need as many numbers, not {len(numbers)}")
    check_rows(model)


def check_rows(model: StepModel) -> None:
    """Raises TuiGenError for a model that mixes rows, whose samples are not known by their numbers."""
    if model.mixes_rows:
        raise TuiGenError(
            "samples have no numbers of their own here: this network is quantised so that all samples of a batch are "
            "rounded by the largest number of any; draw without numbers, or export it in 32 bits"
        )


class Batch:
    """The samples of a run. A step computes them all, or, where the model allows it, those that have not ended.

    They leave each time an eighth of them have ended, for the rest is copied. A row alone is computed by other kernels,
    which round otherwise; so the last one goes on twice, and gives what it gives beside any other.
    """

    def __init__(self, model: StepModel, state: State, live: Mask, *, alone: bool) -> None:
        """state: of all samples. live: [samples], those that go on. alone: whether a row may be alone, which is the
        fastest for one sample.
        """
        self._eos, self._may_leave, self._least = model.eos, model.rows_may_leave, 1 if alone else 2
        self.everyone = np.resize(np.arange(len(live)), max(len(live), self._least))
        """The sample of each row, where all samples are computed."""
        self._members = self.everyone
        whole = len(self.everyone) == len(live)
        self.rows: Tokens | None = None if whole else np.arange(len(live))
        """[samples]: as of `Step`."""
        self.state: StateSource = state if whole else state.rows(self.everyone)
        """Of the rows that are computed."""
        self._set_live(live)

    def end(self, tokens: Tokens, given: Mask) -> bool:
        """Ends samples [samples] whose end token was sampled; whether that was the last of them."""
        if self._eos is not None and (self._eos in tokens if len(tokens) > 1 else tokens.item() == self._eos):
            self._set_live(self.live & (given | (tokens != self._eos)))  # a new array: the Step keeps the old one
        return not self._some_live

    def after_end(self, tokens: Tokens, given: Mask) -> Tokens:
        """With the end token in place of what is sampled for samples that have ended."""
        if self._all_live or self._eos is None:
            return tokens
        return np.where(self.live | given, tokens, self._eos)

    def widened(self) -> StateSource:
        """The state of all samples, which are computed from here on."""
        if self._members is not self.everyone and self.rows is not None and not callable(self.state):
            self.state, self._members = self.state.rows(self.rows[self.everyone]), self.everyone
            self.rows = None
        return self.state

    def sample(self, sampler: Sampler, index: int, tokens: Tokens, uniform: Floats, rows: Floats) -> Sampled:
        """As `Sampler.sample`; only the tokens are of all samples, the rest is of those that are computed."""
        if self.rows is None:
            return sampler.sample(index, tokens, self.state, uniform, rows)
        members = self._members
        own = rows[members] if len(rows) > 1 else rows
        result = sampler.sample(index, tokens[members], self.state, uniform[members], own)
        return result._replace(tokens=result.tokens[self.rows])

    def _set_live(self, live: Mask) -> None:
        self.live, self._all_live, self._some_live = live, bool(live.all()), bool(live.any())
        if self._some_live and not self._all_live and self._may_leave and not callable(self.state):
            self._shrink(self.state, np.flatnonzero(live[self._members]))

    def _shrink(self, state: State, stay: Tokens) -> None:
        stay = np.resize(stay, max(len(stay), self._least))
        if len(stay) <= _MOST_THAT_STAY * len(self._members):
            self.state, self._members = state.rows(stay), self._members[stay]
            self.rows = np.zeros(len(self.live), dtype=np.int64)
            self.rows[self._members] = np.arange(len(stay))


class LiveParams:
    """Sampling parameters that somebody may change between any two tokens."""

    def __init__(self, source: SamplingParams, sweep: Sweep | None = None) -> None:
        """source: what may change. Raises as `refresh` does."""
        self._source, self._sweep = source, sweep
        self._read()

    def refresh(self) -> None:
        """Takes what has changed. Raises TuiGenError for a knob that is out of its range."""
        if self._source != self.params:
            self._read()

    def _read(self) -> None:
        self.params = params = replace(self._source)
        """A copy that nobody changes."""
        self.rows = self._sweep.checked(params).rows(params) if self._sweep else params.checked().row()
        """As of `weights`: float64[samples, 4] of a sweep, else [1, 4]."""


class Sampled(NamedTuple):
    """The tokens of all samples at one position, with their logits and the state before them, as in `Step`."""

    tokens: Tokens
    logits: LogitsSource
    state: StateSource
    seconds: float
    weights: Weights | None = None
    report: SampleReport | None = None


class Sampler:
    """Samples the next token, on the device if the model supports it."""

    def __init__(self, model: StepModel) -> None:
        self._model, self._draw = model, model.draw

    def sample(self, index: int, tokens: Tokens, state: Any, uniform: Floats, rows: Floats) -> Sampled:
        """The tokens at a position, after those before it. rows: as of `weights`.

        Raises TuiGenError for logits that are not finite.
        """
        start = time.perf_counter()
        on_device = self._draw(tokens, state, uniform, rows) if self._draw else None
        if on_device is not None:
            report = on_device.report
            if not report.finite:
                raise non_finite(index)
            seconds = time.perf_counter() - start
            return Sampled(report.tokens, on_device.logits, on_device.state, seconds, report=report)
        logits, after = self._model.step(tokens, state)
        check_finite(logits, index)
        by_weight = weights(logits, rows)
        return Sampled(draw_tokens(by_weight, uniform), logits, after, time.perf_counter() - start, by_weight)
