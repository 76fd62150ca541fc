"""Influence: what a prediction rests on, measured by exchanging earlier tokens and reading again.

It works for every model that keeps the contract, and is measured, not derived: no gradient is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch
from tui_gen.generation.protocol import State, StepModel, state_after
from tui_gen.sampling.params import Floats, Logits, Tokens, log_softmax

_ROWS = 64
"""Changed copies of a text that are read in one batch."""
_STATE_BYTES = 2**26
"""Of all rows of a batch together."""
_EVERY = 32
"""Positions between states that are kept of the text as it is."""


@dataclass(frozen=True, eq=False)
class Exchange:
    """Tokens at some positions that are exchanged together, and what that did to the prediction."""

    positions: Tokens
    bits: float
    """Kullback-Leibler divergence of the distribution after the exchange from the one before it, in bits."""


class Influence:
    """Of the tokens before a position on the prediction there."""

    def __init__(self, model: StepModel, tokens: Tokens, vocab_size: int, *, start: State | None = None) -> None:
        """tokens: int64[n], n >= 2: all that the prediction is made from. vocab_size: ids below it may be exchanged;
        others, such as conditions and what begins a picture, stay. start: the state before them, of a single row,
        where they are not the first. Raises TuiGenError where the model fails.
        """
        if len(tokens) < 2:
            raise TuiGenError("a prediction after a single token rests on nothing else")
        self._model, self._tokens = model, tokens
        self._states: dict[int, State] = {}
        logits = self._read(start or model.start(1))
        self.others = _likeliest_others(logits[:-1], tokens[1:])
        """[n - 1]: the likeliest other token at each position from 1 on, by the model itself."""
        self._logprobs = log_softmax(logits[-1:])[0]
        self.exchangeable = np.flatnonzero(tokens[1:] < vocab_size) + 1
        """Positions of the tokens that can be exchanged, in order."""
        self._most_rows = max(1, min(_ROWS, _STATE_BYTES // max(1, self._states[0].nbytes)))

    @classmethod
    def on_branch(cls, branch: Branch, first: int, past: int, sample: int, vocab_size: int) -> Influence:
        """Of the tokens at positions from first on, on what follows them; whatever is done to the branch's state."""
        tokens = branch.tokens[first:past, sample].astype(np.int64)
        [start] = branch.states(first, first)
        return cls(branch.model, tokens, vocab_size, start=start.rows([sample]))

    def measure(self, groups: Sequence[Tokens]) -> Iterator[list[Exchange]]:
        """Exchanges the positions of each group together, the groups that reach back least first, some at a time."""
        order = sorted(groups, key=lambda group: -int(group.min()))
        for first in range(0, len(order), self._most_rows):
            part = order[first : first + self._most_rows]
            yield [Exchange(*pair) for pair in zip(part, self._bits(part).tolist(), strict=True)]

    def _bits(self, groups: Sequence[Tokens]) -> Floats:
        """[groups]."""
        start = max(at for at in self._states if at <= min(int(group.min()) for group in groups))
        rows = np.repeat(self._tokens[None, start:], len(groups), axis=0)
        for row, group in zip(rows, groups, strict=True):
            row[group - start] = self.others[group - 1]
        state = state_after(self._model, rows[:, :-1], self._states[start].rows([0] * len(groups)))
        logits, _ = self._model.step(rows[:, -1], state)
        changed = log_softmax(logits)
        divergences: Floats = (np.exp(self._logprobs) * (self._logprobs - changed)).sum(axis=1) / np.log(2)
        return np.maximum(divergences, 0)

    def _read(self, state: State) -> Logits:
        """Logits after every token, [n, vocab]; keeps states on the way."""
        rows = []
        for index, token in enumerate(self._tokens):
            if index % _EVERY == 0:
                self._states[index] = state
            logits, state = self._model.step(np.array([token]), state)
            rows.append(logits[0])
        return np.stack(rows)


def _likeliest_others(logits: Logits, tokens: Tokens) -> Tokens:
    """The likeliest token of each row [n, vocab] but for the one that stands there."""
    others = logits.copy()
    inside = tokens < others.shape[1]
    others[np.flatnonzero(inside), tokens[inside]] = -np.inf
    result: Tokens = others.argmax(axis=1)
    return result
