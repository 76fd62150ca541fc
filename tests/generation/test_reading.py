"""Reading many tokens at once gives what reading them one by one gives."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tui_gen.bench import cases, networks
from tui_gen.errors import TuiGenError
from tui_gen.generation.generate import generate
from tui_gen.generation.protocol import Endless
from tui_gen.library import open_model, shipped_folder
from tui_gen.runtime import model as model_module
from tui_gen.runtime import onnx_graph
from tui_gen.runtime.model import Model
from tui_gen.runtime.sequence_graph import sequence_graph
from tui_gen.sampling.params import FREE, SamplingParams, Tokens
from tui_gen.sampling.step import Step
from tui_gen.scoring.score import score

TEXTS = ("names", "shakespeare", "recipes", "lstm", "lstm2")
"""A plain network, stacked GRUs, an LSTM with an end token; LSTMs of 10,000 words, one and two layers."""


class OneByOne:
    """A model without its way to read many tokens at once; counts the steps."""

    read = draw = score = None

    def __init__(self, model: Model) -> None:
        self._model, self.eos, self.start, self.steps = model, model.eos, model.start, 0

    def step(self, tokens: Tokens, state: Any) -> Any:
        self.steps += 1
        return self._model.step(tokens, state)


class Counted(OneByOne):
    """A model that reads many at once; counts the other steps."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.read = model.read


def opened(name: str) -> Model:
    if (shipped_folder() / name).exists():
        return open_model(shipped_folder() / name, provider="cpu", threads=1).model
    return cases.load_network(name, 1)


@pytest.fixture(scope="module", params=TEXTS)
def model(request: pytest.FixtureRequest) -> Model:
    return opened(request.param)


def prompt_of(samples: int, length: int) -> Tokens:
    return np.random.default_rng(length).integers(1, 20, (samples, length))


def made(model: Any, prompt: Tokens, length: int = 6) -> list[Step]:
    return list(generate(model, prompt, SamplingParams(), length=length, seed=3))


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("length", [1, 2, 32, 33, 34, 65, 130, 300])
def test_a_prompt_read_at_once_makes_the_same_steps(model: Model, samples: int, length: int) -> None:
    prompt = prompt_of(samples, length)
    if length == 300:
        prompt[:, 100:104] = FREE
        prompt[0, 200] = FREE
    for step, plain in zip(made(model, prompt), made(OneByOne(model), prompt), strict=True):
        assert (step.index, step.params) == (plain.index, plain.params)
        assert np.array_equal(step.tokens, plain.tokens)
        assert np.array_equal(step.given, plain.given)
        assert np.array_equal(step.live, plain.live)
        assert np.allclose(step.logits, plain.logits, rtol=0, atol=1e-4)
        assert all(
            np.allclose(a, b, rtol=0, atol=1e-4) for a, b in zip(step.state.arrays(), plain.state.arrays(), strict=True)
        )


def test_a_long_prompt_takes_hardly_any_steps_and_a_short_one_is_stepped() -> None:
    model = opened("names")
    for length, most in ((500, 2), (10, 10)):
        counted = Counted(model)
        assert len(made(counted, prompt_of(1, length), length=1)) == length
        assert counted.steps <= most


