"""Where the cursor of a branch may stand, and how fast its run is said to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import toys
from tests.support.widget_app import grow
from tui_gen.generation.branch import Branch, BranchStart, StepBuffer
from tui_gen.library import open_model
from tui_gen.sampling.params import SamplingParams
from tui_gen.sampling.step import Step
from tui_gen.sessions.workspace import Workspace
from tui_gen.tui.widgets.run_view import Cursor, Meter, RunView

ROOM = range(1, 10**9)


def branch(folder: Path, *, text: str = "the", seed: int = 5, samples: int = 1, count: int = 20) -> Branch:
    loaded_model = open_model(folder, provider="cpu", threads=1)
    start = BranchStart(loaded_model.codec.prompt([text] * samples), seed, SamplingParams())
    return grow(Branch("1", start, loaded_model.model), count, 1.0)


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
    grow(line, 5, 1.0)
    assert (behind.at(line, ROOM), standing.at(line, ROOM)) == (len(line), 4)


def test_in_a_sample_that_has_ended_it_stands_on_the_last_token_at_most(tmp_path: Path) -> None:
    line = branch(toys.text_folder(tmp_path / "cats"), samples=3, seed=1, count=1000)
    assert line.ended
    for sample in range(3):
        last = int(line.live[:, sample].sum()) - 1
        assert Cursor(sample).to(line, 10**6, ROOM).at(line, ROOM) == last
        assert Cursor(sample).to(line, last, ROOM).move(line, 1, ROOM).at(line, ROOM) == last


def test_while_a_text_is_read_it_says_how_far(tmp_path: Path) -> None:
    loaded_model = open_model(toys.endless_text_folder(tmp_path / "endless"), provider="cpu", threads=1)
    workspace = Workspace(loaded_model, folder=tmp_path)
    text = workspace.read("the cat the cat", "play.txt", params=SamplingParams(), seed=1)
    assert text.name == "play.txt"
    view = RunView(workspace, text, params=SamplingParams(), rendering="blocks")
    assert view.progress() == "stopped at 0"
    view.ending = None
    assert view.progress() == "reads 0 of 4"
    grow(text, 4, 1.0)
    assert view.progress() == "token 0 of 0"
    assert workspace.read("the cat", "play.txt", params=SamplingParams(), seed=1).name == "1"


def test_in_a_picture_it_stands_on_pixels_alone(tmp_path: Path) -> None:
    line = branch(toys.image_folder(tmp_path / "stripes"), text="bright", count=toys.HEIGHT * toys.WIDTH + 1)
    room = range(2, 2 + toys.HEIGHT * toys.WIDTH)
    assert len(line) == room.stop
    assert Cursor().to(line, 1, room).at(line, room) == 2
    assert Cursor().to(line, 10**6, room).at(line, room) == room.stop - 1
    assert Cursor().at(line, room) == room.stop - 1


def steps(count: int, *, samples: int = 1, given: int = 0) -> StepBuffer:
    """So many steps, and before them some that are given."""
    buffer = StepBuffer(1)
    for index in range(given + count):
        buffer.append(step(index, samples, given=index < given))
    return buffer


def step(index: int, samples: int, *, given: bool) -> Step:
    ones, table = np.ones(samples, dtype=bool), np.zeros((samples, 2), dtype=np.float32)
    tokens = np.zeros(samples, dtype=np.int64)
    return Step(index, tokens, ones & given, ones, table, table, SamplingParams(), 0.002, lambda: ())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    time = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: time[0])
    return time


def test_the_first_tokens_are_counted_over_the_time_they_took(clock: list[float]) -> None:
    meter = Meter()
    clock[0] += 0.5
    meter.count(steps(10, samples=4))
    assert meter.rate() == pytest.approx(80)


def test_the_rate_is_that_of_the_last_second_and_the_average_of_all(clock: list[float]) -> None:
    meter = Meter()
    for _ in range(10):
        clock[0] += 0.25
        meter.count(steps(50))
    for _ in range(10):
        clock[0] += 0.25
        meter.count(steps(5))
    assert meter.rate() == pytest.approx(20, rel=0.3)
    assert meter.average_rate() == pytest.approx(550 / 5)


def test_given_tokens_do_not_count(clock: list[float]) -> None:
    meter = Meter()
    clock[0] += 1
    meter.count(steps(2, given=5))
    assert meter.rate() == 2
    assert meter.step_seconds == pytest.approx(0.002)


def test_nothing_yet_is_no_rate(clock: list[float]) -> None:
    assert (Meter().rate(), Meter().average_rate()) == (0, 0)
