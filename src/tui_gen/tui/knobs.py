"""What a person can turn, and how far the run is."""

from __future__ import annotations

import math

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from tui_gen.library import Playable
from tui_gen.sampling import SamplingParams
from tui_gen.tui.bars import gauge

MAX_SHOWN_TEMPERATURE = 2.0
TEMPERATURE_STEP = 0.05
MAX_PACE = 4096
"""Tokens a second; the next step is unlimited."""


class Knobs(Vertical):
    """Temperature, filters, seed, pace and progress; plain text, one fact a line."""

    def __init__(self) -> None:
        super().__init__()
        self._knobs, self._progress = Static(markup=False), Static(markup=False)
        self.progress = ""

    def compose(self) -> ComposeResult:
        """What is turned by hand, and below it what changes all the time: only that is drawn with every token."""
        yield self._knobs
        yield self._progress

    def show(self, params: SamplingParams, seed: int, rate: float) -> None:
        """Shows the knobs as they are."""
        lines = [
            f"temperature {params.temperature:.2f}",
            gauge(params.temperature / MAX_SHOWN_TEMPERATURE, 21),
            f"seed {seed}",
            f"pace {'unlimited' if math.isinf(rate) else f'{rate:g} a second'}",
            self._filters(params),
        ]
        self._knobs.update("\n".join(lines), layout=False)

    def show_progress(self, progress: str) -> None:
        """Shows how far the run is."""
        self.progress = progress
        self._progress.update(progress, layout=False)

    def _filters(self, params: SamplingParams) -> str:
        top_k = f"top-k {params.top_k}" if params.top_k else ""
        top_p = f"top-p {params.top_p:g}" if params.top_p < 1 else ""
        min_p = f"min-p {params.min_p:g}" if params.min_p else ""
        return " ".join(part for part in (top_k, top_p, min_p) if part) or "top-k, top-p, min-p off"


def turned_temperature(temperature: float, direction: int) -> float:
    """One step up or down, from 0 to 2; a higher one that the command line asked for may only fall."""
    highest = max(MAX_SHOWN_TEMPERATURE, temperature)
    return min(highest, max(0.0, round(temperature + direction * TEMPERATURE_STEP, 2)))


def turned_pace(rate: float, direction: int) -> float:
    """Twice or half as many tokens a second, from 1 to unlimited."""
    if direction > 0:
        return math.inf if rate >= MAX_PACE else rate * 2
    return MAX_PACE if math.isinf(rate) else max(1.0, rate / 2)


def starting_pace(playable: Playable) -> float:
    """Tokens per second that can be followed with the eyes: a picture in some four seconds, words as one reads."""
    image = playable.card.image
    if image:
        return 2.0 ** round(math.log2(image.area / 4))
    return 16.0 if playable.card.vocab_size > 300 else 64.0
