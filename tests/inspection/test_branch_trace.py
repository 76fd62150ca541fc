"""What goes on inside along a branch is the same whichever part of it is looked at first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tui_gen.generation.branch import Branch, BranchStart
from tui_gen.generation.protocol import Endless, State
from tui_gen.inspection import branch_trace
from tui_gen.inspection.branch_trace import BranchTrace
from tui_gen.inspection.inside import Inside, trace
from tui_gen.library import LoadedModel, open_model
from tui_gen.sampling.params import SamplingParams


@pytest.fixture(scope="module")
def recipes() -> LoadedModel:
    return open_model("recipes", provider="cpu", threads=1)


def grown(loaded_model: LoadedModel, length: int, samples: int = 2) -> Branch:
    params = SamplingParams()
    prompt = loaded_model.codec.prompt(["roasted vegetables"] * samples)
    branch = Branch("a", BranchStart(prompt, 3, params), Endless(loaded_model.model))
    buffer = branch.step_buffer()
    for step in branch.steps(params, lambda: length):
        buffer.append(step)
    branch.record(buffer)
    return branch


def test_any_part_is_what_reading_the_whole_gives(recipes: LoadedModel) -> None:
    branch = grown(recipes, 200)
    looked = BranchTrace(branch, Inside(recipes.model), sample=1)
    whole = trace(recipes.model, branch.tokens[:, 1].astype(np.int64)).values
    for first, past in ((150, 180), (0, 10), (60, 140), (190, 500)):
        part = looked.values(first, past)
        for name, values in whole.items():
            assert np.allclose(part[name], values[first:past], rtol=0, atol=1e-5), name
        for layer in (0, 1):
            for state, quantity in (("h", "hidden"), ("c", "cell")):
                expected = whole[f"layer{layer}.{quantity}"][first:past]
                assert np.allclose(part[f"state.{state}.{layer}"], expected, rtol=0, atol=1e-5)


def test_of_large_states_few_are_held_at_once_and_their_numbers_are_not_kept(
    recipes: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    branch, inside = grown(recipes, 30, samples=1), Inside(recipes.model)
    whole, asked = BranchTrace(branch, inside).values(3, 28), list[int]()
    monkeypatch.setattr(branch_trace, "_BYTES", 7 * recipes.model.start(1).nbytes)
    monkeypatch.setattr(branch_trace, "_SHOWN_BYTES", 1000)
    states = Branch.states

    def spy(self: Branch, first: int, past: int) -> Iterator[State]:
        asked.append(past - first)
        return states(self, first, past)

    monkeypatch.setattr(Branch, "states", spy)
    part = BranchTrace(branch, inside).values(3, 28)
    assert max(asked) == 7
    assert set(whole) - set(part) == {"state.h.0", "state.h.1", "state.c.0", "state.c.1"}
    assert all(np.allclose(values, whole[name], rtol=0, atol=1e-5) for name, values in part.items())


def test_a_branch_that_grows_is_seen_to_its_end(recipes: LoadedModel) -> None:
    branch = grown(recipes, 70, samples=1)
    looked = BranchTrace(branch, Inside(recipes.model))
    assert len(looked.values(64, 1000)["layer0.cell"]) == 6
    assert looked.values(70, 80) == {}
    params, buffer = SamplingParams(), branch.step_buffer()
    for step in branch.steps(params, lambda: 75):
        buffer.append(step)
    branch.record(buffer)
    assert len(looked.values(64, 1000)["layer0.cell"]) == 11
