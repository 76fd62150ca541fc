"""The generation loop on real models, and prefill, which gives what reading tokens one by one gives."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest

from tests.support import toys
from tests.support.toys import CAT, DOG, DOT, END, RAN, SAT, THE
from tui_gen.bench import cases, networks
from tui_gen.errors import TuiGenError
from tui_gen.generation.generate import generate
from tui_gen.generation.protocol import Endless
from tui_gen.library import LoadedModel, open_model, shipped_folder
from tui_gen.runtime.model import Model
from tui_gen.sampling.noise import Noise
from tui_gen.sampling.params import FREE, SamplingParams, Tokens, draw_tokens
from tui_gen.sampling.step import Step
from tui_gen.scoring.score import score, score_texts

GREEDY = SamplingParams(temperature=0)


def prompt_of(*rows: list[int]) -> Tokens:
    return np.array(rows, dtype=np.int64)


def run(
    loaded_model: LoadedModel, prompt: Tokens, knobs: SamplingParams | None = None, *, length: int = 20, seed: int = 0
) -> list[Step]:
    return list(generate(loaded_model.model, prompt, knobs or SamplingParams(), length=length, seed=seed))


def column(steps: list[Step], sample: int = 0) -> list[int]:
    return [int(step.tokens[sample]) for step in steps if step.live[sample]]


def test_the_same_seed_gives_the_same_tokens_and_another_seed_others(endless: LoadedModel) -> None:
    start = prompt_of([END])
    assert column(run(endless, start, seed=3)) == column(run(endless, start, seed=3))
    assert column(run(endless, start, seed=3)) != column(run(endless, start, seed=4))


def test_a_sample_does_not_depend_on_how_many_others_there_are(text: LoadedModel) -> None:
    alone, four, eight = (run(text, prompt_of(*[[END, THE]] * samples), seed=5) for samples in (1, 4, 8))
    assert column(alone) == column(eight)
    assert [column(four, sample) for sample in range(4)] == [column(eight, sample) for sample in range(4)]
    assert len({tuple(column(eight, sample)) for sample in range(8)}) == 8


def test_several_seeds_give_what_runs_of_one_sample_give(text: LoadedModel) -> None:
    seeds = (3, 5, 4)
    together = list(generate(text.model, prompt_of(*[[END, THE]] * 3), SamplingParams(), length=30, seed=seeds))
    for sample, seed in enumerate(seeds):
        alone = list(generate(text.model, prompt_of([END, THE]), SamplingParams(), length=30, seed=seed))
        assert [int(step.tokens[sample]) for step in together[: len(alone)]] == [int(step.tokens[0]) for step in alone]
    with pytest.raises(TuiGenError, match="the seed must be 0 or more, not -1"):
        next(generate(text.model, prompt_of([END], [END]), SamplingParams(), length=3, seed=(2, -1)))


def test_greedy_generation_says_what_the_table_says_and_ends_at_the_end_token(text: LoadedModel) -> None:
    assert column(run(text, prompt_of([END, THE]), GREEDY)) == [THE, *[CAT, SAT, DOT, THE] * 3, END]


def test_the_same_seed_at_two_temperatures_uses_the_same_random_numbers(endless: LoadedModel) -> None:
    uniforms = Noise(9, 1)
    numbers = [uniforms.uniform(np.array([True])) for _ in range(20)]
    for temperature in (0.7, 1.3):
        steps = run(endless, prompt_of([END]), SamplingParams(temperature), seed=9)
        assert column(steps) == [draw_tokens(step.probs, u)[0] for step, u in zip(steps, numbers, strict=True)]


def test_a_knob_turned_between_two_tokens_counts_for_the_very_next_one(endless: LoadedModel) -> None:
    knobs = SamplingParams(temperature=1)
    steps = generate(endless.model, prompt_of([END]), knobs, length=10, seed=0)
    before = next(steps)
    knobs.temperature = 0
    after = next(steps)
    assert (before.params.temperature, after.params.temperature) == (1, 0)
    assert sorted(after.probs[0])[-2:] == [0, 1]


def test_nothing_is_computed_before_it_is_asked_for_and_nothing_after_the_last_token(text: LoadedModel) -> None:
    model = OneByOne(text.model)
    steps = generate(model, prompt_of([END, THE]), SamplingParams(), length=3, seed=0)
    assert model.steps == 0
    for asked in range(1, 5):
        next(steps)
        assert model.steps == asked
    assert list(steps) == []
    assert model.steps == 4


def test_free_positions_of_a_prompt_are_sampled_and_the_others_kept(endless: LoadedModel) -> None:
    steps = run(endless, prompt_of([END, THE, FREE, DOT, FREE, SAT]), GREEDY, length=1)
    assert column(steps) == [THE, CAT, DOT, THE, SAT, DOT]
    assert [bool(step.given[0]) for step in steps] == [True, False, True, False, True, False]
    assert [step.index for step in steps] == [1, 2, 3, 4, 5, 6]


def test_a_batch_takes_prompts_that_differ_in_length_and_words(endless: LoadedModel) -> None:
    steps = run(endless, prompt_of([END, DOG, FREE], [END, THE, DOG]), GREEDY, length=2)
    assert [column(steps, 0), column(steps, 1)] == [[DOG, RAN, DOT, THE], [THE, DOG, RAN, DOT]]


def test_given_positions_use_up_no_randomness(endless: LoadedModel) -> None:
    longer = run(endless, prompt_of([END, DOG, RAN, DOT]), SamplingParams(temperature=0.5), seed=2)
    number = Noise(2, 1).uniform(np.array([True]))
    assert not longer[3].given[0]
    assert longer[3].tokens == draw_tokens(longer[3].probs, number)


def test_a_sample_that_ends_leaves_the_others_running_until_all_have_ended(text: LoadedModel) -> None:
    steps = run(text, prompt_of(*[[END, THE]] * 6), length=1000, seed=1)
    lengths = [len(column(steps, sample)) for sample in range(6)]
    assert len(set(lengths)) > 1
    assert len(steps) == max(lengths) < 60
    assert all(column(steps, sample)[-1] == END for sample in range(6))
    assert END not in [token for sample in range(6) for token in column(steps, sample)[:-1]]


def test_an_end_token_inside_the_prompt_ends_nothing(text: LoadedModel) -> None:
    assert len(run(text, prompt_of([END, END, THE]), GREEDY, length=3)) == 5


def test_a_model_without_an_end_token_runs_to_its_length(endless: LoadedModel) -> None:
    assert len(run(endless, prompt_of([END]), length=200)) == 200


@pytest.mark.parametrize("at", [0, 3, 7])
def test_a_kept_state_resumes_the_run_where_it_was(text: LoadedModel, at: int) -> None:
    steps = run(text, prompt_of([END, THE], [END, DOG]), length=8, seed=6)
    logits, _ = text.model.step(steps[at].tokens, steps[at].state)
    assert np.array_equal(logits, steps[at + 1].logits)


def test_one_sample_can_be_forked_out_of_a_batch_by_indexing_its_state(image: LoadedModel) -> None:
    steps = run(image, image.codec.prompt(["bright", "deep dark"]), length=8)
    logits, _ = image.model.step(steps[4].tokens[1:], steps[4].state.rows([1]))
    assert np.array_equal(logits, steps[5].logits[1:])


def test_length_0_reads_the_prompt_and_samples_nothing(text: LoadedModel) -> None:
    assert run(text, prompt_of([END]), length=0) == []
    assert all(step.given.all() for step in run(text, prompt_of([END, THE, CAT]), length=0))


def test_a_step_knows_how_likely_its_token_was_to_the_model_whatever_the_knobs(text: LoadedModel) -> None:
    step = run(text, prompt_of([END, THE]), replace(GREEDY), length=1)[1]
    own = np.exp(step.logits[0]) / np.exp(step.logits[0]).sum()
    assert np.exp(step.logprob[0]) == pytest.approx(own[CAT], rel=1e-6)
    assert step.entropy[0] == pytest.approx(-(own * np.log2(own)).sum(), rel=1e-6)
    assert step.seconds > 0


def test_a_condition_that_the_model_never_predicts_has_a_logprob_of_minus_infinity(image: LoadedModel) -> None:
    steps = run(image, image.codec.prompt(["bright"]), length=1)
    assert steps[0].logprob[0] == -np.inf
    assert np.isfinite(steps[1].logprob[0])


def test_logits_that_are_not_finite_name_the_token_at_which_they_came(endless: LoadedModel) -> None:
    table = toys.BIGRAMS.copy()
    table[SAT, 0] = np.nan
    model = Model(toys.text_graph(table), endless.card, provider="cpu")
    steps = generate(model, prompt_of([END, THE]), GREEDY, length=9, seed=0)
    assert column(list(islice(steps, 3))) == [THE, CAT, SAT]
    with pytest.raises(TuiGenError, match="non-finite logits at position 4"):
        next(steps)


def test_a_knob_turned_out_of_its_range_is_refused_by_name(endless: LoadedModel) -> None:
    knobs = SamplingParams()
    steps = generate(endless.model, prompt_of([END]), knobs, length=9, seed=0)
    next(steps)
    knobs.top_p = 2
    with pytest.raises(TuiGenError, match="top-p"):
        next(steps)


NOTHING = "token at its first position"


@pytest.mark.parametrize(
    ("prompt", "length", "reason"),
    [
        (np.zeros((0, 3), dtype=np.int64), 20, NOTHING),
        (np.zeros((3, 0), dtype=np.int64), 20, NOTHING),
        (np.zeros(3, dtype=np.int64), 20, NOTHING),
        (prompt_of([END, THE], [FREE, THE]), 20, NOTHING),
        (prompt_of([END, -2]), 20, "not -2"),
        (prompt_of([END]), -1, "length must be 0 or more, not -1"),
    ],
)
def test_what_cannot_be_generated_from_is_refused(text: LoadedModel, prompt: Tokens, length: int, reason: str) -> None:
    with pytest.raises(TuiGenError, match=reason):
        run(text, prompt, length=length)


class OneByOne:
    """A model without its way to read many tokens at once; counts the steps."""

    read: Any = None
    draw = score = None
    mixes_rows = False

    def __init__(self, model: Model, *, rows_may_leave: bool | None = None) -> None:
        self._model, self.eos, self.start, self.steps, self.read_rows = model, model.eos, model.start, 0, 0
        self.rows_may_leave = model.rows_may_leave if rows_may_leave is None else rows_may_leave

    def step(self, tokens: Tokens, state: Any) -> Any:
        self.steps, self.read_rows = self.steps + 1, self.read_rows + len(tokens)
        return self._model.step(tokens, state)


def opened(name: str) -> Model:
    if (shipped_folder() / name).exists():
        return open_model(shipped_folder() / name, provider="cpu", threads=1).model
    return cases.load_network(name, 1)


@pytest.fixture(scope="module", params=["names", "shakespeare", "recipes", "lstm", "lstm2"])
def model(request: pytest.FixtureRequest) -> Model:
    """A plain network, stacked GRUs, an LSTM with an end token; LSTMs of 10,000 words, one and two layers."""
    return opened(request.param)


def random_prompt(samples: int, length: int) -> Tokens:
    return np.random.default_rng(length).integers(1, 20, (samples, length))


def made(model: Any, prompt: Tokens, length: int = 6) -> list[Step]:
    return list(generate(model, prompt, SamplingParams(), length=length, seed=3))


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("length", [1, 2, 32, 33, 34, 65, 130, 300])
def test_a_prompt_read_at_once_makes_the_same_steps(model: Model, samples: int, length: int) -> None:
    prompt = random_prompt(samples, length)
    if length == 300:
        prompt[:, 100:104] = FREE
        prompt[0, 200] = FREE
    for step, plain in zip(made(model, prompt), made(OneByOne(model), prompt), strict=True):
        assert (step.index, step.params) == (plain.index, plain.params)
        assert np.array_equal(step.tokens, plain.tokens)
        assert np.array_equal(step.given, plain.given)
        assert np.array_equal(step.live, plain.live)
        assert np.allclose(step.logits, plain.logits, rtol=0, atol=1e-4)
        for state, expected in zip(step.state.arrays(), plain.state.arrays(), strict=True):
            assert np.allclose(state, expected, rtol=0, atol=1e-4)


def made_of_numbers(model: Any, prompt: Tokens, numbers: list[int], length: int) -> list[tuple[list[int], list[float]]]:
    """Tokens and log-probabilities of each sample; prompt: int64[samples, n]."""
    samples: list[tuple[list[int], list[float]]] = [([], []) for _ in numbers]
    for step in generate(model, prompt, SamplingParams(3), length=length, seed=7, numbers=numbers):
        for sample in np.flatnonzero(step.live):
            samples[sample][0].append(int(step.tokens[sample]))
            samples[sample][1].append(float(step.logprob[sample]))
    return samples


def prompts_of(loaded_model: LoadedModel, samples: int) -> Tokens:
    """Several prompts in turns; the last quarter of a picture's is a completion."""
    prompts = {
        "text": ["the", "", "the cat sat", "dog"],
        "image": ["bright", "", "deep dark"],
        "names": ["", "mar", "a", "christo" * 8],
        "adventurers": ["orc man, axe", "", "elf woman"],
    }
    texts = prompts[loaded_model.name]
    prompt = loaded_model.codec.prompt([texts[sample % len(texts)] for sample in range(samples)])
    if loaded_model.card.image:
        prompt = np.pad(prompt, ((0, 0), (0, 20)), constant_values=FREE)
        prompt[3 * samples // 4 :, -12:-4] = 1
    return prompt


@pytest.mark.parametrize("name", ["text", "image", "names", "adventurers"])
def test_a_sample_of_a_number_is_the_same_to_the_last_bit_whichever_it_is_drawn_with(
    name: str, request: pytest.FixtureRequest
) -> None:
    toy = name in ("text", "image")
    loaded_model = request.getfixturevalue(name) if toy else open_model(shipped_folder() / name, provider="cpu")
    numbers, length = [*range(62), 123_456, 2**40], 12
    prompt = prompts_of(loaded_model, len(numbers))
    expected = made_of_numbers(loaded_model.model, prompt, numbers, length)
    assert len({tuple(tokens) for tokens, _ in expected}) > 20
    order = np.random.default_rng(0).permutation(len(numbers))
    for size in (1, 2, 3, 7):
        for part in (order[:size], order[-size:], np.arange(len(numbers))[-size:]):
            samples = made_of_numbers(loaded_model.model, prompt[part], [numbers[at] for at in part], length)
            assert samples == [expected[at] for at in part]


def test_the_first_numbers_are_the_samples_that_are_drawn_without_any(text: LoadedModel) -> None:
    prompt = prompt_of(*[[END, THE]] * 5)
    plain = run(text, prompt, seed=5)
    numbered = list(generate(text.model, prompt, SamplingParams(), length=20, seed=5, numbers=range(5)))
    assert [column(plain, sample) for sample in range(5)] == [column(numbered, sample) for sample in range(5)]


def test_numbers_are_refused_that_are_too_few_or_below_0_or_of_a_model_that_mixes_samples(text: LoadedModel) -> None:
    for model, numbers, reason in (
        (text.model, [1], "2 samples need as many numbers, not 1"),
        (text.model, [3, -1], "number of a sample must be 0 or more, not -1"),
        (opened("lstm-int8"), [0, 1], "rounded by the largest number of any"),
    ):
        with pytest.raises(TuiGenError, match=reason):
            next(generate(model, prompt_of([1], [1]), SamplingParams(), length=3, seed=0, numbers=numbers))


def test_samples_that_have_ended_leave_and_the_others_go_on_as_if_they_had_not() -> None:
    model, prompt = opened("names"), np.zeros((40, 1), dtype=np.int64)
    prompt = np.pad(prompt, ((0, 0), (0, 12)), constant_values=FREE)
    prompt[:, 9] = 5  # given to all, also to those that have ended by then
    prompt[3, 11] = 7
    leaving, staying = OneByOne(model), OneByOne(model, rows_may_leave=False)
    for step, plain in zip(made(leaving, prompt, 30), made(staying, prompt, 30), strict=True):
        live = plain.live
        assert np.array_equal(step.tokens, plain.tokens)
        assert np.array_equal(step.live, live)
        assert step.likeliest(5, sample=live.argmax()).tolist() == plain.likeliest(5, sample=live.argmax()).tolist()
        for one, other in (
            (step.logits, plain.logits),
            (step.probs, plain.probs),
            (step.logprob, plain.logprob),
            *zip(step.state.arrays(), plain.state.arrays(), strict=True),
        ):
            assert one.shape == other.shape
            assert np.allclose(one[live], other[live], rtol=0, atol=1e-4)
    assert leaving.read_rows < 0.8 * staying.read_rows


def test_nobody_leaves_where_numbers_are_rounded_by_the_largest_of_the_batch() -> None:
    assert not opened("lstm-int8").rows_may_leave
    assert opened("lstm").rows_may_leave


def test_a_long_prompt_takes_hardly_any_steps_and_a_short_one_is_stepped() -> None:
    model = opened("names")
    for length, most in ((500, 2), (10, 10)):
        counted = OneByOne(model)
        counted.read = model.read
        assert len(made(counted, random_prompt(1, length), length=1)) == length
        assert counted.steps <= most


def test_what_was_said_within_a_prompt_can_be_asked_in_any_order() -> None:
    model, prompt = opened("names"), random_prompt(2, 140)
    steps, plain = made(model, prompt), made(OneByOne(model), prompt)
    order = list(range(len(steps)))
    random.Random(0).shuffle(order)
    for at in order:
        assert np.allclose(steps[at].logprob, plain[at].logprob, rtol=0, atol=1e-4)
        assert np.allclose(steps[at].state.arrays()[0], plain[at].state.arrays()[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("samples", [1, 3])
def test_scores_are_the_logprobs_of_the_steps(model: Model, samples: int) -> None:
    text = random_prompt(samples, 300)
    expected = np.stack([step.logprob for step in made(OneByOne(model), text, length=0)], axis=1)
    assert np.allclose(score(model, text), expected, rtol=0, atol=1e-4)
    assert score(model, text[:, :1]).shape == (samples, 0)


@pytest.mark.parametrize("name", ["lstm-int8", "pixelcnn", "fashion"])
def test_other_graphs_are_stepped_and_scored_step_by_step(name: str) -> None:
    model, prompt = opened(name), random_prompt(1, 50) % 4
    assert model.read(prompt, model.start(1)) is None
    assert model.score(prompt, prompt, model.start(1)) is None
    steps = made(OneByOne(model), prompt)
    assert np.allclose(score(model, prompt)[0], [step.logprob[0] for step in steps[:49]], rtol=0, atol=1e-9)
    for step, plain in zip(made(model, prompt), steps, strict=True):
        assert np.array_equal(step.logits, plain.logits)


def test_a_text_is_scored_alone_where_it_would_depend_on_those_beside_it() -> None:
    model, texts = opened("lstm-int8"), [random_prompt(1, length)[0] for length in (30, 1, 12)]
    for text, scores in zip(texts, score_texts(model, texts), strict=True):
        assert np.array_equal(scores, score(model, text[None])[0])


def test_a_token_that_cannot_be_read_is_told_where_it_stands() -> None:
    prompt = random_prompt(1, 200)
    prompt[0, 60] = networks.VOCABULARY
    steps = generate(cases.load_network("lstm", 1), prompt, SamplingParams(), length=1, seed=0)
    assert [next(steps).index for _ in range(60)] == list(range(1, 61))
    with pytest.raises(TuiGenError, match="could not run"):
        next(steps)


def test_logits_that_are_not_finite_are_told_when_they_are_asked_for() -> None:
    graph = networks.fill_graph("lstm", {"output.bias": np.full(networks.VOCABULARY, np.nan, dtype=np.float32)})
    model = Model(graph, networks.text_card("lstm"), provider="cpu")
    steps = generate(model, random_prompt(1, 50), SamplingParams(), length=1, seed=0)
    prompt = [next(steps) for _ in range(49)]
    with pytest.raises(TuiGenError, match="non-finite logits at position 17"):
        _ = prompt[16].logits
    with pytest.raises(TuiGenError, match="non-finite logits at position 50"):
        next(steps)


def test_a_model_without_an_end_still_reads_at_once() -> None:
    model = opened("recipes")
    assert Endless(model).read == model.read
