"""Surgery: what is done to a state is there, and stays, however a branch is made, walked through and left again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support import toys
from tests.support.branches import PLAIN, grow, grown
from tests.support.devices import on_device, shipped
from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch, BranchStart
from tui_gen.generation.describe import describe, describe_difference, operations_text
from tui_gen.generation.generate import generate
from tui_gen.generation.surgery import Forget, Hold, Intervention, Take, check_intervention
from tui_gen.generation.tree import Tree
from tui_gen.library import LoadedModel, open_model, shipped_folder
from tui_gen.runtime.model import Model
from tui_gen.sampling.params import SamplingParams
from tui_gen.sampling.sweep import Sweep
from tui_gen.scoring.branch_scores import BranchSurprisal

Arrays = list[NDArray[Any]]
CUT, PROMPTS = 3, {"names": "ma", "recipes-lstm": "apple pie", "shakespeare": "ROMEO:"}
CARD = ModelCard("toy", "text", "toy", len(toys.WORDS), bos=toys.END, eos=None)


@pytest.fixture(scope="module", params=PROMPTS)
def loaded_model(request: pytest.FixtureRequest) -> LoadedModel:
    """A GRU, an LSTM, two stacked GRUs."""
    return open_model(shipped_folder() / request.param, provider="cpu", threads=1)


def root(loaded_model: LoadedModel, count: int = 60, *, samples: int = 2, seed: int = 5, **facts: Any) -> Branch:
    prompt = loaded_model.codec.prompt([PROMPTS.get(loaded_model.path.name, "the")] * samples)
    return grown(Branch("1", BranchStart(prompt, seed, PLAIN, **facts), loaded_model.model), count)


def operate(loaded_model: LoadedModel, branch: Branch, position: int, *interventions: Intervention) -> Branch:
    start = branch.operated(position, *interventions)
    return grown(Branch("2", start, loaded_model.model, parent=branch), 60)


def by_hand(model: Model, branch: Branch, change: Callable[[int, Arrays], object]) -> Iterator[tuple[Arrays, Any]]:
    """The state before each token of a branch, and the logits after it, where a callable changes the states."""
    state = model.start(branch.samples)
    for position, token in enumerate(branch.tokens.astype(np.int64)):
        arrays = list(state.arrays())
        change(position, arrays)
        logits, state = model.step(token, model.state([part.copy() for part in arrays], branch.samples))
        yield arrays, logits


def assert_made_so(model: Model, branch: Branch, change: Callable[[int, Arrays], object]) -> None:
    """By states and predictions, which are looked at in any order; of a sample that has ended they mean nothing."""
    reference = list(by_hand(model, branch, change))
    for position in np.random.default_rng(0).permutation(len(branch)).tolist():
        before, (arrays, logits), live = (
            branch.point(position).state.arrays(),
            reference[position],
            branch.runs_at(position),
        )
        for part, expected in zip(before, arrays, strict=True):
            np.testing.assert_allclose(part[live], expected[live], atol=1e-6)
        seen = branch.look(position + 1)
        np.testing.assert_allclose(seen.logits[live], logits[live], atol=1e-4)
        if position + 1 < len(branch):
            for part, expected in zip(seen.state.arrays(), reference[position + 1][0], strict=True):
                np.testing.assert_allclose(part[live], expected[live], atol=1e-6)


def set_part(at: int, index: tuple[Any, ...], value: float, *, until: int = CUT + 1) -> Callable[[int, Arrays], object]:
    def change(position: int, arrays: Arrays) -> None:
        if CUT <= position < until:
            arrays[at][index] = value

    return change


def test_what_is_forgotten_is_zero_once(loaded_model: LoadedModel) -> None:
    branch, parts = root(loaded_model), len(loaded_model.model.inputs) - 1
    top = loaded_model.model.inputs[1].shape[1] - 1  # type: ignore[operator]
    for part, at in (("h", 0), ("c", 1))[:parts]:
        other = operate(loaded_model, branch, CUT, Forget(part, top))
        assert not other.point(CUT).state.arrays()[at][:, top].any()
        assert_made_so(loaded_model.model, other, set_part(at, (slice(None), top), 0))
    other = operate(loaded_model, branch, CUT, Forget())
    assert not any(part.any() for part in other.point(CUT).state.arrays())

    def change(position: int, arrays: Arrays) -> None:
        for part in arrays if position == CUT else ():
            part[:] = 0

    assert_made_so(loaded_model.model, other, change)


def test_a_unit_that_is_held_has_its_value_from_there_on(loaded_model: LoadedModel) -> None:
    part, at = ("c", 1) if len(loaded_model.model.inputs) > 2 else ("h", 0)
    other = operate(loaded_model, root(loaded_model), CUT, Hold(part, 0, 7, 0.75))
    assert_made_so(loaded_model.model, other, set_part(at, (slice(None), 0, 7), 0.75, until=10**6))
    for _ in range(3):
        grown(other, 5)
    ahead = other.look(len(other)).state.arrays()[at][:, 0]
    assert (ahead[:, 7] == 0.75).all()
    assert (ahead[:, 6] != 0.75).all()


def test_the_state_of_another_branch_is_taken_sample_by_sample(loaded_model: LoadedModel) -> None:
    branch, donor = root(loaded_model), root(loaded_model, seed=6)
    donor.name = "dogs"
    states = donor.point(CUT + 1).state.arrays()
    other = operate(loaded_model, branch, CUT, Take(donor, CUT + 1))

    def change(position: int, arrays: Arrays) -> None:
        if position == CUT:
            arrays[:] = [part.copy() for part in states]

    assert_made_so(loaded_model.model, other, change)


def test_the_noise_stays_and_the_first_token_that_differs_comes_after(loaded_model: LoadedModel) -> None:
    branch = root(loaded_model)
    same = operate(loaded_model, branch, 0, Forget())  # nothing is there yet
    assert same.tokens[: len(branch)].tolist() == branch.tokens[: len(same)].tolist()
    mine = operate(loaded_model, branch, CUT, Take(branch, CUT))
    assert mine.tokens[: len(branch)].tolist() == branch.tokens.tolist()
    other = operate(loaded_model, branch, CUT, Take(branch, 0))
    assert other.tokens[: CUT + 1].tolist() == branch.tokens[: CUT + 1].tolist()
    assert other.start.prompt[:, : CUT + 1].tolist() == branch.tokens[: CUT + 1].T.tolist()
    assert other.start.seed == branch.start.seed
    end = min(len(other), len(branch))
    assert (other.tokens[CUT + 1 : end] != branch.tokens[CUT + 1 : end]).any()


def test_it_does_not_matter_how_a_branch_is_cut_into_pieces_nor_which_samples_are_beside_one(
    loaded_model: LoadedModel,
) -> None:
    branch, interventions = root(loaded_model, samples=3), (Forget("h", 0), Hold("h", 0, 1, -0.5))
    whole = operate(loaded_model, branch, CUT, *interventions)
    pieces = Branch("2", branch.operated(CUT, *interventions), loaded_model.model, parent=branch)
    for count in (1, 0, 3, 7, 49):
        grown(pieces, count)
    assert pieces.tokens.tolist() == whole.tokens.tolist()
    alone = operate(loaded_model, root(loaded_model, samples=1), CUT, *interventions)
    length = min(len(alone), int(whole.live[:, 0].sum()))
    assert alone.tokens[:length, 0].tolist() == whole.tokens[:length, 0].tolist()


def test_branches_that_leave_it_later_inherit_it_and_those_from_before_do_not(loaded_model: LoadedModel) -> None:
    branch = root(loaded_model)
    other = operate(loaded_model, branch, CUT, Forget(), Hold("h", 0, 7, 0.5))
    for at in (CUT + 1, CUT + 2):
        same = grown(Branch("3", other.changed(at), loaded_model.model, parent=other), len(other) - at)
        assert same.start.interventions == ()
        assert same.tokens.tolist() == other.tokens.tolist()
        third = grown(Branch("4", same.changed(at), loaded_model.model, parent=same), len(same) - at)
        assert third.tokens.tolist() == other.tokens.tolist()
        assert (third.look(CUT + 2).state.arrays()[0][:, 0, 7] == 0.5).all()
    early = grown(Branch("3", other.changed(CUT), loaded_model.model, parent=other), len(branch) - CUT)
    assert early.operations == ()
    assert early.tokens.tolist() == branch.tokens.tolist()


def test_what_is_held_stays_when_more_is_done(loaded_model: LoadedModel) -> None:
    branch = root(loaded_model)
    other = operate(loaded_model, branch, CUT - 1, Hold("h", 0, 7, 0.5), Hold("h", 0, 7, 0.25))
    third = operate(loaded_model, other, CUT, Hold("h", 0, 8, -1), Forget(), Take(branch, 1), Forget("h", 0))
    [row] = set(map(tuple, third.point(CUT).state.arrays()[0][:, 0]))
    assert (row[7], row[8], set(row) - {row[7], row[8]}) == (0.25, -1, {0.0})


def test_whoever_reads_a_branch_again_reads_it_as_it_was_made(loaded_model: LoadedModel) -> None:
    branch = root(loaded_model)
    grow(branch, 100)
    donor = root(loaded_model, seed=6)
    for interventions in ((Forget(),), (Hold("h", 0, 7, 0.5),), (Take(donor, CUT),)):
        start = branch.operated(CUT, *interventions)
        other = Branch("2", start, loaded_model.model, parent=branch)
        grow(other, 150)
        surprisal = BranchSurprisal(other, loaded_model.codec)
        assert surprisal.update()
        looked = np.array([other.look(position).logprob for position in range(1, len(other))])
        live = other.live[1:]
        np.testing.assert_allclose(surprisal.bits[live], -looked[live] / np.log(2), atol=1e-3)
        tokens = other.tokens.T.astype(np.int64)
        again = generate(other.model, tokens, start.params, length=0, seed=start.seed)
        retold = np.array([step.logprob for step in again])
        np.testing.assert_allclose(retold[live], looked[live], atol=1e-3)


def test_a_sample_is_still_itself_when_others_have_left_the_batch() -> None:
    names = open_model(shipped_folder() / "names", provider="cpu", threads=1)
    branch = root(names, samples=40)
    other = operate(names, branch, CUT, Take(branch, CUT), Hold("h", 0, 7, 0.5))
    ends = other.live.sum(axis=0)
    assert ends.min() < ends.max()
    state = other.model.start(40).rows([4, 2, 4])
    for position in range(CUT):
        _, state = other.model.step(other.tokens[position, [4, 2, 4]].astype(np.int64), state)
    expected = other.point(CUT).state.arrays()[0][[4, 2, 4]]
    np.testing.assert_allclose(state.arrays()[0], expected, atol=1e-6)
    with pytest.raises(TuiGenError, match="a branch that takes a state is read with as many samples as it has, 40"):
        other.model.start(1)


def test_each_sample_of_a_sweep_is_operated_on(loaded_model: LoadedModel) -> None:
    sweep = Sweep("temperature", (0.2, 0.8, 1.5))
    branch = root(loaded_model, samples=3, sweep=sweep)
    other = operate(loaded_model, branch, CUT, Forget("h"))
    assert not other.point(CUT).state.arrays()[0].any()
    assert other.start.sweep == sweep


@pytest.mark.parametrize("name", PROMPTS)
def test_a_state_on_a_device_is_operated_on_likewise(name: str) -> None:
    graph, card = shipped(name)
    cpu, (device, _) = Model(graph, card, provider="cpu"), on_device(graph, card)
    tokens = []
    for model in (cpu, device):
        start = BranchStart(np.full((3, 1), card.bos), 4, PLAIN)
        branch = grown(Branch("1", start, model), 40)
        begun = branch.operated(2, Take(branch, 1), Forget("h", 0), Hold("h", 0, 3, 0.5))
        other = grown(Branch("2", begun, model, parent=branch), 40)
        assert (other.look(len(other)).state.arrays()[0][:, 0, 3] == 0.5).all()
        tokens.append(other.tokens.tolist())
    assert tokens[0] == tokens[1]


def test_it_is_told_as_people_count(loaded_model: LoadedModel) -> None:
    codec, tree = loaded_model.codec, Tree(loaded_model.model)
    first = grown(tree.begin(root(loaded_model, 0).start), 40)
    at = first.head + 1
    forget = grown(tree.begin(first.operated(at, Forget("h", 0))), 30)
    assert describe(forget, codec, first) == "forget h of layer 1 at token 2"
    assert describe(tree.begin(first.operated(at, Forget())), codec) == "forget the state at token 2"
    held = tree.begin(forget.operated(at, Hold("h", 0, 7, 0.75), Take(first, at - 1), seed=9))
    assert describe(held, codec, forget) == (
        "seed 9, hold unit 7 of h of layer 1 at 0.75 from token 2, "
        "take the state that branch 1 has at token 1 at token 2"
    )
    assert operations_text(held, codec)[0] == "forget h of layer 1 at token 2"
    assert operations_text(first, codec) == []
    tree.rename("1", "mine")
    assert "branch mine has at token 1" in describe(held, codec)
    tree.delete("mine")
    assert "a deleted branch has at token 1" in describe(held, codec)
    differing = describe_difference(forget, codec, first)
    assert differing.startswith("forget h of layer 1 at token 2")


def layered(**shapes: tuple[int, ...]) -> Model:
    return Model(toys.layered_graph(**shapes), CARD, provider="cpu")


def test_a_layer_is_found_wherever_its_state_lies() -> None:
    stacked = layered(h=(2, 3), c=(2, 3))
    apart = layered(h_0=(3,), h_1=(4,), c_1=(4,))
    for model, intervention, zeros in (
        (stacked, Forget("c"), [[], [0, 1]]),
        (stacked, Forget("", 1), [[1], [1]]),
        (apart, Forget("h"), [[0], [0], []]),
        (apart, Forget("h", 1), [[], [0], []]),
        (apart, Forget("c", 1), [[], [], [0]]),
        (apart, Forget(), [[0], [0], [0]]),
        (layered(h=(3,)), Forget("h", 0), [[0]]),
        (layered(memory=(5,), h=(1, 3)), Forget("memory"), [[0], []]),
        (layered(memory=(5,), h=(1, 3)), Forget(), [[], [0]]),
        (layered(memory=(5,), count=(1,)), Forget(), [[0], [0]]),
    ):
        branch = grown(Branch("1", BranchStart(np.array([[toys.THE]]), 1, PLAIN), model), 9)
        branch._states = {0: model.state([np.ones_like(part) for part in model.start(1).arrays()], 1)}
        other = Branch("2", branch.operated(5, intervention), model, parent=branch)
        arrays = [part.reshape(-1, part.shape[-1]) for part in other.point(5).state.arrays()]
        assert [np.flatnonzero(~part.any(axis=1)).tolist() for part in arrays] == zeros


@pytest.mark.parametrize(
    ("shapes", "intervention", "fault"),
    [
        ({"count": (1,)}, Hold("count", 0, 0, 1), "a unit of h or c can be held, not of 'count'; the state has count"),
        ({"count": (1,)}, Forget("h"), "the state has no part 'h' that can be changed, but count"),
        ({"count": (1,)}, Forget("count", 0), "count has no layers; it can be forgotten as a whole"),
        ({"h": (2, 3)}, Forget("h", 2), "h has layers 1, 2, not layer 3"),
        ({"h": (1, 3)}, Forget("h", 1), "h has layer 1 alone, not layer 2"),
        ({"h": (1, 3)}, Forget("h", -1), "h has layer 1 alone, not layer 0"),
        ({"h": (1, 3)}, Forget("c"), "the state has no part 'c' that can be changed, but h"),
        (
            {"h": (2, 3), "c": (1, 3)},
            Forget("", 1),
            "1 of 2 layers have c, and it is not known which; leave out the layer",
        ),
        (
            {"h_0": (2,), "h_1": (3,), "c": (1, 3)},
            Hold("c", 0, 0, 1),
            "1 of 2 layers have c, and it is not known which",
        ),
        ({"h": (1, 3)}, Hold("h", 0, 3, 1.0), "h of layer 1 has units 0 to 2, not 3"),
        ({"h": (1, 3)}, Hold("h", 0, -1, 1.0), "h of layer 1 has units 0 to 2, not -1"),
        ({"h": (1, 3)}, Hold("h", 0, 1, 1e300), "a unit cannot be held at 1e\\+300; its numbers are float32"),
        ({"h": (1, 3)}, Hold("h", 0, 1, float("nan")), "a unit cannot be held at nan"),
    ],
)
def test_what_the_state_does_not_have_is_refused(
    shapes: dict[str, tuple[int, ...]], intervention: Intervention, fault: str
) -> None:
    with pytest.raises(TuiGenError, match=fault):
        check_intervention(layered(**shapes), intervention)


def test_a_state_that_does_not_fit_is_refused(loaded_model: LoadedModel) -> None:
    branch, single = root(loaded_model), root(loaded_model, samples=1)
    fault = "the state of a branch of 1 samples cannot be taken into one of 2"
    with pytest.raises(TuiGenError, match=fault):
        operate(loaded_model, branch, CUT, Take(single, CUT))
    model = layered(h=(1, 3))
    stranger = grown(Branch("1", BranchStart(np.array([[toys.THE]] * 2), 1, PLAIN), model), 9)
    with pytest.raises(TuiGenError, match="the state of another model cannot be taken"):
        operate(loaded_model, branch, CUT, Take(stranger, CUT))
    with pytest.raises(TuiGenError, match="branch 1 has no position 1000; the last is"):
        operate(loaded_model, branch, CUT, Take(branch, 1000))
    for position in (-1, len(branch)):
        with pytest.raises(TuiGenError, match=f"there is no token at position {position}"):
            branch.operated(position, Forget())


def test_where_a_text_has_ended_there_is_no_state() -> None:
    names = open_model(shipped_folder() / "names", provider="cpu", threads=1)
    branch = root(names, 1000)
    lengths = branch.live.sum(axis=0)
    assert branch.ended
    with pytest.raises(TuiGenError, match="nothing follows this token"):
        branch.operated(len(branch) - 1, Forget())
    longer, shorter = int(lengths.argmax()), int(lengths.argmin())
    assert lengths[longer] > lengths[shorter]
    with pytest.raises(TuiGenError, match=f"sample {shorter + 1} of branch 1 has ended there and has no state to take"):
        branch.operated(2, Take(branch, int(lengths[shorter])))
    branch.operated(int(lengths[shorter]), Take(branch, int(lengths[shorter])))  # here it has ended too


def test_pictures_and_their_parts(image: LoadedModel) -> None:
    start = BranchStart(image.codec.prompt(["bright"]), 1, SamplingParams(3.0))
    branch = grown(Branch("1", start, image.model), 10)
    with pytest.raises(TuiGenError, match="this is for recurrent models; the state has neither h nor c, but condition"):
        operate(image, branch, 5, Forget())
    other = operate(image, branch, 5, Forget("condition"))
    assert branch.point(5).state.arrays()[1].any()
    assert not other.point(5).state.arrays()[1].any()
    assert describe(other, image.codec) == "forget condition at pixel 4"
