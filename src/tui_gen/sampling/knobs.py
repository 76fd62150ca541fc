"""The table of knobs: the values that each is turned through, how they are written, and what it does."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tui_gen.card import LIMITS, MAX_TEMPERATURE, ModelCard
from tui_gen.sampling.params import TEXT_LENGTH, SamplingParams

MAX_TURNED_TEMPERATURE = 2.0
"""As far as the temperature can be turned up; a higher one that the command line asked for can be turned down."""
MAX_PACE = 4096
"""Tokens a second, of text; the next value is unlimited."""
STARTING_SEED = 42
_PICTURE_SECONDS = 4
"""What a picture takes at first, about."""


@dataclass(frozen=True)
class Knob:
    """A setting that a person can turn. Values are plain numbers, whole ones where the knob counts something."""

    name: str
    """For programs; of the first four, the attribute of `SamplingParams`."""
    label: str
    """For people."""
    explains: str
    """What it does, in one sentence for someone who is learning it, with the formula of what changes probabilities."""
    stops: Sequence[float]
    """The values that it is turned through, in ascending order."""
    default: float
    """What it is without a person's doing; need not be one of the stops."""
    shown: Callable[[float], str]
    """A value as people read it, such as `0.80`, `off` or `unlimited`."""
    top: float = math.inf
    """As far as it can be turned up; stops above are only for turning down what was set otherwise."""
    limits: tuple[float, float] = (0, math.inf)
    """The lowest value and the highest that can be typed."""

    def turned(self, value: float, direction: int) -> float:
        """The next stop up (direction 1) or down (-1) from any value; the value itself where there is none."""
        if direction < 0:
            below = bisect_left(self.stops, value)
            return self.stops[below - 1] if below else value
        above = bisect_right(self.stops, value)
        return self.stops[above] if above < len(self.stops) and self.stops[above] <= self.top else value

    @property
    def explanation(self) -> str:
        """Its range and what it does."""
        return f"{self.shown_limits}. {self.explains}"

    @property
    def shown_limits(self) -> str:
        """The values that can be typed, as people read them."""
        least, most = map(self.shown, self.limits)
        if math.isinf(self.limits[1]):
            return f"{least} upwards"
        return f"{least} to {most}" + (f", or {self.shown(math.inf)}" if self.stops[-1] == math.inf else "")

    @property
    def lowest(self) -> float:
        """As far as it can be turned down."""
        return self.stops[0]

    @property
    def highest(self) -> float:
        """As far as it can be turned up."""
        return min(self.stops[-1], self.top)


def knobs_for(card: ModelCard) -> dict[str, Knob]:
    """All knobs of a model by name, in the order in which they are listed."""
    knobs, limits = (*_sampling_knobs(card), *_run_knobs(card)), limits_for(card)
    return {knob.name: replace(knob, limits=limits[knob.name]) for knob in knobs}


def limits_for(card: ModelCard) -> dict[str, tuple[float, float]]:
    """`LIMITS` of all knobs of a model. A larger top-k or length than these does what the largest does."""
    length = card.image.area if card.image else LIMITS["length"][1]
    return {**LIMITS, "top_k": (0, card.vocab_size), "length": (0, length)}


def shown_hundredths(value: float) -> str:
    """With two digits after the point, and more only where there are more."""
    return f"{value:.2f}" if value == round(value, 2) else f"{value:g}"


def shown_or_off(value: float, *, off: float) -> str:
    """A filter's value; `off` for the one that filters nothing."""
    if value == off:
        return "off"
    return f"{value}" if isinstance(value, int) else shown_hundredths(value)


SHOWN: dict[str, Callable[[float], str]] = {
    "temperature": shown_hundredths,
    "top_k": partial(shown_or_off, off=SamplingParams.top_k),
    "top_p": partial(shown_or_off, off=SamplingParams.top_p),
    "min_p": partial(shown_or_off, off=SamplingParams.min_p),
}
"""How the knobs of `SamplingParams` are shown, which is the same for all models."""


def starting_pace(card: ModelCard) -> float:
    """Tokens a second that can be followed with the eyes: a picture in some four seconds, words as one reads."""
    if card.image:
        rate = card.image.area / _PICTURE_SECONDS
        return min((pace for pace in _paces(card) if math.isfinite(pace)), key=lambda pace: abs(pace - rate))
    return 16.0 if card.vocab_size > 300 else 64.0


