"""Draws what is inside a model: units over tokens in a scale with two directions, and a cell with its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tui_gen.card import Colour
from tui_gen.inspection.units import movement, saturated
from tui_gen.tui.widgets.cells import bar, wrap
from tui_gen.tui.widgets.inside_window import Values, Window

if TYPE_CHECKING:
    from tui_gen.runtime.inside_graph import Layer

STEPS = 3
"""Of the scale, to either side of 0."""
GLYPHS = {-3: "≡", -2: "=", -1: "-", 0: "·", 1: "+", 2: "*", 3: "#"}
"""What stands in a cell, so that the scale reads without colour, too."""
_GUTTER, _FIGURE = 5, 7
"""Cells left of a row of units, for the number of the unit, and right of it, for the value at the cursor."""
_SETTLED = 32
"""Tokens after which the order of units may change, and after twice as many, and so on."""
_FEW = 8
"""Zeros of a strip up to which they take the ink of what stands before them."""
PICTURE_NAMES = {"state": "features", "cell": "eye", "influence": "influence", "units": "units", "tokens": "prompt"}
"""What is drawn of a picture."""
_WITHIN = 0.95
"""Which share of the values of a state without bounds the scale has steps for."""
_CHANGE = 0.1
"""From which on a number has changed since the token before."""


@dataclass(frozen=True)
class Piece:
    """A part of a line."""

    text: str
    level: int | None = None
    """On the scale, from -STEPS to STEPS; None for words."""
    strong: bool = False
    marked: bool = False
    """Whether it belongs to the phrase that a person marks."""
    colours: tuple[Colour | None, Colour | None] | None = None
    """Of the characters and of their ground, of a picture."""


Line = list[Piece]


def selected_layer(window: Window) -> int:
    """Of those that have a hidden state."""
    count = sum(name.endswith(" h") for name, _ in window.states)
    return window.selection.layer % max(1, count, len(window.cells))


def first_unit(window: Window) -> int:
    """The first in sight of the strip of the layer that is selected."""
    states = dict(window.states)
    part = states.get(_hidden_name(selected_layer(window)), next(iter(states.values()), None))
    if part is None:
        return window.selection.unit
    return int(_ordered(part, window)[min(window.selection.top, part.shape[1] - 1)])


def _hidden_name(layer: int) -> str:
    """As of `Window.states`."""
    return f"layer {layer + 1} h"


def title_line(window: Window, drawing: str) -> Line:
    """What is drawn, and of which token."""
    if window.picture:
        return [Piece(f" inside: {PICTURE_NAMES[drawing]}", strong=True), Piece(f" · {window.title}")]
    label = window.labels[window.cursor] if window.labels else ""
    return [
        Piece(f" inside: {drawing}", strong=True),
        Piece(f" · while it reads {window.title} "),
        Piece(label, strong=True),
    ]


def level(value: float, bound: float) -> int:
    """Where a value stands on the scale whose ends are -bound and bound."""
    return int(np.clip(np.rint(value / bound * STEPS), -STEPS, STEPS)) if bound > 0 else 0


def state_lines(window: Window, width: int, height: int) -> list[Line]:
    """Units down, tokens along, for each layer and part of the state; the token at the cursor is marked."""
    states = window.states
    if not states or height < 3:
        return []
    shown = states[: max(1, (height - 1) // 2)]
    columns = max(1, width - _GUTTER - _FIGURE)
    first = _first_column(window.cursor, columns)
    lines = [_ruler(window, first, columns)]
    for at, (name, part) in enumerate(shown):
        room = (height - 1) * (at + 1) // len(shown) - (height - 1) * at // len(shown)
        lines += _part_lines(name, part, window, range(first, min(first + columns, len(part))), room)
    return lines


def _first_column(cursor: int, columns: int) -> int:
    """It moves by three quarters of the width, so that new tokens rarely draw all anew."""
    step = max(1, columns * 3 // 4)
    return max(0, -(-(cursor + 1 - columns) // step) * step)


def _ruler(window: Window, first: int, columns: int) -> Line:
    """The letters where each token is one, and a mark above the cursor."""
    labels = window.labels[first : first + columns]
    letters = all(len(label) <= 1 for label in window.labels)
    text = "".join(label if label.strip() else "␣" for label in labels) if letters else " " * len(labels)
    at = window.cursor - first
    mark = text[at] if letters else "▼"
    return [Piece(" " * _GUTTER + text[:at]), Piece(mark, strong=True), Piece(text[at + 1 :])]


def _part_lines(name: str, part: Values, window: Window, columns: range, room: int) -> list[Line]:
    units = _ordered(part, window)
    top = min(window.selection.top, max(0, len(units) - (room - 1)))
    is_hidden = name.endswith(" h")
    bound = 1.0 if is_hidden else _bound(part)
    now, proposal = part[window.cursor], first_unit(window)
    facts = [
        f"{part.shape[1]} units",
        "those that move most first" if window.selection.order == "movement" else "by number",
    ]
    facts += [f"{saturated(now)} beyond 0.9" if is_hidden else f"{now.min():+.1f} to {now.max():+.1f}"]
    scale = "" if is_hidden else f" · {GLYPHS[STEPS]} {bound:+.0f}"
    lines: list[Line] = [[Piece(f" {name}", strong=True), Piece(f" · {', '.join(facts)}{scale}")]]
    marked = window.cursor - columns.start if window.cursor + 1 < len(part) else None  # the last one stands at the end
    for unit in units[top : top + room - 1]:
        cells = _strip(levels_of(part[columns.start : columns.stop, unit], bound), marked)
        mark = (
            Piece(">", strong=True) if (name, unit) == (_hidden_name(selected_layer(window)), proposal) else Piece(" ")
        )
        lines.append([mark, Piece(f"{unit:>3} "), *joined(cells), Piece(f"{now[unit]:+7.2f}")])
    return lines


def _bound(part: Values) -> float:
    """Of the scale of a state without bounds: few values are beyond it, as one unit that counts would leave the others
    without a colour. A power of 2, so that it rarely changes while a run goes on.
    """
    return float(2 ** np.ceil(np.log2(max(1.0, np.quantile(np.abs(part), _WITHIN)))))


def _strip(steps: Sequence[int], marked: int | None) -> Iterator[Piece]:
    """A sign for each step. For a few zeros the ink is not changed: that takes 20 bytes of a slow line."""
    ink, at = 0, 0
    for step, group in groupby(steps):
        count = len(list(group))
        ink = (step > 0) - (step < 0) if step or count > _FEW else ink
        yield from (Piece(GLYPHS[step], ink, place == marked) for place in range(at, at + count))
        at += count


def _ordered(part: Values, window: Window) -> NDArray[np.intp]:
    """By what is seen of them so far, in steps: so the order stays while a run goes on."""
    if window.selection.order == "number":
        return np.arange(part.shape[1])
    settled = _SETTLED
    while 2 * settled <= window.cursor:
        settled *= 2
    seen = part[:settled]
    return np.argsort(-movement(seen), kind="stable")


def levels_of(row: Values, bound: float) -> list[int]:
    """As `level`, of many values."""
    steps: list[int] = np.clip(np.rint(row / bound * STEPS), -STEPS, STEPS).astype(int).tolist()
    return steps


def joined(cells: Iterable[Piece]) -> list[Piece]:
    """Cells that look alike and stand together become one."""
    looks = groupby(cells, key=attrgetter("level", "strong", "marked", "colours"))
    return [Piece("".join(cell.text for cell in group), *look) for look, group in looks]


@dataclass(frozen=True)
class Figures:
    """The numbers of a cell at one token, of one unit or as means of all."""

    values: Mapping[str, float]
    before: Mapping[str, float] = field(default_factory=dict)
    """At the token before."""

    def __getitem__(self, name: str) -> float:
        return self.values[name]

    def text(self, name: str, sign: str = "+") -> str:
        """With a mark if it has changed since the token before. sign: empty for what has none."""
        value = self.values[name]
        change = value - self.before.get(name, value)
        mark = "↑" if change > _CHANGE else "↓" if change < -_CHANGE else " "
        return f"{value:{sign}.2f}{mark}"


def cell_lines(window: Window, width: int, height: int) -> list[Line]:
    """The cell of one layer as the field draws it, with this token's numbers."""
    layers = window.cells
    if not layers:
        return []
    layer = layers[window.selection.layer % len(layers)]
    unit = window.selection.unit % max(1, window.values[f"{layer.name}.hidden"].shape[1])
    one, mean = (_figures(window, layer, which) for which in (unit, None))
    draw = {"LSTM": _lstm_lines, "GRU": _gru_lines}.get(layer.kind, _plain_lines)
    position = f"layer {window.selection.layer % len(layers) + 1} of {len(layers)}"
    head: Line = [
        Piece(f" {position}, {_kind(layer)}", strong=True),
        Piece(f" · unit {unit} of {window.values[f'{layer.name}.hidden'].shape[1]}"),
    ]
    way = [Piece(f"  {_way(window.selection.layer % len(layers), len(layers))}")]
    drawing: list[Line] = [[Piece(text)] if text else [] for text in draw(layer, one)]
    table, equations = [[], *_table(layer, one, mean)], drawing[drawing.index([]) + 1 :]
    forms = [[head, way, *drawing, *table], [head, way, *drawing], [head, way, *equations, *table]]
    if max(len(piece.text) for line in drawing for piece in line) > width:
        forms = forms[2:]
    lines = next((form for form in forms if len(list(filter(None, form))) <= height), forms[-1])
    if len(lines) > height:
        lines = list(filter(None, lines))
    return [cut(line, width) for line in lines[:height]]


