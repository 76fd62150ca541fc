"""The list of branches draws what left what, says how each began, and asks for what a person wants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support import toys
from tests.support.widget_app import WidgetDriver, alone, grow
from tui_gen.generation.branch import BranchStart
from tui_gen.library import LoadedModel, open_model
from tui_gen.sampling.params import SamplingParams
from tui_gen.sampling.sweep import Sweep
from tui_gen.sessions.workspace import Workspace
from tui_gen.tui.widgets.lists import BranchList

PLAIN = SamplingParams(1.2)


@pytest.fixture
def loaded_model(tmp_path: Path) -> LoadedModel:
    return open_model(toys.endless_text_folder(tmp_path / "endless"), provider="cpu", threads=1)


@pytest.fixture
def workspace(loaded_model: LoadedModel, tmp_path: Path) -> Workspace:
    """1; 2 and 3 that left 1, 4 that left 2; and 5, a sweep."""
    workspace = Workspace(loaded_model, folder=tmp_path / "journals")
    tree = workspace.tree
    first = grow(tree.begin(BranchStart(loaded_model.codec.prompt(["the"]), 7, PLAIN, text="the")))
    second = grow(tree.begin(first.changed(20, np.array([[toys.DOG]]))))
    grow(tree.begin(first.changed(25, seed=77)))
    grow(tree.begin(second.changed(30, params=replace(PLAIN, temperature=0.5, top_k=3))))
    sweep = Sweep("top_p", (0.5, 0.9))
    tree.begin(BranchStart(loaded_model.codec.prompt(["the", "the"]), 7, PLAIN, text="the", sweep=sweep))
    return workspace


@asynccontextmanager
async def list_alone() -> AsyncIterator[tuple[WidgetDriver, BranchList]]:
    """The list; its messages never look like those of the list of models."""
    branches = BranchList()
    branches.styles.width = 60
    async with alone(branches, (80, 20)) as driver:
        yield driver, branches
        assert not driver.app.leaks


def listed(branches: BranchList) -> list[str]:
    return [branches.render_line(y).text.rstrip() for y in range(branches.option_count)]


async def test_branches_stand_below_those_that_they_left_and_say_how_they_began_and_where_they_differ(
    workspace: Workspace,
) -> None:
    async with list_alone() as (driver, branches):
        branches.show(workspace, "2")
        await driver.settle()
        assert listed(branches) == [
            "  1  seed 7: the",
            "▸ ├ 2  token 19: dog",
            "  │ └ 4  temperature 0.50, top-k 3 at token 29",
            "  └ 3  seed 77 at token 24: sat | cat",
            "  5  sweep top-p: the",
        ]
        assert branches.highlighted_option
        assert branches.highlighted_option.id == "2"


async def test_branches_far_down_name_the_one_that_they_left_and_stay_readable(
    loaded_model: LoadedModel, tmp_path: Path
) -> None:
    workspace = Workspace(loaded_model, folder=tmp_path)
    tree = workspace.tree
    branch = grow(tree.begin(BranchStart(loaded_model.codec.prompt(["the"]), 7, PLAIN)))
    for at in (5, 10, 15, 20, 25, 30):
        branch = grow(tree.begin(branch.changed(at, np.array([[toys.DOG]]))))
    grow(tree.begin(tree["3"].changed(12, seed=9)))
    async with list_alone() as (driver, branches):
        branches.show(workspace, "1")
        await driver.settle()
        assert listed(branches) == [
            "▸ 1  seed 7",
            "  └ 2  token 4: dog | ran",
            "    └ 3  token 9: dog | the",
            "      ├ 4  token 14: dog | .",
            "      ├ 5 of 4  token 19: dog | .",
            "      ├ 6 of 5  token 24: dog | cat",
            "      ├ 7 of 6  token 29: dog | .",
            "      └ 8  seed 9 at token 11: cat | .",
        ]


async def test_a_person_asks_for_a_branch_a_comparison_or_a_name_and_deletes_here(workspace: Workspace) -> None:
    async with list_alone() as (driver, branches):
        branches.show(workspace, "1")
        branches.focus()
        await driver.press("down", "enter", "c", "down", "r", "delete", "delete")
        await driver.until(lambda: "4" not in workspace.tree)
        assert [each.message for each in driver.app._notifications] == [
            "del once more deletes branch 4",
            "branch 4 is deleted",
        ]
    assert driver.contents == [("Selected", "2"), ("Compared", "2"), ("Renamed", "4"), ("Changed",)]


async def test_what_the_arrows_chose_stays_chosen_until_another_branch_is_on_the_screen(workspace: Workspace) -> None:
    async with list_alone() as (driver, branches):
        branches.show(workspace, "1")
        branches.focus()
        await driver.press("end")
        workspace.tree.rename("4", "fours")
        branches.show(workspace, "1")
        await driver.press("c")
        workspace.tree.delete("5")
        branches.show(workspace, "3")
        await driver.press("c")
        assert "  │ └ fours  temperature 0.50, top-k 3 at token 29" in listed(branches)
    assert driver.contents == [("Compared", "5"), ("Compared", "3")]


async def test_showing_the_same_again_draws_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    async with list_alone() as (_, branches):
        branches.show(workspace, "1")
        monkeypatch.setattr(branches, "clear_options", lambda: pytest.fail("drawn again"))
        grow(workspace.tree["1"])
        branches.show(workspace, "1")


async def test_an_empty_list_asks_for_nothing(loaded_model: LoadedModel, tmp_path: Path) -> None:
    async with list_alone() as (driver, branches):
        branches.show(Workspace(loaded_model, folder=tmp_path), "")
        branches.focus()
        await driver.press("enter", "c", "r", "delete")
    assert driver.messages == []


async def test_a_name_is_shown_and_never_obeyed(workspace: Workspace) -> None:
    workspace.tree.rename("4", "[b]x\x1b]0;owned\x07\n[/y]")
    async with list_alone() as (driver, branches):
        branches.show(workspace, "1")
        await driver.settle()
        assert listed(branches)[2].startswith("  │ └ [b]x␛]0;owned␇␊[/y]")
