"""How likely a model finds a text that is there already."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from tui_gen.errors import TuiGenError
from tui_gen.generate import Stepper
from tui_gen.reading import CHUNK, score_steps
from tui_gen.sampling import Floats, Tokens


def score(model: Stepper, tokens: Tokens) -> Floats:
    """Natural logarithms of the probability of each token but the first, given those before it: float[samples, n - 1].

    tokens: int64[samples, n]; a text begins with the model's start token. Temperature and filters do not count. Takes
    memory for the result and for some 128 tokens, however long the text is. Raises TuiGenError for token ids that the
    model cannot read; a token that it never predicts has the logarithm -inf.
    """
    size = max(1, CHUNK // len(tokens))
    state, found = model.start(len(tokens)), list[Floats]()
    for first in range(0, tokens.shape[1] - 1, size):
        following = tokens[:, first + 1 : first + 1 + size]
        scores, state = _scored(model, tokens[:, first : first + following.shape[1]], following, state)
        found.append(scores)
    return np.concatenate(found, axis=1) if found else np.empty((len(tokens), 0))


def _scored(model: Stepper, tokens: Tokens, following: Tokens, state: Any) -> tuple[Floats, Any]:
    """Scores of what follows each of the tokens [samples, n], and the state after them."""
    at_once = getattr(model, "score", None)
    with contextlib.suppress(TuiGenError):  # told below, by the token that it is of
        if at_once and (scored := at_once(tokens, following, state)):
            return scored
    return score_steps(model, tokens, following, state)
