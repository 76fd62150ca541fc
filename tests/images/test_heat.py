"""Surprise as colours."""

from __future__ import annotations

import numpy as np

from tui_gen.images.picture import HOTTEST, UNDRAWN, heat
from tui_gen.images.raster import brightness


def test_more_bits_are_brighter_and_what_is_not_known_is_not_drawn() -> None:
    colours = heat(np.array([0.0, 0.2, 1, 3, 6, HOTTEST, 30, np.inf, np.nan]))
    bright = [brightness(tuple(colour)) for colour in colours[:-1].tolist()]
    assert bright[:6] == sorted(bright[:6])
    assert len(set(bright[:6])) == 6
    assert bright[5] == bright[6] == bright[7]
    assert (colours[-1] == UNDRAWN).all()


def test_any_shape_gets_one_dimension_more() -> None:
    assert heat(np.zeros((2, 3, 4))).shape == (2, 3, 4, 3)
