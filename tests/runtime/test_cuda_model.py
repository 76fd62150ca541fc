"""A model whose state stays on a device draws as on the CPU, sends little to and fro, and survives its troubles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
import pytest

from tests.support import toys
from tests.support.branches import grown
from tests.support.devices import Placed, failing_after, on_device, refusing_to_record, shipped
from tui_gen.bench.models import compare, greedy
from tui_gen.card import ModelCard
from tui_gen.errors import DeviceFullError, DeviceLostError, TuiGenError
from tui_gen.generation.branch import Branch, BranchStart
from tui_gen.generation.generate import generate
from tui_gen.generation.protocol import Endless
from tui_gen.runtime import cuda_buffers
from tui_gen.runtime import cuda_model as module
from tui_gen.runtime.cuda_buffers import DeviceGraph, DeviceGraphs
from tui_gen.runtime.cuda_model import CudaModel, DeviceState
from tui_gen.runtime.model import Model
from tui_gen.runtime.session import OnnxSession
from tui_gen.sampling.params import FREE, SamplingParams
from tui_gen.sampling.step import Step
from tui_gen.sampling.sweep import Sweep

NAMES = ("names", "recipes", "shakespeare", "fashion", "adventurers")
CARD = ModelCard("toy", "text", "toy", len(toys.WORDS), bos=toys.END, eos=toys.END)
KNOBS = SamplingParams(0.9)


@pytest.fixture
def pair() -> tuple[Model, Model, CudaModel]:
    """The toy on the CPU and on the device."""
    return Model(toys.text_graph(), CARD, provider="cpu"), *on_device(toys.text_graph(), CARD)


def run(
    model: Model, samples: int = 1, *, length: int = 200, params: SamplingParams = KNOBS, sweep: Sweep | None = None
) -> Iterator[Step]:
    prompt = np.full((samples, 1), model.card.bos)
    return generate(Endless(model), prompt, params, length=length, seed=5, sweep=sweep)


def tokens(steps: Iterator[Step]) -> list[list[int]]:
    return [step.tokens.tolist() for step in steps]


@pytest.mark.parametrize("name", NAMES)
def test_a_thousand_tokens_are_those_of_the_cpu(name: str) -> None:
    graph, card = shipped(name)
    model, _ = on_device(graph, card)
    cpu = Model(graph, card, provider="cpu")
    found = compare(cpu, model, tokens=1000, params=KNOBS)
    assert found.tokens == 1000
    assert found.largest <= 1e-4
    assert all(flip.is_near_tie for flip in found.flips), "\n".join(map(str, found.flips))
    assert greedy(cpu, tokens=500).tolist() == greedy(model, tokens=500).tolist()


@pytest.mark.parametrize("name", NAMES)
def test_a_kilobyte_crosses_the_bus_for_a_token(name: str) -> None:
    model, engine = on_device(*shipped(name))
    steps = run(model, length=1200)
    next(steps)
    before = engine.traffic
    assert sum(1 for _ in steps) == 1199
    assert (engine.traffic - before) / 1199 <= 1000


@pytest.mark.parametrize(
    "params",
    [SamplingParams(0), SamplingParams(0.5, top_k=3), SamplingParams(1.5, top_p=0.8), SamplingParams(min_p=0.1)],
)
@pytest.mark.parametrize("name", ["names", "recipes"])
def test_all_knobs_work_there(name: str, params: SamplingParams) -> None:
    graph, card = shipped(name)
    here, there = Model(graph, card, provider="cpu"), on_device(graph, card)[0]
    assert tokens(run(here, 3, params=params)) == tokens(run(there, 3, params=params))


def test_a_knob_turned_counts_for_the_next_token(pair: tuple[Model, Model, CudaModel]) -> None:
    def turned(model: Model) -> list[list[int]]:
        params, made = SamplingParams(2), []
        for step in run(model, 2, length=60, params=params):
            made.append(step.tokens.tolist())
            params.temperature, params.top_k = (0, 0) if step.index % 7 == 0 else (1.5, step.index % 5)
        return made

    assert turned(pair[0]) == turned(pair[1])


def test_a_sweep_has_knobs_of_its_own_in_each_column(pair: tuple[Model, Model, CudaModel]) -> None:
    sweep = Sweep("temperature", (0.0, 0.5, 2.0))
    assert tokens(run(pair[0], 3, sweep=sweep)) == tokens(run(pair[1], 3, sweep=sweep))


def test_given_tokens_stand_among_drawn_ones(pair: tuple[Model, Model, CudaModel]) -> None:
    prompt = np.array([[toys.THE, FREE, toys.CAT, FREE, FREE], [toys.THE, FREE, FREE, toys.SAT, FREE]])
    made = [tokens(generate(model, prompt, SamplingParams(), length=9, seed=2)) for model in pair[:2]]
    assert made[0] == made[1]
    assert made[0][1][0] == toys.CAT


def test_what_a_step_says_is_there_also_long_after(pair: tuple[Model, Model, CudaModel]) -> None:
    here, there = (list(run(model, 2, length=150)) for model in pair[:2])
    for at in (149, 0, 70, 69, 5, 148):
        assert np.allclose(there[at].logits, here[at].logits, rtol=0, atol=1e-5)
        assert np.allclose(there[at].probs, here[at].probs, rtol=0, atol=1e-6)
        assert np.array_equal(there[at].state.arrays()[0], here[at].state.arrays()[0])
        likeliest = there[at].likeliest(3, sample=1)
        assert np.allclose(here[at].probs[1][likeliest], -np.sort(-here[at].probs[1])[:3], atol=1e-6)
        assert there[at].logprob == pytest.approx(here[at].logprob, abs=1e-5)
        assert there[at].sampled


def test_states_that_are_held_can_be_gone_on_from_in_several_ways(pair: tuple[Model, Model, CudaModel]) -> None:
    _, model, _ = pair
    held: list[Any] = [model.start(1)]
    for _ in range(140):
        held.append(model.step(np.array([toys.CAT]), held[-1])[1])
    for at in (3, 100, 64, 139):
        _, one = model.step(np.array([toys.DOG]), held[at])
        _, other = model.step(np.array([toys.THE]), held[at])
        assert one.arrays()[0].item() == other.arrays()[0].item() == at + 1
        assert held[at].arrays()[0].item() == at
        assert held[at].rows([0, 0]).arrays()[0].tolist() == [[at], [at]]
        assert held[at].is_finite()
        assert len(held[at]) == 1


def test_a_branch_can_be_looked_at_and_left_anywhere(pair: tuple[Model, Model, CudaModel]) -> None:
    looks = []
    for model in pair[:2]:
        start = BranchStart(np.array([[toys.THE]]), 3, SamplingParams(2))
        branch = grown(Branch("1", start, Endless(model)), 90, SamplingParams(2))
        step = branch.look(50)
        onward = Branch("2", branch.changed(40, np.array([[toys.DOG]])), Endless(model), parent=branch)
        looks.append((branch.tokens.tolist(), step.logits.round(4).tolist(), tokens(islice(onward.steps(KNOBS), 20))))
    assert looks[0] == looks[1]


def test_the_memory_of_a_batch_is_two_states_with_logits() -> None:
    graph, card = shipped("shakespeare")
    sizes = {}
    for batch in (1, 2, 8):
        model, engine = on_device(graph, card)
        next(run(model, batch, length=3))
        sizes[batch] = engine.nbytes
        two = 2 * (model.start(batch).nbytes + 4 * batch * card.vocab_size)
        assert two <= sizes[batch] <= two + 256 * batch
    assert sizes[8] == 8 * sizes[1]


def test_buffers_of_a_few_batch_sizes_are_kept(pair: tuple[Model, Model, CudaModel]) -> None:
    _, model, engine = pair
    for batch in range(1, 9):
        assert len(tokens(run(model, batch, length=4))) == 4
    assert engine.nbytes <= sum(256 + 256 * batch for batch in range(5, 9))
    assert engine.traffic > 0


def test_threads_take_turns(pair: tuple[Model, Model, CudaModel]) -> None:
    expected = tokens(run(pair[0], length=150))
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: tokens(run(pair[1], length=150)), range(6)))
    assert made == [expected] * 6


def test_logits_that_are_no_numbers_are_told_with_their_token() -> None:
    model, _ = on_device(toys.text_graph(np.full_like(toys.BIGRAMS, np.inf)), CARD)
    with pytest.raises(TuiGenError, match="non-finite logits at position 1"):
        next(run(model))


def full_above(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """A device without room for more samples at once."""
    made = cuda_buffers.DeviceArray

    def limited(shape: Any, kind: str, place: Any) -> Any:
        if shape[0] > most:
            raise DeviceFullError("Failed to allocate memory for requested buffer of size 1")
        return made(shape, kind, place)

    monkeypatch.setattr(cuda_buffers, "DeviceArray", limited)


def test_a_full_device_takes_smaller_parts(
    pair: tuple[Model, Model, CudaModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there, engine = pair
    expected = tokens(run(here, 10))
    full_above(monkeypatch, 4)
    steps = run(there, 10)
    first = next(steps)
    assert there.take_warnings() == ["the GPU has no room for 10 samples at once; a step runs in 4 parts"]
    assert [first.tokens.tolist(), *tokens(steps)] == expected
    assert there.take_warnings() == []
    assert isinstance(first.state, DeviceState)
    assert np.allclose(first.logits, next(run(here, 10)).logits)
    assert engine.nbytes > 0


def test_a_device_without_any_room_leaves_the_run_to_the_cpu(
    pair: tuple[Model, Model, CudaModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = tokens(run(pair[0], 10))
    full_above(monkeypatch, 0)
    made = list(run(pair[1], 10))
    assert tokens(iter(made)) == expected
    assert pair[1].take_warnings()[-1] == "the GPU has too little memory for 10 samples; the CPU goes on with the run"
    assert pair[1].placed == ("CPU", "the GPU has too little memory for 10 samples")


def test_a_device_that_fails_in_mid_run_leaves_it_to_the_cpu(
    pair: tuple[Model, Model, CudaModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = list(run(pair[0], 2))
    failing_after(monkeypatch, 100, DeviceLostError("CUDA failure 700: illegal access"))
    broken = module.CudaModel.fetch

    def fetch(self: CudaModel, state: DeviceState) -> Any:
        if pair[1].provider == "CPU":
            raise DeviceLostError("nothing comes back")
        return broken(self, state)

    monkeypatch.setattr(module.CudaModel, "fetch", fetch)
    made = list(run(pair[1], 2))
    assert tokens(iter(made)) == tokens(iter(expected))
    assert pair[1].take_warnings() == ["the GPU failed: CUDA failure 700: illegal access; the CPU goes on with the run"]
    assert pair[1].provider == "CPU"
    for at in (0, 63, 64, 98, 99, 100, 199):  # what was said before the failure is still to be had
        assert np.allclose(made[at].logits, expected[at].logits, rtol=0, atol=1e-5)


def reopen(model: Model, engine: CudaModel, change: Callable[[DeviceGraphs, bool], DeviceGraphs]) -> list[bool]:
    """Gives the model another device with other graphs; returns, as it grows, whether each opening wanted to record."""
    asked: list[bool] = []

    def opener(*, record: bool) -> DeviceGraphs:
        asked.append(record)
        return change(engine._opener(record=record), record)

    model._placement = Placed(CudaModel(opener, model.inputs[1:], model.card.vocab_size, model.state))  # type: ignore[assignment]
    return asked


def recordable_step(graphs: DeviceGraphs, record: bool) -> DeviceGraphs:
    return graphs._replace(step=DeviceGraph(graphs.step.session, record))


def test_work_that_cannot_be_recorded_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, card = shipped("names")
    model, engine = on_device(graph, card)
    refusing_to_record(
        monkeypatch, DeviceLostError("CUDA failure 900: operation not permitted when stream is capturing")
    )
    asked = reopen(model, engine, recordable_step)
    assert tokens(run(model, 2)) == tokens(run(Model(graph, card, provider="cpu"), 2))
    assert asked == [True, False]
    assert model.take_warnings() == []


def test_recordings_that_run_out_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, card = shipped("names")
    model, engine = on_device(graph, card)
    numbers: list[int | None] = []
    bound = OnnxSession.bind_on_device

    def bind_on_device(
        self: OnnxSession, inputs: Any, outputs: Any, recording: int | None = None
    ) -> Callable[[], None]:
        numbers.append(recording)
        return bound(self, inputs, outputs)

    monkeypatch.setattr(OnnxSession, "bind_on_device", bind_on_device)
    monkeypatch.setattr(cuda_buffers, "_RECORDINGS", 5)
    asked = reopen(model, engine, recordable_step)
    cpu = Model(graph, card, provider="cpu")
    for samples in (1, 2, 3, 2, 1, 4):
        assert tokens(run(model, samples, length=30)) == tokens(run(cpu, samples, length=30))
    assert asked == [True, True, True]
    assert max(number for number in numbers if number) == 5


def test_a_sampler_that_cannot_be_recorded_costs_one_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, card = shipped("names")
    model, engine = on_device(graph, card)

    def recordable_sampler(graphs: DeviceGraphs, record: bool) -> DeviceGraphs:
        return graphs._replace(sampler=lambda sorts: graphs.sampler(sorts)._replace(recordable=record))

    refusing_to_record(monkeypatch, TuiGenError("operation not permitted when stream is capturing"))
    asked = reopen(model, engine, recordable_sampler)
    params = SamplingParams(top_k=3)
    cpu = Model(graph, card, provider="cpu")
    assert tokens(run(model, 2, params=params)) == tokens(run(cpu, 2, params=params))
    assert asked == [True, False]


def test_memory_goes_with_the_model(pair: tuple[Model, Model, CudaModel]) -> None:
    _, model, engine = pair
    assert len(tokens(run(model, 3, length=5))) == 5
    state = next(run(model, 3)).state
    engine.forget()
    assert engine.nbytes == 0
    assert state.arrays()[0].shape == (3, 1)  # computed again
    model.use("cpu")
    assert model.placed == ("CPU", "")
