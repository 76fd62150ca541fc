"""The state of a run is never overwritten while somebody holds it, and costs no new memory once nobody does."""

from __future__ import annotations

import gc
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.support import toys
from tui_gen.bench import cases
from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.runtime.model import Model
from tui_gen.runtime.state import HostState
from tui_gen.sampling.params import Tokens

CARD = ModelCard("toy", "text", "toy", len(toys.WORDS), bos=toys.END, eos=toys.END)


@pytest.fixture
def model() -> Model:
    return Model(toys.text_graph(), CARD, provider="cpu")


def count(state: HostState) -> list[float]:
    """Tokens read by each sample: what the toy keeps."""
    return state.arrays()[0][:, 0].tolist()


def after(model: Model, tokens: int, *, batch: int = 1) -> HostState:
    state = model.start(batch)
    for _ in range(tokens):
        _, state = model.step(np.full(batch, toys.CAT), state)
    return state


def test_states_that_are_held_stay_as_they_are_and_can_be_resumed(model: Model) -> None:
    held, state = [model.start(1)], model.start(1)
    for _ in range(40):
        logits, state = model.step(np.array([toys.CAT]), state)
        held.append(state)
    assert [count(state) for state in held] == [[number] for number in range(41)]
    _, resumed = model.step(np.array([toys.CAT]), held[7])
    assert count(resumed) == [8]
    assert count(held[8]) == [8]
    assert logits[0, 0] == pytest.approx(toys.BIGRAMS[toys.CAT, 0] + 0.5 * 39)


def test_logits_are_the_callers_own(model: Model) -> None:
    first, state = model.step(np.array([toys.THE]), model.start(1))
    kept = first.copy()
    for _ in range(10):
        _, state = model.step(np.array([toys.DOG]), state)
    assert np.array_equal(first, kept)


def test_a_run_that_holds_nothing_asks_for_no_more_memory() -> None:
    large = cases.load_network("pixelcnn", 1)
    tokens, state = np.zeros(16, dtype=np.int64), large.start(16)
    for _ in range(8):
        _, state = large.step(tokens, state)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    for _ in range(100):
        _, state = large.step(tokens, state)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < state.nbytes / 10


def test_samples_can_be_chosen_repeated_and_dropped(model: Model) -> None:
    _, state = model.step(np.array([toys.CAT, toys.DOG]), model.state([np.array([[3.0], [5.0]], dtype=np.float32)], 2))
    assert count(state) == [4, 6]
    assert count(state.rows([1, 0, 1])) == [6, 4, 6]
    chosen = state.rows([1])
    assert (len(chosen), count(chosen)) == (1, [6])
    _, onward = model.step(np.array([toys.SAT]), chosen)
    assert (count(onward), count(chosen), count(state)) == ([7], [6], [4, 6])


def test_batches_of_different_sizes_take_turns(model: Model) -> None:
    states = {batch: model.start(batch) for batch in (1, 3, 7)}
    for _ in range(12):
        for batch, state in states.items():
            logits, states[batch] = model.step(np.full(batch, toys.CAT), state)
            assert logits.shape == (batch, len(toys.WORDS))
    assert {batch: count(state) for batch, state in states.items()} == {batch: [12] * batch for batch in (1, 3, 7)}


def test_threads_share_a_model_without_meeting(model: Model) -> None:
    def run(batch: int) -> list[float]:
        return count(after(model, 300, batch=batch))

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(run, (1, 2, 1, 2, 1, 2))) == [[300] * batch for batch in (1, 2, 1, 2, 1, 2)]


@pytest.mark.parametrize("tokens", [np.array([], dtype=np.int64), np.array([1]), np.array([1, 2, 3])])
def test_tokens_that_do_not_go_with_the_state_are_refused(model: Model, tokens: Tokens) -> None:
    with pytest.raises(TuiGenError, match=f"{len(tokens)} tokens do not go with the state of 2 samples"):
        model.step(tokens, model.start(2))


def test_a_step_that_fails_leaves_the_state_usable(model: Model) -> None:
    state = after(model, 3)
    with pytest.raises(TuiGenError, match="could not run the model"):
        model.step(np.array([99]), state)
    _, state = model.step(np.array([toys.CAT]), state)
    assert count(state) == [4]
