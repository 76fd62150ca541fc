"""One ONNX file behind start() and step(): the contract, the steps, and the state of a run."""

from __future__ import annotations

import gc
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.support import toys
from tui_gen.bench import cases
from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.runtime import model as module
from tui_gen.runtime.contract import STATE_TYPES, Port, check_contract
from tui_gen.runtime.model import Model
from tui_gen.sampling.params import Tokens

CARD = ModelCard("toy", "text", "toy", len(toys.WORDS), bos=toys.END, eos=toys.END)
GRAPH = toys.text_graph()


def opened(graph: bytes = GRAPH, card: ModelCard = CARD) -> Model:
    return Model(graph, card, provider="cpu")


def test_a_run_starts_from_zeros_with_the_batch_first() -> None:
    model = Model(toys.image_graph(), ModelCard("toy", "image", "toy", toys.LEVELS, bos=toys.START), provider="cpu")
    position, condition = model.start(5).arrays()
    assert (position.shape, condition.shape) == ((5,), (5, toys.LEVELS))
    assert (position.dtype.name, condition.dtype.name) == ("int64", "float32")
    assert not position.any()
    assert not condition.any()


def test_a_step_reads_tokens_and_state_and_changes_neither(model: Model) -> None:
    tokens = np.array([toys.THE, toys.CAT])
    state = model.start(2)
    logits, after = model.step(tokens, state)
    assert np.array_equal(logits, toys.BIGRAMS[[toys.THE, toys.CAT]])
    assert (state.arrays()[0] == 0).all()
    assert (after.arrays()[0] == 1).all()
    assert tokens.tolist() == [toys.THE, toys.CAT]


def test_the_state_counts_in_the_next_step_and_logits_are_the_callers_own(model: Model) -> None:
    tokens = np.array([toys.THE])
    first, state = model.step(tokens, model.start(1))
    copy = first.copy()
    second, state = model.step(tokens, state)
    assert (second - first)[0].tolist() == [0.5, 0, 0, 0, 0, 0, 0, 0]
    for _ in range(10):
        _, state = model.step(np.array([toys.DOG]), state)
    assert np.array_equal(first, copy)


def test_a_model_says_what_its_graph_takes_and_gives_and_where_it_runs(model: Model) -> None:
    assert list(map(str, model.inputs)) == ["token: tensor(int64)[batch]", "state.count: tensor(float)[batch, 1]"]
    assert list(map(str, model.outputs)) == ["logits: tensor(float)[batch, 8]", "next.count: tensor(float)[batch, 1]"]
    assert (model.provider, model.provider_note, model.eos) == ("CPU", "", toys.END)


def test_a_graph_that_breaks_the_contract_or_has_another_vocabulary_than_its_card_is_not_opened() -> None:
    with pytest.raises(TuiGenError, match="'token'; found input_ids"):
        opened(toys.renamed(GRAPH, "token", "input_ids"))
    with pytest.raises(TuiGenError, match=r"logits: tensor\(float\)\[batch, 8\]' must be .*\[batch, 9\]"):
        opened(card=ModelCard("toy", "text", "toy", 9, bos=0))


@pytest.mark.parametrize("graph", [b"", b"not a model", GRAPH[:200], GRAPH[:-1]], ids=["empty", "text", "cut", "short"])
def test_a_damaged_file_is_told_in_one_line(graph: bytes) -> None:
    with pytest.raises(TuiGenError, match=r"model\.onnx cannot be opened: .+") as caught:
        opened(graph)
    assert "\n" not in str(caught.value)


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TuiGenError, match="keeps weights in another file, which is refused"):
        opened(toys.with_external_data(GRAPH, tmp_path))


@pytest.mark.parametrize("location", ["weights.bin", "/etc/hostname", "../weights.bin"])
def test_weights_in_another_file_are_not_even_found_if_they_slip_past_the_first_look(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = onnx.load_from_string(toys.with_external_data(GRAPH, tmp_path))
    for weight in graph.graph.initializer:
        for entry in weight.external_data:
            entry.value = location if entry.key == "location" else entry.value
    monkeypatch.setattr(module, "_EXTERNAL_DATA", b"\x00nowhere\x00")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TuiGenError, match=r"model\.onnx cannot be opened"):
        opened(graph.SerializeToString())


@pytest.fixture
def model() -> Model:
    return opened()


def count(state: Any) -> list[float]:
    """Tokens read by each sample: what the toy keeps."""
    return state.arrays()[0][:, 0].tolist()


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
        state: Any = model.start(batch)
        for _ in range(300):
            _, state = model.step(np.full(batch, toys.CAT), state)
        return count(state)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(run, (1, 2, 1, 2, 1, 2))) == [[300] * batch for batch in (1, 2, 1, 2, 1, 2)]


@pytest.mark.parametrize("tokens", [np.array([], dtype=np.int64), np.array([1]), np.array([1, 2, 3])])
def test_tokens_that_do_not_go_with_the_state_are_refused(model: Model, tokens: Tokens) -> None:
    with pytest.raises(TuiGenError, match=f"{len(tokens)} tokens do not go with the state of 2 samples"):
        model.step(tokens, model.start(2))


