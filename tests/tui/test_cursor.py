"""Where a cursor may stand."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from tests.support import toys
from tui_gen.generation.branch import Branch, BranchStart
from tui_gen.library import open_model
from tui_gen.sampling.params import SamplingParams
from tui_gen.tui.widgets.run_view import Cursor

ROOM = range(1, 10**9)


def branch(folder: Path, *, text: str = "the", seed: int = 5, samples: int = 1, count: int = 20) -> Branch:
    loaded_model = open_model(folder, provider="cpu", threads=1)
    made = Branch(
        "1", BranchStart(loaded_model.codec.prompt([text] * samples), seed, SamplingParams()), loaded_model.model
    )
    step_buffer = made.step_buffer()
    for step in islice(made.steps(SamplingParams()), count):
        step_buffer.append(step)
    made.record(step_buffer)
    return made


def test_it_moves_token_by_token_from_the_first_to_behind_the_last(tmp_path: Path) -> None:
    line = branch(toys.endless_text_folder(tmp_path / "endless"))
    cursor = Cursor()
    assert cursor.at(line, ROOM) == len(line)
    assert cursor.move(line, -1, ROOM).at(line, ROOM) == len(line) - 1
    assert cursor.move(line, -1, ROOM).move(line, 1, ROOM) == Cursor()
    assert cursor.move(line, -1000, ROOM).at(line, ROOM) == 1
    assert cursor.to(line, 7, ROOM).move(line, 1000, ROOM) == Cursor()


def test_behind_the_last_token_it_goes_along_with_what_is_made(tmp_path: Path) -> None:
    line = branch(toys.endless_text_folder(tmp_path / "endless"))
    behind, standing = Cursor(), Cursor().to(line, 4, ROOM)
    step_buffer = line.step_buffer()
    for step in islice(line.steps(SamplingParams()), 5):
        step_buffer.append(step)
    line.record(step_buffer)
    assert (behind.at(line, ROOM), standing.at(line, ROOM)) == (len(line), 4)


def test_in_a_sample_that_has_ended_it_stands_on_the_last_token_at_most(tmp_path: Path) -> None:
    line = branch(toys.text_folder(tmp_path / "cats"), samples=3, seed=1, count=1000)
    assert line.ended
    for sample in range(3):
        last = int(line.live[:, sample].sum()) - 1
        assert Cursor(sample).to(line, 10**6, ROOM).at(line, ROOM) == last
        assert Cursor(sample).to(line, last, ROOM).move(line, 1, ROOM).at(line, ROOM) == last


def test_in_a_picture_it_stands_on_pixels_alone(tmp_path: Path) -> None:
    line = branch(toys.image_folder(tmp_path / "stripes"), text="bright", count=toys.HEIGHT * toys.WIDTH + 1)
    room = range(2, 2 + toys.HEIGHT * toys.WIDTH)
    assert len(line) == room.stop
    assert Cursor().to(line, 1, room).at(line, room) == 2
    assert Cursor().to(line, 10**6, room).at(line, room) == room.stop - 1
    assert Cursor().at(line, room) == room.stop - 1
