"""A checkpoint on the screen: converted while a person types, asked about, opened anew where it changes."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.checkpoints import CELL, SIZE, Exporter, use
from tests.support.driver import ScreenDriver, on_screen
from tui_gen.child import Ending
from tui_gen.tui.dialogs.checkpoint import CheckpointDialog

WIDE = (120, 40)


@pytest.fixture
def file(models: Path, tmp_path: Path) -> Path:
    """Looks like a checkpoint."""
    path = tmp_path / "epoch 1.pt"
    path.write_bytes(b"\x80\2weights")
    return path


async def asks(driver: ScreenDriver, text: str) -> None:
    await driver.until(lambda: isinstance(driver.app.screen, CheckpointDialog))
    await driver.shows(text)


async def test_what_is_missing_is_asked_and_the_model_plays(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = use(Exporter(CELL, SIZE), monkeypatch)
    monkeypatch.setattr("tui_gen.tui.model_loader._SECONDS_BETWEEN_LOOKS", 3600.0)
    async with on_screen(file, temperature=0.0, size=WIDE) as driver:
        await asks(driver, "the size of the images")
        await driver.press("enter")
        await driver.shows("needed: the size of the images")
        await driver.type("8x8\t")
        await driver.press("down")
        exporter.ending = Ending(1, "", "TuiGenError", "8x8 is too small")
        await driver.press("enter")
        await asks(driver, "8x8 is too small")
        exporter.ending = None
        await driver.press("end", "backspace", "9", "enter")
        await driver.shows("to keep")
        await driver.shows("--size=8x9 --assume=cell=own")
        assert [word for word in exporter.calls[-1] if word.startswith(("--size", "--assume"))] == [
            "--size=8x9",
            "--assume=cell=own",
        ]
        await driver.type("the")
        await driver.run_to_end()
        before, calls = driver.page, len(exporter.calls)

        await driver.press("ctrl+l")
        await asks(driver, "answered before")
        await driver.press("escape")
        await driver.until(lambda: driver.page == before)
        assert len(exporter.calls) == calls

        before_change = driver.workspace
        file.write_bytes(b"\x80\2newer weights")
        for _ in range(2):
            driver.playground.loader.look()
        await driver.until(lambda: "was written anew" in driver.notice)
        await driver.press("ctrl+l")
        await driver.until(lambda: driver.workspace is not before_change and not driver.playground.loader.folder)
        await driver.press("f4")
        await driver.until(lambda: driver.branches[-1:] == ["▸ epoch 1 (before) (1)"])
        assert driver.workspace.loaded_model.path == file
    [conversion] = driver.app.conversions
    assert conversion.answers == (("--size", "8x9"), ("--assume", "cell=own"))  # nobody was asked again


async def test_guesses_alone_stop_nobody_and_stand_in_the_card(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, typed = use(Exporter(CELL), monkeypatch), threading.Event()
    exporter.during = lambda: typed.wait(60)
    async with on_screen(file, size=WIDE) as driver:
        await driver.shows("esc ends it: logits: equal")
        await driver.type("the\r")
        typed.set()
        await driver.until(lambda: driver.shown == "1" and driver.says_end())
        assert driver.branch.start.text == "the"
        await driver.press("escape", "escape")
        assert "^l change answers" in driver.footer
        await driver.press("ctrl+l")
        await asks(driver, "guessed: torch")


async def test_escape_ends_a_conversion(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, end = use(Exporter(CELL), monkeypatch), threading.Event()
    exporter.during = lambda: end.wait(60)
    async with on_screen(file, size=WIDE) as driver:
        await driver.shows("esc ends it: logits: equal")
        loader = driver.playground.loader
        assert loader._progress
        loader._progress = replace(loader._progress, since=loader._progress.since - 1000)
        loader.look()
        await driver.until(lambda: "converting epoch 1.pt for 10" in driver.screen())
        await driver.press("escape")
        await driver.says("epoch 1.pt was not opened")
        end.set()
        await driver.press("f3", "home", "enter")
        await driver.until(lambda: driver.playground.workspace)


async def test_many_questions_scroll_and_the_keys_stay_in_sight(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [{**CELL, "what": f"cell {number}", "option": f"--assume cell{number}=own|torch"} for number in range(8)]
    use(Exporter(SIZE, *cells), monkeypatch)
    async with on_screen(file, size=(80, 24)) as driver:
        await asks(driver, "the size of the images")
        await driver.shows("enter play it")
        await driver.press(*["tab"] * 8)
        await driver.shows("cell 7")
        await driver.shows("enter play it")
        await driver.hides("the size of the images")
