"""Units of a hidden state: what in a text each of them follows, as Karpathy et al. (2015) found cells that do.

An activation is compared with properties of the text, token by token; a correlation over a short text says little.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui_gen.sampling.params import Floats, Mask

Values = NDArray[np.float32]
SATURATION = 0.9
"""Beyond which, to either side of 0, a hidden unit counts as saturated."""
SHORT = 200
"""Tokens below which a correlation is told with a warning."""
ON = 0.5
"""The share of its largest activation from which on a unit counts as on."""
_BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_QUOTES = '"“”«»'
_SENTENCE_ENDS = ".!?"


class Match(NamedTuple):
    """A unit and how it follows a property."""

    unit: int
    correlation: float
    """Pearson's, from -1 to 1."""
    is_throughout: bool = False
    """Of a phrase: whether the unit is on at all of its tokens, and off right before and after it."""


def properties(pieces: Sequence[str]) -> dict[str, Floats]:
    """What can be said of each token of a text [n], by name; a token has the property at its last character.

    pieces: the text of each token, with the white space before it.
    """
    text = "".join(pieces)
    ends = np.cumsum([len(piece) for piece in pieces]) - 1
    return {
        name: values[np.maximum(ends, 0)] if len(text) else np.zeros(len(pieces))
        for name, measure in _MEASURES.items()
        for values in [measure(text)]
    }


def phrase(count: int, span: range) -> Floats:
    """Of so many tokens: 1 at those of a span, 0 before and after."""
    within = np.zeros(count)
    within[span.start : span.stop] = 1
    return within


def correlations(hidden: Values, series: Floats) -> Floats:
    """Pearson's correlation of each unit of [n, units] with a property [n]: float64[units], 0 for what never moves."""
    one, other = _standardised(hidden), _standardised(series[:, None])
    result: Floats = np.einsum("nu,n->u", one, other[:, 0]).astype(np.float64)  # a product would wake BLAS's threads
    return result


def chance(hidden: Values, series: Floats) -> float:
    """The correlation that the best unit of [n, units] reaches by chance: with the property [n] shifted along the text,
    which keeps how either of them moves, in 19 places of 20 at most.
    """
    count = len(series)
    spectra = [np.fft.rfft(_standardised(part), axis=0) for part in (hidden, series[:, None])]
    shifted = np.fft.irfft(spectra[0] * np.conj(spectra[1]), count, axis=0)  # of every shift at once
    best = np.abs(shifted).max(axis=1)[count // 10 : count - count // 10]  # the nearest are alike
    return float(np.quantile(best, 0.95))


def _standardised(values: NDArray[Any]) -> Values:
    """Columns of [n, k] around 0, of length 1; 0 for those that never move."""
    centred = values - values.mean(axis=0)
    sizes = np.linalg.norm(centred, axis=0)
    result: Values = np.divide(centred, sizes, out=np.zeros_like(centred), where=sizes > 1e-6).astype(np.float32)
    return result


def matches(hidden: Values, series: Floats, *, count: int = 10) -> list[Match]:
    """The units that follow a property most closely, in either direction, the closest first."""
    values = correlations(hidden, series)
    order = np.argsort(-np.abs(values), kind="stable")[:count]
    return [Match(int(unit), float(values[unit])) for unit in order if values[unit]]


def phrase_matches(hidden: Values, span: range, *, count: int = 10) -> list[Match]:
    """The units that follow a phrase: first those that are on throughout, then the others, the closest first."""
    values = correlations(hidden, phrase(len(hidden), span))
    on = _is_on(hidden, np.where(values < 0, -1, 1))
    around = [at for at in (span.start - 1, span.stop) if 0 <= at < len(hidden)]
    throughout: Mask = np.logical_and(on[span.start : span.stop].all(axis=0), ~on[around].any(axis=0))
    order = np.lexsort((-np.abs(values), ~throughout))[:count]
    return [Match(int(unit), float(values[unit]), bool(throughout[unit])) for unit in order if values[unit]]


def movement(hidden: Values) -> Floats:
    """How much each unit of [n, units] moves: its standard deviation over the tokens, float64[units]."""
    result: Floats = hidden.std(axis=0, dtype=np.float64)
    return result


def saturated(hidden: Values) -> int:
    """How many units of [units] are beyond `SATURATION`."""
    return int((np.abs(hidden) > SATURATION).sum())


def similar_places(hidden: Values, units: Sequence[int], signs: Sequence[int]) -> list[range]:
    """Where in [n, units] all of some units are on together, in the direction that a sign gives; the longest stretch
    first.
    """
    on = _is_on(hidden[:, list(units)], np.asarray(signs))
    together = np.logical_and.reduce(on, axis=1).astype(np.int8)
    borders = np.flatnonzero(np.diff(together, prepend=0, append=0))
    stretches = [range(int(first), int(past)) for first, past in borders.reshape(-1, 2)]
    return sorted(stretches, key=lambda stretch: (-len(stretch), stretch.start))


def _is_on(hidden: Values, signs: NDArray[np.int64]) -> Mask:
    """bool[n, units]: beyond `ON` of the largest activation of each unit in the direction that a sign gives."""
    part = hidden * signs
    on: Mask = part >= ON * np.maximum(part.max(axis=0), 1e-9)
    return on


def _inside_quotes(text: str) -> Floats:
    """From an opening quotation mark on up to the closing one; a new paragraph closes what was left open."""
    values, depth = np.zeros(len(text)), 0
    for at, character in enumerate(text):
        if character in _QUOTES:
            depth = {"“": 1, "«": 1, "”": 0, "»": 0}.get(character, 1 - depth)
        elif text[at - 1 : at + 1] == "\n\n":
            depth = 0
        values[at] = depth
    return values


def _inside_brackets(text: str) -> Floats:
    values, depth = np.zeros(len(text)), 0
    for at, character in enumerate(text):
        depth = max(0, depth + _BRACKETS.get(character, 0))
        values[at] = depth > 0
    return values


def _since(is_border: Callable[[str], bool]) -> Callable[[str], Floats]:
    """Characters since the last border."""

    def measure(text: str) -> Floats:
        values, count = np.zeros(len(text)), 0
        for at, character in enumerate(text):
            count = 0 if is_border(character) else count + 1
            values[at] = count
        return values

    return measure


def _where(is_so: Callable[[str], bool]) -> Callable[[str], Floats]:
    return lambda text: np.array([float(is_so(character)) for character in text])


_MEASURES: Mapping[str, Callable[[str], Floats]] = {
    "inside quotes": _inside_quotes,
    "inside brackets": _inside_brackets,
    "place in the line": _since(lambda character: character == "\n"),
    "word length so far": _since(lambda character: not character.isalnum()),
    "end of a sentence": _where(lambda character: character in _SENTENCE_ENDS),
    "capitals": _where(str.isupper),
    "digits": _where(str.isdigit),
    "white space": _where(str.isspace),
}