def _table(layer: Layer, one: Figures, mean: Figures) -> Iterator[Line]:
    yield [Piece(f"  {'':14} {'this unit':>9} {'mean of all':>21}")]
    for quantity in layer.quantities:
        share = abs(one[quantity]) if quantity != "cell" else min(1.0, abs(one[quantity]) / 3)
        yield [
            Piece(f"  {quantity.replace('_', ' '):14} {one.text(quantity):>10} "),
            Piece(bar(min(1.0, share), 12), level(one[quantity], 1.0)),
            Piece(f" {mean.text(quantity):>7}"),
        ]


def _way(layer: int, count: int) -> str:
    """Which layer feeds which."""
    source = f"h of layer {layer}" if layer else "the token"
    target = f"layer {layer + 2}" if layer + 1 < count else "the prediction"
    return f"x is {source}; h goes to {target}, and to the next token"


def _kind(layer: Layer) -> str:
    if layer.kind == "GRU" and layer.resets_later is not None:
        where = "the product with h" if layer.resets_later else "h itself"
        return f"GRU (r multiplies {where})"
    return {"RNN": f"plain cell ({layer.activation})"}.get(layer.kind, layer.kind)


def _figures(window: Window, layer: Layer, unit: int | None) -> Figures:
    """unit: None for means, of gates and of what has a sign of its size."""
    at = window.cursor

    def take(position: int) -> dict[str, float]:
        rows = {quantity: window.values[f"{layer.name}.{quantity}"][position] for quantity in layer.quantities}
        return {name: float(row.mean() if unit is None else row[unit]) for name, row in rows.items()}

    earlier = take(at - 1) if at else dict.fromkeys(layer.quantities, 0.0)
    for quantity, part in (("hidden", "h"), ("cell", "c")):
        row = window.state_of(layer, quantity, part)
        if at and row is not None:  # surgery may have changed it since
            earlier[quantity] = float(row[at - 1].mean() if unit is None else row[at - 1, unit])
    return Figures(take(at), earlier)


