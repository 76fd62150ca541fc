"""An audit for people: what was checked, and the receptive field as a picture in characters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tui_gen.audit import Audit

MAX_ROWS = 64
_ITSELF, _SEEN, _BLIND, _FAR, _LATER = "@#o-."
LEGEND = (
    f"{_ITSELF} itself  {_SEEN} seen  {_BLIND} blind spot (within reach)  {_FAR} out of reach  {_LATER} not yet drawn"
)


def report_lines(audit: Audit, columns: int) -> list[str]:
    """What was found, then a character per pixel; of a large picture, what is around the pixel in so many columns."""
    return [
        f"{'audit':15} {audit.checked}",
        f"{'':15} by more than rounding ({audit.worst:.2g}, and up to {audit.tolerance:.2g} would pass)",
        f"{'receptive field':15} {audit.field}",
        *_higher(audit),
        "",
        *("".join(line) for line in _drawing(audit)[_around(audit, columns)]),
        "",
        LEGEND,
    ]


def _higher(audit: Audit) -> list[str]:
    return (
        []
        if audit.row == len(audit.sees) - 1
        else [f"{'':15} (counted from 0; the model is too slow for the last row)"]
    )


def _drawing(audit: Audit) -> NDArray[np.str_]:
    """[height, width]: a character per pixel."""
    masks = [audit.sees, audit.blind_spot, audit.earlier]
    drawing = np.select(masks, [_SEEN, _BLIND, _FAR], _LATER)
    drawing[audit.row, audit.column] = _ITSELF
    return drawing


def _around(audit: Audit, columns: int) -> tuple[slice, slice]:
    height, width = audit.sees.shape
    return _window(audit.row, height, MAX_ROWS), _window(audit.column, width, columns)


def _window(middle: int, size: int, room: int) -> slice:
    """As much as there is room for, with `middle` in the middle where possible."""
    start = max(0, min(middle - room // 2, size - room))
    return slice(start, start + room)
