"""Running a step function's graph over many tokens at once, where its form allows that and the outcome is the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tui_gen.chunked import TARGETS, in_chunks
from tui_gen.contract import Port
from tui_gen.errors import TuiGenError
from tui_gen.reading import score_steps
from tui_gen.sampling import Floats, Tokens
from tui_gen.state import State
from tui_gen.stepper import Stepper

Run = Callable[[Mapping[str, Any]], Sequence[NDArray[Any]]]
"""From inputs by name to outputs; raises TuiGenError."""
_TOLERANCE = 1e-4
_TRIED = 8
"""Tokens that are also read one by one, when a graph is first run in this way."""


class Stepped(Stepper, Protocol):
    """A step function that is to be read faster."""

    @property
    def inputs(self) -> list[Port]:
        """Tokens, and the parts of the state."""
        ...

    @property
    def outputs(self) -> list[Port]:
        """Logits, and the parts of the state."""
        ...

    def state(self, arrays: Sequence[NDArray[Any]], batch: int) -> State:
        """The state that consists of these tensors."""
        ...


class AtOnce:
    """Opens what it needs when it is first asked. graph: of the step function; opened: what runs a graph."""

    def __init__(self, model: Stepped, graph: bytes, opened: Callable[[bytes], Run]) -> None:
        self._model, self._graph, self._opened = model, graph, opened
        self._runs: dict[bool, Run | None] = {}

    def read(self, tokens: Tokens, state: State) -> State | None:
        """As `Model.read`."""
        run = self._run(scores=False)
        return self._model.state(run(self._feeds(tokens, state)), len(tokens)) if run else None

    def score(self, tokens: Tokens, following: Tokens, state: State) -> tuple[Floats, State] | None:
        """As `Model.score`."""
        run = self._run(scores=True)
        if not run:
            return None
        scores, *after = run(self._feeds(tokens, state) | {TARGETS: following.T.reshape(-1, 1)})
        return scores.reshape(tokens.shape[::-1]).T, self._model.state(after, len(tokens))

    def _feeds(self, tokens: Tokens, state: State) -> dict[str, Any]:
        return {
            port.name: part for port, part in zip(self._model.inputs, (tokens.T, *state.buffers.parts), strict=True)
        }

    def _run(self, *, scores: bool) -> Run | None:
        if scores not in self._runs:
            graph = in_chunks(self._graph, scores=scores)
            self._runs[scores] = self._opened(graph) if graph else None  # for the trial
            if graph and not self._is_right(scores=scores):
                self._runs[scores] = None
        return self._runs[scores]

    def _is_right(self, *, scores: bool) -> bool:
        """Whether some tokens from some state on give what they give one by one."""
        rng, vocab = np.random.default_rng(0), self._model.outputs[0].shape[1]
        tokens, following = rng.integers(0, int(vocab or 1), size=(2, 2, _TRIED))
        zeros = self._model.start(2).arrays()
        start = self._model.state([rng.normal(0, 0.1, part.shape).astype(part.dtype) for part in zeros], 2)
        try:
            expected, after = score_steps(self._model, tokens, following, start)
            found = self.score(tokens, following, start) if scores else (expected, self.read(tokens, start))
        except TuiGenError:
            return False
        assert found
        assert found[1]
        pairs = zip((expected, *after.arrays()), (found[0], *found[1].arrays()), strict=True)
        return all(np.allclose(one, other, rtol=0, atol=_TOLERANCE, equal_nan=True) for one, other in pairs)
