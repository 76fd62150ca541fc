"""Units are ranked by how closely they follow what a person can say of a text."""

from __future__ import annotations

import numpy as np
import pytest

from tui_gen.inspection.units import (
    Match,
    chance,
    correlations,
    matches,
    movement,
    phrase,
    phrase_matches,
    properties,
    saturated,
    similar_places,
)

TEXT = 'He said "go (now)" 12 times.\n\nThen "stop'


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("inside quotes", "0000000011111111100000000000000000011111"),
        ("inside brackets", "0000000000001111000000000000000000000000"),
        ("place in the line", "1234567899999999999999999999001234567899"),
        ("word length so far", "1201234001200123000120123450001234001234"),
        ("end of a sentence", "0000000000000000000000000001000000000000"),
        ("capitals", "1000000000000000000000000000001000000000"),
        ("digits", "0000000000000000000110000000000000000000"),
        ("white space", "0010000100010000001001000000110000100000"),
    ],
)
def test_properties_stand_where_a_person_would_put_them(name: str, expected: str) -> None:
    values = properties(list(TEXT))[name]
    assert "".join(str(int(min(9, value))) for value in values) == expected
    pieces = ["He", " said", ' "go', " (now", ')"', " 12", " times", ".", "\n\n", "Then", ' "stop']
    ends = np.cumsum([len(piece) for piece in pieces]) - 1
    assert np.array_equal(properties(pieces)[name], values[ends])


def test_a_quotation_that_nobody_closed_ends_with_its_paragraph() -> None:
    assert properties(list('"a\n\nb'))["inside quotes"].tolist() == [1, 1, 1, 0, 0]
    assert properties(list("“a”b«c»"))["inside quotes"].tolist() == [1, 1, 0, 0, 1, 1, 0]


def test_units_that_follow_a_property_come_first_whichever_way_they_turn() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(0, 0.3, (200, 20)).astype(np.float32)
    series = phrase(200, range(50, 100))
    hidden[:, 3] -= series.astype(np.float32)
    hidden[:, 7] += 0.5 * series.astype(np.float32)
    hidden[:, 9] = 0.25
    found = matches(hidden, series, count=2)
    assert [match.unit for match in found] == [3, 7]
    for unit, correlation, _ in found:
        assert correlation == pytest.approx(np.corrcoef(hidden[:, unit], series)[0, 1], abs=1e-5)
    assert correlations(hidden, series)[9] == 0
    assert movement(hidden)[9] == 0
    assert matches(hidden, np.ones(200)) == []
    assert similar_places(hidden, [3], [-1])[0].start in range(45, 100)


def test_a_unit_that_is_on_throughout_a_phrase_and_off_around_it_comes_before_one_that_merely_correlates() -> None:
    hidden = np.zeros((300, 4), dtype=np.float32)
    hidden[100:110, 0], hidden[99:111, 1], hidden[100:109, 2] = -1, 1, 1
    hidden[200:240, 0] = -0.8
    order = phrase_matches(hidden, range(100, 110))
    assert [(match.unit, match.is_throughout) for match in order] == [(0, True), (2, False), (1, False)]
    assert order[0] == Match(0, pytest.approx(matches(hidden, phrase(300, range(100, 110)))[2].correlation), True)
    assert [match.is_throughout for match in phrase_matches(hidden[100:110], range(10))] == []


def test_what_units_reach_by_chance_is_much_in_a_short_text_and_little_in_a_long_one() -> None:
    rng = np.random.default_rng(0)
    for count, least, most in ((20, 0.5, 0.95), (2000, 0.03, 0.12)):
        hidden, series = rng.normal(0, 1, (count, 100)).astype(np.float32), rng.integers(0, 2, count).astype(float)
        assert least < chance(hidden, series) < most
        shifts = range(count // 10, count - count // 10)
        best = [np.abs(correlations(hidden, np.roll(series, shift))).max() for shift in shifts]
        assert chance(hidden, series) == pytest.approx(np.quantile(best, 0.95), abs=1e-4)
        hidden[:, 5] += 2 * series.astype(np.float32)
        assert abs(matches(hidden, series)[0].correlation) > 0.65


def test_places_where_units_are_on_together_are_told_longest_first() -> None:
    hidden = np.zeros((20, 3), dtype=np.float32)
    hidden[2:5, 0], hidden[3:9, 1], hidden[12:18, :2] = 1, -1, (0.8, -0.9)
    assert similar_places(hidden, [0, 1], [1, -1]) == [range(12, 18), range(3, 5)]
    assert similar_places(hidden, [2], [1]) == []


def test_saturated_units_are_counted() -> None:
    assert saturated(np.array([0.95, -0.91, 0.9, 0, 0.5], dtype=np.float32)) == 2
