"""Draws what is inside a model on the text itself: wrapped, with a sign below each character."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import NamedTuple

import numpy as np
from rich.cells import cell_len

from tui_gen.inspection.units import SATURATION, SHORT, Match, Values, matches, phrase, properties
from tui_gen.sampling.params import Floats
from tui_gen.tui.widgets.cells import EIGHTHS_UP, bar, fit, wrap
from tui_gen.tui.widgets.inside_drawing import GLYPHS, STEPS, Line, Piece, cut, joined, level
from tui_gen.tui.widgets.inside_window import Measurement, Split, Window

_LINE_END = "↵"
_BITS = (0.01, 0.1, 1.0)
"""From which on an influence stands on the first, second and third step of the scale."""
_LEAST_BITS = 0.001
"""At the foot of the curve."""
_CURVE, _GUTTER = 5, 7
"""Lines of the curve, and cells at its left."""
_NAMED, _RANKS = 3, 8
_LEAST_BESIDE, _NEIGHBOURS, _LABEL = 74, 23, 10
"""Columns from which on neighbours stand beside the tokens, theirs, and those of a token."""
WORD = "the word at the cursor"
WAITS = "it is measured while a run is paused or rests; space pauses it"
TEXTS_ALONE = "this is drawn on a text, and the model draws pictures"
NO_STATE = "the state of this model has no real numbers to look at"
Characters = list[tuple[str, int]]
"""Of a line of a text: each character, and the number of its token."""


def wrap_text(pieces: Sequence[str], width: int) -> list[Characters]:
    """The text in lines of so many cells; it breaks after white space, and a line end is shown by a sign."""
    lines, line, used = list[Characters](), Characters(), 0
    for character, token in ((character, token) for token, piece in enumerate(pieces) for character in piece):
        end = character == "\n"
        line.append((_LINE_END if end else character, token))
        used += cell_len(character)
        if used > width and len(line) > 1:
            at = max((at for at, (each, _) in enumerate(line[:-1], 1) if each == " "), default=len(line) - 1)
            lines.append(line[:at])
            line = line[at:]
            used = cell_len("".join(each for each, _ in line))
        if end:
            lines.append(line)
            line, used = [], 0
    return [each for each in (*lines, line) if each]


def marked_text(window: Window, levels: Sequence[int | None], width: int, height: int) -> list[Line]:
    """The text around the cursor, each line with the steps of the scale below it; no sign where there is none.

    It moves by half of its lines, so that a step of the cursor rarely draws all anew.
    """
    rows, room = wrap_text(window.pieces, width - 2), max(1, height // 2)
    at = next((at for at, row in enumerate(rows) if row[-1][1] >= window.cursor), max(0, len(rows) - 1))
    step = max(1, room // 2)
    top = max(0, -(-(at + 1 - room) // step) * step)
    return list(chain.from_iterable(_marked_row(row, levels, window) for row in rows[top : top + room]))[:height]


def _marked_row(row: Characters, levels: Sequence[int | None], window: Window) -> tuple[Line, Line]:
    cursor = window.cursor
    blank = not window.pieces[cursor].strip()
    text = [
        Piece("␣" if blank and token == cursor and character == " " else character, levels[token], token == cursor)
        for character, token in row
    ]
    signs = [
        Piece(sign * cell_len(character), steps, token == cursor)
        for character, token in row
        for steps in [levels[token]]
        for sign in [" " if steps is None else GLYPHS[steps]]
    ]
    return [Piece(" "), *joined(text)], [Piece(" "), *joined(signs)]


def bits_level(bits: float) -> int | None:
    """The step of the scale for an influence; None for one that is not known."""
    return None if np.isnan(bits) else sum(bits >= least for least in _BITS)


def influence_lines(window: Window, width: int, height: int) -> list[Line]:
    """Which tokens the prediction after the one at the cursor rests on, and how far back it does so."""
    measurement = window.influence
    if not measurement or measurement.fault or height < 1:
        reason = measurement.fault if measurement else WAITS if window.pieces else TEXTS_ALONE
        return _sentences(reason, width)[: max(0, height)]
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


class Ranking(NamedTuple):
    """The units of a layer by how closely they follow something in the text."""

    layer: str
    hidden: Values
    """[tokens, units]"""
    trait: str
    """What they follow; empty where the text has nothing that changes."""
    among: int
    """How many such properties the text has."""
    number: int
    """Which of them it is, from 0 on."""
    matches: list[Match]
    """All units that move, the closest first."""


def ranking(window: Window) -> Ranking | None:
    """By the property and of the layer that are selected; None where there is no text or no state."""
    states = [state for state in window.states if state[0].endswith(" h")] or window.states
    if not states or not window.pieces:
        return None
    layer, hidden = states[window.layer % len(states)]
    own = slice(int(not window.pieces[0]), None)  # without what a text begins with, of which nothing can be said
    series = _properties(window.pieces[own], window.cursor - (own.start or 0))
    if not series:
        return Ranking(layer, hidden, "", 0, 0, [])
    number = window.trait % len(series)
    name = list(series)[number]
    order = matches(hidden[own], series[name], count=hidden.shape[1])
    return Ranking(layer, hidden, name, len(series), number, order)


def _properties(pieces: Sequence[str], cursor: int) -> dict[str, Floats]:
    """Of those that a text can have, the ones that change in it; the last is the word that the cursor stands in."""
    begins = [at for at in range(min(cursor + 1, len(pieces))) if at and (pieces[at] + " ")[0].isspace()]
    first = begins[-1] if begins else 0
    series = {**properties(pieces), WORD: phrase(pieces, first, cursor)}
    return {name: values for name, values in series.items() if len(values) and values.min() < values.max()}


def selected_unit(window: Window, order: Ranking) -> int:
    """The unit that is pinned, or the one that follows the property most closely."""
    if window.pin is not None:
        return window.pin % order.hidden.shape[1]
    return order.matches[0].unit if order.matches else 0


def units_lines(window: Window, width: int, height: int) -> list[Line]:
    """The text by the activation of one unit, and the units that follow something in it."""
    order = ranking(window)
    if not order:
        return _sentences(NO_STATE if window.pieces else TEXTS_ALONE, width)[: max(0, height)]
    unit = selected_unit(window, order)
    series, is_hidden = order.hidden[:, unit], order.layer.endswith(" h")
    bound = 1.0 if is_hidden else max(1.0, float(np.abs(order.hidden).max()))
    levels = [level(value, bound) for value in series.tolist()]
    rows = _match_lines(order, unit, min(_RANKS, max(0, height // 3)))
    facts = [order.layer, f"unit {unit} of {order.hidden.shape[1]}", f"{series[window.cursor]:+.2f} here"]
    facts += [f"{(np.abs(series) > SATURATION).mean():.0%} beyond {SATURATION}"] if is_hidden else []
    scale = f" · {GLYPHS[-STEPS]} {-bound:.2g}  {GLYPHS[STEPS]} {bound:.2g}"
    head: Line = [Piece(f" {' · '.join(facts)}", strong=True), Piece(scale)]
    text = marked_text(window, levels, width, max(0, height - 1 - len(rows)))
    return [cut(line, width) for line in [head, *text, *rows][:height]]


def _match_lines(order: Ranking, unit: int, room: int) -> list[Line]:
    """What is followed, and the units that do, the selected one among them."""
    if not order.trait:
        return [[Piece(" nothing that a unit could follow changes in this text")]][:room]
    tokens = len(order.hidden)
    short = f" · {tokens} tokens are too few to tell" if tokens < SHORT else ""
    head: Line = [
        Piece(f" follow: {order.trait}", strong=True),
        Piece(short, -1),
        Piece(f" ({order.number + 1} of {order.among}, a: the next)"),
    ]
    at = next((at for at, match in enumerate(order.matches) if match.unit == unit), 0)
    top = max(0, at - max(1, room - 1) + 1)
    return [head, *(_match_line(match, match.unit == unit) for match in order.matches[top : top + room - 1])][:room]


def _match_line(match: Match, selected: bool) -> Line:
    sign = 1 if match.correlation > 0 else -1
    return [
        Piece(f" {'>' if selected else ' '} unit {match.unit:>4} {match.correlation:+.2f} ", strong=selected),
        Piece(bar(abs(match.correlation), 20), sign),
    ]


def tokens_lines(window: Window, width: int, height: int) -> list[Line]:
    """How the text is split, input and target beside each other, and what is near the token at the cursor."""
    split = window.split
    if not split:
        return ([[]] if window.pieces else _sentences(TEXTS_ALONE, width))[: max(0, height)]
    beside, near = width >= _LEAST_BESIDE, _neighbour_lines(window, split)
    head = _sentences(f"prompt: {', '.join(split.facts)}", width)
    room = max(1, height - len(head) - 1 - (0 if beside else len(near)))
    step = max(1, room // 2)
    top = max(0, -(-(window.cursor + 1 - room) // step) * step)
    rows = [_row("", "id", "input", "target", "")]
    rows += [_token_line(window, split, at) for at in range(top, min(top + room, len(split.ids)))]
    both = _beside(rows, near, width - _NEIGHBOURS) if beside else [*rows, *near]
    return [cut(line, width) for line in [*head, *both][: max(0, height)]]


def _beside(left: Sequence[Line], right: Sequence[Line], column: int) -> list[Line]:
    """Two columns, the second one from a column of cells on."""
    pairs = [(cut(line, column), other) for line, other in zip_longest(left, right, fillvalue=list[Piece]())]
    gaps = [column - sum(cell_len(piece.text) for piece in line) for line, _ in pairs]
    return [[*line, Piece(" " * gap), *other] for (line, other), gap in zip(pairs, gaps, strict=True)]


def _token_line(window: Window, split: Split, at: int) -> Line:
    token, number, source = split.ids[at], split.numbers[at], split.sources[at].strip()
    target = window.labels[at + 1] if at + 1 < len(window.labels) else "?"
    name = "start" if split.begins and at == 0 else f"{number}" if number > 0 else "prompt"
    remark = "begins every text" if name == "start" else ""
    if token == split.unknown and name == "prompt":
        remark = f"unknown: {source}" if source else "unknown"
    elif source and source != window.labels[at]:
        remark = f"typed {source}"
    mark = ">" if at == window.cursor else " "
    return _row(name, f"{token}", window.labels[at], target, remark, mark=mark)


def _row(name: str, token: str, label: str, target: str, remark: str, *, mark: str = " ") -> Line:
    text = f"{mark} {name:>6} {token:>5}  {fit(label, _LABEL)} {fit(target, _LABEL)} "
    return [Piece(text, strong=mark == ">"), Piece(remark, -1)]


def _neighbour_lines(window: Window, split: Split) -> list[Line]:
    """The first line says of which token."""
    if split.neighbours is None:
        return [[Piece(" no embedding is named")]]
    lines: list[Line] = [[Piece(f" near {window.labels[window.cursor]} (cosine)", strong=True)]]
    for label, cosine in split.neighbours:
        sign = 1 if cosine > 0 else -1
        lines.append([Piece(f" {fit(label, _LABEL)} {cosine:+.2f} "), Piece(bar(abs(cosine), 5), sign)])
    return lines


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


def _sentences(text: str, width: int) -> list[Line]:
    return [[Piece(f" {line}")] for line in wrap(text, width - 2)]
