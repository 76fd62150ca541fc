"""Seeing a network learn, epoch by epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import toys
from tests.support.driver import on_screen
from tests.support.runs import published
from tests.support.widget_app import OPEN, DialogDriver, opened
from tui_gen.library import read_card
from tui_gen.training_log import TrainingLog
from tui_gen.tui.dialogs import training
from tui_gen.tui.dialogs.training import TrainingDialog

STRIPES, BLACK = toys.STRIPES.tolist(), np.zeros_like(toys.STRIPES).tolist()


def _dialog(folder: Path) -> TrainingDialog:
    card, log = read_card(folder), TrainingLog(folder)
    log.update(card)
    return TrainingDialog(card, log)


@pytest.fixture
def cats(models: Path) -> Path:
    return toys.learned(models / "cats", "the first", "the \x1b]0;[b]second", " ".join(["word"] * 1000) + " end")


async def test_it_opens_at_the_last_epoch_and_arrows_go_through_them(cats: Path) -> None:
    async with opened(lambda: _dialog(cats)) as driver:
        await driver.shows("after epoch 3: the")
        await driver.shows("how cats learned")
        await driver.shows("Loss in nats per token, lower is better.")
        row = next(line for line in driver.screen().splitlines() if "1.333" in line)
        assert row.split("│")[1].split()[:3] == ["3", "1.333", "1.000"]
        await driver.press("up")
        await driver.shows("the ␛]0;[b]second")
        await driver.press("left", "left", "left")
        await driver.shows("the first")
        await driver.press("right")
        await driver.shows("after epoch 2: the")
        await driver.press("enter", "escape")
        assert driver.result is None


async def test_losses_are_marked_between_the_lowest_and_the_highest(cats: Path) -> None:
    async with opened(lambda: _dialog(cats)) as driver:
        await driver.shows("epoch  ○ train   ● held  1.00     4.00")
        assert _marks(driver, 3) == ["        ●   ○", "  ● ○        ", "●○           "]


async def test_a_long_text_scrolls(cats: Path) -> None:
    async with opened(lambda: _dialog(cats)) as driver:
        await driver.shows("word word")
        assert " end" not in driver.screen()
        await driver.press("tab", "end")
        await driver.shows(" end")


async def test_many_epochs_stand_in_one_line_each_and_scroll(models: Path) -> None:
    toys.learned(models / "cats", *(f"sample {number}" for number in range(1, 31)))
    async with opened(lambda: _dialog(models / "cats")) as driver:
        await driver.shows("sample 30")
        rows = [line.split("│")[1][:26].split() for line in driver.screen().splitlines()[3:12]]
        assert [len(row) for row in rows] == [3] * 9
        await driver.press("home")
        await driver.shows("sample 1")
        assert _marks(driver, 1) == ["         ●  ○"]


async def test_a_column_that_nothing_is_known_for_is_left_out_and_a_training_that_began_anew_is_marked(
    tmp_path: Path,
) -> None:
    run = published(published(tmp_path / "mine", 1), 2, restart=True)
    published(run, 3, part=0.25)
    log = TrainingLog(run)
    log.update(card := read_card(run / "model"))
    async with opened(lambda: TrainingDialog(card, log)) as driver:
        await driver.shows("epoch  ○ train  1.33     4.00")
        await driver.shows("after epoch 3, 25 %: the")
        await driver.shows("the epoch. ↻ started again.")
        await driver.press("up")
        await driver.shows("after epoch 2, started again: the")
        rows = [line.split("│")[1][:15] for line in driver.screen().splitlines()[2:5]]
        assert rows == ["      1    4.00", " ↻    2    2.00", "      3    1.33"]


@pytest.mark.parametrize("key", ["escape", "f9", "q"])
async def test_it_is_closed_by_several_keys(key: str, cats: Path) -> None:
    async with opened(lambda: _dialog(cats)) as driver:
        await driver.shows("how cats learned")
        await driver.press(key)
        assert driver.result is None


@pytest.mark.parametrize("prompt", ["[/b]", "a[@click=q]x"])
async def test_a_prompt_is_never_read_as_markup(prompt: str, models: Path) -> None:
    for folder, sample in ((models / "cats", "said"), (models / "stripes", STRIPES)):
        toys.learned(folder, sample, prompt=prompt)
        async with opened(lambda folder=folder: _dialog(folder)) as driver:  # type: ignore[misc]
            await driver.shows(f"after epoch 1: {prompt}")


async def test_space_plays_all_epochs_and_holds(cats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_TURN", 0.05)
    seen, show = list[int](), TrainingDialog._show
    monkeypatch.setattr(TrainingDialog, "_show", lambda self, epoch: (seen.append(epoch.number), show(self, epoch)))
    async with opened(lambda: _dialog(cats)) as driver:
        await driver.until(lambda: seen == [3])
        await driver.press("space")
        await driver.until(lambda: seen == [3, 1, 2, 3])
        await driver.shows("space play")
        monkeypatch.setattr(training, "_TURN", 60)
        await driver.press("space")
        await driver.shows("space hold")
        await driver.press("space")
        await driver.shows("space play")
        await driver.shows("after epoch 1")
        assert driver.result is OPEN


async def test_a_picture_is_drawn_as_it_was_after_each_epoch(models: Path) -> None:
    folder = toys.learned(models / "stripes", BLACK, STRIPES, unit="bits per pixel", prompt="bright")
    async with opened(lambda: _dialog(folder)) as driver:
        await driver.shows("after epoch 2: bright")
        assert "scroll the text" not in driver.screen()
        colours = _colours(driver)
        assert len(colours) == 3
        await driver.press("up")
        await driver.until(lambda: _colours(driver) == {(0, 0, 0)})


async def test_several_pictures_stand_side_by_side_as_many_as_fit_and_say_how_they_were_drawn(models: Path) -> None:
    folder = toys.learned(
        models / "stripes", [BLACK, STRIPES, STRIPES, BLACK], prompt="", seeds=[1, 2, 3, 4], temperature=0.8, guidance=2
    )
    async with opened(lambda: _dialog(folder)) as driver:
        await driver.shows("temperature 0.8, guidance 2, seeds 1 to 4 (the model: 1)")
        await driver.shows("seed 1  ")
        assert driver.screen().count("seed ") == 4
        await driver.press("greater_than_sign")  # all are seen
        await driver.shows("─ after epoch 1 ─")


async def test_of_large_pictures_one_is_seen_and_others_can_be_turned_to(models: Path) -> None:
    size = {"height": 32, "width": 32, "levels": 3}
    folder = toys.image_folder(models / "large", image=size)
    black, white = (np.full((32, 32), level).tolist() for level in (0, 2))
    toys.learned(folder, [black, white, white], prompt="", seeds=[5, 6, 7], temperature=1)
    async with opened(lambda: _dialog(folder)) as driver:
        await driver.shows("after epoch 1, seed 5")
        assert _colours(driver) == {(0, 0, 0)}
        await driver.press("greater_than_sign")
        await driver.shows("after epoch 1, seed 6")
        assert _colours(driver) == {(255, 255, 255)}
        await driver.press("less_than_sign", "less_than_sign")
        await driver.shows("after epoch 1, seed 7")


@pytest.mark.parametrize("kind", ["picture", "text"])
async def test_a_small_window_shows_a_sample_and_how_it_was_drawn(models: Path, kind: str) -> None:
    if kind == "text":
        folder = toys.learned(models / "cats", *["the cat sat"] * 8)
    else:
        folder = toys.image_folder(models / "large", image={"height": 32, "width": 32, "levels": 3})
        toys.learned(folder, *[np.full((32, 32), 2).tolist()] * 8)
    async with opened(lambda: _dialog(folder), (40, 12)) as driver:
        await driver.shows("the cat sat" if kind == "text" else "⣿" * 16)
        await driver.shows("temperature 1, seed 1")
        rows = [line.split()[1] for line in driver.screen().splitlines()[2:10]]
        assert rows == [f"{number}" for number in range(1, 9)]
        if kind == "picture":
            assert sum("⣿" * 16 in line for line in driver.screen().splitlines()) == 8


def _marks(driver: DialogDriver, count: int) -> list[str]:
    """Where the losses of the first epochs on the screen are marked."""
    return [line.split("│")[1][27:40] for line in driver.screen().splitlines()[2 : 2 + count]]


def _colours(driver: DialogDriver) -> set[tuple[int, ...]]:
    """Of the half blocks on the screen."""
    styles: list[Any] = [segment.style for strip in driver.strips() for segment in strip if "▀" in segment.text]
    return {tuple(part.triplet) for style in styles for part in (style.color, style.bgcolor)}


async def test_the_page_about_a_model_says_that_it_can_be_seen(cats: Path) -> None:
    async with on_screen(cats) as driver:
        await driver.shows("learned  in 3 epochs; f9 shows them")
    (cats / "training.jsonl").write_text("{")
    async with on_screen(cats) as driver:
        await driver.shows("Writes about cats.")
        assert "learned" not in driver.screen()


async def test_f9_shows_it_while_a_run_goes_on(cats: Path) -> None:
    toys.learned(cats.parent / "endless", "the first", "the last")
    async with on_screen(cats.parent / "endless", prompt="the", pace=64, length=100_000) as driver:
        await driver.grow_beyond(4)
        await driver.press("f9")
        await driver.shows("how endless learned")
        made = len(driver.steps)
        await driver.until(lambda: len(driver.steps) > made + 4)
        await driver.press("space", "escape")
        await driver.hides("how endless learned")
        assert driver.running
        assert not driver.view.paused


async def test_a_model_without_a_log_or_with_a_damaged_one_says_so(models: Path) -> None:
    async with on_screen(models / "cats") as driver:
        await driver.press("f9")
        await driver.says("cats does not say how it learned: it has no training log")
        (models / "cats" / "training.jsonl").write_text("{")
        await driver.press("f9")
        await driver.until(lambda: "line 1 is not JSON" in driver.notice)
