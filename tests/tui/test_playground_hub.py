"""A model of the hub on the screen: fetched while a person waits or leaves, then played as any other."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.support.driver import on_screen
from tests.support.hub import REPO, Hub, commit_of
from tui_gen import hub
from tui_gen.library import cached_models, find_models

WIDE = (120, 40)
FOLDER = Path(f"hf:{REPO}")


async def test_a_model_is_fetched_played_and_named_with_its_commit(served: Hub, models: Path) -> None:
    async with on_screen(FOLDER, length=5, size=WIDE) as driver:
        await driver.until(lambda: driver.playground.workspace is not None)
        address = f"{FOLDER}@{commit_of(served.revisions['main'])}"
        await driver.shows(address)
        await driver.type("the")
        await driver.run_to_end()
        await driver.press("ctrl+r")
        await driver.shows("the command that makes this again")
        await driver.shows(f"{address} the")
        await driver.press("escape", "f3")
        await driver.shows(f"▸ {FOLDER}")


async def test_escape_ends_a_download_and_another_model_can_be_chosen(served: Hub, models: Path) -> None:
    served.held = threading.Event()
    async with on_screen(FOLDER, size=WIDE) as driver:
        await driver.shows(f"fetching {FOLDER}")
        await driver.shows("kB of")
        await driver.press("escape")
        await driver.until(lambda: f"{FOLDER} was not opened" in driver.notice)
        await driver.hides("fetching")
        await driver.press("f3", "home", "enter")
        await driver.until(lambda: driver.playground.workspace is not None)


async def test_what_was_downloaded_is_listed_and_opened_without_a_connection(
    served: Hub, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.fetch(FOLDER, tell=[].append)
    served.requests.clear()
    monkeypatch.setattr("tests.support.driver.find_models", lambda: [*find_models(), *cached_models()])
    async with on_screen(models / "cats", size=WIDE) as driver:
        await driver.press("f3", "home")
        await driver.shows(f"  {FOLDER}")
        while not str(driver.playground.models.highlighted_option.id).endswith(f"{FOLDER}"):
            await driver.press("down")
        await driver.press("enter")
        await driver.until(lambda: driver.workspace.loaded_model.snapshot)
        await driver.press("f3")
        await driver.shows(f"▸ {FOLDER}")
    assert served.requests == []


async def test_what_the_hub_says_stands_in_place_of_the_card(served: Hub, models: Path) -> None:
    async with on_screen(Path("hf:someone/dogs"), size=WIDE) as driver:
        await driver.shows("the hub has no such model")
