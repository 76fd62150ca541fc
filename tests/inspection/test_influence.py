"""Influence is what an exchange of earlier tokens does to a prediction, whatever the model."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import toys
from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch, BranchStart
from tui_gen.generation.surgery import Forget
from tui_gen.inspection.influence import Influence
from tui_gen.library import open_model
from tui_gen.runtime.model import Model
from tui_gen.sampling.params import Floats, SamplingParams, Tokens, log_softmax


def bits(influence: Influence, groups: list[list[int]]) -> dict[tuple[int, ...], float]:
    parts = influence.measure([np.array(group) for group in groups])
    return {tuple(each.positions.tolist()): each.bits for part in parts for each in part}


def logprobs_after(model: Model, tokens: Tokens) -> Floats:
    state = model.start(1)
    for token in tokens:
        logits, state = model.step(np.array([token]), state)
    return log_softmax(logits)[0]


def test_it_is_the_divergence_of_the_prediction_when_the_likeliest_other_token_stands_there() -> None:
    names = open_model("names", provider="cpu")
    tokens = np.tile(names.codec.prompt(["annabel"])[0], 10)  # longer than what is read in one piece
    influence = Influence(names.model, tokens, names.card.vocab_size)
    own = logprobs_after(names.model, tokens)
    for position in (1, 5, 40, 79):
        others = np.exp(logprobs_after(names.model, tokens[:position]))
        others[tokens[position]] = 0
        changed = tokens.copy()
        changed[position] = others.argmax()
        expected = (np.exp(own) * (own - logprobs_after(names.model, changed))).sum() / np.log(2)
        assert bits(influence, [[position]])[position,] == pytest.approx(expected, abs=1e-4)


def test_a_prediction_rests_on_what_the_network_remembers_and_on_nothing_else() -> None:
    graph = toys.remembering_graph({1: 1.0, 4: 3.0})
    model = Model(graph, ModelCard("m", "text", "", toys.LEVELS, 0), provider="cpu")
    tokens = np.random.default_rng(0).integers(0, toys.LEVELS, 200)
    influence = Influence(model, tokens, toys.LEVELS)
    single = bits(influence, [[position] for position in influence.exchangeable])
    assert [position for [position] in single if single[position,] > 0] == [199, 196]
    assert bits(influence, [[10, 11, 12], [195, 196], [190, 191]]) == pytest.approx(
        {(195, 196): single[196,], (190, 191): 0, (10, 11, 12): 0}
    )


def test_the_nearest_come_first_and_one_may_stop_in_between() -> None:
    names = open_model("names", provider="cpu")
    tokens = np.tile(names.codec.prompt(["anna"])[0], 40)
    influence = Influence(names.model, tokens, names.card.vocab_size)
    parts = influence.measure([np.array([position]) for position in influence.exchangeable])
    first = next(parts)
    assert first[0].positions.tolist() == [len(tokens) - 1]
    assert len(first) < len(tokens) - 1
    parts.close()  # type: ignore[attr-defined]


def test_what_is_no_pixel_is_not_exchanged() -> None:
    fashion = open_model("fashion", provider="cpu")
    prompt = fashion.codec.prompt(["ankle boot"])[0]
    tokens = np.concatenate([prompt, np.zeros(40, dtype=np.int64)])
    influence = Influence(fashion.model, tokens, fashion.card.vocab_size)
    assert influence.exchangeable.tolist() == list(range(len(prompt), len(tokens)))
    assert bits(influence, [[len(tokens) - 1]])[len(tokens) - 1,] > 0


def test_on_a_branch_it_is_that_of_the_branchs_own_model_and_sample() -> None:
    names = open_model("names", provider="cpu")
    prompt = names.codec.prompt(["annabella", "charlotte"])
    model = names.model
    branch = Branch("a", BranchStart(prompt, 3, SamplingParams()), model)
    grow(branch)
    forgetful = Branch("b", branch.operated(6, Forget()), model, parent=branch)
    grow(forgetful)
    own = Influence(names.model, prompt[1], names.card.vocab_size)
    singly = [[position] for position in own.exchangeable]
    on_branch = Influence.on_branch(branch, 0, prompt.shape[1], 1, names.card.vocab_size)
    assert bits(on_branch, singly) == pytest.approx(bits(own, singly))
    later = bits(Influence.on_branch(branch, 4, prompt.shape[1], 1, names.card.vocab_size), [[1], [4]])
    assert later == pytest.approx({(at,): bits(own, [[4 + at]])[4 + at,] for at in (1, 4)}, abs=1e-5)
    forgot = bits(Influence.on_branch(forgetful, 0, prompt.shape[1], 1, names.card.vocab_size), singly)
    assert all((forgot[position,] > 1e-6) == (position >= 6) for [position] in singly)


def grow(branch: Branch) -> None:
    """Reads the prompt."""
    buffer, params = branch.step_buffer(), SamplingParams()
    for step in branch.steps(params, lambda: branch.start.prompt.shape[1]):
        buffer.append(step)
    branch.record(buffer)


def test_a_first_prediction_rests_on_nothing() -> None:
    names = open_model("names", provider="cpu")
    with pytest.raises(TuiGenError, match="rests on nothing"):
        Influence(names.model, names.codec.prompt([""])[0], names.card.vocab_size)
