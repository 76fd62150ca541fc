"""What is made is kept: as files, as a command, on the clipboard, and in a journal that survives a crash."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import toys
from tests.support.driver import ScreenDriver, on_screen
from tui_gen.cli.main import main
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
    async with on_screen(models / "cats", prompt="the", seed=5) as driver:
        await driver.run_to_end()
        await driver.press("ctrl+s")
        await driver.shows("cats-1.txt")
        await driver.press("enter")
        await driver.says("saved as cats-1.txt")
        assert (here / "cats-1.txt").read_text(encoding="utf-8") == driver.page + "\n"


async def test_a_session_is_saved_with_its_branches_and_replays_exactly(models: Path, here: Path) -> None:
    async with on_screen(models / "endless", prompt="the", seed=5, length=20) as driver:
        await driver.run_to_end()
        await driver.press(*["left"] * 8, "up", "ctrl+g")
        await driver.ends("2")
        await save(driver, "mine.jsonl")
        await driver.says("saved as mine.jsonl")
        session = replayed(here / "mine.jsonl", models)
        assert session.exact
        for name in ("1", "2"):
            assert np.array_equal(session.tree[name].tokens, driver.workspace.tree[name].tokens)


async def test_the_command_that_is_shown_makes_the_same_text(
    models: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    settings: dict[str, Any] = {"prompt": "the dog", "seed": 11, "temperature": 1.3, "samples": 2}
    async with on_screen(models / "cats", size=(120, 30), **settings) as driver:
        await driver.press("f8", "down", "right", "right", "escape")
        await driver.run_to_end()
        await driver.press("ctrl+r")
        await driver.shows("the command that makes this again")
        await driver.shows("tui-gen generate cats 'the dog' -t 1.3 --top-k 2 -n 2 -l ")
        await driver.press("enter")
        await driver.until(lambda: driver.notice.startswith("copied the command"))
        program, *arguments = shlex.split(driver.app.clipboard)
        assert program == "tui-gen"
        await save(driver, "both.txt")
        await driver.says("saved as both.txt")
    assert main(arguments) == 0
    assert Path("both.txt").read_bytes() == capsysbinary.readouterr().out


async def test_where_no_command_makes_it_again_the_session_is_offered(models: Path) -> None:
    async with on_screen(models / "cats", prompt="the", seed=5) as driver:
        await driver.run_to_end()
        await driver.press("home", "right")
        await driver.type("dog")
        await driver.press("enter")
        await driver.ends("2")
        await driver.press("ctrl+r")
        await driver.shows("no command makes this again")
        await driver.shows("it left another branch")
        await driver.press("enter")
        await driver.shows(".jsonl")
        await driver.press("escape")


async def test_what_is_copied_is_said_and_is_the_text_of_the_sample_that_is_looked_at(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", seed=5, samples=2, length=10) as driver:
        await driver.run_to_end()
        await driver.press("left", "greater_than_sign", "ctrl+y")
        await driver.until(lambda: driver.notice.startswith("copied "))
        assert driver.app.clipboard == driver.pages[1]
        assert driver.notice.startswith(f"copied {len(driver.pages[1])} characters of text")


async def test_a_journal_that_nobody_closed_replays_exactly_and_a_pause_is_in_it(models: Path) -> None:
    async with on_screen(models / "endless", prompt="the", pace=256, length=100_000) as driver:
        await driver.grow_beyond(8)
        await driver.press("up", "up", "left", "left")
        await driver.stands_still()
        [path] = journal_folder().iterdir()
        assert len(replayed(path, models).tree["1"]) == driver.length
        stands = driver.tokens()[driver.view.position or 0]
        await driver.type("cat" if stands == toys.DOG else "dog")
        await driver.press("enter")
        await driver.until(lambda: driver.shown == "2" and driver.length > 20)
        await driver.stop()
        broken = path.read_bytes() + b'{"made": 1, "posit'  # as it is found if the program ends here and now
        path.with_name("cut.jsonl").write_bytes(broken)
        session = replayed(path.with_name("cut.jsonl"), models)
        assert session.session.cut
        assert session.exact
        for name in ("1", "2"):
            assert session.tree[name].tokens[:, 0].tolist() == driver.tokens(branch=name)
        assert len({params.temperature for _, params in session.tree["2"].turns}) > 1
