"""Seeing a network learn, epoch by epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import toys
from tests.tui.dialogs import OPEN, opened
from tests.tui.instrument import at_rest, grown, told
from tests.tui.stage import on_stage
from tui_gen.learning import read_learning
from tui_gen.library import read_card
from tui_gen.tui import learned
from tui_gen.tui.learned import LearnedDialog

STRIPES, BLACK = toys.STRIPES.tolist(), np.zeros_like(toys.STRIPES).tolist()


def _dialog(folder: Path) -> LearnedDialog:
    card = read_card(folder)
    return LearnedDialog(card, read_learning(folder, card))


@pytest.fixture
def cats(models: Path) -> Path:
    return toys.learned(models / "cats", "the first", "the \x1b]0;[b]second", " ".join(["word"] * 1000) + " end")


async def test_it_opens_at_the_last_epoch_and_arrows_go_through_them(cats: Path) -> None:
    async with opened(lambda: _dialog(cats)) as (app, pilot):
        await app.shows("after epoch 3: the")
        await app.shows("how cats learned")
        await app.shows("in nats per token: lower is")
        row = next(line for line in app.text.splitlines() if "1.333" in line)
        assert row.split("│")[1].split()[:3] == ["3", "1.333", "1.000"]
        await pilot.press("up")
        await app.shows("the ␛]0;[b]second")
        await pilot.press("left", "left", "left")
        await app.shows("the first")
        await pilot.press("right")
        await app.shows("after epoch 2: the")
        await pilot.press("enter", "escape")
        assert app.result is None


async def test_losses_are_marked_between_the_lowest_and_the_highest(cats: Path) -> None:
    async with opened(lambda: _dialog(cats)) as (app, _):
        await app.shows("epoch  ○ train   ● held  1.00     4.00")
        marks = [line.split("│")[1][27:40] for line in app.text.splitlines()[2:5]]
        assert marks == ["        ●   ○", "  ● ○        ", "●○           "]


async def test_a_long_text_scrolls(cats: Path) -> None:
    async with opened(lambda: _dialog(cats)) as (app, pilot):
        await app.shows("word word")
        assert " end" not in app.text
        await pilot.press("tab", "end")
        await app.shows(" end")


async def test_space_plays_all_epochs_and_holds(cats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned, "_TURN", 0.3)
    async with opened(lambda: _dialog(cats)) as (app, pilot):
        await pilot.press("space")
        for number in (1, 2, 3):
            await app.shows(f"after epoch {number}")
        await app.shows("space play")
        monkeypatch.setattr(learned, "_TURN", 60)
        await pilot.press("space")
        await app.shows("space hold")
        await pilot.press("space")
        await app.shows("space play")
        assert "after epoch 1" in app.text
        assert app.result is OPEN


async def test_a_picture_is_drawn_as_it_was_after_each_epoch(models: Path) -> None:
    folder = toys.learned(models / "stripes", BLACK, STRIPES, unit="bits per pixel", prompt="bright")
    async with opened(lambda: _dialog(folder)) as (app, pilot):
        await app.shows("after epoch 2: bright")
        assert "scroll the text" not in app.text
        colours = _colours(app)
        assert len(colours) == 3
        await pilot.press("up")
        await app.until(lambda: _colours(app) == {(0, 0, 0)})


def _colours(app: object) -> set[tuple[int, ...]]:
    """Of the half blocks on the screen."""
    strips = app.screen._compositor.render_strips(app.size)  # type: ignore[attr-defined]
    styles = [segment.style for strip in strips for segment in strip if "▀" in segment.text]
    return {tuple(part.triplet) for style in styles for part in (style.color, style.bgcolor)}


async def test_f9_shows_it_while_a_run_goes_on(cats: Path) -> None:
    toys.learned(cats.parent / "endless", "the first", "the last")
    async with on_stage(cats.parent / "endless", prompt="the", pace=64, length=100_000) as (stage, _):
        await stage.press("enter")
        await stage.until(lambda: grown(stage, 4))
        await stage.press("f9")
        await stage.shows("how endless learned")
        made = len(stage.steps)
        await stage.until(lambda: len(stage.steps) > made + 4)
        await stage.press("space", "escape")
        await stage.hides("how endless learned")
        assert stage.running
        assert not at_rest(stage)


async def test_a_model_without_a_log_or_with_a_damaged_one_says_so(models: Path) -> None:
    async with on_stage(models / "cats") as (stage, _):
        await stage.press("f9")
        await stage.until(lambda: told(stage) == "cats does not say how it learned: it has no training log")
        (models / "cats" / "training.jsonl").write_text("{")
        await stage.press("f9")
        await stage.until(lambda: "line 1 is not JSON" in told(stage))
