"""From a token to the one after it: sampled where the model runs, if it can do that, or here."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from tui_gen.device_messages import Report
from tui_gen.sampling import Floats, Logits, SamplingParams, Tokens, Weights, draw
from tui_gen.step import check_finite, non_finite
from tui_gen.stepper import Stepper


class Turn(NamedTuple):
    """What comes after a token; the fields are those of `Step`."""

    tokens: Tokens
    said: Logits | Callable[[], Logits]
    state: Any
    seconds: float
    drawn_by: Weights | None = None
    report: Report | None = None


class Drawer:
    """Samples what follows tokens. A model that samples by itself has a `draw` as `tui_gen.model.Model` has."""

    def __init__(self, model: Stepper) -> None:
        self._model, self._draw = model, getattr(model, "draw", None)

    def draw(self, index: int, tokens: Tokens, state: Any, uniform: Floats, knobs: SamplingParams) -> Turn:
        """The tokens at a position, after those before it. Raises TuiGenError for logits that are not finite."""
        began = time.perf_counter()
        drawn = self._draw(tokens, state, uniform, knobs) if self._draw else None
        if drawn is not None:
            report = drawn.report
            if not report.finite:
                raise non_finite(index)
            return Turn(report.tokens, drawn.logits, drawn.state, time.perf_counter() - began, report=report)
        logits, after = self._model.step(tokens, state)
        check_finite(logits, index)
        made = knobs.weights(logits)
        return Turn(draw(made, uniform), logits, after, time.perf_counter() - began, made)
