"""The list of branches draws what left what, says how each began, and asks for what a person wants."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.message import Message
from textual.widgets import OptionList

from tests.support import toys
from tests.support.branches import grown
from tests.support.driver import until
from tui_gen.generation.branch import BranchStart
from tui_gen.library import LoadedModel, open_model
from tui_gen.sampling.params import SamplingParams
from tui_gen.sampling.sweep import Sweep
from tui_gen.sessions.workspace import Workspace
from tui_gen.tui.widgets.lists import BranchList

PLAIN = SamplingParams(1.2)


class Room(App[None]):
    """Notes what the list asks for, and which letters it leaves to the rest of the screen."""

    CSS = "BranchList { width: 30; }"

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Message] = []
        self.left_over = ""

    def compose(self) -> ComposeResult:
        yield BranchList()

    def on_key(self, event: events.Key) -> None:
        self.left_over += event.character or ""

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        raise AssertionError("the list of models would take this for a model")

    def note(self, message: Message) -> None:
        self.asked.append(message)

    on_branch_list_selected = on_branch_list_compared = on_branch_list_renamed = on_branch_list_told = note


@pytest.fixture
def loaded_model(tmp_path: Path) -> LoadedModel:
    return open_model(toys.endless_text_folder(tmp_path / "endless"), provider="cpu", threads=1)


@pytest.fixture
def workspace(loaded_model: LoadedModel, tmp_path: Path) -> Workspace:
    """1; 2 and 3 that left 1, 4 that left 2; and 5, a sweep."""
    workspace = Workspace(loaded_model, folder=tmp_path / "journals")
    tree = workspace.tree
    first = grown(tree.begin(BranchStart(loaded_model.codec.prompt(["the"]), 7, PLAIN, text="the")))
    second = grown(tree.begin(first.changed(20, np.array([[toys.DOG]]))))
    grown(tree.begin(first.changed(25, seed=77)))
    grown(tree.begin(second.changed(30, params=replace(PLAIN, temperature=0.5, top_k=3))))
    sweep = Sweep("top_p", (0.5, 0.9))
    tree.begin(BranchStart(loaded_model.codec.prompt(["the", "the"]), 7, PLAIN, text="the", sweep=sweep))
    return workspace


def listed(branches: BranchList) -> list[str]:
    return [branches.render_line(y).text.rstrip() for y in range(branches.option_count)]


async def test_branches_stand_below_those_that_they_left_and_say_how_they_began(workspace: Workspace) -> None:
    app = Room()
    async with app.run_test(size=(80, 20)) as pilot:
        branches = app.query_one(BranchList)
        branches.show(workspace, "2")
        await pilot.pause()
        assert listed(branches) == [
            "  1  seed 7: the",
            "▸ ├ 2  token 20: dog",
            "  │ └ 4  temperature 0.50, to…",
            "  └ 3  seed 77 at token 25",
            "  5  sweep top-p: the",
        ]
        assert branches.highlighted_option
        assert branches.highlighted_option.id == "2"


async def test_branches_far_down_name_the_one_that_they_left_and_stay_readable(
    loaded_model: LoadedModel, tmp_path: Path
) -> None:
    workspace = Workspace(loaded_model, folder=tmp_path)
    tree = workspace.tree
    branch = grown(tree.begin(BranchStart(loaded_model.codec.prompt(["the"]), 7, PLAIN)))
    for at in (5, 10, 15, 20, 25, 30):
        branch = grown(tree.begin(branch.changed(at, np.array([[toys.DOG]]))))
    grown(tree.begin(tree["3"].changed(12, seed=9)))
    app = Room()
    async with app.run_test(size=(80, 20)) as pilot:
        branches = app.query_one(BranchList)
        branches.show(workspace, "1")
        await pilot.pause()
        assert listed(branches) == [
            "▸ 1  seed 7",
            "  └ 2  token 5: dog",
            "    └ 3  token 10: dog",
            "      ├ 4  token 15: dog",
            "      ├ 5 of 4  token 20: dog",
            "      ├ 6 of 5  token 25: dog",
            "      ├ 7 of 6  token 30: dog",
            "      └ 8  seed 9 at token 12",
        ]


async def test_a_person_asks_for_a_branch_a_comparison_or_a_name_and_deletes_here(workspace: Workspace) -> None:
    app = Room()
    async with app.run_test(size=(80, 20)) as pilot:
        branches = app.query_one(BranchList)
        branches.show(workspace, "1")
        branches.focus()
        await pilot.press("down", "enter", "c", "down", "r", "delete", "delete")
        await until(lambda: "4" not in workspace.tree)
    told = [message.text for message in app.asked if isinstance(message, BranchList.Told)]
    assert told == ["del once more deletes branch 4", "branch 4 is deleted"]
    asked = (BranchList.Selected, BranchList.Compared, BranchList.Renamed)
    assert [message for message in app.asked if isinstance(message, asked)] == [
        BranchList.Selected("2"), BranchList.Compared("2"), BranchList.Renamed("4"),
    ]  # fmt: skip


async def test_what_the_arrows_chose_stays_chosen_until_another_branch_is_on_the_screen(workspace: Workspace) -> None:
    app = Room()
    async with app.run_test(size=(80, 20)) as pilot:
        branches = app.query_one(BranchList)
        branches.show(workspace, "1")
        branches.focus()
        await pilot.press("end")
        workspace.tree.rename("4", "fours")
        branches.show(workspace, "1")
        await pilot.press("c")
        workspace.tree.delete("5")
        branches.show(workspace, "3")
        await pilot.press("c")
        await pilot.pause()
        assert "  │ └ fours  temperature 0.50…" in listed(branches)
    assert app.asked == [BranchList.Compared("5"), BranchList.Compared("3")]


async def test_showing_the_same_again_draws_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Room()
    async with app.run_test(size=(80, 20)):
        branches = app.query_one(BranchList)
        branches.show(workspace, "1")
        monkeypatch.setattr(branches, "clear_options", lambda: pytest.fail("drawn again"))
        grown(workspace.tree["1"])
        branches.show(workspace, "1")


async def test_an_empty_list_asks_for_nothing(loaded_model: LoadedModel, tmp_path: Path) -> None:
    app = Room()
    async with app.run_test() as pilot:
        branches = app.query_one(BranchList)
        branches.show(Workspace(loaded_model, folder=tmp_path), "")
        branches.focus()
        await pilot.press("enter", "c", "r", "delete")
        await pilot.pause()
    assert app.asked == []


async def test_a_name_is_shown_and_never_obeyed(workspace: Workspace) -> None:
    workspace.tree.rename("4", "[b]x\x1b]0;owned\x07\n[/y]")
    app = Room()
    async with app.run_test(size=(80, 20)) as pilot:
        branches = app.query_one(BranchList)
        branches.show(workspace, "1")
        await pilot.pause()
        assert listed(branches)[2].startswith("  │ └ [b]x␛]0;owned␇␊[/y]")
