"""The number of threads is measured once per model and machine, then remembered; a person may say another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Run
from tui_gen.library import open_model
from tui_gen.runtime import placement


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache on a machine of four processors, whose clock says what a step gives."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(placement, "cores", lambda: 4)
    monkeypatch.setattr(placement, "_seconds", lambda step: step())
    return tmp_path / "cache"


def _taking(seconds: dict[int, float]) -> tuple[Callable[[int], Callable[[], object]], list[int]]:
    """Steps that take so long with so many threads, and the counts that were opened."""
    asked: list[int] = []

    def opened(count: int) -> Callable[[], object]:
        asked.append(count)
        return lambda: seconds[count]

    return opened, asked


def test_threads_are_tried_as_far_as_there_are_processors() -> None:
    assert [placement.thread_counts(available) for available in (1, 2, 6, 64)] == [[1], [1, 2], [1, 2, 4], [1, 2, 4, 8]]


def test_more_threads_must_be_clearly_faster() -> None:
    assert placement.choose([1, 2, 4], [1.0, 0.5, 0.48]) == 2
    assert placement.choose([1, 2, 4], [1.0, 0.95, 0.6]) == 4
    assert placement.choose([1, 2], [1.0, 1.4]) == 1


def test_the_choice_is_measured_once_and_remembered(cache: Path) -> None:
    opened, asked = _taking({1: 0.02, 2: 0.004, 4: 0.02})
    assert placement.fastest_threads("graph", "1.0", opened) == 2
    assert asked == [1, 2, 4]
    assert placement.fastest_threads("graph", "1.0", opened) == 2
    assert asked == [1, 2, 4]
    placement.fastest_threads("another", "1.0", opened)
    assert asked == [1, 2, 4] * 2


def test_a_damaged_or_missing_memory_is_measured_again(cache: Path) -> None:
    opened, asked = _taking({1: 0.004, 2: 0.02, 4: 0.02})
    assert placement.fastest_threads("graph", "1.0", opened) == 1
    for written in ("many", "77", ""):
        next(path for path in cache.rglob("*") if path.is_file()).write_text(written)
        assert placement.fastest_threads("graph", "1.0", opened) == 1
    assert len(asked) == 12


def test_an_opened_model_has_the_threads_that_were_chosen_or_asked_for(
    cache: Path, toy_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "_seconds", lambda step: 1.0)
    monkeypatch.setattr(placement, "choose", lambda counts, seconds: 2)
    assert open_model(toy_models / "text", provider="cpu").model.threads == 2
    assert open_model(toy_models / "text", provider="cpu").model.threads == 2
    assert open_model(toy_models / "text", provider="cpu", threads=3).model.threads == 3


def test_the_command_line_says_and_takes_the_number_of_threads(tui_gen: Run) -> None:
    assert b"threads         3\n" in tui_gen("inspect", "text", "--threads", "3").stdout
    assert tui_gen("inspect", "text", "--threads", "0").returncode == 2
