"""Several pictures in one PNG, read with what anybody would read it with."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tui_gen.card import ImageSpec
from tui_gen.images.encode import png
from tui_gen.images.picture import Picture

SPEC = ImageSpec(height=4, width=6, levels=16)


def pictures(samples: int) -> Picture:
    """Each all of the level that is its number."""
    picture = Picture(SPEC, samples)
    picture.take(np.tile(np.arange(samples), (SPEC.area, 1)))
    return picture


def seen(content: bytes) -> NDArray[np.uint8]:
    """[height, width, 4] at one pixel each."""
    with Image.open(io.BytesIO(content)) as opened:
        shown: Any = np.asarray(opened)
    small = shown[::85, ::85]
    np.testing.assert_array_equal(small.repeat(85, axis=0).repeat(85, axis=1), shown)
    found: NDArray[np.uint8] = small
    return found


@pytest.mark.parametrize(("samples", "down", "across"), [(1, 1, 1), (4, 1, 4), (5, 2, 3), (9, 3, 3), (16, 4, 4)])
def test_a_few_pictures_stand_in_a_row_and_more_in_about_as_many_rows_as_columns(
    samples: int, down: int, across: int
) -> None:
    assert seen(png(pictures(samples))).shape == (down * 5 - 1, across * 7 - 1, 4)


def test_pictures_follow_each_other_row_by_row_one_pixel_apart() -> None:
    shown = seen(png(pictures(5)))
    for sample, (top, left) in enumerate(((0, 0), (0, 7), (0, 14), (5, 0), (5, 7))):
        assert (shown[top : top + 4, left : left + 6] == (*[17 * sample] * 3, 255)).all()
    assert not shown[4, :, 3].any()
    assert not shown[:, [6, 13], 3].any()
    assert not shown[5:, 14:, 3].any()
