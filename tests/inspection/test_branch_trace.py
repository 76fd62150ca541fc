"""What goes on inside along a branch is the same whichever part of it is looked at first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tui_gen.generation.branch import Branch, BranchStart
from tui_gen.generation.describe import head_of
from tui_gen.generation.protocol import Endless, State
from tui_gen.inspection import branch_trace
from tui_gen.inspection.branch_trace import BranchTrace, FeatureMap
from tui_gen.inspection.inside import Inside, Values, trace
from tui_gen.inspection.receptive_field import taps_field
from tui_gen.library import LoadedModel, open_model
from tui_gen.sampling.params import SamplingParams, Tokens


@pytest.fixture(scope="module")
def recipes() -> LoadedModel:
    return open_model("recipes", provider="cpu", threads=1)


def grown(loaded_model: LoadedModel, length: int, samples: int = 2, prompt: Tokens | None = None) -> Branch:
    params = SamplingParams()
    prompt = loaded_model.codec.prompt(["roasted vegetables"] * samples) if prompt is None else prompt
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


def features(loaded_model: LoadedModel, branch: Branch, layer: str, position: int = 0) -> Values:
    """Of a picture, [pixels, units]."""
    image = loaded_model.card.image
    assert image
    looked = BranchTrace(branch, Inside(loaded_model.model))
    whole = FeatureMap(looked, image, layer, head_of(branch, loaded_model.codec))
    for _ in whole.grow(position):
        pass
    return whole.copy()


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("fashion", ["above", "blocks.1.vertical", "beside", "blocks.2.horizontal"]),
        ("fashion-book", ["input", "blocks.1.masked"]),
    ],
)
def test_features_stand_at_the_places_that_they_are_computed_for(name: str, layers: list[str]) -> None:
    loaded_model = open_model(name, provider="cpu", threads=1)
    image, codec = loaded_model.card.image, loaded_model.codec
    assert image
    prompt = codec.prompt([loaded_model.card.prompt_example])
    branch, pixel = grown(loaded_model, 600, prompt=prompt), 4 * image.width + 9
    other = branch.tokens.T.astype(np.int64)
    other[0, prompt.shape[1] + pixel] = (other[0, prompt.shape[1] + pixel] + image.levels // 2) % image.levels
    changed = grown(loaded_model, 600, prompt=other)
    numbers = {layer.name: number for number, layer in enumerate(image.layers)}
    for layer in layers:
        one, two = features(loaded_model, branch, layer), features(loaded_model, changed, layer, position=500)
        moved = np.abs(one - two).max(axis=1)
        known = ~np.isnan(moved)
        reached = [taps_field(image, place, numbers[layer]).flat[pixel] for place in range(12 * image.width)]
        assert known[: len(reached)].all()
        assert (moved[: len(reached)] > 1e-6).tolist() == reached


def test_of_guidance_the_copy_with_the_prompt_is_seen() -> None:
    loaded_model = open_model("adventurers", provider="cpu", threads=1)
    codec = loaded_model.codec
    strong, plain, none = (
        grown(loaded_model, 60, prompt=codec.prompt([text]))
        for text in ("orc man, axe, guidance 3", "orc man, axe", "")
    )
    seen = [features(loaded_model, branch, "blocks.1.vertical")[0] for branch in (strong, plain, none)]
    np.testing.assert_allclose(seen[0], seen[1], rtol=0, atol=1e-5)
    assert np.abs(seen[1] - seen[2]).max() > 0.01