def _lstm_lines(layer: Layer, one: Figures) -> list[str]:
    """Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000)."""
    cell, hidden = one.before["cell"], one.before["hidden"]
    i, f, g, o, c, h = (
        one[name] for name in ("input_gate", "forget_gate", "candidate", "output_gate", "cell", "hidden")
    )
    return [
        f"  c before {cell:+.2f} ".ljust(21, "─") + f"(×)─────────(+)─────────┬──── c {one.text('cell')}",
        _place((22, "│"), (34, "│"), (45, "│")),
        _place((22, f"f {one.text('forget_gate', '')}"), (34, "(×)"), (45, f"tanh {np.tanh(c):+.2f}")),
        _place((34, "┌────┴────┐"), (45, "│")),
        _place((29, f"i {one.text('input_gate', '')}"), (39, f"g {one.text('candidate')}"), (45, "(×)"))
        + f"──── h {one.text('hidden')}",
        _place((45, "│")),
        f"  h before {hidden:+.2f}, x: all gates".ljust(42) + f"o {one.text('output_gate', '')}",
        "",
        f"  c = f·c + i·g = {f:.2f}·{cell:+.2f} + {i:.2f}·{g:+.2f} = {c:+.2f}",
        f"  h = o·tanh(c) = {o:.2f}·{np.tanh(c):+.2f} = {h:+.2f}",
    ]


