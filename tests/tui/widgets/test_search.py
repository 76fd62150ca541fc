"""What was made is searched: all samples, all branches, in order, and the cursor goes there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.branches import grown
from tests.support.driver import ScreenDriver, on_screen
from tests.support.toys import CAT, DOG
from tui_gen.generation.branch import BranchStart
from tui_gen.generation.tree import Tree
from tui_gen.library import LoadedModel
from tui_gen.sampling.params import SamplingParams
from tui_gen.text.codec import TextCodec
from tui_gen.tui.widgets.search import BranchSearch, pattern_of

GREEDY = SamplingParams(0)


@pytest.fixture
def tree(text: LoadedModel) -> Tree:
    """`the cat sat. the cat sat. ...` twice, and a branch in which the second cat is a dog."""
    tree = Tree(text.model)
    start = BranchStart(text.codec.prompt(["the", "the dog"]), 1, GREEDY, text="the")
    first = grown(tree.begin(start), 8, GREEDY)
    assert first.tokens[6, 0] == CAT
    override = first.tokens[6:7].T.copy()
    override[0] = DOG
    grown(tree.begin(first.changed(6, override)), 4, GREEDY)
    return tree


def matches(tree: Tree, text: LoadedModel, shown: str, query: str) -> list[tuple[str, int, int]]:
    """The branch, the sample and the position of each."""
    assert isinstance(text.codec, TextCodec)
    search, pattern = BranchSearch(tree, text.codec, tree[shown]), pattern_of(query)
    assert pattern
    return [(search.branches[m.row].name, m.sample, search.position(m)) for m in search.matches(pattern)]


def test_all_samples_and_branches_are_searched_and_what_they_share_counts_where_a_person_looks(
    tree: Tree, text: LoadedModel
) -> None:
    assert matches(tree, text, "1", "cat") == [("1", 0, 2), ("1", 0, 6), ("1", 1, 6)]
    assert matches(tree, text, "2", "cat") == [("1", 0, 6), ("2", 0, 2), ("2", 1, 6)]
    assert matches(tree, text, "1", "dog") == [("1", 1, 2), ("2", 0, 6)]
    assert matches(tree, text, "1", ". the dog r") == [("2", 0, 4)]
    assert matches(tree, text, "1", "zebra") == []


@pytest.mark.parametrize(("query", "has_matches"), [("CAT", False), ("Cat", False), ("cat", True), (".", True)])
def test_capitals_count_where_some_are_typed_and_nothing_is_a_pattern(
    tree: Tree, text: LoadedModel, query: str, has_matches: bool
) -> None:
    found = matches(tree, text, "1", query)
    assert bool(found) == has_matches
    assert len(found) < 8


def place(driver: ScreenDriver) -> tuple[str, int, int | None]:
    return driver.shown, driver.view.sample, driver.view.position


async def test_a_person_goes_from_match_to_match_over_branches_and_back(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=0.0, length=8, samples=2) as driver:
        await driver.run_to_end()
        await driver.press("home", *["right"] * 5)
        await driver.type("dog")
        await driver.press("enter")
        await driver.ends("2")
        await driver.press("escape", "ctrl+f")
        await driver.type("cat")
        await driver.shows("2 of 4, branch 2, sample 1")
        assert place(driver) == ("2", 0, 2)
        marked = [
            segment.text for strip in driver.strips() for segment in strip if segment.style and segment.style.underline
        ]
        assert marked.count("cat") >= 2
        await driver.press("enter", "down")
        await driver.shows("4 of 4, branch 2, sample 2")
        assert place(driver) == ("2", 1, 6)
        await driver.press("up", "up", "up")
        await driver.shows("1 of 4, branch 1, sample 1")
        assert place(driver) == ("1", 0, 6)
        await driver.press("ctrl+f")
        await driver.shows("2 of 4, branch 2")
        await driver.press("ctrl+u")
        await driver.type("zebra")
        await driver.shows("nowhere")
        await driver.press("enter", "escape")
        await driver.hides("nowhere")
        assert driver.view.position == 2
        await driver.press("left")
        assert driver.view.position == 1


async def test_what_only_other_branches_have_is_gone_to_when_a_person_says_so(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the dog", temperature=0.0, length=4) as driver:
        await driver.run_to_end()
        await driver.type("the cat")
        await driver.run_to_end()
        await driver.press("ctrl+f")
        await driver.type("dog")
        await driver.shows("1 in other branches; enter goes there")
        assert driver.shown == "2"
        await driver.press("enter")
        await driver.shows("1 of 1, branch 1")
        assert place(driver) == ("1", 0, 2)


async def test_without_a_text_there_is_nothing_to_search_which_is_told(models: Path) -> None:
    async with on_screen(models / "cats") as driver:
        await driver.press("ctrl+f")
        await driver.says("there is nothing to search yet; enter generates")
    async with on_screen(models / "stripes") as driver:
        await driver.run_to_end()
        await driver.press("ctrl+f")
        await driver.says("a picture has no text to search")
