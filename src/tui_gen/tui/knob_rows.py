"""How the lines of the knobs are drawn: label, value, gauge."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from tui_gen.knobs import Knob
from tui_gen.tui.bars import fit, gauge
from tui_gen.tui.wrap import Wrapped

SELECTED = "▸"
GAUGED = "temperature"
"""The knob that has a gauge."""
_LABEL = 11
"""Cells of the longest label."""
_LONGEST_GAUGE = 20
_LEAST_GAUGE = 5
_LATER = (" next run", " next")
"""What follows a value that does not count yet."""


def knob_line(
    knob: Knob, value: float | None, typed: str = "", *, width: int, selected: bool = False, later: bool = False
) -> str:
    """A knob in one line; without columns, where its value is too long for them.

    value: None where it is not known. typed: what is shown in its place. later: whether the value counts from the next
    run on only, which is said even where the value must be cut.
    """
    shown = typed or ("" if value is None else _shown(knob, value, later=later, width=width))
    mark = SELECTED if selected else " "
    columns = f"{mark} {knob.label:{_LABEL}} {shown}"
    return fit(columns if cell_len(columns) <= width else f"{mark} {knob.label} {shown}", width)


def explanation(text: str, *, width: int, room: int) -> Sequence[str]:
    """A sentence in at most so many lines; a cut is marked."""
    wrapped = Wrapped(width - 3)
    wrapped.append(text)
    lines = [line.text for line in wrapped.lines]
    if len(lines) > room:
        lines = lines[:room]
        lines[-1:] = [f"{line.rstrip(' ,;:')}…" for line in lines[-1:]]
    return [f"  {line}" for line in lines]


def _shown(knob: Knob, value: float, *, later: bool, width: int) -> str:
    shown = knob.shown(value)
    if later:
        return _said_later(shown, room=width - len(knob.label) - 3)
    return _with_gauge(shown, value / knob.highest, room=width - _LABEL - 4) if knob.name == GAUGED else shown


def _said_later(shown: str, *, room: int) -> str:
    for said in _LATER:
        if len(shown) + len(said) <= room:
            return shown + said
    return fit(shown, max(1, room - len(_LATER[-1]))) + _LATER[-1]


def _with_gauge(shown: str, share: float, *, room: int) -> str:
    cells = min(_LONGEST_GAUGE, room - len(shown) - 1)
    return f"{shown} {gauge(share, cells)}" if cells >= _LEAST_GAUGE else shown
