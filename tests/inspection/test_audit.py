"""What an exported image model really reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import toys
from tests.support.toys import HEIGHT, WIDTH
from tui_gen.cli.inspect import report_lines
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.inspection.audit import Audit, audit
from tui_gen.inspection.receptive_field import ReceptiveField
from tui_gen.library import LoadedModel, open_model

BEFORE, ABOVE, ABOVE_RIGHT = 1, WIDTH, WIDTH - 1
"""How many pixels ago they were drawn."""


def audited(path: Path, **facts: Any) -> Audit:
    loaded_model = open_model(toys.image_folder(path / "toy", **facts), provider="cpu")
    return audit(loaded_model.model, loaded_model.card)


def seen(report: Audit) -> set[tuple[int, int]]:
    """(rows up, columns to the right) of what the pixel sees."""
    found = report.field
    return {(found.row - int(row), int(column) - found.column) for row, column in np.argwhere(found.sees)}


def test_a_pixel_sees_exactly_what_moves_its_logits(tmp_path: Path) -> None:
    graph = toys.remembering_graph({BEFORE: 1.0, ABOVE: -1.0, ABOVE_RIGHT: 0.001, 2 * WIDTH: 0.5}, threshold=-9)
    found = audited(tmp_path, graph=graph)
    assert (found.field.row, found.field.column) == (HEIGHT - 1, WIDTH // 2)
    assert seen(found) == {(0, -1), (1, 0), (1, 1), (2, 0)}
    assert found.worst <= found.tolerance
    assert found.summary == (
        "changed 21 pixels, and nothing moved that must not; row 3, column 3 sees 4 of 21 earlier pixels; blind spot 3"
    )


def test_a_unit_that_is_mostly_at_rest_does_not_hide_what_it_sees(tmp_path: Path) -> None:
    graph = toys.remembering_graph({BEFORE: 1.0, ABOVE: 1.0}, threshold=3)
    assert seen(audited(tmp_path, graph=graph)) == {(0, -1), (1, 0)}


def test_what_is_within_reach_and_not_seen_is_a_blind_spot(tmp_path: Path) -> None:
    found = audited(tmp_path, graph=toys.remembering_graph({BEFORE: 1.0, ABOVE: 1.0, ABOVE + 1: 1.0}))
    assert np.argwhere(found.field.blind_spot).tolist() == [[found.field.row - 1, found.field.column + 1]]


@pytest.mark.parametrize(
    ("sees", "dead"),
    [
        ({ABOVE: 1.0, 2 * WIDTH: 1.0}, ["its own row"]),
        ({BEFORE: 1.0, 2 * WIDTH: 1.0}, ["row 1 up"]),
        ({BEFORE: 1.0, ABOVE + 1: 1.0, ABOVE - 1: 1.0}, ["its own column"]),
        ({BEFORE: 1.0, ABOVE: 1.0, ABOVE + 1: 1.0}, []),
    ],
)
def test_a_row_or_column_of_which_nothing_is_seen_is_told(
    tmp_path: Path, sees: dict[int, float], dead: list[str]
) -> None:
    found = audited(tmp_path, graph=toys.remembering_graph(sees))
    assert found.field.dead_lines == dead
    assert any(line.startswith("warning") for line in report_lines(found, 80)) == bool(dead)


def test_a_model_that_only_counts_sees_nothing_also_after_a_warm_up(image: LoadedModel, warmed: LoadedModel) -> None:
    for counting in (image, warmed):
        report = audit(counting.model, counting.card)
        assert not report.field.sees.any()
        assert not report.field.blind_spot.any()


def test_a_pixel_in_colour_is_seen_if_any_of_its_values_is(tmp_path: Path) -> None:
    colour = {"height": HEIGHT, "width": WIDTH, "levels": toys.LEVELS, "channels": 3}
    graph = toys.remembering_graph({3 * ABOVE: 1.0, 4: 1.0})
    found = audited(tmp_path, graph=graph, image=colour, tokenizer="")
    assert seen(found) == {(1, 0), (0, -1), (0, -2)}


def test_samples_that_influence_each_other_are_told_with_the_places(tmp_path: Path) -> None:
    place = r"row \d, column \d"
    told = f"the logits at {place} move by .* although only the samples beside it differ, from {place} on; export"
    with pytest.raises(TuiGenError, match=told):
        audited(tmp_path, graph=toys.image_graph(leaky=True))


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 1)])
def test_the_smallest_pictures_can_be_audited(tmp_path: Path, size: tuple[int, int]) -> None:
    image = {"height": size[0], "width": size[1], "levels": toys.LEVELS}
    found = audited(tmp_path, graph=toys.remembering_graph({1: 1.0}), image=image, tokenizer="")
    assert int(found.field.sees.sum()) == (size != (1, 1))


def test_where_time_is_short_a_higher_pixel_is_taken(image: LoadedModel) -> None:
    found = audit(image.model, image.card, seconds=0)
    assert (found.field.row, found.field.column) == (0, WIDTH // 2)
    assert "too slow" in "".join(report_lines(found, 80))


def test_logits_that_are_no_numbers_are_told(tmp_path: Path) -> None:
    with pytest.raises(TuiGenError, match="not finite"):
        audited(tmp_path, graph=toys.remembering_graph({1: float("inf")}))


def test_a_model_that_writes_is_refused(text: LoadedModel) -> None:
    with pytest.raises(UsageError, match="the audit is for models that draw; text writes text"):
        audit(text.model, text.card)


LEGEND = "@ itself  # seen  o blind spot (within reach)  - out of reach  . not yet drawn"


def field(height: int, width: int, row: int, column: int) -> ReceptiveField:
    """It sees the pixel above and the one above that on the left."""
    sees = np.zeros((height, width), dtype=bool)
    sees[row - 1, column] = sees[row - 2, column - 1] = True
    return ReceptiveField(row, column, sees)


def drawn(size: tuple[int, int, int, int], columns: int, by_taps: ReceptiveField | None = None) -> list[str]:
    return report_lines(Audit(field(*size), 0.0, 1e-5, by_taps), columns)


def test_the_report_draws_every_pixel_as_one_of_five_signs() -> None:
    lines = drawn((5, 6, 3, 3), 80)
    assert lines[-7:] == ["------", "--#oo-", "--o#o-", "--o@..", "......", "", LEGEND]
    assert "sees 2 of 21 earlier pixels; blind spot 5" in lines[2]
    assert "the card does not tell" in lines[4]


def test_of_a_large_picture_the_report_draws_what_is_around_the_pixel() -> None:
    lines = drawn((200, 100, 150, 90), 80)
    picture = lines[lines.index("") + 1 : -2]
    assert {len(line) for line in picture} == {80}
    assert [line.index("@") for line in picture if "@" in line] == [70]
    assert len(picture) == 64
    assert all(len(line) <= 80 for line in lines)


def test_what_the_taps_say_stands_beside_what_is_measured_and_a_difference_is_told() -> None:
    wider, narrower = field(5, 6, 3, 3), field(5, 6, 3, 3)
    wider.sees[0, 0], narrower.sees[2, 3] = True, False
    lines = drawn((5, 6, 3, 3), 80, field(5, 6, 3, 3))
    assert "the taps of the layers say the same" in lines[4]
    assert lines[-8:-1] == [
        "measured   by the taps",
        "------     ------",
        "--#oo-     --#oo-",
        "--o#o-     --o#o-",
        "--o@..     --o@..",
        "......     ......",
        "",
    ]
    assert "reach 1 more, which moved nothing" in drawn((5, 6, 3, 3), 80, wider)[4]
    assert "leave out 1 of them: the card does not tell" in drawn((5, 6, 3, 3), 80, narrower)[4]
    narrow = drawn((5, 6, 3, 3), 14, wider)
    assert narrow.index("by the taps") == narrow.index("measured") + 7
