"""Sampling parameters, and how they turn logits into a token: temperature, filters, inverse CDF."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from tui_gen.card import MAX_TEMPERATURE
from tui_gen.errors import TuiGenError

Floats = NDArray[np.float64]
Logits = NDArray[np.float32]
Weights = NDArray[np.float32]
Tokens = NDArray[np.int64]
Mask = NDArray[np.bool_]
FREE = -1
"""In a prompt: sample this position."""
TEXT_LENGTH = 300
"""Tokens that are generated when nobody says how many."""
SEEDS = 10_000
"""A seed that nobody chose is below this, so that it can be typed again."""
_SMALL_VOCABULARY, _BLOCK = 512, 128
"""Tokens up to which a vocabulary is cumulated as a whole, and in which blocks a larger one is."""

_TINY, _LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max) / 2
_COLUMNS_PER_TOKEN = 8
"""In which a large vocabulary is laid out, for each of the likeliest tokens that are looked for."""


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
        return ", ".join(self.turned()) or "temperature 1"

    def turned(self) -> list[str]:
        """Each knob that is not at its default, with its value."""
        named = {f.name.replace("_", "-"): (getattr(self, f.name), f.default) for f in fields(SamplingParams)}
        return [f"{name} {value:.12g}" for name, (value, default) in named.items() if value != default]

    def row(self) -> Floats:
        """float64[1, 4]: temperature, top_k, top_p and min_p, which as a single row count for every sample."""
        return np.array([[self.temperature, self.top_k, self.top_p, self.min_p]], dtype=np.float64)


_PLAIN = SamplingParams().row()


def new_seed() -> int:
    """A seed that nobody chose."""
    return secrets.randbelow(SEEDS)


def weights(logits: Logits, rows: Floats) -> Weights:
    """Logits [samples, vocab] to what tokens are drawn by: float32[samples, vocab], proportional to the probabilities.

    rows: float64[samples, 4], temperature, top_k, top_p and min_p of each sample, or [1, 4] for all of them. The
    likeliest token weighs 1, one that a filter has cut 0. The logits must be finite.
    """
    values = rows.tolist()
    if len(values) == 1:
        return _weights(logits, *values[0])
    return np.concatenate([_weights(row[None], *params) for row, params in zip(logits, values, strict=True)])


def _weights(logits: Logits, temperature: float, top_k: float, top_p: float, min_p: float) -> Weights:
    if temperature == 0:
        return (logits.argmax(axis=1)[:, None] == np.arange(logits.shape[1])).astype(np.float32)
    result = _exponentials(logits, temperature)
    if 0 < top_k < result.shape[1]:
        result = np.where(_top_k_mask(result, int(top_k)), result, np.float32(0))
    if top_p < 1:
        result = np.where([_nucleus(row, top_p) for row in normalise(result)], result, np.float32(0))
    if min_p > 0:  # of what was left the likeliest weighs 1
        result = np.where(result >= np.float32(min_p), result, np.float32(0))
    return result


def _exponentials(logits: Logits, temperature: float) -> Weights:
    """exp((logits - peak) / temperature) for each row."""
    if len(logits) == 1:
        peak, least = logits.item(logits.argmax()), logits.item(logits.argmin())
        if peak - least < min(1, temperature) * _LARGEST:  # nothing overflows, and no time goes to saying so
            return _exp(logits - np.float32(peak), temperature)
    with np.errstate(over="ignore"):
        return _exp(logits - logits.max(axis=1, keepdims=True), temperature)


def _exp(exponents: Logits, temperature: float) -> Weights:
    if temperature != 1:
        exponents = _divide(exponents, temperature)
    result: Weights = np.exp(exponents, out=exponents)
    return result


def _divide(exponents: Logits, temperature: float) -> Logits:
    """In place, by a temperature as small as it may be: all but the peak then go to minus infinity, which is right."""
    if temperature < _TINY:
        return np.where(exponents < 0, np.float32(-np.inf), np.float32(0))
    return np.divide(exponents, temperature, out=exponents)


def _top_k_mask(weights: Weights, k: int) -> Mask:
    """Exactly k per row; among equals at the border the lower ids stay."""
    border = np.partition(weights, -k, axis=1)[:, -k, None]
    above, equal = weights > border, weights == border
    room = k - above.sum(axis=1, keepdims=True)
    mask: Mask = above | (equal & (equal.cumsum(axis=1) <= room))
    return mask


def _nucleus(probs: Floats, p: float) -> Mask:
    """Of one distribution. Tokens below (1 - p) / vocab cannot be in it: all of them together reach less than 1 - p."""
    likely = np.flatnonzero(probs >= (1 - p) / len(probs))
    order = likely[np.argsort(-probs[likely], kind="stable")]
    descending = probs[order]
    keep = descending.cumsum() - descending < p
    keep[0] = True
    mask = np.zeros(len(probs), dtype=bool)
    mask[order[keep]] = True
    return mask


def likeliest(weights: Weights, count: int) -> Tokens:
    """[at most count]: the tokens of the largest weights [vocab], largest first, lower ids first.

    Of a large vocabulary, laid out as a table, as many columns as asked for have a maximum that reaches a border; so
    at least as many tokens reach it, and hardly more, which alone are sorted.
    """
    depth = len(weights) // (_COLUMNS_PER_TOKEN * count) if count else 0
    if depth < 2:
        return np.argsort(-weights, kind="stable")[:count]
    columns = np.maximum.reduce(weights[: len(weights) // depth * depth].reshape(depth, -1))
    border = np.partition(columns, -count)[-count]
    above = np.flatnonzero(weights > border)
    tokens = above[np.argsort(-weights[above], kind="stable")[:count]]
    if len(tokens) == count:
        return tokens
    return np.concatenate([tokens, np.flatnonzero(weights == border)[: count - len(tokens)]])


def normalise(weights: Weights) -> Floats:
    """Weights [batch, vocab] to the distributions that tokens are drawn from: float64[batch, vocab], rows sum to 1."""
    probs = weights.astype(np.float64)
    probs /= probs.sum(axis=1, keepdims=True)
    return probs


def probabilities(logits: Logits, params: SamplingParams) -> Floats:
    """Logits [batch, vocab] to the distributions that tokens are drawn from: float64[batch, vocab], rows sum to 1.

    Raises FloatingPointError when a logit is NaN or infinite.
    """
    if not np.isfinite(logits).all():
        raise FloatingPointError("non-finite logits")
    return normalise(weights(logits, params.row()))


def draw_tokens(weights: Weights | Floats, uniform: Floats) -> Tokens:
    """Inverse CDF: the token of each row of weights [batch, vocab] at which the cumulated part passes uniform [batch].

    uniform lies in [0, 1). A token of weight 0 is never drawn.
    """
    if len(weights) == 1:
        return np.array([_draw_token(weights[0], uniform.item())])
    if weights.shape[1] > _SMALL_VOCABULARY:
        return _draw_by_block(weights, uniform)
    cumulative = weights.cumsum(axis=1, dtype=np.float64)
    return _first_above(weights, cumulative, uniform * cumulative[:, -1])


def _draw_token(row: Weights | Floats, part: float) -> int:
    """The token of one sample. Of a large vocabulary only the block that matters is cumulated token by token."""
    if len(row) <= _SMALL_VOCABULARY:
        cumulative = np.add.accumulate(row.astype(np.float64))  # cumsum without its detour through Python
        return _first_above_in(row, cumulative, part * cumulative[-1])
    blocks = np.add.reduceat(row, np.arange(0, len(row), _BLOCK))
    cumulative = blocks.cumsum(dtype=np.float64)
    target = part * cumulative[-1]
    block = _first_above_in(blocks, cumulative, target)
    inside = row[block * _BLOCK : (block + 1) * _BLOCK]
    target -= cumulative[block] - blocks[block]
    return block * _BLOCK + _first_above_in(inside, inside.cumsum(dtype=np.float64), target)


def _first_above_in(row: Weights | Floats, cumulative: Floats, target: float) -> int:
    """Where the cumulative weights pass a target; at the last weight, if rounding keeps them below."""
    place = int(cumulative.searchsorted(target, side="right"))
    return place if place < len(row) else int(np.flatnonzero(row)[-1])


def _draw_by_block(weights: Weights | Floats, uniform: Floats) -> Tokens:
    """As `_draw_token` for all samples at once, number for number."""
    rows, vocab = np.arange(len(weights)), weights.shape[1]
    blocks = np.add.reduceat(weights, np.arange(0, vocab, _BLOCK), axis=1)
    cumulative = blocks.cumsum(axis=1, dtype=np.float64)
    target = uniform * cumulative[:, -1]
    block = _first_above(blocks, cumulative, target)
    places = block[:, None] * _BLOCK + np.arange(_BLOCK)
    inside = np.where(places < vocab, weights[rows[:, None], np.minimum(places, vocab - 1)], weights.dtype.type(0))
    target -= cumulative[rows, block] - blocks[rows, block]
    return block * _BLOCK + _first_above(inside, inside.cumsum(axis=1, dtype=np.float64), target)


def _first_above(weights: Weights | Floats, cumulative: Floats, target: Floats) -> Tokens:
    """As `_first_above_in`, for each row."""
    places = (cumulative <= target[:, None]).sum(axis=1)
    last = weights.shape[1] - 1 - (weights[:, ::-1] > 0).argmax(axis=1)
    return np.minimum(places, last)


def log_softmax(logits: Logits) -> Floats:
    """Natural logarithms of the model's own distribution (temperature 1, nothing cut): float64[batch, vocab]."""
    exponents = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return exponents - np.log(np.exp(exponents).sum(axis=1, keepdims=True))


