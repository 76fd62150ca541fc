"""Surprise as colours: the more bits, the brighter, so that it reads without hues too."""

from __future__ import annotations

import numpy as np

from tui_gen.picture import UNDRAWN, Pixels
from tui_gen.sampling import Floats

HOTTEST = 8.0
"""Bits from which on everything looks alike."""
_STOPS = np.array([0.0, 0.5, 2.0, 5.0, HOTTEST])
_COLOURS = np.array([(8, 8, 24), (60, 16, 90), (170, 45, 85), (245, 140, 40), (255, 250, 190)])
"""From dark blue over purple and orange to a pale yellow, each brighter than the one before."""


def heat(bits: Floats) -> Pixels:
    """Bits, of any shape, to RGB in one dimension more; NaN, for what is not known, to `UNDRAWN`."""
    known = np.nan_to_num(bits, nan=0.0, posinf=HOTTEST)
    channels = [np.interp(known, _STOPS, _COLOURS[:, channel]) for channel in range(3)]
    colours = np.rint(np.stack(channels, axis=-1)).astype(np.int16)
    return np.where(np.isnan(bits)[..., None], np.int16(UNDRAWN), colours)