def test_what_was_said_within_a_prompt_can_be_asked_in_any_order() -> None:
    model, prompt = opened("names"), prompt_of(2, 140)
    steps, plain = made(model, prompt), made(OneByOne(model), prompt)
    order = list(range(len(steps)))
    random.Random(0).shuffle(order)
    for at in order:
        assert np.allclose(steps[at].logprob, plain[at].logprob, rtol=0, atol=1e-4)
        assert np.allclose(steps[at].state.arrays()[0], plain[at].state.arrays()[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("samples", [1, 3])
def test_scores_are_the_logprobs_of_the_steps(model: Model, samples: int) -> None:
    text = prompt_of(samples, 300)
    expected = np.stack([step.logprob for step in made(OneByOne(model), text, length=0)], axis=1)
    assert np.allclose(score(model, text), expected, rtol=0, atol=1e-4)
    assert np.allclose(score(OneByOne(model), text), expected, rtol=0, atol=1e-9)
    assert score(model, text[:, :1]).shape == (samples, 0)


@pytest.mark.parametrize("name", ["lstm-int8", "pixelcnn", "fashion"])
def test_other_graphs_are_stepped(name: str) -> None:
    model, prompt = opened(name), prompt_of(1, 50) % 4
    assert model.read(prompt, model.start(1)) is None
    assert model.score(prompt, prompt, model.start(1)) is None
    assert np.isfinite(score(model, prompt)).all()
    for step, plain in zip(made(model, prompt), made(OneByOne(model), prompt), strict=True):
        assert np.array_equal(step.logits, plain.logits)


@pytest.mark.parametrize("scores", [False, True])
def test_a_graph_that_would_say_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch, *, scores: bool) -> None:
    rng = np.random.default_rng(5)
    other = networks.fill_graph("lstm", {"rnn.0.R": rng.normal(size=(1, 512, 128)).astype(np.float32)})
    monkeypatch.setattr(model_module, "sequence_graph", lambda _, scores: sequence_graph(other, scores=scores))
    model, prompt = cases.load_network("lstm", 1), prompt_of(1, 40)
    assert (model.score(prompt, prompt, model.start(1)) if scores else model.read(prompt, model.start(1))) is None


def test_a_token_that_cannot_be_read_is_told_where_it_stands() -> None:
    prompt = prompt_of(1, 200)
    prompt[0, 60] = networks.VOCABULARY
    steps = generate(cases.load_network("lstm", 1), prompt, SamplingParams(), length=1, seed=0)
    assert [next(steps).index for _ in range(60)] == list(range(1, 61))
    with pytest.raises(TuiGenError, match="could not run"):
        next(steps)


def test_logits_that_are_not_finite_are_told_when_they_are_asked_for() -> None:
    graph = networks.fill_graph("lstm", {"output.bias": np.full(networks.VOCABULARY, np.nan, dtype=np.float32)})
    model = Model(graph, networks.text_card("lstm"), provider="cpu")
    steps = generate(model, prompt_of(1, 50), SamplingParams(), length=1, seed=0)
    prompt = [next(steps) for _ in range(49)]
    with pytest.raises(TuiGenError, match="non-finite logits at token 17"):
        _ = prompt[16].logits
    with pytest.raises(TuiGenError, match="non-finite logits at token 50"):
        next(steps)


def test_a_model_without_an_end_still_reads_at_once() -> None:
    model = opened("recipes")
    assert Endless(model).read == model.read


def test_what_is_no_graph_has_no_form_to_read_at_once() -> None:
    graph, rng = (Path(networks.FOLDER) / "lstm2.onnx").read_bytes(), random.Random(0)
    for _ in range(400):
        damaged = bytearray(graph[: rng.randrange(len(graph))] if rng.random() < 0.3 else graph)
        for _ in range(3 if damaged else 0):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        found = sequence_graph(bytes(damaged), scores=True)
        assert found is None or isinstance(found, bytes)
    assert sequence_graph(b"", scores=False) is None
    assert sequence_graph(b"not a graph", scores=False) is None


def test_messages_are_read_as_they_are_written() -> None:
    parts: list[onnx_graph.Field] = [(1, 0), (2, 300), (7, b"text"), (300, b"")]
    message = onnx_graph.encode_message(parts)
    read = [(key, value if isinstance(value, int) else bytes(value)) for key, value in onnx_graph.read_fields(message)]
    assert read == parts
    fixed = onnx_graph.read_fields(b"\x09" + bytes(8) + b"\x0d" + bytes(4))
    assert [bytes(memoryview(value)) for _, value in fixed] == [bytes(8), bytes(4)]  # type: ignore[arg-type]
    for damaged in (message[:-2], b"\x80", b"\x0b", b"\x09\x00", b"\x0a\x05abc", b"\x80" * 20):
        with pytest.raises(ValueError, match=r"a (message|number|field) is"):
            list(onnx_graph.read_fields(damaged))
