"""One ONNX file behind start() and step()."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.support import toys
from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.runtime import model as module
from tui_gen.runtime.model import Model

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


def test_a_step_reads_tokens_and_state_and_changes_neither() -> None:
    model, tokens = opened(), np.array([toys.THE, toys.CAT])
    state = model.start(2)
    logits, after = model.step(tokens, state)
    assert np.array_equal(logits, toys.BIGRAMS[[toys.THE, toys.CAT]])
    assert (state.arrays()[0] == 0).all()
    assert (after.arrays()[0] == 1).all()
    assert tokens.tolist() == [toys.THE, toys.CAT]


def test_the_state_counts_in_the_next_step() -> None:
    model = opened()
    tokens = np.array([toys.THE])
    first, state = model.step(tokens, model.start(1))
    second, _ = model.step(tokens, state)
    assert (second - first)[0].tolist() == [0.5, 0, 0, 0, 0, 0, 0, 0]


def test_two_runs_share_one_model_without_meeting() -> None:
    model, tokens = opened(), np.array([toys.DOG])
    _, first = model.step(tokens, model.start(1))
    _, second = model.step(tokens, model.start(1))
    _, first = model.step(tokens, first)
    assert (first.arrays()[0].item(), second.arrays()[0].item()) == (2, 1)


def test_a_model_says_what_its_graph_takes_and_gives_and_where_it_runs() -> None:
    model = opened()
    assert list(map(str, model.inputs)) == ["token: tensor(int64)[batch]", "state.count: tensor(float)[batch, 1]"]
    assert list(map(str, model.outputs)) == ["logits: tensor(float)[batch, 8]", "next.count: tensor(float)[batch, 1]"]
    assert (model.provider, model.provider_note, model.eos) == ("CPU", "", toys.END)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("token", "input_ids", "'token'; found input_ids"),
        ("logits", "probs", "'logits'; found probs"),
        ("state.count", "count", "'count' must be named state.<name>"),
        ("next.count", "next.total", r"must be \['next.count'\]; found next.total"),
    ],
)
def test_a_graph_that_breaks_the_contract_is_refused_by_name(old: str, new: str, fault: str) -> None:
    with pytest.raises(TuiGenError, match=fault):
        opened(toys.renamed(GRAPH, old, new))


def test_a_vocabulary_of_another_size_than_the_card_says_is_refused() -> None:
    card = ModelCard("toy", "text", "toy", 9, bos=0)
    with pytest.raises(TuiGenError, match=r"logits: tensor\(float\)\[batch, 8\]' must be .*\[batch, 9\]"):
        opened(card=card)


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


def test_a_failing_step_is_told_in_one_line() -> None:
    model = opened()
    with pytest.raises(TuiGenError, match=r"could not run the model: .+") as caught:
        model.step(np.array([99]), model.start(1))
    assert "\n" not in str(caught.value)
