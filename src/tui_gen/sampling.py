"""From logits to probabilities to tokens."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from tui_gen.card import MAX_TEMPERATURE
from tui_gen.errors import TuiGenError

Floats = NDArray[np.float64]
Logits = NDArray[np.float32]
Tokens = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass
class SamplingParams:
    """The knobs of a run. A person may turn them while a model runs; the next token obeys.

    They apply in the order in which they stand here, and each filter sees the renormalised distribution that the one
    before it left: temperature, top_k, top_p, min_p. At least one token always survives.
    """

    temperature: float = 1.0
    """Divides the logits. 0 takes the likeliest token (greedy decoding), the lowest id among equals."""

    top_k: int = 0
    """Keeps the k likeliest tokens; 0 keeps all."""

    top_p: float = 1.0
    """Keeps the smallest set of likeliest tokens whose probabilities reach p (Holtzman et al., 2020); 1 keeps all."""

    min_p: float = 0.0
    """Keeps tokens at least min_p times as likely as the likeliest; 0 keeps all."""

    def checked(self) -> SamplingParams:
        """A consistent copy. Raises TuiGenError that names the knob which is out of its range."""
        copy = replace(self)
        if not 0 <= copy.temperature <= MAX_TEMPERATURE:
            raise TuiGenError(f"temperature must be from 0 to {MAX_TEMPERATURE:g}, not {copy.temperature}")
        if copy.top_k < 0:
            raise TuiGenError(f"top-k must be 0 (off) or more, not {copy.top_k}")
        for name, value in (("top-p", copy.top_p), ("min-p", copy.min_p)):
            if not 0 <= value <= 1:
                raise TuiGenError(f"{name} must be from 0 to 1, not {value}")
        return copy

    def describe(self) -> str:
        """The knobs that are not at their defaults, as in `temperature 0.7, top-k 40`."""
        named = {f.name.replace("_", "-"): (getattr(self, f.name), f.default) for f in fields(self)}
        shown = [f"{name} {value:.12g}" for name, (value, default) in named.items() if value != default]
        return ", ".join(shown) or "temperature 1"


def probabilities(logits: Logits, params: SamplingParams) -> Floats:
    """Logits [batch, vocab] to the distributions that tokens are drawn from: float64[batch, vocab], rows sum to 1.

    Raises FloatingPointError when a logit is NaN or infinite.
    """
    if not np.isfinite(logits).all():
        raise FloatingPointError("non-finite logits")
    peak = logits.max(axis=1, keepdims=True)
    if params.temperature == 0:
        return _one_hot(logits.argmax(axis=1), logits.shape[1])
    shifted = logits.astype(np.float64) - peak
    with np.errstate(over="ignore"):  # a tiny temperature sends all but the peak to -inf, which is right
        probs = _normalised(np.exp(shifted / params.temperature))
    if 0 < params.top_k < probs.shape[1]:
        probs = _normalised(np.where(_top_k_mask(probs, params.top_k), probs, 0.0))
    if params.top_p < 1:
        probs = _normalised(np.where(_top_p_mask(probs, params.top_p), probs, 0.0))
    if params.min_p > 0:
        threshold = params.min_p * probs.max(axis=1, keepdims=True)
        probs = _normalised(np.where(probs >= threshold, probs, 0.0))
    return probs


def draw(probs: Floats, uniform: Floats) -> Tokens:
    """Inverse CDF: the token of each row of [batch, vocab] at which the cumulated probability passes uniform [batch].

    uniform lies in [0, 1). A token of probability 0 is never drawn.
    """
    cumulated = probs.cumsum(axis=1)
    passed = (cumulated <= (uniform * cumulated[:, -1])[:, None]).sum(axis=1)
    last = probs.shape[1] - 1 - (probs[:, ::-1] > 0).argmax(axis=1)
    return np.minimum(passed, last).astype(np.int64)


def log_softmax(logits: Logits) -> Floats:
    """Natural logarithms of the model's own distribution (temperature 1, nothing cut): float64[batch, vocab]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def entropy_bits(probs: Floats) -> Floats:
    """Shannon entropy of each row of [batch, vocab], in bits: float64[batch]."""
    logs = np.log2(probs, where=probs > 0, out=np.zeros_like(probs))
    return 0.0 - np.sum(probs * logs, axis=1)  # subtracted, for a certain token has 0 bits and not -0


class Noise:
    """Uniform numbers for the samples of a run: one independent stream per sample, so that sample 3 of a run of 8
    equals sample 3 of a run of 4, and exactly one number per sampled token.
    """

    def __init__(self, seed: int, samples: int) -> None:
        if seed < 0:
            raise TuiGenError(f"the seed must be 0 or more, not {seed}")
        sequences = (np.random.SeedSequence(seed, spawn_key=(sample,)) for sample in range(samples))
        self._streams = [np.random.Generator(np.random.PCG64(sequence)) for sequence in sequences]

    def draw(self, wanted: Mask) -> Floats:
        """The next number in [0, 1) of every wanted sample, 0 for the others: float64[samples]."""
        return np.array([stream.random() if want else 0.0 for stream, want in zip(self._streams, wanted, strict=True)])


def _normalised(weights: Floats) -> Floats:
    total: Floats = weights.sum(axis=1, keepdims=True)
    return weights / total


def _one_hot(tokens: Tokens, vocab: int) -> Floats:
    return (tokens[:, None] == np.arange(vocab)).astype(np.float64)


def _top_k_mask(probs: Floats, k: int) -> Mask:
    """Exactly k per row; among equals at the border the lower ids stay."""
    border = np.partition(probs, -k, axis=1)[:, -k, None]
    above, equal = probs > border, probs == border
    room = k - above.sum(axis=1, keepdims=True)
    mask: Mask = above | (equal & (equal.cumsum(axis=1) <= room))
    return mask


def _top_p_mask(probs: Floats, p: float) -> Mask:
    order = np.argsort(-probs, axis=1, kind="stable")
    ranked = np.take_along_axis(probs, order, axis=1)
    before = ranked.cumsum(axis=1) - ranked
    keep = before < p
    keep[:, 0] = True
    mask = np.empty_like(keep)
    np.put_along_axis(mask, order, keep, axis=1)
    return mask
