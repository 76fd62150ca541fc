"""Sweeps: one knob at several values side by side, with the same random numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tui_gen.errors import TuiGenError, UsageError
from tui_gen.sampling.knobs import MAX_TURNED_TEMPERATURE, SHOWN
from tui_gen.sampling.params import Floats, SamplingParams

COLUMNS = 5
"""How many values a sweep has when nobody chose them."""
_TEMPERATURE_GAP = 0.3
_TOP_K = (1, 5, 20, 100)
_TOP_P = (0.3, 0.5, 0.7, 0.9)
_MIN_P = (0.3, 0.1, 0.05, 0.02)
_DEFAULTS = SamplingParams()


@dataclass(frozen=True)
class Sweep:
    """What the samples of a run differ by: sample i has values[i] for one knob, and the other knobs count for all.

    The samples share their random numbers, so sample i equals a run of one sample with that value and the same seed.
    """

    knob: str
    """`temperature`, `top_k`, `top_p` or `min_p`."""

    values: tuple[float, ...]

    def __len__(self) -> int:
        """Samples."""
        return len(self.values)

    def checked(self, params: SamplingParams) -> Sweep:
        """Itself. Raises TuiGenError that names the knob, here or in params, which is out of its range, or no knob."""
        if self.knob not in SHOWN or not self.values:
            raise TuiGenError(f"a sweep needs values of {_names()}, not {len(self.values)} of {self.knob!r}")
        for sample, value in enumerate(self.values):
            if self.knob == "top_k" and not float(value).is_integer():
                raise TuiGenError(f"top-k must be a whole number, not {value}")
            self.column(params, sample).checked()
        return self

    def column(self, params: SamplingParams, sample: int) -> SamplingParams:
        """The parameters of one sample, where the other knobs are as in params."""
        kind = type(getattr(_DEFAULTS, self.knob))
        return replace(params, **{self.knob: kind(self.values[sample])})

    def rows(self, params: SamplingParams) -> Floats:
        """float64[samples, 4]: the parameters of all samples, for `weights`."""
        return np.concatenate([self.column(params, sample).row() for sample in range(len(self))])

    def turned(self, params: SamplingParams) -> list[str]:
        """The swept knob with all its values, and each other of params that is not at its default."""
        values = "/".join(SHOWN[self.knob](value) for value in self.values)
        others = replace(params, **{self.knob: getattr(_DEFAULTS, self.knob)})
        return [f"{_label(self.knob)} {values}", *others.turned()]

    def describe(self, params: SamplingParams) -> str:
        """The same in one line, as in `top-p 0.50/0.90, temperature 0.7`."""
        return ", ".join(self.turned(params))

    def headings(self) -> list[str]:
        """What stands above each column, such as `temperature 0.80`."""
        return [f"{_label(self.knob)} {SHOWN[self.knob](value)}" for value in self.values]


def default_values(knob: str, params: SamplingParams, vocab_size: int) -> tuple[float, ...]:
    """Values worth comparing, from tame to wild, five where the vocabulary has room for them.

    The knob's present value is one of them, so that a run which was just seen stands among the others.
    """
    if knob not in SHOWN:
        raise TuiGenError(f"a sweep turns {_names()}, not {knob!r}")
    if knob == "temperature":
        return _temperatures(params.temperature)
    values = {"top_k": _top_ks(vocab_size), "top_p": _TOP_P, "min_p": _MIN_P}[knob]
    present, off = getattr(params, knob), getattr(_DEFAULTS, knob)
    kept_all = present == off or (knob == "top_k" and present >= vocab_size)
    return (*(values if kept_all else _with(present, values)), off)


def read_sweep(text: str, params: SamplingParams, vocab_size: int) -> Sweep:
    """A sweep as the command line asks for it: `temperature`, or with its values `top-k=1,5,off`.

    params: the other knobs. Raises UsageError.
    """
    name, equals, texts = text.partition("=")
    knob = name.strip().replace("-", "_")
    if knob not in SHOWN:
        raise UsageError(f"--sweep turns {_names()}, not {name!r}")
    values = tuple(_read(knob, value) for value in texts.split(",")) if equals else None
    try:
        return Sweep(knob, values or default_values(knob, params, vocab_size)).checked(params)
    except TuiGenError as fault:
        raise UsageError(str(fault)) from fault


def _read(knob: str, text: str) -> float:
    default = getattr(_DEFAULTS, knob)
    if text.strip() == "off" and SHOWN[knob](default) == "off":
        return default
    try:
        return type(default)(text)
    except ValueError as fault:
        kind = "whole numbers" if isinstance(default, int) else "numbers"
        raise UsageError(f"--sweep {_label(knob)} takes {kind} between commas, not {text!r}") from fault


def _temperatures(present: float) -> tuple[float, ...]:
    """Equally far apart with the present one in the middle, or further to a side near the ends of the range."""
    if present > MAX_TURNED_TEMPERATURE:
        return tuple(round(present * number / COLUMNS, 4) for number in range(1, COLUMNS + 1))
    spreads = (
        tuple(round(present + (number - below) * _TEMPERATURE_GAP, 4) for number in range(COLUMNS))
        for below in sorted(range(COLUMNS), key=lambda below: abs(below - COLUMNS // 2))
    )
    return next(spread for spread in spreads if spread[0] >= 0 and spread[-1] <= MAX_TURNED_TEMPERATURE)


def _top_ks(vocab_size: int) -> tuple[int, ...]:
    """Of a small vocabulary, equal steps on a logarithmic scale."""
    if vocab_size >= 2 * _TOP_K[-1]:
        return _TOP_K
    counts = {round(vocab_size ** (step / len(_TOP_K))) for step in range(len(_TOP_K))}
    return tuple(sorted(count for count in counts if count < vocab_size))


def _with(present: float, values: tuple[float, ...]) -> tuple[float, ...]:
    """The values with the present one in place of the nearest, so that the order stays."""
    nearest = min(reversed(values), key=lambda value: abs(value - present), default=None)
    return tuple(present if value == nearest else value for value in values)


def _names() -> str:
    return "temperature, top-k, top-p or min-p"


def _label(knob: str) -> str:
    return knob.replace("_", "-")
