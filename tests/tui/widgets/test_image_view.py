from __future__ import annotations

import pytest
from textual.geometry import Size

from tui_gen.images.raster import Raster, Rendering
from tui_gen.tui.widgets.image_view import tile


@pytest.mark.parametrize(
    ("rendering", "picture", "room", "scale"),
    [
        ("blocks", (28, 28), (80, 24), 1),
        ("blocks", (18, 28), (84, 27), 3),
        ("blocks", (18, 28), (83, 27), 2),
        ("blocks", (18, 28), (84, 26), 2),
        ("braille", (28, 28), (80, 24), 3),
        ("ascii", (28, 28), (5, 2), 1),
    ],
)
def test_one_picture_takes_the_largest_scale_that_fits(
    rendering: Rendering, picture: tuple[int, int], room: tuple[int, int], scale: int
) -> None:
    assert tile(Raster(rendering), picture, 1, Size(*room))[0].scale == scale


@pytest.mark.parametrize("samples", [2, 3, 6, 7, 12])
def test_several_pictures_all_have_a_place_inside_the_room(samples: int) -> None:
    raster, tiling = tile(Raster(), (32, 32), samples, Size(158, 54))
    assert sum(len(tiling.samples_in(row, samples)) for row in range(tiling.rows(samples))) == samples
    assert tiling.left + tiling.columns * (tiling.width + 2) - 2 <= 158
    assert tiling.top + tiling.rows(samples) * (tiling.height + 1) - 1 <= 54
    assert (tiling.width, tiling.height) == raster.size(32, 32)


def test_six_pictures_stand_in_two_rows_of_three() -> None:
    tiling = tile(Raster(), (32, 32), 6, Size(140, 54))[1]
    assert [len(tiling.samples_in(row, 6)) for row in range(tiling.rows(6))] == [3, 3]
