"""Draws what a prediction rests on: the tokens of a text, the pixels of a picture, and how far away they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from tui_gen.inspection.receptive_field import FAR, ITSELF
from tui_gen.tui.widgets.cells import EIGHTHS_UP
from tui_gen.tui.widgets.inside_drawing import GLYPHS, Line, Piece, cut, joined, sentences
from tui_gen.tui.widgets.inside_text import marked_text
from tui_gen.tui.widgets.inside_window import Measurement, Window

if TYPE_CHECKING:  # what looks inside is loaded when somebody looks
    from tui_gen.inspection.influence import Block, PictureInfluence

_BITS = (0.01, 0.1, 1.0)
"""From which on an influence stands on the first, second and third step of the scale."""
_LEAST_BITS = 0.001
"""At the foot of the curve."""
_CURVE, _GUTTER = 5, 7
"""Lines of the curve, and cells at its left."""
_NAMED = 3
_LATER, _UNKNOWN, _FAR, _ITSELF = -3, -2, -1, 9
"""Of a pixel that has no step on the scale: it comes later, is not measured yet, is out of reach, or is predicted."""
_PIXEL_BITS = (_LEAST_BITS, *_BITS)
_PIXEL_SIGNS = {_LATER: " ", _UNKNOWN: " ", _FAR: FAR, 0: "·", 1: ":", 2: "+", 3: "*", 4: "#", _ITSELF: ITSELF}
_SCALES = (2, 1), (1, 2)
"""Cells of a pixel beside each other, and pixels below each other in a cell."""
_LEAST_FACTS = 32
"""Columns from which on facts stand beside the picture."""
_COLOURS = "red", "green", "blue"
WAITS = "it is measured while a run is paused or rests; space pauses it"


def bits_level(bits: float) -> int | None:
    """The step of the scale for an influence; None for one that is not known."""
    return None if np.isnan(bits) else sum(bits >= least for least in _BITS)


def influence_lines(window: Window, width: int, height: int) -> list[Line]:
    """Which tokens the prediction after the one at the cursor rests on, and how far back it does so."""
    measurement = window.influence
    if not measurement or measurement.fault or height < 1:
        reason = measurement.fault if measurement else WAITS
        return sentences(reason, width)[: max(0, height)]
    if measurement.picture:
        return _picture_lines(measurement.picture, width, height)
    levels = [bits_level(bits) for bits in measurement.bits.tolist()]
    levels += [None] * (len(window.pieces) - len(levels))
    facts, curve = _facts(window, measurement), _curve_lines(measurement, window.cursor, width)
    below = [*facts, *curve] if height > len(facts) + len(curve) + 3 else facts
    known = int((~np.isnan(measurement.bits)).sum())
    progress = "" if known == measurement.count else f" · measured {known} of {measurement.count}"
    head: Line = [Piece(f" bits of each token: {_scale(GLYPHS, _BITS)}"), Piece(progress, strong=True)]
    text = marked_text(window, levels, width, max(0, height - 1 - len(below)))
    return [cut(line, width) for line in [head, *text, *below][:height]]


def _scale(signs: Mapping[int, str], bits: Sequence[float]) -> str:
    return "  ".join(f"{signs[step]} {least:g}" for step, least in enumerate(bits, 1))


def _facts(window: Window, measurement: Measurement) -> list[Line]:
    """How far back it reaches, and the largest."""
    bits = np.nan_to_num(measurement.bits)
    reach = window.cursor + 1 - np.flatnonzero(bits >= _BITS[0])
    back = int(reach.max(initial=0))
    far = f"reaches {back} token{'s' * (back > 1)} back" if back else "rests on no token"
    largest = [at for at in np.argsort(-bits, kind="stable")[:_NAMED].tolist() if bits[at] > 0]
    prompt = f" · the whole prompt: {measurement.prompt:.2f} bits" if measurement.prompt is not None else ""
    names = [f"{window.labels[at] or '?'} {bits[at]:.2f} ({window.cursor + 1 - at} back)" for at in largest]
    return [
        [Piece(f" it {far} with {_BITS[0]:g} bits or more", strong=True), Piece(prompt)],
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


def _picture_lines(influence: PictureInfluence, width: int, height: int) -> list[Line]:
    """A sign for each pixel, or for two below each other where there is little room; facts beside it or below."""
    rough, count = int(influence.rough.sum()), int(influence.reach.sum())
    progress = f" · measured {count - rough} of {count}" if rough else ""
    head: Line = [Piece(f" bits of each pixel: {_scale(_PIXEL_SIGNS, _PIXEL_BITS)}"), Piece(progress, strong=True)]
    facts = _picture_facts(influence)
    for cells, stacked in _SCALES:
        drawing = _picture_rows(influence, cells, stacked, width - 2)
        used = max(map(_length, drawing)) + 1
        beside = width - used >= _LEAST_FACTS
        words = [line for fact in facts for line in sentences(fact, width - used * beside)]
        if len(drawing) + (0 if beside else len(words)) < height:
            break
    room = max(1, height - 1 - (0 if beside else min(len(words), height // 2)))
    target = next(at for at, line in enumerate(drawing) if any(piece.strong for piece in line))
    top = max(0, min(target + 2 - room, len(drawing) - room))
    drawing = drawing[top : top + room]
    lines = _beside(drawing, words, used) if beside else [*drawing, *words]
    return [cut(line, width) for line in [head, *lines][:height]]


def _picture_rows(influence: PictureInfluence, cells: int, stacked: int, room: int) -> list[Line]:
    """Each pixel in so many cells, so many below each other in one, of which the largest counts."""
    row, column, _ = influence.image.place(influence.value)
    masks = [influence.reach & ~np.isnan(influence.bits), influence.reach]
    known = np.sum([influence.bits >= least for least in _PIXEL_BITS], axis=0)
    earlier = np.arange(known.size).reshape(known.shape) < row * known.shape[1] + column
    steps = np.select([*masks, earlier], [known, _UNKNOWN, _FAR], _LATER)
    steps[row, column] = _ITSELF
    starts = sorted({0, *range(row % stacked, len(steps), stacked)})  # below its row nothing is drawn that could hide
    steps = np.maximum.reduceat(steps, starts)
    columns = max(1, room // cells)
    left = max(0, min(column - columns // 2, steps.shape[1] - columns))
    return [
        [Piece(" "), *joined([_pixel(step, cells) for step in line[left : left + columns]])] for line in steps.tolist()
    ]


def _pixel(step: int, cells: int) -> Piece:
    return Piece(_PIXEL_SIGNS[step] * cells, max(0, step), step == _ITSELF)


def _picture_facts(influence: PictureInfluence) -> list[str]:
    """What it is about, how far it reaches, the largest, how many pixels carry most, and what the prompt does."""
    seen, least = int(influence.reach.sum()), f"{_BITS[0]:g} bits"
    earlier, is_rough = influence.value // influence.image.channels, influence.rough.any()
    far = _distances(influence)
    pairs = influence.largest(_NAMED)
    largest = [f"{_block_name(influence, block)} {bits:.2f}" for block, bits in pairs if bits >= _BITS[0]]
    facts = [
        f"{ITSELF} {_place_name(influence)}: its prediction",
        f"{FAR} out of reach: by its layers it can see {seen} of {earlier} earlier pixels"
        if seen < earlier
        else f"it may rest on any of the {earlier} earlier pixels",
    ]
    if largest and not is_rough:
        facts.append(f"90% of the bits come from {influence.carrying} of them ({influence.carrying / seen:.1%})")
    facts.append(f"it reaches {far} with {least} or more" if far else f"nothing has {least}")
    if largest:
        facts.append(f"most: {'; '.join(largest)}")
    if influence.prompt is not None:
        facts.append(f"the prompt: {influence.prompt:.2f} bits, if it is taken away")
    return [*facts, *(["blocks of pixels are exchanged together, and divided"] if is_rough else [])]


def _place_name(influence: PictureInfluence) -> str:
    row, column, channel = influence.image.place(influence.value)
    return f"row {row}, column {column}" + (f", {_COLOURS[channel]}" if influence.image.channels > 1 else "")


def _distances(influence: PictureInfluence) -> str:
    """Of the pixels that stand on the scale: how far up and to either side."""
    row, column, _ = influence.image.place(influence.value)
    rows, columns = np.nonzero(influence.bits >= _BITS[0])
    ways = ((row - rows, "up"), (column - columns, "left"), (columns - column, "right"))
    return ", ".join(f"{int(way.max())} {name}" for way, name in ways if way.max(initial=0) > 0)


def _block_name(influence: PictureInfluence, block: Block) -> str:
    """Where it lies, from the predicted pixel, too, if it is a pixel itself."""
    row, column, _ = influence.image.place(influence.value)
    if block.side > 1:
        (top, bottom), (left, right) = ((at, at + block.side - 1) for at in (block.row, block.column))
        return f"rows {top} to {bottom}, columns {left} to {right}"
    ways = ((row - block.row, "up"), (column - block.column, "left"), (block.column - column, "right"))
    away = ", ".join(f"{way} {name}" for way, name in ways if way > 0)
    return f"row {block.row}, column {block.column} ({away})" if away else "its own earlier channels"


def _length(line: Line) -> int:
    return sum(len(piece.text) for piece in line)


def _beside(left: Sequence[Line], right: Sequence[Line], column: int) -> list[Line]:
    """Two columns, the second one from a column of cells on."""
    pairs = zip_longest(left, right, fillvalue=list[Piece]())
    return [[*line, Piece(" " * (column - _length(line))), *other] for line, other in pairs]
