"""What was made is kept: as files, as a command, on the clipboard, and in a journal that survives a crash."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import toys
from tests.support.driver import ScreenDriver, on_screen
from tests.support.instrument import at_rest, branch, grown, tokens, told, workspace
from tui_gen.library import open_model
from tui_gen.sessions.file import read_session
from tui_gen.sessions.journal import journal_folder
from tui_gen.sessions.replay import Replay, replay


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, and a place of their own for journals."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return folder


async def save(driver: ScreenDriver, name: str) -> None:
    """Saves under another name than the one that is proposed."""
    await driver.press("ctrl+s")
    await driver.shows("save")
    await driver.press("end", "ctrl+u")
    await driver.type(name)
    await driver.press("enter")


def replayed(path: Path, models: Path) -> Replay:
    """A session made again, in another process as it were."""
    session = read_session(path)
    return replay(session, open_model(models / session.model, provider="cpu"))


async def test_enter_alone_saves_the_text(models: Path, here: Path) -> None:
    async with on_screen(models / "cats", prompt="the", seed=5) as (driver, _):
        await driver.run_to_end()
        await driver.press("ctrl+s")
        await driver.shows("cats-1.txt")
        await driver.press("enter")
        await driver.until(lambda: told(driver) == "saved as cats-1.txt")
        assert (here / "cats-1.txt").read_text(encoding="utf-8") == driver.page + "\n"


async def test_a_file_that_exists_is_never_overwritten(models: Path, here: Path) -> None:
    (here / "kept.txt").write_text("mine")
    async with on_screen(models / "cats", prompt="the", seed=5) as (driver, _):
        await driver.run_to_end()
        await save(driver, "kept.txt")
        await driver.shows("kept.txt exists already")
        await driver.press("escape")
        await driver.hides("kept.txt exists already")
    assert (here / "kept.txt").read_text() == "mine"
    assert [path.name for path in here.iterdir()] == ["kept.txt"]


async def test_a_session_is_saved_with_its_branches_and_replays_exactly(models: Path, here: Path) -> None:
    async with on_screen(models / "endless", prompt="the", seed=5, length=20) as (driver, _):
        await driver.run_to_end()
        await driver.press(*["left"] * 8, "up", "ctrl+g")
        await driver.until(lambda: branch(driver).name == "2" and driver.says_end())
        await save(driver, "mine.jsonl")
        await driver.until(lambda: told(driver) == "saved as mine.jsonl")
        made = replayed(here / "mine.jsonl", models)
        assert made.exact
        for name in ("1", "2"):
            assert np.array_equal(made.tree[name].tokens, workspace(driver).tree[name].tokens)


async def test_the_command_that_is_shown_makes_the_same_text(models: Path) -> None:
    settings: dict[str, Any] = {"prompt": "the dog", "seed": 11, "temperature": 1.3, "samples": 2}
    async with on_screen(models / "cats", size=(120, 30), **settings) as (driver, _):
        await driver.press("f8", "down", "right", "right", "escape")
        await driver.run_to_end()
        await driver.press("ctrl+r")
        await driver.shows("the command that makes this again")
        await driver.shows("tui-gen generate cats 'the dog' -t 1.3 --top-k 2 -n 2 -l ")
        await driver.press("enter")
        await driver.until(lambda: told(driver).startswith("copied the command"))
        program, *arguments = shlex.split(driver.app.clipboard)
        assert program == "tui-gen"
        printed = subprocess.run([sys.executable, "-m", "tui_gen", *arguments], capture_output=True, check=True)
        await save(driver, "both.txt")
        await driver.until(lambda: told(driver) == "saved as both.txt")
        assert Path("both.txt").read_bytes() == printed.stdout


async def test_where_no_command_makes_it_again_the_session_is_offered(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", seed=5) as (driver, _):
        await driver.run_to_end()
        await driver.press("home", "right")
        await driver.type("dog")
        await driver.press("enter")
        await driver.until(lambda: branch(driver).name == "2" and driver.says_end())
        await driver.press("ctrl+r")
        await driver.shows("no command makes this again")
        await driver.shows("it left another branch")
        await driver.press("enter")
        await driver.shows(".jsonl")
        await driver.press("escape")


async def test_what_is_copied_is_said_and_is_the_text_of_the_sample_that_is_looked_at(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", seed=5, samples=2, length=10) as (driver, _):
        await driver.run_to_end()
        await driver.press("left", "greater_than_sign", "ctrl+y")
        await driver.until(lambda: told(driver).startswith("copied "))
        second = driver.app.query("TextView").last()
        text = getattr(second, "text", "")
        assert driver.app.clipboard == text
        assert told(driver).startswith(f"copied {len(text)} characters of text")


async def test_a_journal_that_nobody_closed_replays_exactly(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", pace=256, length=100_000) as (driver, _):
        await driver.press("enter")
        await driver.until(lambda: grown(driver, 8))
        await driver.press("up", "up", "left", "left")
        await driver.until(lambda: at_rest(driver))
        stands = tokens(branch(driver))[driver.view.position or 0]
        await driver.type("cat" if stands == toys.DOG else "dog")
        await driver.press("enter")
        await driver.until(lambda: branch(driver).name == "2" and grown(driver, 20))
        await driver.press("escape")
        await driver.until(driver.says_end)
        [path] = journal_folder().iterdir()
        killed = path.read_bytes()  # as it is found if the program ends here and now
        branches = {name: workspace(driver).tree[name] for name in ("1", "2")}
        path.with_name("cut.jsonl").write_bytes(killed + b'{"made": 1, "posit')
        made = replayed(path.with_name("cut.jsonl"), models)
    assert made.session.cut
    assert made.exact
    for name, there in branches.items():
        assert tokens(made.tree[name]) == tokens(there)[: len(made.tree[name])]
    assert len(made.tree["2"]) == len(branches["2"])
    assert len({params.temperature for _, params in made.tree["2"].turns}) > 1
