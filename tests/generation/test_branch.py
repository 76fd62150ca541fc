"""Branches: looked at, changed and gone on from at any position; their tree, differences and descriptions."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.support import toys
from tests.support.branches import PLAIN, grown
from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import STATE_BYTES_PER_TOKEN, Branch, BranchStart, checkpoint_interval
from tui_gen.generation.describe import describe, marked, place
from tui_gen.generation.generate import generate
from tui_gen.generation.tree import Tree, differences
from tui_gen.images.codec import ImageCodec
from tui_gen.images.completion import completion_prompt
from tui_gen.library import LoadedModel, open_model, shipped_folder
from tui_gen.sampling.params import FREE, SamplingParams, Tokens
from tui_gen.sampling.sweep import Sweep
from tui_gen.text.codec import TextCodec


@pytest.fixture(scope="module", params=["shakespeare", "recipes", "fashion"])
def loaded_model(request: pytest.FixtureRequest) -> LoadedModel:
    return open_model(shipped_folder() / request.param, provider="cpu", threads=1)


def begun(loaded_model: LoadedModel, *, samples: int = 2, seed: int = 5, prompt: Tokens | None = None) -> BranchStart:
    given = loaded_model.codec.prompt([loaded_model.card.prompt_example] * samples) if prompt is None else prompt
    return BranchStart(given, seed, PLAIN)


def root(loaded_model: LoadedModel, count: int, **facts: int) -> Branch:
    return grown(Branch("1", begun(loaded_model, **facts), loaded_model.model), count)


def test_a_branch_is_what_generating_in_one_go_makes_however_it_is_cut_into_pieces(loaded_model: LoadedModel) -> None:
    branch = Branch("1", begun(loaded_model), loaded_model.model)
    for count in (1, 2, 30, 0, 7, 60):
        grown(branch, count)
    steps = list(islice(generate(loaded_model.model, branch.start.prompt, PLAIN, length=10**6, seed=5), 100))
    assert branch.tokens[1:].tolist() == [step.tokens.tolist() for step in steps]
    assert branch.live[1:].tolist() == [step.live.tolist() for step in steps]
    assert branch.given[1:].tolist() == [step.given.tolist() for step in steps]


def test_any_position_can_be_looked_at_and_says_what_was_drawn_from(loaded_model: LoadedModel) -> None:
    branch = root(loaded_model, 100)
    steps = list(islice(generate(loaded_model.model, branch.start.prompt, PLAIN, length=10**6, seed=5), 100))
    for position in (1, 2, 99, 50, 17, len(branch) - 1):
        seen, step = branch.look(position), steps[position - 1]
        np.testing.assert_allclose(seen.logits, step.logits, atol=1e-4)
        np.testing.assert_allclose(seen.probs, step.probs, atol=1e-5)
        assert seen.tokens.tolist() == step.tokens.tolist()
        assert seen.given.tolist() == step.given.tolist()
    with pytest.raises(TuiGenError, match="there is no position 400"):
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


def test_a_chosen_token_stands_and_all_after_it_is_drawn_with_the_numbers_that_it_had(endless: LoadedModel) -> None:
    branch = root(endless, 200)
    override = np.array([[toys.DOG], [FREE]])
    other = grown(Branch("2", branch.changed(50, override), endless.model, parent=branch), len(branch) - 50)
    assert other.tokens[:50].tolist() == branch.tokens[:50].tolist()
    assert other.tokens[50].tolist() == [toys.DOG, branch.tokens[50, 1]]
    assert other.tokens[:, 1].tolist() == branch.tokens[:, 1].tolist()  # the sample beside it is not touched
    assert other.given[50].tolist() == [True, False]
    assert (other.is_chosen(50, 0), other.is_chosen(50, 1), other.is_chosen(51, 0)) == (True, False, False)
    # A memory of one word: from the first word on that both drew alike, the same numbers give the same words.
    alike = np.flatnonzero(other.tokens[51:, 0] == branch.tokens[51:, 0])[0] + 51
    assert other.tokens[alike:, 0].tolist() == branch.tokens[alike:, 0].tolist()


def test_the_same_holds_for_a_branch_of_a_branch_and_when_it_is_resumed(endless: LoadedModel) -> None:
    branch = root(endless, 100)
    second = grown(
        Branch("2", branch.changed(40, np.array([[toys.DOG, toys.SAT]] * 2)), endless.model, parent=branch), 60
    )
    same = Branch("3", second.changed(70, second.tokens[70:71].T.astype(np.int64)), endless.model, parent=second)
    for count in (1, 5, 24):
        grown(same, count)
    assert same.tokens.tolist() == second.tokens.tolist()
    assert same.is_chosen(40, 0)
    assert same.is_chosen(41, 1)


def test_what_a_branch_shares_with_its_parent_is_drawn_anew_by_one_that_leaves_it_earlier(
    loaded_model: LoadedModel,
) -> None:
    branch = root(loaded_model, 60)
    at = branch.start.prompt.shape[1] + 10
    second = grown(Branch("2", branch.changed(at + 20, seed=9), loaded_model.model, parent=branch), 5)
    early = Branch("3", second.changed(at, seed=branch.start.seed), loaded_model.model, parent=second)
    grown(early, len(branch) - at)
    assert early.tokens.tolist() == branch.tokens.tolist()
    assert early.given.tolist() == branch.given.tolist()
    other = grown(Branch("4", second.changed(at, seed=11), loaded_model.model, parent=second), 50)
    assert (other.tokens[at : at + 20] != branch.tokens[at : at + 20]).any()


@pytest.mark.parametrize("at", [40, 50])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_another_choice_where_one_was_made_or_before_it_takes_that_back_and_keeps_the_numbers(
    endless: LoadedModel, at: int, count: int
) -> None:
    branch = root(endless, 100)
    start = branch.changed(50, np.array([[toys.DOG, toys.RAN], [toys.DOG, FREE]]))
    second = grown(Branch("2", start, endless.model, parent=branch), count)
    as_it_was = branch.tokens[at : at + 1].T.astype(np.int64)
    back = Branch("3", second.changed(at, as_it_was), endless.model, parent=second)
    assert grown(back, len(branch) - at).tokens.tolist() == branch.tokens.tolist()
    assert back.is_chosen(at, 0)


def test_another_seed_draws_the_rest_with_other_numbers(loaded_model: LoadedModel) -> None:
    branch = root(loaded_model, 100)
    at = len(branch) - 80
    other = Branch("2", branch.changed(at, seed=99), loaded_model.model, parent=branch)
    grown(other, 80)
    assert other.tokens[:at].tolist() == branch.tokens[:at].tolist()
    assert other.tokens.tolist() != branch.tokens.tolist()


def test_given_pixels_stay_as_they_are_also_in_a_branch(image: LoadedModel) -> None:
    prefix, levels = image.codec.prompt(["bright"] * 2), np.where(np.arange(24) % 3, FREE, 0)
    prompt = np.concatenate([prefix, np.broadcast_to(levels, (2, 24))], axis=1)
    branch = grown(Branch("1", begun(image, prompt=prompt), image.model), 20)
    first = prefix.shape[1]
    other = grown(Branch("2", branch.changed(first + 10, np.array([[1]] * 2)), image.model, parent=branch), 10)
    assert other.tokens[first + 10].tolist() == [1, 1]
    for line in (branch, other):
        assert (line.tokens[first::3] == 0).all()
        assert line.tokens[first:].any()


def test_knobs_that_were_turned_are_known_by_position(endless: LoadedModel) -> None:
    branch = Branch("1", begun(endless), endless.model)
    for temperature in (0.5, 0.5, 0.9):
        grown(branch, 10, SamplingParams(temperature))
    assert branch.params_at(1).temperature == 0.5
    assert [turn[1].temperature for turn in branch.turns] == [0.5, 0.9]
    assert (branch.params_at(20).temperature, branch.params_at(21).temperature) == (0.5, 0.9)
    assert branch.look(25).params.temperature == 0.9
    assert Branch("2", branch.changed(15), endless.model, parent=branch).turns == branch.turns[:1]


def test_a_run_that_ended_makes_nothing_more(text: LoadedModel) -> None:
    branch = grown(Branch("1", BranchStart(text.codec.prompt(["the"]), 0, SamplingParams(0.0)), text.model), 1000)
    assert branch.ended
    count = len(branch)
    assert len(grown(branch, 5)) == count
    assert not Branch("2", branch.changed(5), text.model, parent=branch).ended


def test_memory_and_the_way_back_are_bounded(endless: LoadedModel) -> None:
    branch = root(endless, 3_000)
    assert len(branch._states) <= 3_000 / branch.every + 2
    gaps = np.diff([*sorted(branch._states), len(branch)])
    assert gaps.max() <= branch.every + 1
    assert checkpoint_interval(200_000) * STATE_BYTES_PER_TOKEN >= 200_000


def test_a_branch_outside_of_what_was_made_is_refused(endless: LoadedModel) -> None:
    branch = root(endless, 10)
    for at in (0, len(branch) + 1):
        with pytest.raises(TuiGenError, match="a branch can begin at positions 1 to 11"):
            branch.changed(at)


@pytest.fixture
def tree(endless: LoadedModel) -> Tree:
    """Branches 1, 2 that left 1, 3 that left 2, and 4 from a prompt of its own."""
    tree = Tree(endless.model)
    start = BranchStart(endless.codec.prompt(["the"]), 7, PLAIN)
    first = grown(tree.begin(start))
    second = grown(tree.begin(first.changed(20, np.array([[toys.DOG]]))))
    grown(tree.begin(second.changed(30, seed=8)))
    grown(tree.begin(start))
    return tree


def outline(tree: Tree) -> list[str]:
    return ["  " * row.depth + row.branch.name + ("." if row.last else "") for row in tree.rows()]


def test_branches_are_listed_below_those_that_they_left_also_under_a_new_name(tree: Tree) -> None:
    assert outline(tree) == ["1", "  2.", "    3.", "4."]
    tree.rename("2", " dogs ")
    assert outline(tree) == ["1", "  dogs.", "    3.", "4."]
    assert tree["3"].start.parent == tree["dogs"].name == "dogs"
    tree.rename("dogs", "dogs ")  # its own name
    for name, fault in (("", "needs a name"), ("3", "there is a branch '3' already")):
        with pytest.raises(TuiGenError, match=fault):
            tree.rename("dogs", name)


def test_what_left_a_deleted_branch_stays_as_it_is(tree: Tree) -> None:
    kept = tree["3"].tokens.tolist()
    tree.delete("2")
    assert outline(tree) == ["1", "  3.", "4."]
    assert tree["3"].tokens.tolist() == kept
    grown(tree["3"])
    tree.delete("1")
    assert outline(tree) == ["3", "4."]
    with pytest.raises(TuiGenError, match="there is no branch '1'; there are: 3, 4"):
        tree["1"]


def test_a_number_is_never_given_twice(tree: Tree) -> None:
    tree.rename("4", "5")
    assert tree.begin(tree["1"].start).name == "6"


def test_differences_begin_where_another_token_was_chosen_or_one_of_them_ends(tree: Tree) -> None:
    differ = differences(tree["1"], tree["2"])
    assert not differ[:20].any()
    assert len(differ) == max(len(tree["1"]), len(tree["2"]))
    assert not differences(tree["1"], tree["4"])[: len(tree["1"])].any()
    start = tree.begin(tree["1"].start)
    assert differences(tree["1"], start)[len(start) :].all()


def test_a_branch_says_how_it_began(endless: LoadedModel) -> None:
    codec, tree = endless.codec, Tree(endless.model)
    first = grown(tree.begin(BranchStart(codec.prompt(["the"]), 7, PLAIN, text=" the\n")))
    again = tree.begin(first.changed(9))
    words = tree.begin(first.changed(9, np.array([[toys.DOG, toys.RAN]])))
    unprompted = tree.begin(BranchStart(codec.prompt([""]), 3, PLAIN))
    turned = tree.begin(first.changed(30, params=replace(PLAIN, temperature=0.5, top_k=3)))
    sweep = tree.begin(BranchStart(codec.prompt(["", ""]), 7, PLAIN, sweep=Sweep("top_p", (0.5, 0.9))))
    assert describe(sweep, codec) == "sweep top-p"
    assert describe(first, codec) == "seed 7: the"
    assert describe(again, codec, first) == "anew at token 8"
    assert describe(words, codec, first) == "token 8: dog ran"
    assert describe(unprompted, codec) == "seed 3"
    assert describe(turned, codec, first) == "temperature 0.50, top-k 3 at token 29"
    assert describe(turned, codec) == "anew at token 29"


def test_white_space_that_was_chosen_is_seen(toy_models: Path) -> None:
    letters = open_model(toy_models / "letters", provider="cpu", threads=1)
    tree = Tree(letters.model)
    first = grown(tree.begin(BranchStart(letters.codec.prompt(["ab"]), 1, PLAIN)))
    space = tree.begin(first.changed(4, np.array([[toys.CHARACTERS.index(" ")]])))
    assert describe(space, letters.codec, first) == "token 2: ␣"


@pytest.mark.parametrize("model", ["image", "colour", "warmed"])
def test_branches_of_pictures_count_pixels_from_the_first_one(model: str, toy_models: Path) -> None:
    loaded_model = open_model(toy_models / model, provider="cpu", threads=1)
    codec = loaded_model.codec
    assert isinstance(codec, ImageCodec)
    tree = Tree(loaded_model.model)
    start = codec.prompt([codec.phrases[0] if codec.phrases else ""])
    first = tree.begin(BranchStart(start, 1, PLAIN))
    assert describe(first, codec) == "seed 1"
    grown(first)
    at = start.shape[1] + 5
    unit = "value" if model == "colour" else "pixel"
    assert describe(tree.begin(first.changed(at, np.array([[2]]))), codec, first) == f"{unit} 6: 2"
    assert describe(tree.begin(first.changed(at, seed=8)), codec, first) == f"seed 8 at {unit} 6"
    assert place(first, start.shape[1] - 1, codec) == f"prompt token {start.shape[1] - 1}"


def test_what_completes_a_picture_says_so_and_its_own_branches_say_what_they_are(image: LoadedModel) -> None:
    codec = image.codec
    assert isinstance(codec, ImageCodec)
    levels = np.zeros((toys.HEIGHT, toys.WIDTH), dtype=np.int64)
    levels[1:3] = FREE
    tree = Tree(image.model)
    first = grown(tree.begin(BranchStart(codec.prompt(["bright"]), 1, PLAIN, text="bright")))
    whole = BranchStart(completion_prompt(codec, "bright", levels, 1), 1, PLAIN, text="bright")
    completion = grown(tree.begin(whole))
    below = tree.begin(replace(whole, parent=first.name, at=2))
    child = tree.begin(completion.changed(10, seed=5))
    assert describe(completion, codec) == "completion: bright"
    assert describe(below, codec, first) == "completion: bright"
    assert describe(child, codec, completion) == "seed 5 at pixel 9"


def test_marks_cover_the_words_of_the_tokens_that_differ_and_nothing_else(endless: LoadedModel) -> None:
    codec = endless.codec
    assert isinstance(codec, TextCodec)
    tree = Tree(endless.model)
    one = grown(tree.begin(BranchStart(codec.prompt([""]), 7, PLAIN)))
    other = grown(tree.begin(one.changed(20, np.array([[toys.UNKNOWN]]))))
    differ = differences(one, other)
    for branch in (one, other):
        found = marked(branch, codec, differ)
        assert len(found.marks) == len(found.text)
        assert found.text == codec.decode(branch.tokens[1:, 0].tolist())
        said = "".join(character for character, mark in zip(found.text, found.marks, strict=True) if mark)
        words = [codec.token_text(int(t)) for t, d in zip(branch.tokens[:, 0], differ, strict=False) if d]
        assert said == "".join(words)


def test_line_ends_and_spaces_that_differ_are_seen(tmp_path: Path) -> None:
    letters = open_model(toys.character_folder(tmp_path / "letters", eos=None), provider="cpu", threads=1)
    codec = letters.codec
    assert isinstance(codec, TextCodec)
    tree, (newline, space, letter) = Tree(letters.model), (toys.CHARACTERS.index(c) for c in "\n a")
    start = codec.prompt(["abc"])
    prompts = [np.concatenate([start, [[token, letter]]], axis=1) for token in (newline, space)]
    branches = [grown(tree.begin(BranchStart(prompt, 1, PLAIN))) for prompt in prompts]
    found = [marked(branch, codec, np.arange(200) == 4) for branch in branches]
    assert found[0].text.startswith("abc↵\na")
    assert found[0].marks[:5].tolist() == [False, False, False, True, False]
    assert found[1].marks[:5].tolist() == [False, False, False, True, False]


def test_states_can_be_looked_for_while_others_are_recorded(endless: LoadedModel) -> None:
    branch = root(endless, 40)
    kept = iter(branch._states)  # as another thread has it
    next(kept)
    buffer = branch.step_buffer()
    for step in islice(branch.steps(PLAIN), 40):
        buffer.append(step)
    branch.record(buffer)
    assert list(kept) != []
