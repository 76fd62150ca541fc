"""Draws what a prediction rests on: the tokens of a text, and how far back they lie."""

from __future__ import annotations

import numpy as np

from tui_gen.tui.widgets.cells import EIGHTHS_UP
from tui_gen.tui.widgets.inside_drawing import GLYPHS, Line, Piece, cut, sentences
from tui_gen.tui.widgets.inside_text import TEXTS_ALONE, marked_text
from tui_gen.tui.widgets.inside_window import Measurement, Window

_BITS = (0.01, 0.1, 1.0)
"""From which on an influence stands on the first, second and third step of the scale."""
_LEAST_BITS = 0.001
"""At the foot of the curve."""
_CURVE, _GUTTER = 5, 7
"""Lines of the curve, and cells at its left."""
_NAMED = 3
WAITS = "it is measured while a run is paused or rests; space pauses it"


def bits_level(bits: float) -> int | None:
    """The step of the scale for an influence; None for one that is not known."""
    return None if np.isnan(bits) else sum(bits >= least for least in _BITS)


def influence_lines(window: Window, width: int, height: int) -> list[Line]:
    """Which tokens the prediction after the one at the cursor rests on, and how far back it does so."""
    measurement = window.influence
    if not measurement or measurement.fault or height < 1:
        reason = measurement.fault if measurement else WAITS if window.pieces else TEXTS_ALONE
        return sentences(reason, width)[: max(0, height)]
    levels = [bits_level(bits) for bits in measurement.bits.tolist()]
    levels += [None] * (len(window.pieces) - len(levels))
    facts, curve = _facts(window, measurement), _curve_lines(measurement, window.cursor, width)
    below = [*facts, *curve] if height > len(facts) + len(curve) + 3 else facts
    known = int((~np.isnan(measurement.bits)).sum())
    progress = "" if known == measurement.count else f" · measured {known} of {measurement.count}"
    signs = "  ".join(f"{GLYPHS[step]} {least:g}" for step, least in enumerate(_BITS, 1))
    head: Line = [Piece(f" bits of each token: {signs}"), Piece(progress, strong=True)]
    text = marked_text(window, levels, width, max(0, height - 1 - len(below)))
    return [cut(line, width) for line in [head, *text, *below][:height]]


def _facts(window: Window, measurement: Measurement) -> list[Line]:
    """How far back it reaches, and the largest."""
    bits = np.nan_to_num(measurement.bits)
    reach = window.cursor + 1 - np.flatnonzero(bits >= _BITS[0])
    back = int(reach.max(initial=0))
    far = f"reaches {back} token{'s' * (back > 1)} back" if back else "rests on no token"
    largest = [at for at in np.argsort(-bits, kind="stable")[:_NAMED].tolist() if bits[at] > 0]
    names = [f"{window.labels[at] or '?'} {bits[at]:.2f} ({window.cursor + 1 - at} back)" for at in largest]
    return [
        [Piece(f" it {far} with {_BITS[0]:g} bits or more", strong=True)],
        [Piece(f" most: {', '.join(names)}" if names else "")],
    ]


def _curve_lines(measurement: Measurement, cursor: int, width: int) -> list[Line]:
    """Bits by distance, the nearest token at the left; the largest of those that share a column."""
    by_distance = measurement.bits[cursor::-1] if cursor < len(measurement.bits) else measurement.bits[::-1]
    columns = min(max(1, width - _GUTTER - 1), len(by_distance))
    highest = np.zeros(columns)
    np.maximum.at(highest, np.arange(len(by_distance)) * columns // len(by_distance), np.nan_to_num(by_distance))
    top = max(1.0, float(highest.max()))
    share = np.log(np.maximum(highest, _LEAST_BITS) / _LEAST_BITS) / np.log(top / _LEAST_BITS)
    eighths = np.rint(share * 8 * _CURVE).astype(int)
    names = {0: f"{top:.2g}", _CURVE - 1: f"{_LEAST_BITS:g}"}
    lines = [
        [
            Piece(f"{names.get(line, ''):>{_GUTTER - 1}} "),
            Piece("".join(EIGHTHS_UP[each] for each in np.clip(eighths - 8 * (_CURVE - 1 - line), 0, 8).tolist()), 1),
        ]
        for line in range(_CURVE)
    ]
    far = f"{len(by_distance)} back"
    axis = "1 back" + far.rjust(columns - len("1 back")) if columns > len("1 back") + len(far) else "1 back"
    return [*lines, [Piece(" " * _GUTTER + axis)]]
