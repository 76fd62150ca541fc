"""A sample's state is a row: what it gives does not depend on the rows beside it, and regrouping rows is indexing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from export.training.networks import TrainedNet
from export.verify import step_logits
from tests.support.export_training import exported, network, random_sequences
from tui_gen.runtime.model import Model
from tui_gen.runtime.state import HostState

NETWORKS = [
    "stacked lstm",
    "gru",
    "gated, conditions",
    "plain, grey, 5x5, conditions",
    "narrower than the 7x7 kernel",
    "two stacks",
]


def _after(model: Model, tokens: NDArray[np.int64]) -> HostState:
    """The state after int64[n] tokens, as a batch of one."""
    state = model.start(1)
    for token in tokens:
        _, state = model.step(np.array([token]), state)
    return state


def _sequences(net: TrainedNet) -> list[NDArray[np.int64]]:
    """Sequences whose prefixes have different lengths, so that one draws while another still reads its prompt."""
    return [random_sequences(net, 1, prefix=prefix, seed=prefix)[0] for prefix in (1, 4, 2)]


@pytest.mark.parametrize("name", NETWORKS)
def test_prompts_of_different_lengths_share_a_batch(name: str) -> None:
    net = network(name)
    model, sequences = exported(net), _sequences(net)
    shortest = min(map(len, sequences))
    together = step_logits(model, np.stack([row[:shortest] for row in sequences]))
    for row, sequence in zip(together, sequences, strict=True):
        alone = step_logits(model, sequence[None, :shortest])[0]
        np.testing.assert_allclose(row, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_at_different_positions_share_a_batch(name: str) -> None:
    net = network(name)
    model, sequences, read = exported(net), _sequences(net), (0, 5, 13)
    states = [_after(model, sequence[:n]) for sequence, n in zip(sequences, read, strict=True)]
    parts = zip(*(state.arrays() for state in states), strict=True)
    state = model.state([np.concatenate(part) for part in parts], len(states))
    alone = [step_logits(model, sequence[None])[0] for sequence in sequences]
    for step in range(10):
        column = np.array([sequence[n + step] for sequence, n in zip(sequences, read, strict=True)])
        logits, state = model.step(column, state)
        expected = np.stack([whole[n + step] for whole, n in zip(alone, read, strict=True)])
        np.testing.assert_allclose(logits, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("order", [[2], [0, 0, 1], [2, 0, 1, 2]], ids=["dropped", "forked", "reordered"])
def test_rows_can_be_regrouped_in_mid_run(name: str, order: list[int]) -> None:
    net = network(name)
    model, tokens = exported(net), random_sequences(net, 3)
    expected, state = step_logits(model, tokens), model.start(3)
    for at in range(9):
        _, state = model.step(tokens[:, at].copy(), state)
    state = state.rows(order)
    for at in range(9, 20):
        logits, state = model.step(tokens[order, at], state)
        np.testing.assert_allclose(logits, expected[order, at], atol=1e-5, rtol=0)


def test_a_step_leaves_its_arguments_as_they_are() -> None:
    net = network("gated, conditions")
    model, tokens = exported(net), random_sequences(net, 2)
    state = model.start(2)
    for column in tokens.T:
        arrays = state.arrays()
        _, after = model.step(np.ascontiguousarray(column), state)
        assert all(np.array_equal(part, before) for part, before in zip(state.arrays(), arrays, strict=True))
        state = after
