"""Runs, branches, completions and sweeps of one model: what they begin with and how long they become."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import toys
from tests.support.journals import grow
from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch
from tui_gen.library import open_model
from tui_gen.sampling.params import FREE, SamplingParams
from tui_gen.sessions.workspace import Workspace

KNOBS = SamplingParams(1.2)


@pytest.fixture
def text(tmp_path: Path) -> Workspace:
    return Workspace(open_model(toys.endless_text_folder(tmp_path / "endless"), provider="cpu", threads=1))


@pytest.fixture
def image(tmp_path: Path) -> Workspace:
    return Workspace(open_model(toys.image_folder(tmp_path / "stripes"), provider="cpu", threads=1))


def run(workspace: Workspace, prompt: str = "", *, samples: int = 1, length: int | None = None) -> Branch:
    return grown(workspace, workspace.start(prompt, samples=samples, params=KNOBS, seed=3, length=length))


def grown(workspace: Workspace, branch: Branch) -> Branch:
    return grow(branch, limit=workspace.limit(branch))


def test_a_run_becomes_as_long_as_was_asked_for_and_longer_when_it_is_told_to(text: Workspace) -> None:
    branch = run(text, "the cat", length=20)
    assert len(branch) - text.head(branch) == 20
    text.lengthen(branch, 5)
    assert len(grown(text, branch)) - text.head(branch) == 25
    text.set_length(branch, 10)
    assert text.limit(branch) == len(branch)  # what is made stays


def test_a_picture_is_never_larger_than_it_is(image: Workspace) -> None:
    branch = run(image, "bright")
    assert len(branch) - image.head(branch) == toys.HEIGHT * toys.WIDTH
    image.lengthen(branch, 5)
    assert image.limit(branch) == len(branch)


def test_another_token_or_word_stands_in_one_sample_and_the_branch_becomes_as_long(text: Workspace) -> None:
    branch = run(text, "the", samples=2, length=30)
    other = grown(text, text.replace_tokens(branch, 9, 1, text.tokens_of("dog ran"), KNOBS))
    assert other.tokens[9:11, 1].tolist() == [toys.DOG, toys.RAN]
    assert other.tokens[:, 0].tolist() == branch.tokens[:, 0].tolist()
    assert len(other) == len(branch)
    assert text.head(other) == text.head(branch)


def test_a_word_that_the_model_does_not_know_cannot_be_chosen_and_neither_can_nothing(text: Workspace) -> None:
    for typed in ("zebra", "the zebra"):
        with pytest.raises(TuiGenError, match="does not know 'zebra'"):
            text.tokens_of(typed)
    branch = run(text, length=10)
    with pytest.raises(TuiGenError, match="type what is to stand there"):
        text.replace_tokens(branch, 5, 0, [], KNOBS)


def test_a_pixel_can_only_be_one_of_the_levels(image: Workspace) -> None:
    assert image.tokens_of(" 2 ") == [2]
    for typed in ("", "3", "-1", "red", "1.5"):
        with pytest.raises(TuiGenError, match="is a number from 0 to 2"):
            image.tokens_of(typed)


def test_resampling_keeps_the_noise_where_the_knobs_were_turned_and_else_draws_another_seed(text: Workspace) -> None:
    branch = run(text, "the", length=40)
    same = grown(text, text.resample(branch, 20, KNOBS, seed=branch.start.seed))
    other = grown(text, text.resample(branch, 20, KNOBS))
    colder = text.resample(branch, 20, SamplingParams(0.7))
    assert same.tokens.tolist() == branch.tokens.tolist()
    assert other.tokens[:20].tolist() == branch.tokens[:20].tolist()
    assert other.start.seed != branch.start.seed == colder.start.seed


def test_a_sweep_has_a_column_for_each_value_also_in_a_branch_of_it(text: Workspace) -> None:
    branch = grown(text, text.sweep("the", "temperature", params=KNOBS, seed=3, length=20))
    sweep = branch.start.sweep
    assert sweep
    assert branch.samples == len(sweep) == 5
    child = text.resample(branch, 8, SamplingParams(top_k=3)).start
    assert (child.sweep, child.params.top_k) == (sweep, 3)


def test_names_and_deletions_reach_the_journal(text: Workspace) -> None:
    first, second = run(text, "the", length=5), run(text, "a", length=5)
    text.show(second)
    text.rename(second.name, "last")
    assert text.complaint_about_name(first.name, "last") == "there is such a branch already"
    assert text.shown == "last"
    assert text.delete("last") is first
    records = text.journal.session.records
    assert [record.deleted for record in records.values()] == [False, True]
    with pytest.raises(TuiGenError, match="the only branch stays"):
        text.delete(first.name)


def test_what_is_given_of_a_picture_stays_and_the_rest_is_drawn_so_many_times(image: Workspace) -> None:
    levels = np.full((toys.HEIGHT, toys.WIDTH), FREE)
    levels[1], levels[3, 2] = 1, 0
    branch = grown(image, image.complete("bright", levels, samples=3, params=KNOBS, seed=1))
    drawn = branch.tokens[image.head(branch) :].reshape(toys.HEIGHT, toys.WIDTH, 3)
    assert (drawn[1] == 1).all()
    assert (drawn[3, 2] == 0).all()
    assert len(branch) == image.limit(branch)
    assert image.head(branch) == 2


def test_text_has_no_picture_to_complete(text: Workspace) -> None:
    with pytest.raises(TuiGenError, match="writes text; there is no picture"):
        text.complete("", np.zeros((2, 2), dtype=np.int64), samples=1, params=KNOBS, seed=1)


def test_places_are_named_as_people_count_them(text: Workspace, image: Workspace) -> None:
    branch = run(text, "the cat", length=5)
    titles = [text.title(branch, position) for position in (2, 3, len(branch) - 1, len(branch))]
    assert titles == ["prompt token 2", "token 1", "token 5", "next: token 6"]
    picture = run(image, "bright")
    assert image.title(picture, 1) == "prompt token 1"
    assert image.title(picture, 2) == "pixel 1, row 0, column 0"
    assert image.title(picture, 2 + toys.WIDTH + 4) == "pixel 11, row 1, column 4"