def test_a_step_that_fails_is_told_in_one_line_and_leaves_the_state_usable(model: Model) -> None:
    state = model.state([np.array([[3.0]], dtype=np.float32)], 1)
    with pytest.raises(TuiGenError, match=r"could not run the model: .+") as caught:
        model.step(np.array([99]), state)
    assert "\n" not in str(caught.value)
    _, state = model.step(np.array([toys.CAT]), state)
    assert count(state) == [4]


INT, FLOAT = "tensor(int64)", "tensor(float)"
TOKEN, LOGITS = Port("token", INT, ("batch",)), Port("logits", FLOAT, ("batch", 8))
H, NEXT_H = Port("state.h", FLOAT, ("batch", 2, 5)), Port("next.h", FLOAT, ("batch", 2, 5))
N, NEXT_N = Port("state.n", INT, ("batch",)), Port("next.n", INT, ("batch",))


def refusal(inputs: list[Port], outputs: list[Port]) -> str:
    with pytest.raises(TuiGenError) as caught:
        check_contract(inputs, outputs, 8)
    return str(caught.value)


def test_states_of_any_number_and_type_keep_the_contract_and_outputs_may_leave_sizes_open() -> None:
    check_contract([TOKEN], [LOGITS], 8)
    check_contract([TOKEN, H, N], [LOGITS, NEXT_H, NEXT_N], 8)
    for kind in STATE_TYPES:
        check_contract([TOKEN, replace(H, type=kind)], [LOGITS, replace(NEXT_H, type=kind)], 8)
    check_contract([TOKEN, H], [replace(LOGITS, shape=(None, "v")), replace(NEXT_H, shape=("b", "x", 5))], 8)


@pytest.mark.parametrize("inputs", [[], [replace(TOKEN, name="ids")], [H, TOKEN]])
def test_the_first_input_must_be_token(inputs: list[Port]) -> None:
    message = refusal(inputs, [LOGITS])
    assert "the first input must be 'token'" in message
    assert (inputs[0].name if inputs else "none") in message


@pytest.mark.parametrize("outputs", [[], [replace(LOGITS, name="probs")], [NEXT_H, LOGITS]])
def test_the_first_output_must_be_logits(outputs: list[Port]) -> None:
    assert "the first output must be 'logits'" in refusal([TOKEN, H], outputs)


@pytest.mark.parametrize(
    "token", [replace(TOKEN, type=FLOAT), replace(TOKEN, shape=("b", "t")), replace(TOKEN, shape=(1,))]
)
def test_token_must_be_int64_with_a_free_batch(token: Port) -> None:
    assert f"'{token}' must be token: tensor(int64)[batch]" in refusal([token], [LOGITS])


@pytest.mark.parametrize(
    "logits",
    [replace(LOGITS, type="tensor(double)"), *(replace(LOGITS, shape=s) for s in (("b", 9), (1, 8), ("b", 1, 8)))],
)
def test_logits_must_be_float32_as_wide_as_the_vocabulary(logits: Port) -> None:
    assert f"'{logits}' must be logits: tensor(float)[batch, 8]" in refusal([TOKEN], [logits])


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        (replace(H, name="hidden"), "input 'hidden' must be named state.<name>"),
        (replace(H, type="tensor(string)"), "input 'state.h: tensor(string)[batch, 2, 5]' has a type"),
        (replace(H, shape=(1, 2, 5)), "must have a symbolic batch as its first dimension"),
        (replace(H, shape=()), "must have a symbolic batch as its first dimension"),
        (replace(H, shape=("batch", "time", 5)), "may have no symbolic dimension but the batch"),
    ],
)
def test_a_state_must_be_named_typed_and_sized(state: Port, fault: str) -> None:
    assert fault in refusal([TOKEN, state], [LOGITS, NEXT_H])


def test_all_parts_of_a_state_count_together() -> None:
    parts = [str(number) for number in range(8)]
    states = [Port(f"state.{part}", FLOAT, ("batch", 2**22)) for part in parts]
    after = [Port(f"next.{part}", FLOAT, ("batch", 2**22)) for part in parts]
    check_contract([TOKEN, *states[1:]], [LOGITS, *after[1:]], 8)
    assert "logits of 33,554,440 numbers a sample are refused" in refusal([TOKEN, *states], [LOGITS, *after])


@pytest.mark.parametrize("after", [[], [NEXT_H, NEXT_N, NEXT_N], [NEXT_N, NEXT_H], [NEXT_H, replace(NEXT_N, name="n")]])
def test_the_next_states_must_follow_in_the_order_of_the_states(after: list[Port]) -> None:
    assert "the outputs after 'logits' must be ['next.h', 'next.n']" in refusal([TOKEN, H, N], [LOGITS, *after])


@pytest.mark.parametrize(
    "after", [replace(NEXT_H, type=INT), replace(NEXT_H, shape=("b", 2, 6)), replace(NEXT_H, shape=("b", 2))]
)
def test_a_next_state_must_look_like_its_state(after: Port) -> None:
    assert f"'{after}' must be next.h: tensor(float)[batch, 2, 5]" in refusal([TOKEN, H], [LOGITS, after])
