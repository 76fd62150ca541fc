"""How likely a model finds a text that is there already."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from tui_gen.errors import TuiGenError
from tui_gen.reading import CHUNK, score_steps
from tui_gen.sampling import Floats, Tokens
from tui_gen.stepper import Stepper


class Scorer:
    """Scores what comes piece by piece. Keeps the model's state and one token of each sample, whatever the length."""

    def __init__(self, model: Stepper, context: Tokens) -> None:
        """context: int64[samples, n], n >= 1, is read and not scored; that of a text begins with its start token."""
        self._model, self._last, self._state = model, context[:, :1], model.start(len(context))
        self.feed(context[:, 1:])

    def feed(self, tokens: Tokens) -> Floats:
        """Natural logarithms of the probability of each token, given all those before it: float[samples, n].

        tokens: int64[samples, n], n >= 0. Temperature and filters do not count. Takes memory for the result and for
        some 128 tokens. Raises TuiGenError for token ids that the model cannot read; a token that it never predicts
        has the logarithm -inf.
        """
        size = max(1, CHUNK // len(tokens))
        found = [self._feed(tokens[:, first : first + size]) for first in range(0, tokens.shape[1], size)]
        return np.concatenate(found, axis=1) if found else np.empty((len(tokens), 0))

    def _feed(self, tokens: Tokens) -> Floats:
        before = np.concatenate([self._last, tokens[:, :-1]], axis=1)
        scores, self._state = _scored(self._model, before, tokens, self._state)
        self._last = tokens[:, -1:]
        return scores


def score(model: Stepper, tokens: Tokens) -> Floats:
    """Natural logarithms of the probability of each token but the first, given those before it: float[samples, n - 1].

    tokens: int64[samples, n]; a text begins with the model's start token. The rest is as of `Scorer.feed`.
    """
    return Scorer(model, tokens[:, :1]).feed(tokens[:, 1:])


def _scored(model: Stepper, tokens: Tokens, following: Tokens, state: Any) -> tuple[Floats, Any]:
    """Scores of what follows each of the tokens [samples, n], and the state after them."""
    at_once = getattr(model, "score", None)
    with contextlib.suppress(TuiGenError):  # told below, by the token that it is of
        if at_once and (scored := at_once(tokens, following, state)):
            return scored
    return score_steps(model, tokens, following, state)