def _sampling_knobs(card: ModelCard) -> tuple[Knob, ...]:
    return (
        Knob(
            "temperature",
            "temperature",
            "p ∝ exp(logit / T): 0 always takes the likeliest token, 1 is what the model learned, and more makes "
            "unlikely tokens likelier.",
            [step / 20 for step in range(round(20 * MAX_TEMPERATURE) + 1)],
            card.temperature,
            SHOWN["temperature"],
            top=MAX_TURNED_TEMPERATURE,
        ),
        Knob(
            "top_k",
            "top-k",
            "p = 0 unless rank ≤ k: draws from the k likeliest tokens only, however likely they are; 1 always takes "
            "the likeliest.",
            [0, *_round_counts(below=card.vocab_size)],
            SamplingParams.top_k,
            SHOWN["top_k"],
        ),
        Knob(
            "top_p",
            "top-p",
            "Keeps the fewest of the likeliest tokens with Σ p ≥ top-p: few where the model is sure, many where it is "
            "not.",
            [0.01, 0.02, *(step / 20 for step in range(1, 21))],
            SamplingParams.top_p,
            SHOWN["top_p"],
        ),
        Knob(
            "min_p",
            "min-p",
            "p = 0 unless p ≥ min-p · max p: draws from the tokens that are at least this many times as likely as the "
            "likeliest.",
            [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5],
            SamplingParams.min_p,
            SHOWN["min_p"],
        ),
    )


def _run_knobs(card: ModelCard) -> tuple[Knob, ...]:
    return (
        Knob(
            "pace",
            "pace",
            "How many tokens appear in a second, so that the eye can follow; it changes nothing about what is made.",
            _paces(card),
            starting_pace(card),
            partial(_shown_pace, row=_row(card)),
        ),
        Knob(
            "samples",
            "samples",
            "How many are generated side by side from the same prompt, each with random numbers of its own.",
            [1, 2, 3, 4, 6, 8, 12, 16],
            1,
            _shown_count,
        ),
        Knob(
            "length",
            "length",
            "How many tokens are generated at most; a text that comes to its end stops before.",
            _lengths(card),
            card.image.area if card.image else TEXT_LENGTH,
            partial(_shown_length, row=_row(card), whole=card.image.area if card.image else 0),
        ),
        Knob(
            "seed",
            "seed",
            "Where the random numbers begin: same model, prompt, seed and knobs make the same, token for token.",
            range(2**62),
            STARTING_SEED,
            _shown_count,
        ),
    )


def _round_counts(*, below: int) -> list[int]:
    """1, 2, 3, 5, 10, 20, 50, 100, 200, ... below a limit."""
    counts = [1, 2, 3, 5]
    counts += [digit * 10**power for power in range(1, len(str(below)) + 1) for digit in (1, 2, 5)]
    return [count for count in counts if count < below]


def _row(card: ModelCard) -> int:
    """Tokens in a row of a picture; 0 for text."""
    return card.image.width * card.image.channels if card.image else 0


def _paces(card: ModelCard) -> list[float]:
    """Doubling, up to unlimited; of a picture whole rows from the first one on, up to the whole picture a second."""
    row = _row(card)
    if not card.image:
        return [*_doubling(1, MAX_PACE), math.inf]
    return [*_doubling(1, row - 1), *(row * rows for rows in _doubling(1, card.image.height)), math.inf]


def _doubling(first: int, last: int) -> list[int]:
    return [first << power for power in range((last // first).bit_length())]


def _lengths(card: ModelCard) -> Sequence[int]:
    """Of a picture whole rows, up to all of them."""
    if card.image:
        return range(_row(card), card.image.area + 1, _row(card))
    return sorted({*_round_counts(below=10_001), TEXT_LENGTH})


def _shown_count(value: float) -> str:
    return f"{value:.0f}"


def _shown_pace(rate: float, *, row: int) -> str:
    if math.isinf(rate):
        return "unlimited"
    return f"{_rows(rate, row)} a second" if row and rate % row == 0 else f"{_grouped(rate)} a second"


def _shown_length(length: float, *, row: int, whole: int) -> str:
    if row and length == whole:
        return "whole picture"
    return _rows(length, row) if row and length and length % row == 0 else _grouped(length)


def _grouped(value: float) -> str:
    """Five digits and more in groups of three."""
    return f"{value:,.10g}" if value >= 10_000 else f"{value:g}"


def _rows(tokens: float, row: int) -> str:
    return "1 row" if tokens == row else f"{tokens / row:.0f} rows"
