"""Another choice in the middle of a text: what follows from it is a branch, and nothing that was there is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support import toys
from tests.support.driver import ScreenDriver, headless_text, on_screen
from tui_gen.tui.widgets.comparison import TwoTexts

WIDE = (150, 30)
WITH_DOG = "the dog ran. the cat sat. the cat sat. the"
"""What the text model says at temperature 0 once `dog` was chosen after `the`."""


async def on_second_token(driver: ScreenDriver) -> None:
    """Runs `the` to its end, and stands on the token after it."""
    await driver.run_to_end()
    await driver.press("home", "right")
    await driver.shows("─ token 1 ─")


async def choose_dog(driver: ScreenDriver) -> None:
    """Chooses the second likeliest token there."""
    await on_second_token(driver)
    await driver.press("enter")
    await driver.shows("rank 1")
    await driver.press("down", "enter")
    await driver.ends("2")


async def test_another_token_is_chosen_in_the_panel_and_the_text_goes_on_from_there(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=0.0, size=WIDE) as driver:
        await choose_dog(driver)
        await driver.shows(WITH_DOG)
        assert driver.tokens()[:3] == [*driver.tokens(branch="1")[:2], toys.DOG]
        assert driver.tokens(branch="1")[2] == toys.CAT
        assert driver.branch.is_chosen(2, 0)
        await driver.until(lambda: driver.branches == ["  1  seed 42: the", "▸ └ 2  token 1: dog | cat"])
        await driver.press("home", "right")
        await driver.until(lambda: "* chosen" in driver.panel and "* dog" in driver.panel)


async def test_what_stands_there_already_makes_no_branch(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=0.0, size=WIDE) as driver:
        await on_second_token(driver)
        await driver.press("enter", "enter")
        await driver.says("that is what stands there already")
        assert len(driver.workspace.tree) == 1


async def test_another_word_is_typed_in_its_place(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=0.0, size=WIDE) as driver:
        await on_second_token(driver)
        await driver.type("dog ran")
        await driver.shows("instead of this token")
        await driver.press("enter")
        await driver.ends("2")
        assert driver.tokens()[:4] == [toys.END, toys.THE, toys.DOG, toys.RAN]
        assert [driver.branch.is_chosen(at, 0) for at in range(1, 5)] == [False, True, True, False]
        assert driver.page == WITH_DOG


async def test_a_word_that_the_model_does_not_know_is_refused_and_nothing_is_lost(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=0.0, size=WIDE) as driver:
        await on_second_token(driver)
        page = driver.page
        await driver.type("zebra")
        await driver.press("enter")
        await driver.shows("cats does not know 'zebra'")
        await driver.press("escape")
        await driver.hides("instead of this token")
        assert "─ token 1 ─" in driver.screen()
        assert driver.page == page
        assert len(driver.workspace.tree) == 1


async def test_branches_are_switched_renamed_and_deleted_in_their_list(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=0.0, size=WIDE) as driver:
        await choose_dog(driver)
        await driver.press("f4", "up", "enter")
        await driver.shows("the " + toys.GREEDY_TEXT)
        assert driver.shown == "1"
        assert "▌" not in driver.screen()
        assert "the model ended at 13" in driver.screen()
        await driver.press("f4", "r")
        await driver.shows("name of the branch")
        await driver.press("backspace")
        await driver.type("plain")
        await driver.press("enter")
        await driver.until(lambda: driver.branches == ["▸ plain  seed 42: the", "  └ 2  token 1: dog | cat"])
        await driver.press("down", "delete")
        await driver.says("del once more deletes branch 2")
        await driver.press("delete")
        await driver.until(lambda: driver.branches == ["▸ plain  seed 42: the"])
        await driver.press("down", "delete")
        await driver.says("the only branch stays")
        assert driver.page == "the " + toys.GREEDY_TEXT


async def test_after_a_deletion_another_branch_is_selected(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=0.0, size=WIDE) as driver:
        await choose_dog(driver)
        await driver.press("f4", "up", "enter")
        await driver.until(lambda: driver.shown == "1")
        await driver.press("f4", "down", "delete", "delete")
        await driver.until(lambda: driver.branches == ["▸ 1  seed 42: the"])
        assert driver.playground.branches.highlighted == 0


async def test_deleting_the_branch_on_the_screen_shows_the_one_that_it_left(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=0.0, size=WIDE) as driver:
        await choose_dog(driver)
        await driver.press("f4", "backspace", "backspace")
        await driver.until(lambda: driver.branches == ["▸ 1  seed 42: the"])
        await driver.shows("the " + toys.GREEDY_TEXT)


async def test_two_branches_are_compared_with_their_differences_marked_as_often_as_one_likes(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=0.0, size=WIDE) as driver:
        await choose_dog(driver)
        for _ in range(3):
            await driver.press("f4", "up", "c")
            await driver.shows("2 of 13 tokens differ")
            assert "the first is token 1: dog | cat" in driver.screen()
            both = driver.app.query_one(TwoTexts)
            strips = [both.render_line(y) for y in range(1, both.size.height)]
            marked = [part.text for strip in strips for part in strip if part.style and part.style.underline]
            assert marked == ["dog", "ran", "cat", "sat"]
            assert "esc back" in driver.footer
            await driver.press("escape")
            await driver.until(lambda: driver.page == WITH_DOG)


async def test_of_two_branches_that_are_shown_at_once_the_later_one_stays(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=0.0, size=WIDE) as driver:
        await choose_dog(driver)
        tree, output = driver.workspace.tree, driver.playground.output
        await asyncio.gather(output.show(tree["1"]), output.show(tree["2"]))
        await driver.until(lambda: driver.page == WITH_DOG)
        assert driver.shown == "2"


async def test_of_branches_with_fewer_samples_those_are_compared_that_are_there(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=0.0, size=WIDE) as driver:
        await driver.run_to_end()
        await driver.press("f5")
        await driver.ends("2")
        await driver.press("home", ">")
        await driver.shows("#2")
        await driver.press("f4", "up", "c")
        await driver.says("branch 1 has no sample 2 to compare; another one here can be")
        await driver.press("escape", "<")
        await driver.shows("#1")
        await driver.press("f4", "c")
        await driver.shows("tokens are the same")


async def test_anew_with_a_turned_knob_keeps_the_noise(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", temperature=1.0, seed=9, size=WIDE) as driver:
        await on_second_token(driver)
        await driver.press(*["up"] * 8, "ctrl+g")
        await driver.ends("2")
        assert "same noise" in driver.notice
        assert driver.page == headless_text(models / "cats", "the", seed=9, temperature=1.4)
        assert driver.page != headless_text(models / "cats", "the", seed=9)
        assert driver.branch.start.seed == 9
        await driver.until(lambda: "▸ └ 2  temper" in "".join(driver.branches))


async def test_anew_without_one_takes_another_seed(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda _: 99)
    async with on_screen(models / "cats", prompt="the", seed=9, size=WIDE) as driver:
        await on_second_token(driver)
        await driver.press("ctrl+g")
        await driver.ends("2")
        assert driver.notice == "a new branch: seed 99"
        assert driver.page == headless_text(models / "cats", "the", seed=99)
        await driver.until(lambda: "▸ └ 2  seed 99 at" in "".join(driver.branches))


async def test_a_run_that_was_stopped_can_be_left_anywhere_and_stays_as_it_was(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", pace=64, length=100_000, size=WIDE) as driver:
        await driver.grow_beyond(8)
        await driver.stop()
        before, page = driver.tokens(), driver.page
        await driver.press(*["left"] * 3)
        at = len(before) - 3
        other = toys.CAT if before[at] == toys.DOG else toys.DOG
        await driver.type(toys.WORDS[other])
        await driver.press("enter")
        await driver.until(lambda: driver.shown == "2" and driver.length > len(before) + 3)
        assert driver.tokens()[: at + 1] == [*before[:at], other]
        await driver.press("f4", "up", "enter")
        await driver.until(lambda: driver.shown == "1")
        assert driver.tokens() == before
        assert driver.page == page


async def test_in_one_of_several_samples_the_others_stay_as_they_were(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", samples=2, length=8, seed=3, size=WIDE) as driver:
        await driver.run_to_end()
        await driver.press("left", "greater_than_sign")
        await driver.press("home", "right", "right")
        await driver.shows("─ token 2")
        await driver.type("dog")
        await driver.press("enter")
        await driver.ends("2")
        assert driver.tokens(0) == driver.tokens(0, "1")
        assert driver.tokens(1)[:4] == [*driver.tokens(1, "1")[:3], toys.DOG]
