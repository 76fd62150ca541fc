"""Influence is what an exchange of earlier tokens does to a prediction, whatever the model."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import toys
from tui_gen.card import ImageSpec, LayerSpec, ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch, BranchStart
from tui_gen.generation.surgery import Forget
from tui_gen.inspection.influence import Influence, PictureExchanges, PictureInfluence
from tui_gen.library import LoadedModel, open_model
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
    assert next(parts) == []  # one is asked while a long text is read
    first = next(part for part in parts if part)
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


def picture_model(weights: dict[int, float], image: ImageSpec) -> tuple[Model, Tokens]:
    """A model whose prediction rests on the values so many tokens ago, and a whole picture after what begins it."""
    card = ModelCard("m", "image", "", toys.LEVELS, toys.START, image=image)
    values = np.random.default_rng(0).integers(0, toys.LEVELS, image.area)
    return Model(toys.remembering_graph(weights), card, provider="cpu"), np.concatenate([[toys.START], values])


def measured(model: Model, tokens: Tokens) -> list[PictureInfluence]:
    """What is known from time to time, each once."""
    influence = Influence(model, tokens, model.card.vocab_size)
    return list(dict.fromkeys(PictureExchanges(influence, model.card).measure()))


def test_of_a_picture_blocks_are_exchanged_first_and_in_the_end_each_pixel_that_matters() -> None:
    model, tokens = picture_model({1: 1.0, 20: 3.0, 21: 2.0}, ImageSpec(20, 20, toys.LEVELS))
    before = 1 + 15 * 20 + 7
    parts = measured(model, tokens[:before])
    assert np.isnan(parts[0].bits).all()
    assert 4 in parts[1].sides
    last = parts[-1]
    assert not last.rough.any()
    assert last.reach.sum() == 15 * 20 + 7
    assert {(row, column) for row, column in np.argwhere(last.bits > 0).tolist()} == {(15, 6), (14, 7), (14, 6)}
    influence = Influence(model, tokens[:before], toys.LEVELS)
    single = bits(influence, [[before - 1], [before - 20], [before - 21]])
    assert [last.bits[15, 6], last.bits[14, 7], last.bits[14, 6]] == pytest.approx(list(single.values()))
    assert last.largest(1)[0][1] == max(single.values())
    assert last.carrying in (2, 3)


def test_what_the_layers_cannot_see_is_not_exchanged() -> None:
    taps = ((-1, 0), (0, -1))
    image = ImageSpec(4, 6, toys.LEVELS, layers=(LayerSpec("a", taps, mask="A"),))
    model, tokens = picture_model({1: 1.0, 6: 1.0}, image)
    last = measured(model, tokens[: 1 + 15])[-1]
    assert {(row, column) for row, column in np.argwhere(last.reach).tolist()} == {(2, 2), (1, 3)}
    assert (np.isnan(last.bits) == ~last.reach).all()


def test_all_channels_of_a_pixel_are_exchanged_together_and_its_own_earlier_ones_too() -> None:
    model, tokens = picture_model({1: 1.0, 4: 2.0, 5: 1.0}, ImageSpec(4, 6, toys.LEVELS, channels=3))
    before = 1 + 8 * 3 + 1  # the green of the ninth pixel
    last = measured(model, tokens[:before])[-1]
    assert last.image.place(last.value) == (1, 2, 1)
    influence = Influence(model, tokens[:before], toys.LEVELS)
    own, left, second = [before - 1], [before - 4, before - 3, before - 2], [before - 7, before - 6, before - 5]
    expected = bits(influence, [own, left, second])
    places = ((1, 2), own), ((1, 1), left), ((1, 0), second)
    assert {place: last.bits[place] for place, _ in places} == pytest.approx(
        {place: expected[tuple(group)] for place, group in places}
    )
    assert (last.bits > 0).sum() == 3


def test_a_prompt_has_the_bits_by_which_taking_it_away_moves_a_prediction(warmed: LoadedModel) -> None:
    prompt, bare = warmed.codec.prompt(["bright"])[0], warmed.codec.prompt([""])[0]
    drawn = toys.STRIPES.ravel()[:8]
    tokens, without = (np.concatenate([begin, drawn]) for begin in (prompt, np.append(bare[:1], bare)))
    own, other = (logprobs_after(warmed.model, each) for each in (tokens, without))
    expected = (np.exp(own) * (own - other)).sum() / np.log(2)
    parts = measured(warmed.model, tokens)
    assert parts[0].prompt is None
    assert parts[-1].prompt == pytest.approx(expected, abs=1e-4)
    assert measured(warmed.model, np.concatenate([bare, drawn]))[-1].prompt is None
