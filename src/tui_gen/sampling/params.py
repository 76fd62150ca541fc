"""From logits to probabilities to tokens."""

from __future__ import annotations

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
_AHEAD = 64
"""Random numbers of a sample that are made at once."""
_PLAIN, _BLOCK = 512, 128
"""Tokens up to which a vocabulary is cumulated as a whole, and in which blocks a larger one is."""
FREE = -1
"""In a prompt: sample this position."""
TEXT_LENGTH = 300
"""Tokens that are generated when nobody says how many."""
SEEDS = 10_000
"""A seed that nobody chose is below this, so that it can be typed again."""


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


def weights(logits: Logits, rows: Floats) -> Weights:
    """Logits [samples, vocab] to what tokens are drawn by: float32[samples, vocab], proportional to the probabilities.

    rows: float64[samples, 4], temperature, top_k, top_p and min_p of each sample, or [1, 4] for all of them. The
    likeliest token weighs 1, one that a filter has cut 0. The logits must be finite.
    """
    if len(rows) == 1:
        return _weights(logits, *rows[0].tolist())
    return np.concatenate([_weights(row[None], *values) for row, values in zip(logits, rows.tolist(), strict=True)])


def _weights(logits: Logits, temperature: float, top_k: float, top_p: float, min_p: float) -> Weights:
    if temperature == 0:
        return _one_hot(logits.argmax(axis=1), logits.shape[1])
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        shifted = logits - logits.max(axis=1, keepdims=True)
        if temperature != 1:
            shifted = _divided(shifted, temperature)
        result: Weights = np.exp(shifted, out=shifted)
    if 0 < top_k < result.shape[1]:
        result = np.where(_top_k_mask(result, int(top_k)), result, np.float32(0))
    if top_p < 1:
        result = np.where(_top_p_mask(result, top_p), result, np.float32(0))
    if min_p > 0:  # of what was left the likeliest weighs 1
        result = np.where(result >= np.float32(min_p), result, np.float32(0))
    return result


def normalised(made: Weights) -> Floats:
    """Weights [batch, vocab] to the distributions that tokens are drawn from: float64[batch, vocab], rows sum to 1."""
    exact = made.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    return exact


def probabilities(logits: Logits, params: SamplingParams) -> Floats:
    """Logits [batch, vocab] to the distributions that tokens are drawn from: float64[batch, vocab], rows sum to 1.

    Raises FloatingPointError when a logit is NaN or infinite.
    """
    if not np.isfinite(logits).all():
        raise FloatingPointError("non-finite logits")
    return normalised(weights(logits, params.row()))


def _divided(shifted: Logits, temperature: float) -> Logits:
    """By a temperature as small as it may be: all but the peak then go to minus infinity, which is right."""
    if temperature < np.finfo(np.float32).tiny:
        return np.where(shifted < 0, np.float32(-np.inf), np.float32(0))
    return shifted / np.float32(temperature)


def draw(made: Weights | Floats, uniform: Floats) -> Tokens:
    """Inverse CDF: the token of each row of weights [batch, vocab] at which the cumulated part passes uniform [batch].

    uniform lies in [0, 1). A token of weight 0 is never drawn.
    """
    if len(made) == 1:
        return np.array([_draw(made[0], uniform.item())])
    if made.shape[1] > _PLAIN:
        return _draw_by_block(made, uniform)
    cumulated = made.cumsum(axis=1, dtype=np.float64)
    return _pass(made, cumulated, uniform * cumulated[:, -1])


def _draw(row: Weights | Floats, part: float) -> int:
    """The token of one sample. Of a large vocabulary only the block that matters is cumulated token by token."""
    if len(row) <= _PLAIN:
        cumulated = np.add.accumulate(row, dtype=np.float64)  # cumsum without its detour through Python
        return _passes(row, cumulated, part * cumulated[-1])
    blocks = np.add.reduceat(row, np.arange(0, len(row), _BLOCK))
    cumulated = blocks.cumsum(dtype=np.float64)
    wanted = part * cumulated[-1]
    block = _passes(blocks, cumulated, wanted)
    inside = row[block * _BLOCK : (block + 1) * _BLOCK]
    wanted -= cumulated[block] - blocks[block]
    return block * _BLOCK + _passes(inside, inside.cumsum(dtype=np.float64), wanted)


def _passes(row: Weights | Floats, cumulated: Floats, wanted: float) -> int:
    """Where the cumulated weights pass what is wanted; at the last weight, if rounding keeps them below."""
    place = int(cumulated.searchsorted(wanted, side="right"))
    return place if place < len(row) else int(np.flatnonzero(row)[-1])


