"""What is inside is drawn on the text, whatever the room; it reads without colour, and its numbers are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tui_gen.tui.widgets.inside_drawing import Line
from tui_gen.tui.widgets.inside_text import flat, marked_text, tokens_lines, wrap_text
from tui_gen.tui.widgets.inside_units import PHRASE, WORD, ranking, units_lines
from tui_gen.tui.widgets.inside_window import Selection, Split, Window, prompt_facts

NEAR = (("dog", 0.75), ("moon", -0.2))
WORDS = ["", "the", " cat", " sat", ".", "\n", "it", " ran"]


def texts(lines: list[Line]) -> list[str]:
    return ["".join(piece.text for piece in line) for line in lines]


def test_a_text_breaks_after_white_space_and_its_line_ends_are_seen() -> None:
    lines = wrap_text(WORDS, 9)
    assert ["".join(character for character, _ in line) for line in lines] == ["the cat ", "sat.↵", "it ran"]
    assert lines[1][0] == ("s", 3)
    assert ["".join(each for each, _ in line) for line in wrap_text(["日本", "語x"], 4)] == ["日本", "語x"]
    assert wrap_text([""], 3) == []


def follows(tokens: int, pin: int | None = None, trait: str = "") -> Window:
    """Unit 3 is below 0 within words that begin with a capital, unit 5 above at digits."""
    pieces = ["", *('Ab 12 "c" ' * tokens)[: tokens - 1]]
    hidden = np.random.default_rng(0).normal(0, 0.1, (tokens, 8)).astype(np.float32)
    hidden[:, 3] -= [0.8 * piece.isupper() for piece in pieces]
    hidden[:, 5] += [0.9 * piece.isdigit() for piece in pieces]
    return Window({"state.h.0": hidden}, pieces, tokens // 2, pieces=pieces, selection=Selection(trait=trait, pin=pin))


def test_units_are_ranked_by_what_they_follow_and_colour_the_text() -> None:
    first = ranking(follows(300))
    assert first
    assert first.trait == first.traits[0]
    assert WORD in first.traits
    assert "inside brackets" not in first.traits
    orders = [ranking(follows(300, trait=trait)) for trait in first.traits]
    best = {order.trait: order.matches[0].unit for order in orders if order}
    assert tuple(best) == first.traits
    assert best["capitals"] == 3
    assert best["digits"] == 5
    trait = "digits"
    drawn = texts(units_lines(follows(300, trait=trait), 70, 20))
    assert drawn[0].startswith(" layer 1 h · unit 5 of 8 · ")
    assert " follow: digits" in "\n".join(drawn)
    for text, signs in zip(drawn[1:11:2], drawn[2:11:2], strict=True):
        assert all((sign in "*#") == character.isdigit() for character, sign in zip(text, signs, strict=True))
    assert any(line.startswith(" > unit    5 +0.9") for line in drawn)
    other = texts(units_lines(follows(300, trait=trait, pin=2), 70, 20))
    assert "unit 2 of 8" in other[0]
    assert any(line.startswith(" > unit    2 ") for line in other)


def test_a_phrase_is_ranked_in_the_place_of_the_word_at_the_cursor_and_marked_in_the_text() -> None:
    window = follows(300)
    hidden = window.values["state.h.0"]
    hidden[120:125, 6] = -1
    chosen = Selection(trait=PHRASE, phrase=range(1120, 1125))
    window = replace(window, first=1000, selection=chosen)
    order = ranking(window)
    assert order
    assert (order.trait, order.matches[0].unit, order.matches[0].is_throughout) == (PHRASE, 6, True)
    lines = units_lines(window, 70, 40)
    assert "".join(piece.text for line in lines[1::2] for piece in line if piece.marked) == flat(window.pieces[120:125])
    assert any(line.endswith("on throughout, off around it") for line in texts(lines))
    begun = replace(window, selection=Selection(begun=1155))
    assert begun.phrase == range(150, 156)
    assert replace(window, selection=Selection(phrase=range(400, 500))).phrase is None


def test_places_where_the_same_units_are_on_stand_with_the_text_around_them() -> None:
    window = follows(300)
    hidden = window.values["state.h.0"]
    hidden[:, 6] = 0
    hidden[250:252, 6] = hidden[148:152, 6] = hidden[20:23, 6] = -1
    window = replace(window, selection=Selection(trait=PHRASE, phrase=range(20, 23), pin=6, place=1))
    rows = texts(units_lines(window, 72, 24))[-4:]
    assert rows[0] == " 3 places with unit 6 (below 0) on · enter goes there"
    text = flat(window.pieces)
    for row, mark, where, span in zip(
        rows[1:], " > ", ("here", "130 back", "100 on"), ((148, 152), (20, 23), (250, 252)), strict=False
    ):
        first, past = span[0] - 1, span[1] - 1  # the first token of all wrote nothing
        name = f" {mark} {where:>10} {f'({past - first})':>6} "
        first += text[first] == " "
        before = text[max(0, first - 17) : first].rjust(17)
        assert row == f"{name}{before}[{text[first:past]}]{text[past:]}"[:72]


def test_a_short_text_is_said_to_tell_little() -> None:
    assert "50 tokens are few" in "\n".join(texts(units_lines(follows(50), 70, 20)))
    assert "tokens are few" not in "\n".join(texts(units_lines(follows(300), 70, 20)))
    flat = Window({"state.h.0": np.zeros((3, 2), np.float32)}, ["", "-", "-"], 0, pieces=["", "-", "-"])
    assert ranking(flat) is not None
    assert "draws pictures" in texts(units_lines(Window({"x": np.zeros(1, np.float32)}, [], 0), 70, 9))[0]


def split(near: Sequence[tuple[str, float]] | None = NEAR) -> Window:
    """Of `The xyz cat`, and two tokens that the model made."""
    labels, sources = ["<end>", "the", "<unk>", "cat", "sat", "."], ["", "The", " xyz", " cat", "", ""]
    facts = ["3 tokens for 11 characters"]
    parts = Split(
        [0, 7, 1, 12, 30, 4],
        [-3, -2, -1, 0, 1, 2],
        sources,
        facts,
        begins=True,
        unknown=1,
        neighbours=near,
        subject="cat",
    )
    return Window({}, labels, 3, pieces=labels, split=parts)


@pytest.mark.parametrize("width", [79, 60])
def test_a_text_is_shown_as_it_is_split_with_what_is_near_in_the_embedding(width: int) -> None:
    drawn = texts(tokens_lines(split(), width, 23))
    assert drawn[0] == " prompt: 3 tokens for 11 characters"
    rows = [line[: width - 23 if width == 79 else width].split() for line in drawn[2:8]]
    assert rows == [
        ["start", "0", "<end>", "the", "begins", "every", "text"],
        ["prompt", "7", "the", "<unk>", "typed", "The"],
        ["prompt", "1", "<unk>", "cat", "unknown:", "xyz"],
        [">", "prompt", "12", "cat", "sat"],
        ["1", "30", "sat", "."],
        ["2", "4", ".", "?"],
    ]
    near = [line for line in drawn if "dog" in line or "moon" in line]
    assert ["+0.75" in near[0], "-0.20" in near[1]] == [True, True]
    assert "near cat (cosine)" in "\n".join(drawn)
    assert "no embedding is named" in "\n".join(texts(tokens_lines(split(None), width, 23)))


def test_what_came_of_a_prompt_is_told_in_a_line() -> None:
    tokens = [("recipe", "recipe"), (" for", "for"), (" The", "the"), (" xyz", "<unk>")]
    assert prompt_facts("The xyz", "recipe for The xyz", tokens, ["xyz"]) == [
        "4 tokens for 18 characters",
        "begins with recipe for",
        "read in lower case",
        "1 unknown: xyz",
    ]
    assert prompt_facts("ab", "ab", [("a", "a"), ("b", "b")], []) == ["2 tokens for 2 characters", "nothing unknown"]
    assert prompt_facts("", "", [], list("abcda"))[-1] == "5 unknown: a, b, c, ..."


def test_the_cursor_is_in_sight_in_a_long_text() -> None:
    pieces = list("abcde fgh " * 60)
    for cursor in (0, 5, 300, 599):
        strong = [
            piece.text
            for line in marked_text(Window({}, pieces, cursor, pieces=pieces), [1] * 600, 40, 8)
            for piece in line
            if piece.strong
        ]
        assert strong == ["␣" if pieces[cursor] == " " else pieces[cursor], "+"]


@pytest.mark.parametrize("width", [1, 3, 9, 40, 300])
@pytest.mark.parametrize("height", [0, 1, 2, 5, 12, 60])
def test_any_room_is_drawn(width: int, height: int) -> None:
    places = replace(follows(30), selection=Selection(place=3))
    for lines in (
        units_lines(follows(30), width, height),
        units_lines(places, width, height),
        tokens_lines(split(), width, height),
    ):
        assert len(lines) <= height
        assert all(len(text) <= width for text in texts(lines))
