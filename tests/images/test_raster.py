"""Pixels to rows of characters, and surprisal to colours."""

from __future__ import annotations

import numpy as np
import pytest

from tui_gen.images.picture import HOTTEST, UNDRAWN, Pixels, heat
from tui_gen.images.raster import BLANK, Cell, Raster, Rendering, ansi, brightness, hexadecimal, plain

BLACK, GREY, WHITE, RED = (0, 0, 0), (128, 128, 128), (255, 255, 255), (255, 0, 0)
COLOURS = (BLACK, GREY, WHITE, RED)


def picture(grid: list[list[int]]) -> Pixels:
    """Of numbers of colours; -1 is not drawn yet."""
    return np.array([*COLOURS, (UNDRAWN,) * 3], dtype=np.int16)[np.array(grid)]


def drawing(grid: list[list[int]], rendering: Rendering, scale: int = 1) -> list[str]:
    """The whole picture as plain characters."""
    raster, pixels = Raster(rendering, scale), picture(grid)
    rows = raster.size(*pixels.shape[:2])[1]
    return [plain(raster.row(pixels, row)) for row in range(rows)]


@pytest.mark.parametrize(
    ("rendering", "scale", "size"),
    [
        ("blocks", 1, (7, 3)),
        ("blocks", 2, (14, 5)),
        ("ascii", 3, (21, 8)),
        ("braille", 1, (4, 2)),
        ("braille", 2, (7, 3)),
    ],
)
def test_a_picture_5_high_and_7_wide_takes_so_many_columns_and_rows(
    rendering: Rendering, scale: int, size: tuple[int, int]
) -> None:
    raster = Raster(rendering, scale)
    assert raster.size(5, 7) == size
    rows = [raster.row(np.zeros((5, 7, 3), dtype=np.int16), row) for row in range(size[1])]
    assert {len(row) for row in rows} == {size[0]}


def test_half_blocks_show_two_pixels_in_a_cell_upper_in_front_of_lower() -> None:
    row = Raster().row(picture([[0, 2], [1, 0]]), 0)
    assert row == [Cell("▀", BLACK, GREY), Cell("▀", WHITE, BLACK)]


def test_half_blocks_leave_what_is_not_drawn_to_the_terminal() -> None:
    row = Raster().row(picture([[2, -1, -1], [-1, 2, -1]]), 0)
    assert row == [Cell("▀", WHITE), Cell("▄", WHITE), Cell(BLANK)]


def test_the_last_row_of_an_odd_height_has_an_upper_half_only() -> None:
    assert Raster().row(picture([[0], [0], [2]]), 1) == [Cell("▀", WHITE, None)]
    assert drawing([[2], [0], [2]], "blocks") == ["▀", "▀"]


def test_half_blocks_without_colour_tell_bright_from_dark() -> None:
    assert drawing([[0, 2, 0, 2, 2], [0, 0, 2, 2, -1]], "blocks") == [" ▀▄█▀"]


def test_the_ascii_ramp_runs_from_a_space_for_black_to_an_at_sign_for_white() -> None:
    assert drawing([[0, 1, 2], [0, 1, 2]], "ascii") == [" +@"]


def test_an_ascii_cell_is_the_mean_of_its_drawn_pixels_in_the_colour_of_the_brighter() -> None:
    row = Raster("ascii").row(picture([[0, -1, 0], [2, 2, 3]]), 0)
    assert row == [Cell("+", WHITE), Cell("@", WHITE), Cell(".", RED)]


def test_every_grey_has_a_place_on_the_ramp_in_order() -> None:
    greys = np.tile(np.arange(256, dtype=np.int16)[None, :, None], (2, 1, 3))
    cells = Raster("ascii").row(greys, 0)
    assert "".join(dict.fromkeys(plain(cells))) == " .:-=+*#%@"


@pytest.mark.parametrize(
    ("row", "col", "dot"),
    [(0, 0, "⠁"), (1, 0, "⠂"), (2, 0, "⠄"), (3, 0, "⡀"), (0, 1, "⠈"), (1, 1, "⠐"), (2, 1, "⠠"), (3, 1, "⢀")],
)
def test_each_pixel_has_its_own_braille_dot(row: int, col: int, dot: str) -> None:
    grid = np.zeros((4, 2), dtype=int)
    grid[row, col] = 2
    assert drawing(grid.tolist(), "braille") == [dot]


def test_braille_shows_what_is_half_drawn_and_pads_odd_sizes_with_dark() -> None:
    assert drawing([[2, 2, 2], [2, 2, -1], [-1, -1, -1], [-1, -1, -1]], "braille") == ["⠛⠁"]
    assert drawing([[0, 0]], "braille") == ["\u2800"]


@pytest.mark.parametrize("rendering", ["blocks", "ascii", "braille"])
def test_where_nothing_is_drawn_yet_stands_a_dot(rendering: Rendering) -> None:
    assert set("".join(drawing([[-1] * 4] * 4, rendering))) == {BLANK}


def test_a_scale_repeats_pixels_in_both_directions() -> None:
    assert drawing([[2, 0], [0, 2]], "ascii", scale=2) == ["@@  ", "  @@"]
    assert drawing([[2, 0]], "blocks", scale=3) == ["███   ", "▀▀▀   "]


@pytest.mark.parametrize("rendering", ["blocks", "ascii", "braille"])
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_rows_of_names_exactly_the_rows_that_a_pixel_row_changes(rendering: Rendering, scale: int) -> None:
    raster, dark = Raster(rendering, scale), np.zeros((7, 3, 3), dtype=np.int16)
    rows = range(raster.size(7, 3)[1])
    for pixel_row in range(7):
        bright = dark.copy()
        bright[pixel_row] = 255
        changed = [row for row in rows if raster.row(bright, row) != raster.row(dark, row)]
        assert changed == list(raster.rows_of(pixel_row))


def test_brightness_is_luma() -> None:
    assert (brightness(BLACK), brightness(WHITE)) == pytest.approx((0, 1))
    assert brightness((0, 255, 0)) > brightness(RED) > brightness((0, 0, 255))


def test_ansi_sets_each_colour_once_per_run_of_cells_and_resets_at_the_end() -> None:
    cells = [Cell("▀", RED, BLACK), Cell("▀", RED, BLACK), Cell("▄", RED), Cell(BLANK)]
    coloured = "\x1b[0;38;2;255;0;0;48;2;0;0;0m▀▀\x1b[0;38;2;255;0;0m▄\x1b[0m·\x1b[0m"
    assert ansi(cells) == coloured


def test_a_colour_is_written_as_style_sheets_do() -> None:
    assert hexadecimal((255, 0, 16)) == "#ff0010"


def test_more_bits_are_brighter_and_what_is_not_known_is_not_drawn() -> None:
    colours = heat(np.array([0.0, 0.2, 1, 3, 6, HOTTEST, 30, np.inf, np.nan]))
    bright = [brightness(tuple(colour)) for colour in colours[:-1].tolist()]
    assert bright[:6] == sorted(bright[:6])
    assert len(set(bright[:6])) == 6
    assert bright[5] == bright[6] == bright[7]
    assert (colours[-1] == UNDRAWN).all()
    assert heat(np.zeros((2, 3, 4))).shape == (2, 3, 4, 3)
