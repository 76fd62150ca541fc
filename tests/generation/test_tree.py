"""Branches have names, parents and differences; none is lost with the one that it left."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.support import toys
from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch, BranchStart
from tui_gen.generation.tree import Tree, differences
from tui_gen.library import open_model
from tui_gen.sampling.params import SamplingParams


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Branches 1, 2 that left 1, 3 that left 2, and 4 from a prompt of its own."""
    loaded_model = open_model(toys.endless_text_folder(tmp_path / "endless"), provider="cpu", threads=1)
    tree = Tree(loaded_model.model)
    start = BranchStart(loaded_model.codec.prompt(["the"]), 7, SamplingParams(1.2))
    first = grown(tree.begin(start))
    second = grown(tree.begin(first.changed(20, np.array([[toys.DOG]]))))
    grown(tree.begin(second.changed(30, seed=8)))
    grown(tree.begin(start))
    return tree


def grown(branch: Branch) -> Branch:
    made = branch.step_buffer()
    for step in islice(branch.steps(SamplingParams(1.2)), 50):
        made.append(step)
    branch.record(made)
    return branch


def drawn(tree: Tree) -> list[str]:
    return ["  " * row.depth + row.branch.name + ("." if row.last else "") for row in tree.rows()]


def test_branches_are_listed_below_those_that_they_left(tree: Tree) -> None:
    assert drawn(tree) == ["1", "  2.", "    3.", "4."]
    assert tree["3"].start.parent == "2"


def test_a_branch_can_be_renamed_and_its_children_still_know_it(tree: Tree) -> None:
    tree.rename("2", " dogs ")
    assert drawn(tree) == ["1", "  dogs.", "    3.", "4."]
    assert tree["dogs"].name == "dogs"
    for name, fault in (("", "needs a name"), ("3", "there is a branch '3' already")):
        with pytest.raises(TuiGenError, match=fault):
            tree.rename("dogs", name)


def test_what_left_a_deleted_branch_stays_as_it_is(tree: Tree) -> None:
    kept = tree["3"].tokens.tolist()
    tree.delete("2")
    assert drawn(tree) == ["1", "  3.", "4."]
    assert tree["3"].tokens.tolist() == kept
    grown(tree["3"])
    tree.delete("1")
    assert drawn(tree) == ["3", "4."]
    with pytest.raises(TuiGenError, match="there is no branch '1'; there are: 3, 4"):
        tree["1"]


def test_a_number_is_never_given_twice(tree: Tree) -> None:
    tree.rename("4", "5")
    assert tree.begin(tree["1"].start).name == "6"


def test_differences_begin_where_another_token_was_chosen(tree: Tree) -> None:
    differ = differences(tree["1"], tree["2"])
    assert not differ[:20].any()
    assert len(differ) == max(len(tree["1"]), len(tree["2"]))
    assert not differences(tree["1"], tree["4"])[: len(tree["1"])].any()


def test_what_only_one_of_them_has_differs(tree: Tree) -> None:
    start = tree.begin(tree["1"].start)
    assert differences(tree["1"], start)[len(start) :].all()
