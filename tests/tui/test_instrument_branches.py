"""Another choice in the middle of a text: what follows from it is a branch, and nothing that was there is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import toys
from tests.support.instrument import at_rest, branch, footer, grown, lines, panel, tokens, told, workspace
from tests.support.stage import Stage, headless_text, on_stage
from tui_gen.tui.dialogs.dialog import Ask
from tui_gen.tui.widgets.comparison import TwoTexts

WIDE = (120, 30)
CHOSEN = "the dog ran. the cat sat. the cat sat. the"
"""What the text model says at temperature 0 once `dog` was chosen after `the`."""


async def on_second_token(stage: Stage) -> None:
    """Runs `the` to its end, and stands on the token after it."""
    await stage.run_to_end()
    await stage.press("home", "right")
    await stage.shows("─ token 2 ─")


async def chosen(stage: Stage) -> None:
    """Chooses the second likeliest token there."""
    await on_second_token(stage)
    await stage.press("enter")
    await stage.shows("rank 1")
    await stage.press("down", "enter")
    await stage.until(lambda: branch(stage).name == "2" and stage.told_of_the_end())


def listed(stage: Stage) -> list[str]:
    """The lines of the list of branches."""
    return [line.rstrip("▕ ") for line in lines(stage, stage.app.branches)[1:] if line.strip("▕ ")]


async def test_another_token_is_chosen_in_the_panel_and_the_text_goes_on_from_there(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", temperature=0.0, size=WIDE) as (stage, _):
        await chosen(stage)
        await stage.shows(CHOSEN)
        left, new = workspace(stage).tree["1"], branch(stage)
        assert tokens(new)[:2] == tokens(left)[:2]
        assert (tokens(new)[2], tokens(left)[2]) == (toys.DOG, toys.CAT)
        assert new.is_chosen(2, 0)
        await stage.until(lambda: listed(stage) == ["  1  seed 42: the", "▸ └ 2  token 2: dog"])
        await stage.press("home", "right")
        await stage.until(lambda: "* chosen" in panel(stage) and "* dog" in panel(stage))


async def test_what_stands_there_already_makes_no_branch(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", temperature=0.0, size=WIDE) as (stage, _):
        await on_second_token(stage)
        await stage.press("enter", "enter")
        await stage.until(lambda: told(stage) == "that is what stands there already")
        assert len(workspace(stage).tree) == 1


async def test_another_word_is_typed_in_its_place(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", temperature=0.0, size=WIDE) as (stage, _):
        await on_second_token(stage)
        await stage.type("dog ran")
        await stage.shows("instead of this token")
        await stage.press("enter")
        await stage.until(lambda: branch(stage).name == "2" and stage.told_of_the_end())
        assert tokens(branch(stage))[:4] == [toys.END, toys.THE, toys.DOG, toys.RAN]
        assert [branch(stage).is_chosen(at, 0) for at in range(1, 5)] == [False, True, True, False]
        assert stage.page == CHOSEN


async def test_a_word_that_the_model_does_not_know_is_refused_and_nothing_is_lost(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", temperature=0.0, size=WIDE) as (stage, _):
        await on_second_token(stage)
        page = stage.page
        await stage.type("zebra")
        await stage.press("enter")
        await stage.shows("cats does not know 'zebra'")
        await stage.press("escape")
        await stage.hides("instead of this token")
        assert "─ token 2 ─" in stage.screen()
        assert stage.page == page
        assert list(workspace(stage).tree._branches) == ["1"]


async def test_escape_leads_out_of_the_panel_and_of_the_cursor_and_makes_no_branch(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", temperature=0.0, size=WIDE) as (stage, _):
        await on_second_token(stage)
        await stage.press("enter", "down", "escape")
        await stage.until(lambda: "esc leave" in footer(stage))
        await stage.press("escape")
        await stage.until(lambda: "enter generate" in footer(stage))
        assert len(workspace(stage).tree) == 1


async def test_branches_are_switched_renamed_and_deleted_in_their_list(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", temperature=0.0, size=WIDE) as (stage, _):
        await chosen(stage)
        await stage.press("f4", "up", "enter")
        await stage.shows("the " + toys.GREEDY_TEXT)
        assert branch(stage).name == "1"
        await stage.press("f4", "r")
        await stage.shows("name of the branch")
        await stage.press("backspace")
        await stage.type("plain")
        await stage.press("enter")
        await stage.until(lambda: listed(stage) == ["▸ plain  seed 42: the", "  └ 2  token 2: dog"])
        await stage.press("down", "delete")
        await stage.until(lambda: told(stage) == "del once more deletes branch 2")
        await stage.press("delete")
        await stage.until(lambda: listed(stage) == ["▸ plain  seed 42: the"])
        await stage.press("down", "delete")
        await stage.until(lambda: told(stage) == "the only branch stays")
        assert stage.page == "the " + toys.GREEDY_TEXT


async def test_after_a_deletion_another_branch_is_selected(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", temperature=0.0, size=WIDE) as (stage, _):
        await chosen(stage)
        await stage.press("f4", "up", "enter")
        await stage.until(lambda: branch(stage).name == "1")
        await stage.press("f4", "down", "delete", "delete")
        await stage.until(lambda: listed(stage) == ["▸ 1  seed 42: the"])
        assert stage.app.branches.highlighted == 0


async def test_deleting_the_branch_on_the_screen_shows_the_one_that_it_left(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", temperature=0.0, size=WIDE) as (stage, _):
        await chosen(stage)
        await stage.press("f4", "backspace", "backspace")
        await stage.until(lambda: listed(stage) == ["▸ 1  seed 42: the"])
        await stage.shows("the " + toys.GREEDY_TEXT)


async def test_a_branch_that_has_ended_still_says_so_when_it_is_shown_again(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", temperature=0.0, size=WIDE) as (stage, _):
        await chosen(stage)
        await stage.press("f4", "up", "enter")
        await stage.shows("the " + toys.GREEDY_TEXT)
        assert "▌" not in stage.screen()
        assert "the model ended at 13" in stage.screen()


async def test_a_name_that_is_taken_is_refused(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", temperature=0.0, size=WIDE) as (stage, _):
        await chosen(stage)
        await stage.press("f4", "r")
        await stage.until(lambda: isinstance(stage.app.screen, Ask))
        await stage.press("backspace")
        await stage.type("1")
        await stage.press("enter")
        await stage.shows("there is such a branch already")
        await stage.press("escape")
        await stage.until(lambda: listed(stage) == ["  1  seed 42: the", "▸ └ 2  token 2: dog"])


async def test_two_branches_are_compared_with_their_differences_marked_as_often_as_one_likes(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", temperature=0.0, size=WIDE) as (stage, _):
        await chosen(stage)
        for _ in range(3):
            await stage.press("f4", "up", "c")
            await stage.until(lambda: stage.app._exception or "2 of 14 tokens differ" in stage.screen())
            assert not stage.app._exception
            assert "the first is token 2: dog | cat" in stage.screen()
            both = stage.app.query_one(TwoTexts)
            strips = [both.render_line(y) for y in range(1, both.size.height)]
            marked = [part.text for strip in strips for part in strip if part.style and part.style.underline]
            assert marked == ["dog", "ran", "cat", "sat"]
            assert "esc back" in footer(stage)
            await stage.press("escape")
            await stage.until(lambda: stage.player and stage.page == CHOSEN)


async def test_anew_with_a_turned_knob_keeps_the_noise(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", temperature=1.0, seed=9, size=WIDE) as (stage, _):
        await on_second_token(stage)
        await stage.press(*["up"] * 8, "ctrl+g")
        await stage.until(lambda: branch(stage).name == "2" and stage.told_of_the_end())
        assert "same noise" in told(stage)
        assert stage.page == headless_text(models / "cats", "the", seed=9, temperature=1.4)
        assert stage.page != headless_text(models / "cats", "the", seed=9)
        assert branch(stage).start.seed == 9
        await stage.until(lambda: "▸ └ 2  temper" in "".join(listed(stage)))


async def test_anew_without_one_takes_another_seed(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda _: 99)
    async with on_stage(models / "cats", prompt="the", seed=9, size=WIDE) as (stage, _):
        await on_second_token(stage)
        await stage.press("ctrl+g")
        await stage.until(lambda: branch(stage).name == "2" and stage.told_of_the_end())
        assert told(stage) == "a new branch: seed 99"
        assert stage.page == headless_text(models / "cats", "the", seed=99)
        await stage.until(lambda: "▸ └ 2  seed 99 at" in "".join(listed(stage)))


async def test_a_run_that_was_stopped_can_be_left_anywhere_and_stays_as_it_was(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the", pace=64, length=100_000, size=WIDE) as (stage, _):
        await stage.press("enter")
        await stage.until(lambda: grown(stage, 8))
        await stage.press("escape")
        await stage.until(stage.told_of_the_end)
        before, page = tokens(branch(stage)), stage.page
        await stage.press(*["left"] * 3)
        at = len(before) - 3
        other = toys.CAT if before[at] == toys.DOG else toys.DOG
        await stage.type(toys.WORDS[other])
        await stage.press("enter")
        await stage.until(lambda: branch(stage).name == "2" and len(branch(stage)) > len(before) + 3)
        assert tokens(branch(stage))[: at + 1] == [*before[:at], other]
        await stage.press("f4", "up", "enter")
        await stage.until(lambda: branch(stage).name == "1")
        assert tokens(branch(stage)) == before
        assert stage.page == page


async def test_a_run_in_a_pause_can_be_left_too(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the", pace=64, length=100_000, size=WIDE) as (stage, _):
        await stage.press("enter")
        await stage.until(lambda: grown(stage, 3))
        await stage.press("space")
        await stage.until(lambda: at_rest(stage))
        before = tokens(branch(stage))
        await stage.type("dog")
        await stage.press("enter")
        await stage.until(lambda: branch(stage).name == "2" and len(branch(stage)) > len(before))
        assert tokens(branch(stage))[: len(before) + 1] == [*before, toys.DOG]
        assert tokens(workspace(stage).tree["1"]) == before


async def test_in_one_of_several_samples_the_others_stay_as_they_were(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the", samples=2, length=8, seed=3, size=WIDE) as (stage, _):
        await stage.run_to_end()
        await stage.press("left", "greater_than_sign")
        await stage.press("home", "right", "right")
        await stage.shows("─ token 3")
        await stage.type("dog")
        await stage.press("enter")
        await stage.until(lambda: branch(stage).name == "2" and stage.told_of_the_end())
        left = workspace(stage).tree["1"]
        assert tokens(branch(stage), 0) == tokens(left, 0)
        assert tokens(branch(stage), 1)[:4] == [*tokens(left, 1)[:3], toys.DOG]
