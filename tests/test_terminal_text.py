"""Foreign text on its way to a terminal."""

from __future__ import annotations

import unicodedata

import pytest

from tui_gen.terminal_text import SIGN, scrub, scrub_line

OBEYED = [*range(0x20), *range(0x7F, 0xA0)]
HIDDEN = [0xAD, 0x61C, 0x180E, *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x206A), 0xFEFF]
RARE = [*range(0xFFF9, 0xFFFC), *range(0xD800, 0xE000, 64), *range(0xE0000, 0xE0080), *range(0xFE00, 0xFE10)]


@pytest.mark.parametrize("codes", [OBEYED, HIDDEN, RARE], ids=["obeyed", "hidden", "rare"])
def test_every_dangerous_character_is_replaced_by_one_that_shows(codes: list[int]) -> None:
    for code in codes:
        shown = scrub(f"a{chr(code)}b")
        assert len(shown) == 3
        if chr(code) not in "\n\t":
            assert unicodedata.category(shown[1]) == "So", hex(code)


def test_newline_and_tab_stay() -> None:
    assert scrub("a\n\tb") == "a\n\tb"


def test_control_characters_show_which_they_are() -> None:
    assert scrub("\x1b[31m\x00\x7f\x9b") == "\u241b[31m\u2400\u2421" + SIGN


def test_it_does_not_matter_where_a_chunk_ends() -> None:
    text = "\x1b]0;title\x07\u202eevil\r\n\U000e0041"
    assert "".join(map(scrub, text)) == scrub(text)


def test_what_people_write_stays_as_it_is() -> None:
    text = "naïve – 漢字 😀 العربية [bold]x[/] café ▀▄█⠿"
    assert scrub(text) == text


def test_a_line_stays_one_line() -> None:
    shown = scrub_line("one\ntwo\r\n\tthree\u2028four\x85five\x0bsix")
    assert len(shown.splitlines()) == 1
    assert "\t" not in shown
