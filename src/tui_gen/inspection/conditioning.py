"""What a prompt does to a picture: the picture is read again with an empty prompt, and without each of its phrases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tui_gen.card import ImageSpec
from tui_gen.inspection.branch_trace import BranchTrace
from tui_gen.inspection.inside import Inside, Values
from tui_gen.runtime.model import RunState
from tui_gen.sampling.params import Floats, Logits, Tokens, log_softmax

_AT_ONCE = 64
"""Steps whose distributions are compared together."""
_MOST_PHRASES = 8
"""That are left out one by one."""


@dataclass(frozen=True)
class PromptEffect:
    """How much the prompt counts in a picture as it stands, in bits: the Kullback-Leibler divergence of what the model
    expects from what it would expect without.
    """

    bits: Floats
    """[pixels]: without all of the prompt; NaN where the picture is not drawn, or not yet measured."""
    by_phrase: tuple[tuple[int, Floats], ...]
    """The position of each token of the prompt, and the same without it alone; none where there is only one."""
    moved: tuple[tuple[str, float], ...] = ()
    """Of each layer, how far its features at the pixel where somebody looks are from those without the prompt: a share
    of their own size.
    """


def prompt_effect(
    trace: BranchTrace, image: ImageSpec, *, head: int, position: int, empty: int
) -> Iterator[PromptEffect]:
    """More and more of it. head: the position of the picture's first value; position: where somebody looks; empty: the
    token that stands where a prompt says nothing.
    """
    inside = trace.inside
    tokens = trace.branch.tokens[:, trace.sample].astype(np.int64)
    phrases = [at for at in range(1, head) if tokens[at] in image.conditions]
    alone = phrases[:_MOST_PHRASES] if len(phrases) > 1 else []
    rows = np.repeat(tokens[None], 2 + len(alone), axis=0)
    rows[1, phrases] = empty
    rows[range(2, len(rows)), alone] = empty
    bits, moved = np.full((len(rows) - 1, image.height * image.width), np.nan), tuple[tuple[str, float], ...]()
    state = inside.model.start(len(rows))
    for first in range(0, len(tokens), _AT_ONCE):
        part = range(first, min(first + _AT_ONCE, len(tokens)))
        logits = list[Logits]()
        for at in part:
            if at == position:
                moved = _moved(inside, rows[:, at], state)
            step, state = inside.model.step(np.ascontiguousarray(rows[:, at]), state)
            logits.append(step)
        _add(bits, _divergences(np.stack(logits)), part.start + 1 - head, image)
        by_phrase = tuple(zip(alone, bits[1:].copy(), strict=True))
        yield PromptEffect(bits[0].copy(), by_phrase, moved)


def _divergences(logits: Logits) -> Floats:
    """Of the first row from each other one, in bits: [steps, rows, vocab] -> [rows - 1, steps]."""
    logprobs = log_softmax(logits.reshape(-1, logits.shape[-1])).reshape(logits.shape)
    own, others = logprobs[:, :1], logprobs[:, 1:]
    with np.errstate(invalid="ignore"):  # what is impossible counts nothing
        terms = np.nan_to_num(np.exp(own) * (own - others), nan=0.0)
    result: Floats = np.maximum(terms.sum(axis=2).T / np.log(2), 0)
    return result


def _add(bits: Floats, divergences: Floats, first: int, image: ImageSpec) -> None:
    """Those of the picture's values from first on, which may lie before it; of a pixel's channels their sum."""
    values = np.arange(first, first + divergences.shape[1])
    inside = (values >= 0) & (values < image.area)
    pixels = values[inside] // image.channels
    bits[:, pixels] = np.nan_to_num(bits[:, pixels])
    for row, divergence in zip(bits, divergences, strict=True):
        np.add.at(row, pixels, divergence[inside])


def _moved(inside: Inside, tokens: Tokens, state: RunState) -> tuple[tuple[str, float], ...]:
    values = inside.values(np.ascontiguousarray(tokens), state.arrays())
    pairs = [(name.removesuffix(".features"), part) for name, part in values.items() if name.endswith(".features")]
    return tuple((name, _share_moved(part[0], part[1])) for name, part in pairs)


def _share_moved(features: Values, without: Values) -> float:
    return float(np.linalg.norm(features - without)) / max(float(np.linalg.norm(features)), 1e-9)