def _gru_lines(layer: Layer, one: Figures) -> list[str]:
    """Cho et al. (2014)."""
    before = one.before["hidden"]
    z, n, h = (one[name] for name in ("update_gate", "candidate", "hidden"))
    reset = "n = tanh(Wx + r·(Uh))" if layer.resets_later is not False else "n = tanh(Wx + U(r·h))"
    return [
        f"  h before {before:+.2f} ──┬────────(×)────────────(+)──── h {one.text('hidden')}",
        _place((19, "│"), (29, "│"), (43, "│")),
        _place(
            (19, f"r {one.text('reset_gate', '')}"),
            (29, f"z {one.text('update_gate', '')}"),
            (43, f"(×) 1-z {1 - z:.2f}"),
        ),
        _place((19, "│"), (43, "│")),
        f"  x ───────────────┴── tanh ── n {one.text('candidate')}─────┘",
        "",
        f"  {reset} = {n:+.2f}",
        f"  h = (1-z)·n + z·h = {1 - z:.2f}·{n:+.2f} + {z:.2f}·{before:+.2f} = {h:+.2f}",
    ]


def _place(*parts: tuple[int, str]) -> str:
    """A line in which each text stands around its column."""
    line = ""
    for centre, text in parts:
        line = line.ljust(max(len(line), centre - len(text) // 2)) + text
    return line


def _plain_lines(layer: Layer, one: Figures) -> list[str]:
    """Elman (1990)."""
    before, h = one.before["hidden"], one["hidden"]
    name = layer.activation
    return [
        f"  h before {before:+.2f} ── U ──(+)── {name} ──┬── h {one.text('hidden')}",
        f"                       │    {' ' * len(name)}    │",
        f"  x ───────────── W ───┘    {' ' * len(name)}    └── to the next token",
        "",
        f"  h = {name}(Wx + Uh + b) = {h:+.2f}",
    ]


def cut(line: Line, width: int) -> Line:
    """No longer than the room."""
    pieces, left = [], width
    for piece in line:
        if left <= 0:
            break
        pieces.append(piece if len(piece.text) <= left else replace(piece, text=piece.text[:left]))
        left -= len(piece.text)
    return pieces


def sentences(text: str, width: int) -> list[Line]:
    """A text in lines, a space before each."""
    return [[Piece(f" {line}")] for line in wrap(text, width - 2)]
