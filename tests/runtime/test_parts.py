"""A batch that is cut in parts, each in a thread of its own: the same numbers, where it is faster, and only there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support import toys
from tests.support.devices import shipped
from tui_gen.bench import networks
from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.library import open_model, shipped_folder
from tui_gen.runtime import model as model_module
from tui_gen.runtime import parts, placement
from tui_gen.runtime.model import Model
from tui_gen.runtime.parts import BatchSession, Trial, cut
from tui_gen.runtime.session import OnnxSession

TOYS = ModelCard("toy", "text", "toy", len(toys.WORDS), bos=toys.END, eos=toys.END)


@pytest.fixture
def counts_run(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """How many parts steps were computed in so far."""
    counts, in_parts = set[int](), BatchSession._in_parts

    def noted(self: BatchSession, inputs: parts.Arrays, outputs: parts.Arrays, count: int) -> Callable[[], None]:
        run = in_parts(self, inputs, outputs, count)
        return lambda: (counts.add(count), run())[1]

    monkeypatch.setattr(BatchSession, "_in_parts", noted)
    return counts


@pytest.mark.parametrize("name", ["names", "recipes-gru", "recipes-lstm", "fashion-book", "fashion", "adventurers"])
@pytest.mark.parametrize("batch", [16, 23, 64])
def test_the_parts_of_a_batch_give_the_same_bits_as_all_of_it(name: str, batch: int, counts_run: set[int]) -> None:
    graph, card = shipped(name)
    whole, divided = (Model(graph, card, provider="cpu", processors=count) for count in (1, 2))
    states, rng = [whole.start(batch), divided.start(batch)], np.random.default_rng(0)
    for _ in range(12):
        tokens = rng.integers(0, card.vocab_size, batch)
        (one, states[0]), (other, states[1]) = whole.step(tokens, states[0]), divided.step(tokens, states[1])
        assert np.array_equal(one, other)
    for part, divided_part in zip(states[0].arrays(), states[1].arrays(), strict=True):
        assert np.array_equal(part, divided_part)
    assert counts_run == {1, 2}


@pytest.mark.parametrize("count", [2, 4, 8])
def test_parts_are_all_rows_in_their_order_and_differ_by_few(count: int) -> None:
    for batch in range(8 * count, 200):
        slices = cut(batch, count)
        sizes = [rows.stop - rows.start for rows in slices]
        assert [row for rows in slices for row in range(batch)[rows]] == list(range(batch))
        assert not any(rows.start % 4 for rows in slices)
        assert min(sizes) >= 4
        assert max(sizes) - min(sizes) <= 7


def test_a_batch_whose_rows_are_scaled_together_and_a_small_one_are_never_cut(counts_run: set[int]) -> None:
    small = Model(networks.graph("lstm-int8"), networks.text_card("lstm"), provider="cpu", processors=4)
    small.step(np.zeros(64, dtype=np.int64), small.start(64))
    toy = Model(toys.text_graph(), TOYS, provider="cpu", processors=4)
    toy.step(np.zeros(15, dtype=np.int64), toy.start(15))
    assert counts_run == set()
    toy.step(np.zeros(16, dtype=np.int64), toy.start(16))
    assert counts_run == {1}


def test_a_part_that_fails_is_told_after_all_have_ended() -> None:
    model = Model(toys.text_graph(), TOYS, provider="cpu", processors=2)
    tokens, state = np.full(16, toys.CAT), model.start(16)
    for bad in (0, 15):
        for _ in range(6):  # in whatever number of parts
            with pytest.raises(TuiGenError, match="could not run the model"):
                model.step(np.where(np.arange(16) == bad, 99, tokens), state)
            assert model.step(tokens, state)[1].arrays()[0].tolist() == [[1]] * 16


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which only the test changes."""
    now = [0.0]
    monkeypatch.setattr(parts, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    return now


def ways(clock: list[float], seconds: Callable[[int, int], float]) -> tuple[Callable[[int], parts.Run], list[int]]:
    """Ways that take so many seconds, by the number of threads and of the turn; and the turns, as they are taken."""
    turns: list[int] = []

    def work(count: int) -> None:
        turns.append(count)
        clock[0] += seconds(count, len(turns))

    return lambda count: partial(work, count), turns


@pytest.mark.parametrize(
    ("seconds", "choice"),
    [
        (lambda count, _: 1 / count, 2),
        (lambda count, _: 1 if count == 1 else 0.95, 1),
        (lambda count, turn: 0.5 if count == 2 and turn < 8 else 1, 1),  # faster at best, by chance
        (lambda count, turn: 4 if count == 1 and turn > 8 else 1, 1),  # faster in the middle: others were busy
    ],
)
def test_the_way_that_was_clearly_faster_is_kept_to(
    clock: list[float], seconds: Callable[[int, int], float], choice: int
) -> None:
    way, turns = ways(clock, seconds)
    trial = Trial([1, 2])
    for _ in range(60):
        trial.run(way)
    assert turns[:20] == [1, 1, 2, 2] * 5
    assert turns[20:] == [choice] * 40


def test_a_way_that_always_failed_is_not_taken(clock: list[float]) -> None:
    way, _ = ways(clock, lambda count, _: 1 / count)
    trial, faults = Trial([1, 2]), 0

    def fail() -> None:
        raise TuiGenError("no")

    for _ in range(30):
        try:
            trial.run(lambda count: way(1) if count == 1 else fail)
        except TuiGenError:
            faults += 1
    assert faults == 10


def test_a_machine_that_becomes_busy_is_noticed(clock: list[float]) -> None:
    way, turns = ways(clock, lambda count, turn: 0.5 if count == 2 and turn < 1000 else 1)
    trial = Trial([1, 2])
    for _ in range(1100):
        trial.run(way)
    assert turns[999] == 2
    assert turns[1020:] == [1] * 80


@pytest.mark.parametrize(("threads", "together"), [(1, 1), (3, 3), (0, 4)])
def test_reading_scoring_and_batches_take_the_threads_that_were_asked_for_or_all(
    threads: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def opened(graph: bytes, threads: int, **options: bool) -> OnnxSession:
        asked.append(threads)
        return OnnxSession(graph, 1, **options)

    monkeypatch.setattr(placement, "cores", lambda: 4)
    monkeypatch.setattr(placement, "_seconds", lambda step: 1.0)
    monkeypatch.setattr(model_module, "OnnxSession", opened)
    model = open_model(shipped_folder() / "names", provider="cpu", threads=threads).model
    model.read(np.zeros((1, 3), dtype=np.int64), model.start(1))
    model.score(np.zeros((1, 3), dtype=np.int64), np.zeros((1, 3), dtype=np.int64), model.start(1))
    assert set(asked) == {together}
    assert model.processors == together
