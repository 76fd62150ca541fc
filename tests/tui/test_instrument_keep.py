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
from tests.support.instrument import at_rest, branch, grown, tokens, told, workspace
from tests.support.stage import Stage, on_stage
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


async def save(stage: Stage, name: str) -> None:
    """Saves under another name than the one that is proposed."""
    await stage.press("ctrl+s")
    await stage.shows("save")
    await stage.press("end", "ctrl+u")
    await stage.type(name)
    await stage.press("enter")


def replayed(path: Path, models: Path) -> Replay:
    """A session made again, in another process as it were."""
    session = read_session(path)
    return replay(session, open_model(models / session.model, provider="cpu"))


async def test_enter_alone_saves_the_text(models: Path, here: Path) -> None:
    async with on_stage(models / "cats", prompt="the", seed=5) as (stage, _):
        await stage.run_to_end()
        await stage.press("ctrl+s")
        await stage.shows("cats-1.txt")
        await stage.press("enter")
        await stage.until(lambda: told(stage) == "saved as cats-1.txt")
        assert (here / "cats-1.txt").read_text(encoding="utf-8") == stage.page + "\n"


async def test_a_file_that_exists_is_never_overwritten(models: Path, here: Path) -> None:
    (here / "kept.txt").write_text("mine")
    async with on_stage(models / "cats", prompt="the", seed=5) as (stage, _):
        await stage.run_to_end()
        await save(stage, "kept.txt")
        await stage.shows("kept.txt exists already")
        await stage.press("escape")
        await stage.hides("kept.txt exists already")
    assert (here / "kept.txt").read_text() == "mine"
    assert [path.name for path in here.iterdir()] == ["kept.txt"]


async def test_a_session_is_saved_with_its_branches_and_replays_exactly(models: Path, here: Path) -> None:
    async with on_stage(models / "endless", prompt="the", seed=5, length=20) as (stage, _):
        await stage.run_to_end()
        await stage.press(*["left"] * 8, "up", "ctrl+g")
        await stage.until(lambda: branch(stage).name == "2" and stage.told_of_the_end())
        await save(stage, "mine.jsonl")
        await stage.until(lambda: told(stage) == "saved as mine.jsonl")
        made = replayed(here / "mine.jsonl", models)
        assert made.exact
        for name in ("1", "2"):
            assert np.array_equal(made.tree[name].tokens, workspace(stage).tree[name].tokens)


async def test_the_command_that_is_shown_makes_the_same_text(models: Path) -> None:
    settings: dict[str, Any] = {"prompt": "the dog", "seed": 11, "temperature": 1.3, "samples": 2}
    async with on_stage(models / "cats", size=(120, 30), **settings) as (stage, _):
        await stage.press("f8", "down", "right", "right", "escape")
        await stage.run_to_end()
        await stage.press("ctrl+r")
        await stage.shows("the command that makes this again")
        await stage.shows("tui-gen generate cats 'the dog' -t 1.3 --top-k 2 -n 2 -l ")
        await stage.press("enter")
        await stage.until(lambda: told(stage).startswith("copied the command"))
        program, *arguments = shlex.split(stage.app.clipboard)
        assert program == "tui-gen"
        printed = subprocess.run([sys.executable, "-m", "tui_gen", *arguments], capture_output=True, check=True)
        await save(stage, "both.txt")
        await stage.until(lambda: told(stage) == "saved as both.txt")
        assert Path("both.txt").read_bytes() == printed.stdout


async def test_where_no_command_makes_it_again_the_session_is_offered(models: Path) -> None:
    async with on_stage(models / "cats", prompt="the", seed=5) as (stage, _):
        await stage.run_to_end()
        await stage.press("home", "right")
        await stage.type("dog")
        await stage.press("enter")
        await stage.until(lambda: branch(stage).name == "2" and stage.told_of_the_end())
        await stage.press("ctrl+r")
        await stage.shows("no command makes this again")
        await stage.shows("it left another branch")
        await stage.press("enter")
        await stage.shows(".jsonl")
        await stage.press("escape")


async def test_what_is_copied_is_said_and_is_the_text_of_the_sample_that_is_looked_at(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the", seed=5, samples=2, length=10) as (stage, _):
        await stage.run_to_end()
        await stage.press("left", "greater_than_sign", "ctrl+y")
        await stage.until(lambda: told(stage).startswith("copied "))
        second = stage.app.query("TextView").last()
        text = getattr(second, "text", "")
        assert stage.app.clipboard == text
        assert told(stage).startswith(f"copied {len(text)} characters of text")


async def test_a_journal_that_nobody_closed_replays_exactly(models: Path) -> None:
    async with on_stage(models / "endless", prompt="the", pace=256, length=100_000) as (stage, _):
        await stage.press("enter")
        await stage.until(lambda: grown(stage, 8))
        await stage.press("up", "up", "left", "left")
        await stage.until(lambda: at_rest(stage))
        stands = tokens(branch(stage))[stage.app.walking.at() or 0]
        await stage.type("cat" if stands == toys.DOG else "dog")
        await stage.press("enter")
        await stage.until(lambda: branch(stage).name == "2" and grown(stage, 20))
        await stage.press("escape")
        await stage.until(stage.told_of_the_end)
        [path] = journal_folder().iterdir()
        killed = path.read_bytes()  # as it is found if the program ends here and now
        branches = {name: workspace(stage).tree[name] for name in ("1", "2")}
        path.with_name("cut.jsonl").write_bytes(killed + b'{"made": 1, "posit')
        made = replayed(path.with_name("cut.jsonl"), models)
    assert made.session.cut
    assert made.exact
    for name, there in branches.items():
        assert tokens(made.tree[name]) == tokens(there)[: len(made.tree[name])]
    assert len(made.tree["2"]) == len(branches["2"])
    assert len({params.temperature for _, params in made.tree["2"].turns}) > 1
