from __future__ import annotations

import numpy as np
import pytest

from tui_gen.generation.branch import StepBuffer
from tui_gen.sampling.params import SamplingParams
from tui_gen.sampling.step import Step
from tui_gen.tui.widgets.run_view import Meter


def steps(count: int, *, samples: int = 1, given: int = 0) -> StepBuffer:
    """So many steps, and before them some that are given."""
    made = StepBuffer(1)
    for index in range(given + count):
        made.append(step(index, samples, given=index < given))
    return made


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
