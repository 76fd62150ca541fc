"""When steps may come, and how they are bundled into frames."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle, islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tui_gen.generation import pacing as module
from tui_gen.generation.branch import StepBuffer
from tui_gen.generation.generate import generate
from tui_gen.generation.pacing import Pace, Throttle, frames, paced
from tui_gen.library import LoadedModel
from tui_gen.sampling.params import SamplingParams
from tui_gen.sampling.step import Step


class Clock:
    """A clock that stands still until somebody moves it, or waits for as long."""

    def __init__(self) -> None:
        self.now = 100.0
        self.late = 0.0
        """Seconds by which every wake-up is late."""
        self.asleep = threading.Event()
        """Set once somebody waits without an end."""

    def monotonic(self) -> float:
        return self.now

    def condition(self) -> threading.Condition:
        """Waiting on it takes time by this clock alone."""
        clock = self

        class Condition(threading.Condition):
            def wait(self, timeout: float | None = None) -> bool:
                if timeout is None:
                    clock.asleep.set()
                    return super().wait()
                clock.now += max(timeout, 1e-6) + clock.late
                return False

        return Condition()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "threading", SimpleNamespace(Condition=clock.condition))
    return clock


@pytest.fixture
def steps(endless: LoadedModel) -> Iterator[Step]:
    return generate(endless.model, np.zeros((1, 1), dtype=np.int64), SamplingParams(), length=50, seed=0)


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    return thread, results


def test_without_a_rate_steps_come_as_fast_as_they_are_pulled_and_in_order(steps: Iterator[Step]) -> None:
    assert [step.index for step in paced(steps, Pace()) if step] == list(range(1, 51))


def test_a_pause_blocks_and_resuming_goes_on(steps: Iterator[Step], clock: Clock) -> None:
    pace = Pace()
    pulled = paced(steps, pace)
    assert next(pulled)
    assert pace.toggle_pause()
    assert next(pulled) is None
    thread, results = in_thread(lambda: next(pulled))
    assert clock.asleep.wait(60)
    assert results == []
    assert not pace.toggle_pause()
    thread.join(60)
    assert results[0].index == 2


def test_closing_ends_a_run_also_while_it_is_paused(steps: Iterator[Step], clock: Clock) -> None:
    pace = Pace()
    pace.toggle_pause()
    pulled = paced(steps, pace)
    assert next(pulled) is None
    thread, results = in_thread(lambda: list(pulled))
    assert clock.asleep.wait(60)
    pace.close()
    thread.join(60)
    assert results == [[]]


def test_a_slow_rate_announces_each_wait_so_that_what_is_made_can_be_shown(steps: Iterator[Step], clock: Clock) -> None:
    shape = [step is None for step in islice(paced(steps, Pace(rate=20)), 5)]
    assert shape == [False, True, False, True, False]
    assert clock.now == pytest.approx(100 + 2 / 20)


def test_a_rate_turned_up_counts_at_once_for_a_token_that_waits(steps: Iterator[Step]) -> None:
    pace = Pace(rate=0.001)
    pulled = paced(steps, pace)
    assert next(pulled)
    assert next(pulled) is None
    thread, results = in_thread(lambda: next(pulled))
    pace.set_rate(float("inf"))
    thread.join(60)
    assert results[0].index == 2


def test_a_fast_rate_announces_no_wait_shorter_than_a_frame(clock: Clock) -> None:
    fast, slow = Pace(rate=60), Pace(rate=10)
    for pace in (fast, slow):
        pace.start()
        assert pace.wait()
    assert not fast.must_wait()
    assert slow.must_wait()
    clock.now += 0.1
    assert not slow.must_wait()


def test_a_token_that_comes_late_does_not_delay_those_after_it(clock: Clock) -> None:
    pace, clock.late = Pace(rate=100), 0.002
    pace.start()
    for _ in range(20):
        assert pace.wait()
    assert clock.now == pytest.approx(100 + 19 / 100, abs=0.003)


def test_time_that_a_pause_took_is_not_made_up(clock: Clock) -> None:
    pace = Pace(rate=10)
    pace.start()
    assert pace.wait()
    clock.now += 60
    assert pace.wait()
    assert pace.must_wait()


def test_what_the_prompt_gives_is_not_paced(endless: LoadedModel) -> None:
    prompt = np.ones((1, 40), dtype=np.int64)
    steps = generate(endless.model, prompt, SamplingParams(), length=3, seed=0)
    made = list(islice(paced(steps, Pace(rate=0.01)), 40))
    assert [step.index for step in made if step] == list(range(1, 41))


def test_frames_keep_all_steps_in_order_and_bundle_those_of_a_thirtieth_of_a_second(
    steps: Iterator[Step], clock: Clock
) -> None:
    def ticking() -> Iterator[Step]:
        for step in steps:
            yield step
            clock.now += 0.011

    bundles = list(frames(ticking(), list[Step]))
    assert [step.index for bundle in bundles for step in bundle] == list(range(1, 51))
    assert [len(bundle) for bundle in bundles[:4]] == [1, 4, 4, 4]


def test_a_frame_is_finished_before_a_wait(steps: Iterator[Step], clock: Clock) -> None:
    made = list(islice(steps, 4))
    bundles = list(frames(iter([made[0], made[1], None, None, made[2], made[3]]), list[Step]))
    assert [[step.index for step in bundle] for bundle in bundles] == [[1], [2], [3, 4]]


@pytest.mark.parametrize(
    ("step_seconds", "drawing", "apart"),
    [(0.005, 0.0, 0.035), (0.005, 0.004, 0.16), (0.005, 0.1, 0.3), (0.001, 0.1, 0.035)],
    ids=["free", "dear", "very dear", "while the model waits for its pace"],
)
def test_frames_come_less_often_where_drawing_takes_the_time_of_the_model(
    steps: Iterator[Step], clock: Clock, step_seconds: float, drawing: float, apart: float
) -> None:
    def ticking() -> Iterator[Step]:
        for step in islice(cycle(list(steps)), 400):
            clock.now += 0.005
            yield replace(step, seconds=step_seconds)

    found = [len(bundle) * 0.005 for bundle in frames(ticking(), list[Step], lambda: drawing)][1:-1]
    assert found == pytest.approx([apart] * len(found), abs=0.006)


def test_a_knob_that_was_turned_ends_a_frame_at_once(endless: LoadedModel) -> None:
    params = SamplingParams()
    steps = generate(endless.model, np.zeros((1, 1), dtype=np.int64), params, length=10**6, seed=0)
    bundles = frames(steps, list[Step])
    next(bundles)
    params.temperature = 0.5
    assert len(next(bundles)) == 1


def test_frames_can_be_collected_in_little_memory(text: LoadedModel) -> None:
    def made(bundle: Callable[[], Any]) -> list[Any]:
        prompt = np.zeros((3, 1), dtype=np.int64)
        steps = generate(text.model, prompt, SamplingParams(), length=200, seed=3)
        return list(frames(iter([next(steps), None, *steps]), bundle))

    for kept, full in zip(made(lambda: StepBuffer(16)), made(list[Step]), strict=True):
        assert kept.first == full[0].index
        assert kept.tokens.tolist() == [step.tokens.tolist() for step in full]
        assert kept.live.tolist() == [step.live.tolist() for step in full]
        assert np.array_equal(kept.newest.logits, full[-1].logits)


def test_a_paused_run_makes_the_tokens_that_are_granted_one_by_one(steps: Iterator[Step]) -> None:
    pace = Pace()
    pace.toggle_pause()
    run = paced(steps, pace)
    assert next(run) is None
    for index in (1, 2, 3):
        pace.grant()
        assert pace.must_wait() is False
        assert next(run).index == index  # type: ignore[union-attr]
    assert next(run) is None


def test_no_steps_make_no_frames() -> None:
    assert list(frames(iter([]), list[Step])) == []
    assert list(frames(iter([None, None]), list[Step])) == []


def test_a_throttle_acts_so_often_and_what_was_put_off_is_never_forgotten() -> None:
    now, acts, calls = [0.0], list[float](), list[Callable[[], None]]()
    throttle = Throttle(lambda: acts.append(now[0]), lambda _, call: calls.append(call), rate=4, clock=lambda: now[0])
    for hundredth in range(100):
        now[0] = hundredth / 100
        throttle.ask()
    assert acts == [0, 0.25, 0.5, 0.75]
    assert len(calls) == 1  # one call is enough, however many ask
    throttle.hurry()
    throttle.hurry()
    assert acts[4:] == [0.99]
    throttle.ask()
    now[0] = 2
    calls.pop()()
    assert acts[5:] == [2]
    throttle.ask()
    calls.pop()()  # too early: it waits on
    assert acts[6:] == []
    now[0] = 3
    calls.pop()()
    assert acts[6:] == [3]
