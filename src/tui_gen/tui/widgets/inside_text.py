"""Draws what is inside a model on the text itself: wrapped, with a sign below each character."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest

from rich.cells import cell_len

from tui_gen.tui.widgets.cells import bar, fit, wrap
from tui_gen.tui.widgets.inside_drawing import GLYPHS, Line, Piece, cut, joined, sentences
from tui_gen.tui.widgets.inside_window import Split, Window

_LINE_END = "↵"
_LEAST_BESIDE, _NEIGHBOURS, _LABEL = 74, 23, 10
"""Columns from which on neighbours stand beside the tokens, theirs, and those of a token."""
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
