"""Draws what is inside a model on the text itself: wrapped, with a sign below each character."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest

import numpy as np
from rich.cells import cell_len

from tui_gen.tui.widgets.cells import EIGHTHS_UP, bar, fit, wrap
from tui_gen.tui.widgets.inside_drawing import GLYPHS, Line, Piece, cut, joined
from tui_gen.tui.widgets.inside_window import Measurement, Split, Window

_LINE_END = "↵"
_BITS = (0.01, 0.1, 1.0)
"""From which on an influence stands on the first, second and third step of the scale."""
_LEAST_BITS = 0.001
"""At the foot of the curve."""
_CURVE, _GUTTER = 5, 7
"""Lines of the curve, and cells at its left."""
_NAMED = 3
_LEAST_BESIDE, _NEIGHBOURS, _LABEL = 74, 23, 10
"""Columns from which on neighbours stand beside the tokens, theirs, and those of a token."""
WAITS = "it is measured while a run is paused or rests; space pauses it"
TEXTS_ALONE = "this is drawn on a text, and the model draws pictures"
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
    cursor, phrase = window.cursor, window.phrase or ()
    blank = not window.pieces[cursor].strip()
    text = [
        Piece(
            "␣" if blank and token == cursor and character == " " else character,
            levels[token],
            token == cursor,
            token in phrase,
        )
        for character, token in row
    ]
    signs = [
        Piece(sign * cell_len(character), steps, token == cursor)
        for character, token in row
        for steps in [levels[token]]
        for sign in [" " if steps is None else GLYPHS[steps]]
    ]
    return [Piece(" "), *joined(text)], [Piece(" "), *joined(signs)]


def flat(pieces: Sequence[str]) -> str:
    """The text of some tokens in a line; a line end is shown by a sign."""
    return "".join(pieces).replace("\n", _LINE_END)


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


def tokens_lines(window: Window, width: int, height: int) -> list[Line]:
    """How the text is split, input and target beside each other, and what is near the token at the cursor."""
    split = window.split
    if not split:
        return ([[]] if window.pieces else sentences(TEXTS_ALONE, width))[: max(0, height)]
    beside, near = width >= _LEAST_BESIDE, _neighbour_lines(split)
    head = sentences(f"prompt: {', '.join(split.facts)}", width)
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


def _neighbour_lines(split: Split) -> list[Line]:
    """The first line says of which token."""
    if split.neighbours is None:
        return [[Piece(" no embedding is named")]]
    heading = wrap(f"near {split.subject} (cosine)", _NEIGHBOURS - 2)
    lines: list[Line] = [[Piece(f" {line}", strong=True)] for line in heading]
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


def sentences(text: str, width: int) -> list[Line]:
    """A text that explains, in lines."""
    return [[Piece(f" {line}")] for line in wrap(text, width - 2)]