def gather(table: Floats | Logits, tokens: Tokens, rows: Tokens | None = None) -> Floats:
    """The entries of a table [batch, vocab] for tokens [n], -inf for one past the vocabulary: float64[n].

    rows: int64[n], that of each token; by default each has the row of its own number.
    """
    inside = np.minimum(tokens, table.shape[1] - 1)
    own = table[np.arange(len(tokens)) if rows is None else rows, inside].astype(np.float64)
    entries: Floats = np.where(inside == tokens, own, -np.inf)
    return entries


def own_weights(logits: Logits) -> Weights:
    """float32[batch, vocab], proportional to the model's own distribution; the likeliest token weighs 1."""
    return weights(logits, _PLAIN)


def log_sums(logits: Logits, own: Weights) -> Floats:
    """Natural logarithms of the sums of exp(logits): float64[batch]. own: as of `own_weights`.

    A logit less this is the logarithm of the token's probability; `log_softmax` computes that of all tokens, with
    numbers of 64 bits, in ten times as long for a vocabulary of words.
    """
    return logits.max(axis=1).astype(np.float64) + np.log(own.sum(axis=1, dtype=np.float64))


def token_logprobs(logits: Logits, tokens: Tokens) -> Floats:
    """Natural logarithms of the model's own probability of a token [batch] of each row: float64[batch]."""
    return gather(logits, tokens) - log_sums(logits, own_weights(logits))


def entropy_bits(logits: Logits, own: Weights) -> Floats:
    """Shannon entropy of the model's own distribution, in bits: float64[batch]. own: as of `own_weights`."""
    sums = own.sum(axis=1, dtype=np.float64)
    with np.errstate(over="ignore"):
        below = np.maximum(logits - logits.max(axis=1, keepdims=True), np.float32(-_LARGEST))
    below *= own
    nats: Floats = np.log(sums) - below.sum(axis=1, dtype=np.float64) / sums
    return np.maximum(nats / math.log(2), 0.0)
