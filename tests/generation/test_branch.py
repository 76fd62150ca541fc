"""A run is a line of tokens of which every position can be looked at, changed and gone on from."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.support import toys
from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import STATE_BYTES_PER_TOKEN, Branch, BranchStart, checkpoint_interval
from tui_gen.generation.generate import generate
from tui_gen.library import LoadedModel, open_model, shipped_folder
from tui_gen.sampling.params import FREE, SamplingParams, Tokens
from tui_gen.sampling.step import Step

ANYTHING = SamplingParams(1.3)


@pytest.fixture(scope="module", params=["shakespeare", "recipes", "fashion"])
def loaded_model(request: pytest.FixtureRequest) -> LoadedModel:
    return open_model(shipped_folder() / request.param, provider="cpu", threads=1)


@pytest.fixture
def text(tmp_path: Path) -> LoadedModel:
    return open_model(toys.endless_text_folder(tmp_path / "endless"), provider="cpu", threads=1)


def begun(loaded_model: LoadedModel, *, samples: int = 2, seed: int = 5, prompt: Tokens | None = None) -> BranchStart:
    given = loaded_model.codec.prompt([loaded_model.card.prompt_example] * samples) if prompt is None else prompt
    return BranchStart(given, seed, ANYTHING)


def grown(branch: Branch, count: int, params: SamplingParams = ANYTHING) -> Branch:
    """Goes on by so many positions."""
    made = branch.step_buffer()
    for step in islice(branch.steps(params), count):
        made.append(step)
    if len(made):
        branch.record(made)
    return branch


def root(loaded_model: LoadedModel, count: int, **facts: int) -> Branch:
    return grown(Branch("1", begun(loaded_model, **facts), loaded_model.model), count)


def plain_steps(loaded_model: LoadedModel, start: BranchStart, count: int) -> list[Step]:
    steps = generate(loaded_model.model, start.prompt, ANYTHING, length=10**6, seed=start.seed)
    return list(islice(steps, count))


def test_a_branch_is_what_generating_in_one_go_makes_however_it_is_cut_into_pieces(loaded_model: LoadedModel) -> None:
    branch = Branch("1", begun(loaded_model), loaded_model.model)
    for count in (1, 2, 30, 0, 7, 60):
        grown(branch, count)
    steps = plain_steps(loaded_model, branch.start, 100)
    assert branch.tokens[1:].tolist() == [step.tokens.tolist() for step in steps]
    assert branch.live[1:].tolist() == [step.live.tolist() for step in steps]
    assert branch.given[1:].tolist() == [step.given.tolist() for step in steps]


def test_any_position_can_be_looked_at_and_says_what_was_drawn_from(loaded_model: LoadedModel) -> None:
    branch = root(loaded_model, 100)
    steps = {step.index: step for step in plain_steps(loaded_model, branch.start, 100)}
    for position in (1, 2, 99, 50, 17, len(branch) - 1):
        seen, step = branch.look(position), steps[position]
        np.testing.assert_allclose(seen.logits, step.logits, atol=1e-4)
        np.testing.assert_allclose(seen.probs, step.probs, atol=1e-5)
        assert seen.tokens.tolist() == step.tokens.tolist()
        assert seen.given.tolist() == step.given.tolist()
    with pytest.raises(TuiGenError, match="there is no token 400"):
        branch.look(400)


def test_the_next_token_can_be_looked_at_before_it_is_made(loaded_model: LoadedModel) -> None:
    branch = root(loaded_model, 60)
    ahead = branch.look(len(branch))
    grown(branch, 1)
    np.testing.assert_allclose(ahead.probs, branch.look(len(branch) - 1).probs, atol=1e-5)


def test_a_branch_without_a_change_makes_the_same_again(loaded_model: LoadedModel) -> None:
    branch = root(loaded_model, 90)
    for at in (len(branch) - 60, len(branch) - 1, len(branch)):
        again = Branch("2", branch.changed(at), loaded_model.model, parent=branch)
        grown(again, len(branch) - at)
        assert again.tokens.tolist() == branch.tokens.tolist()
        assert again.given.tolist() == branch.given.tolist()


def test_a_chosen_token_stands_and_all_after_it_is_drawn_with_the_numbers_that_it_had(text: LoadedModel) -> None:
    branch = root(text, 200)
    override = np.array([[toys.DOG], [FREE]])
    other = grown(Branch("2", branch.changed(50, override), text.model, parent=branch), len(branch) - 50)
    assert other.tokens[:50].tolist() == branch.tokens[:50].tolist()
    assert other.tokens[50].tolist() == [toys.DOG, branch.tokens[50, 1]]
    assert other.tokens[:, 1].tolist() == branch.tokens[:, 1].tolist()  # the sample beside it is not touched
    assert other.given[50].tolist() == [True, False]
    assert (other.is_chosen(50, 0), other.is_chosen(50, 1), other.is_chosen(51, 0)) == (True, False, False)
    # A memory of one word: from the first word on that both drew alike, the same numbers give the same words.
    alike = np.flatnonzero(other.tokens[51:, 0] == branch.tokens[51:, 0])[0] + 51
    assert other.tokens[alike:, 0].tolist() == branch.tokens[alike:, 0].tolist()


def test_the_same_holds_for_a_branch_of_a_branch_and_when_it_is_resumed(text: LoadedModel) -> None:
    branch = root(text, 100)
    second = grown(Branch("2", branch.changed(40, np.array([[toys.DOG, toys.SAT]] * 2)), text.model, parent=branch), 60)
    same = Branch("3", second.changed(70, second.tokens[70:71].T.astype(np.int64)), text.model, parent=second)
    for count in (1, 5, 24):
        grown(same, count)
    assert same.tokens.tolist() == second.tokens.tolist()
    assert same.is_chosen(40, 0)
    assert same.is_chosen(41, 1)


def test_another_seed_draws_the_rest_with_other_numbers(loaded_model: LoadedModel) -> None:
    branch = root(loaded_model, 100)
    at = len(branch) - 80
    other = Branch("2", branch.changed(at, seed=99), loaded_model.model, parent=branch)
    grown(other, 80)
    assert other.tokens[:at].tolist() == branch.tokens[:at].tolist()
    assert other.tokens.tolist() != branch.tokens.tolist()


def test_given_pixels_stay_as_they_are_also_in_a_branch() -> None:
    fashion = open_model(shipped_folder() / "fashion", provider="cpu", threads=1)
    image = fashion.card.image
    assert image
    prefix = fashion.codec.prompt(["ankle boot"] * 2)
    kept = np.random.default_rng(0).integers(image.levels, size=image.area)
    free = np.arange(image.area) % 3 > 0
    prompt = np.concatenate([prefix, np.broadcast_to(np.where(free, FREE, kept), (2, image.area))], axis=1)
    branch = grown(Branch("1", begun(fashion, prompt=prompt), fashion.model), 400)
    at = prefix.shape[1] + 100
    other = grown(Branch("2", branch.changed(at, np.array([[3]] * 2)), fashion.model, parent=branch), 300)
    for line in (branch, other):
        pixels = line.tokens[prefix.shape[1] :].T
        stands = ~free[: pixels.shape[1]].copy()
        stands[100] &= line is branch
        assert (pixels[:, stands] == kept[: pixels.shape[1]][stands]).all()
    assert other.tokens[at].tolist() == [3, 3]


def test_knobs_that_were_turned_are_known_by_position(text: LoadedModel) -> None:
    branch = Branch("1", begun(text), text.model)
    for temperature in (0.5, 0.5, 0.9):
        grown(branch, 10, SamplingParams(temperature))
    first = branch.start.prompt.shape[1]
    assert branch.params_at(1).temperature == 0.5
    assert [turn[1].temperature for turn in branch.turns] == [0.5, 0.9]
    assert (branch.params_at(20).temperature, branch.params_at(21).temperature) == (0.5, 0.9)
    assert branch.look(25).params.temperature == 0.9
    assert Branch("2", branch.changed(15), text.model, parent=branch).turns == branch.turns[:1]
    assert first < 20


def test_a_run_that_ended_makes_nothing_more(tmp_path: Path) -> None:
    cats = open_model(toys.text_folder(tmp_path / "cats"), provider="cpu", threads=1)
    branch = grown(Branch("1", BranchStart(cats.codec.prompt(["the"]), 0, SamplingParams(0.0)), cats.model), 1000)
    assert branch.ended
    count = len(branch)
    assert len(grown(branch, 5)) == count
    assert not Branch("2", branch.changed(5), cats.model, parent=branch).ended


def test_memory_and_the_way_back_are_bounded(text: LoadedModel) -> None:
    branch = root(text, 3_000)
    assert len(branch._states) <= 3_000 / branch.every + 2
    gaps = np.diff([*sorted(branch._states), len(branch)])
    assert gaps.max() <= branch.every + 1
    assert checkpoint_interval(200_000) * STATE_BYTES_PER_TOKEN >= 200_000


def test_a_branch_outside_of_what_was_made_is_refused(text: LoadedModel) -> None:
    branch = root(text, 10)
    for at in (0, len(branch) + 1):
        with pytest.raises(TuiGenError, match="a branch can begin at tokens 1 to 11"):
            branch.changed(at)
