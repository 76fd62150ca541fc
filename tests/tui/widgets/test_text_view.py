from __future__ import annotations

import random

import pytest
from rich.cells import cell_len

from tui_gen.tui.widgets.text_view import WrappedText


def wrapped(text: str, width: int) -> list[str]:
    page = WrappedText(width)
    page.append(text)
    return [line.text for line in page.lines]


def test_lines_break_at_spaces_and_at_newlines() -> None:
    assert wrapped("boil the eggs\nand peel", 9) == ["boil the", "eggs", "and peel"]


def test_a_word_longer_than_a_line_is_cut() -> None:
    assert wrapped("a floccinaucinihil b", 8) == ["a", "floccina", "ucinihil", "b"]


def test_a_line_that_is_just_full_does_not_break() -> None:
    assert wrapped("12345 789", 9) == ["12345 789"]
    assert wrapped("12345 789 x", 9) == ["12345 789", "x"]


@pytest.mark.parametrize("alphabet", ["ab \n", "ab 日本\n", "é\u0301x "])
def test_text_that_comes_in_pieces_wraps_as_text_that_comes_at_once(alphabet: str) -> None:
    rng = random.Random(1)
    for width in (2, 3, 7, 20):
        page, text = WrappedText(width), ""
        for _ in range(60):
            piece = "".join(rng.choices(alphabet, k=rng.randrange(6)))
            page.append(piece)
            text += piece
        assert page.lines == page.rewrap(width).lines
        assert page.text == text
        assert all(cell_len(line.text) <= width for line in page.lines)


def test_every_line_knows_where_in_the_text_it_begins() -> None:
    page = WrappedText(6)
    page.append("one two\nthree fourfive")
    assert all(page.text[line.start : line.start + len(line.text)] == line.text for line in page.lines)


def test_only_lines_from_the_first_changed_one_on_change() -> None:
    page = WrappedText(5)
    page.append("one two three")
    before = list(page.lines)
    first = page.append(" four")
    assert page.lines[:first] == before[:first]
