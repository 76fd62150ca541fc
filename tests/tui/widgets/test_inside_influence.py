"""What a prediction rests on is drawn whatever the room; it reads without colour, and its numbers are right."""

from __future__ import annotations

import numpy as np
import pytest

from tui_gen.card import ImageSpec
from tui_gen.inspection.influence import PictureInfluence
from tui_gen.tui.widgets.inside_drawing import Line
from tui_gen.tui.widgets.inside_influence import bits_level, influence_lines
from tui_gen.tui.widgets.inside_window import Measurement, Window

WORDS = ["", "the", " cat", " sat", ".", "\n", "it", " ran"]


def texts(lines: list[Line]) -> list[str]:
    return ["".join(piece.text for piece in line) for line in lines]


def rests(bits: list[float], cursor: int, pieces: list[str] = WORDS, count: int = 5) -> Window:
    labels = [piece.strip() or "␣" for piece in pieces]
    return Window({}, labels, cursor, pieces=pieces, influence=Measurement(np.array(bits), count))


def test_each_token_has_a_sign_for_its_bits_and_none_before_they_are_known() -> None:
    assert [bits_level(bits) for bits in (0, 0.009, 0.01, 0.5, 1, 9)] == [0, 0, 1, 2, 3, 3]
    window = rests([float("nan"), float("nan"), 0.02, 0.3, 2.5], 4)
    drawn = texts(influence_lines(window, 60, 20))
    assert drawn[1:3] == [" the cat sat.↵", "    ++++****# "]
    assert drawn[0].endswith("measured 3 of 5")
    assert "measured" not in texts(influence_lines(rests([0, 0, 0, 0, 1], 4), 60, 20))[0]


def test_the_curve_reaches_as_far_as_the_memory_and_the_largest_are_named() -> None:
    bits = [0.0] * 40
    bits[39], bits[30], bits[10] = 1.0, 0.1, 0.004
    drawn = texts(influence_lines(rests(bits, 39, list("abcdefghij" * 4)), 60, 24))
    assert " it reaches 10 tokens back with 0.01 bits or more" in drawn
    assert " most: j 1.00 (1 back), a 0.10 (10 back), a 0.00 (30 back)" in drawn
    heights = [sum(line[7 + back - 1] != " " for line in drawn[-6:-1]) for back in (1, 2, 10, 30)]
    assert heights == [5, 0, 4, 1]
    assert drawn[-1].split() == ["1", "back", "40", "back"]


def of_picture(side: int, place: tuple[int, int], bits: dict[tuple[int, int], float], block: int = 1) -> Window:
    """Of the rows above, and of the pixel's own, all but the outermost column is within reach."""
    value = place[0] * side + place[1]
    reach = (np.arange(side * side) < value).reshape(side, side)
    reach[:, 0] = False
    known = np.where(reach, 0.0, np.nan)
    for pixel, each in bits.items():
        known[pixel] = each
    image, sides = ImageSpec(side, side, 4), np.where(known > 0, block, 1)
    picture = PictureInfluence(image, value, reach, known, sides, 0.42)
    return Window({}, ["1"], 0, influence=Measurement(np.zeros(0), 0, prompt=0.42, picture=picture))


BITS = {(3, 4): 1.5, (2, 5): 0.2, (2, 4): 0.03, (1, 6): 0.002}


def test_a_picture_is_drawn_with_a_sign_for_the_bits_of_each_pixel_and_facts_in_words() -> None:
    drawn = texts(influence_lines(of_picture(8, (3, 5), BITS), 48, 30))
    assert drawn[0] == " bits of each pixel: : 0.001  + 0.01  * 0.1  # 1"
    assert drawn[1:6] == [
        " --··············",
        " --··········::··",
        " --······++**····",
        " --······##@@    ",
        "                 ",
    ]
    words = " ".join(line.strip() for line in drawn[9:])
    assert "@ row 3, column 5: its prediction" in words
    assert "by its layers it can see 25 of 29 earlier pixels" in words
    assert "it reaches 1 up, 1 left with 0.01 bits or more" in words
    assert "90% of the bits come from 2 of them (8.0%)" in words
    assert (
        "most: row 3, column 4 (1 left) 1.50; row 2, column 5 (1 up) 0.20; row 2, column 4 (1 up, 1 left) 0.03" in words
    )
    assert "the prompt: 0.42 bits" in words
    assert "measured" not in drawn[0]


def test_where_there_is_little_room_a_cell_is_two_pixels_and_the_facts_stand_beside() -> None:
    drawn = texts(influence_lines(of_picture(8, (3, 5), BITS), 60, 6))
    assert [line[:9] for line in drawn[1:4]] == [" -·······", " -···+*:·", " -···#@  "]
    assert drawn[1][9:].startswith("  @ row 3, column 5")


def test_blocks_that_are_to_be_divided_are_named_and_counted() -> None:
    drawn = "\n".join(texts(influence_lines(of_picture(8, (4, 0), {(2, 4): 1.0, (3, 5): 1.0}, block=2), 90, 20)))
    assert "measured 26 of 28" in drawn
    assert "most: rows 2 to 3, columns 4 to 5 1.00" in drawn.replace("\n", " ")
    assert "come from" not in drawn


def test_it_says_why_nothing_is_drawn() -> None:
    assert "paused or rests" in texts(influence_lines(Window({}, ["a"], 0, pieces=["a"]), 70, 5))[0]
    early = Window({}, [""], 0, pieces=[""], influence=Measurement(np.array([np.nan]), 0, "nothing before"))
    assert texts(influence_lines(early, 70, 5)) == [" nothing before"]


@pytest.mark.parametrize("width", [1, 3, 9, 40, 300])
@pytest.mark.parametrize("height", [0, 1, 2, 5, 12, 60])
def test_any_room_is_drawn(width: int, height: int) -> None:
    for window in (
        rests([np.nan] + [0.1] * 4, 4),
        rests([0.0], 0),
        Window({}, [], 0),
        of_picture(8, (3, 5), BITS),
        of_picture(40, (39, 39), {}),
    ):
        lines = influence_lines(window, width, height)
        assert len(lines) <= height
        assert all(len(text) <= width for text in texts(lines)) or window.influence is None