def _draw_by_block(made: Weights | Floats, uniform: Floats) -> Tokens:
    """The same for all samples at once, number for number."""
    rows, vocab = np.arange(len(made)), made.shape[1]
    blocks = np.add.reduceat(made, np.arange(0, vocab, _BLOCK), axis=1)
    cumulated = blocks.cumsum(axis=1, dtype=np.float64)
    wanted = uniform * cumulated[:, -1]
    block = _pass(blocks, cumulated, wanted)
    places = block[:, None] * _BLOCK + np.arange(_BLOCK)
    inside = np.where(places < vocab, made[rows[:, None], np.minimum(places, vocab - 1)], made.dtype.type(0))
    wanted -= cumulated[rows, block] - blocks[rows, block]
    return block * _BLOCK + _pass(inside, inside.cumsum(axis=1, dtype=np.float64), wanted)


def _pass(made: Weights | Floats, cumulated: Floats, wanted: Floats) -> Tokens:
    """As `_passes`, for each row."""
    passed = (cumulated <= wanted[:, None]).sum(axis=1)
    last = made.shape[1] - 1 - (made[:, ::-1] > 0).argmax(axis=1)
    return np.minimum(passed, last)


def log_softmax(logits: Logits) -> Floats:
    """Natural logarithms of the model's own distribution (temperature 1, nothing cut): float64[batch, vocab]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def picked(logprobs: Floats, tokens: Tokens) -> Floats:
    """The entry of each row of [batch, vocab] for the token [batch] of that row; -inf for one past the vocabulary."""
    inside = np.minimum(tokens, logprobs.shape[1] - 1)
    found: Floats = np.where(inside == tokens, logprobs[np.arange(len(tokens)), inside], -np.inf)
    return found


def entropy_bits(probs: Floats) -> Floats:
    """Shannon entropy of each row of [batch, vocab], in bits: float64[batch]."""
    logs = np.log2(probs, where=probs > 0, out=np.zeros_like(probs))
    return 0.0 - np.sum(probs * logs, axis=1)  # subtracted, for a certain token has 0 bits and not -0


class Noise:
    """Uniform numbers for the samples of a run: one independent stream per sample, so that sample 3 of a run of 8
    equals sample 3 of a run of 4, and exactly one number per sampled token.
    """

    def __init__(self, seed: int, samples: int, positions: Tokens | None = None, *, shared: bool = False) -> None:
        """positions: int64[samples], how many numbers each sample has taken before; 0, if nothing is said. shared:
        every sample reads the first one's stream, each at a place of its own. Raises TuiGenError for a negative seed.
        """
        if seed < 0:
            raise TuiGenError(f"the seed must be 0 or more, not {seed}")
        counts = [0] * samples if positions is None else positions.tolist()
        self._streams = [_stream(seed, 0 if shared else sample, count) for sample, count in enumerate(counts)]
        self._ahead = np.empty((samples, _AHEAD))
        self._next = np.full(samples, _AHEAD)
        """The numbers that come, and the place of the next in each row."""
        self._rows = np.arange(samples)

    def draw(self, mask: Mask) -> Floats:
        """The next number in [0, 1) of every sample of the mask, 0 for the others: float64[samples]."""
        if len(mask) == 1 and mask[0]:
            return self._streams[0].random(1)
        for row in np.flatnonzero(mask & (self._next == _AHEAD)):
            self._ahead[row], self._next[row] = self._streams[row].random(_AHEAD), 0
        numbers = np.where(mask, self._ahead[self._rows, self._next % _AHEAD], 0.0)
        self._next += mask
        return numbers


def _stream(seed: int, sample: int, position: int) -> np.random.Generator:
    bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(sample,)))
    return np.random.Generator(bits.advance(position) if position else bits)


def _one_hot(tokens: Tokens, vocab: int) -> Weights:
    return (tokens[:, None] == np.arange(vocab)).astype(np.float32)


def _top_k_mask(made: Weights, k: int) -> Mask:
    """Exactly k per row; among equals at the border the lower ids stay."""
    border = np.partition(made, -k, axis=1)[:, -k, None]
    above, equal = made > border, made == border
    room = k - above.sum(axis=1, keepdims=True)
    mask: Mask = above | (equal & (equal.cumsum(axis=1) <= room))
    return mask


def _top_p_mask(made: Weights, p: float) -> Mask:
    return np.stack([_nucleus(row, p) for row in normalised(made)])


def _nucleus(probs: Floats, p: float) -> Mask:
    """Of one distribution. Tokens below (1 - p) / vocab cannot be in it: all of them together reach less than 1 - p."""
    likely = np.flatnonzero(probs >= (1 - p) / len(probs))
    order = likely[np.argsort(-probs[likely], kind="stable")]
    ranked = probs[order]
    keep = ranked.cumsum() - ranked < p
    keep[0] = True
    mask = np.zeros(len(probs), dtype=bool)
    mask[order[keep]] = True
    return mask


def new_seed() -> int:
    """A seed that nobody chose."""
    return secrets.randbelow(SEEDS)
