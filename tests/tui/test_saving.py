"""Choosing where to save and as what."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.dialogs import OPEN, opened
from tui_gen.tui.dialogs.save import SaveDialog, complaint

FORMS = {".txt": "the text", ".png": "the picture", ".jsonl": "the session"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_enter_alone_saves_under_a_name_that_is_free(here: Path) -> None:
    (here / "cats-1.txt").touch()
    async with opened(lambda: SaveDialog("cats", FORMS)) as (app, pilot):
        await app.shows(str(here)[:50])
        await pilot.press("enter")
        assert app.result == Path("cats-2.txt")


async def test_arrows_choose_the_form_and_another_free_name(here: Path) -> None:
    (here / "cats-1.png").touch()
    async with opened(lambda: SaveDialog("cats", FORMS)) as (app, pilot):
        await app.shows("▸ .txt")
        await pilot.press("down")
        await app.shows("▸ .png")
        await pilot.press("enter")
        assert app.result == Path("cats-2.png")


async def test_a_name_that_was_typed_only_gets_another_ending() -> None:
    async with opened(lambda: SaveDialog("cats", FORMS)) as (app, pilot):
        await pilot.press("b", "up", "enter")
        assert app.result == Path("cats-1b.jsonl")


async def test_a_click_chooses_a_form() -> None:
    async with opened(lambda: SaveDialog("cats", FORMS)) as (app, pilot):
        await pilot.click(offset=app.place("the picture"))
        await app.shows("▸ .png")
        await pilot.press("enter")
        assert app.result == Path("cats-1.png")


async def test_the_ending_that_is_typed_chooses_the_form(here: Path) -> None:
    async with opened(lambda: SaveDialog("cats", FORMS)) as (app, pilot):
        await pilot.press("ctrl+u", "ctrl+k", *"~x/a.PNG")
        await app.shows("▸ .png")
        await app.shows("! there is no folder ~x")
        await pilot.press("ctrl+u", *"a.PNG", "enter")
        assert app.result == Path("a.PNG")


async def test_a_name_without_an_ending_gets_one_by_an_arrow() -> None:
    async with opened(lambda: SaveDialog("cats", FORMS)) as (app, pilot):
        await pilot.press("ctrl+u", "ctrl+k", *"my.cats", "enter")
        assert app.result is OPEN
        await app.shows("! the name must end in .txt, .png or .jsonl")
        await pilot.press("down", "enter")
        assert app.result == Path("my.cats.txt")


async def test_a_file_that_exists_is_told_before_enter_and_never_returned(here: Path) -> None:
    (here / "old.txt").touch()
    async with opened(lambda: SaveDialog("cats", FORMS)) as (app, pilot):
        await pilot.press("ctrl+u", "ctrl+k", *"old.txt")
        await app.shows("! old.txt exists already")
        await pilot.press("enter")
        assert app.result is OPEN
        await pilot.press("escape")
        assert app.result is None


def test_what_cannot_be_written_is_said_in_advance(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "broken.txt").symlink_to(here / "nowhere")
    (here / "sub.txt").mkdir()
    assert complaint("new.txt", FORMS) == ""
    assert complaint("sub.txt/a.txt", FORMS) == ""
    assert "type a name" in complaint("", FORMS)
    assert "type a name" in complaint(".txt", FORMS)
    assert "is a folder" in complaint("sub.txt", FORMS)
    assert "is a folder" in complaint("sub.txt/", FORMS)
    assert "must end in" in complaint("a.jpg", FORMS)
    assert "no folder nothing" in complaint("nothing/a.txt", FORMS)
    assert "exists already" in complaint("broken.txt", FORMS)
    assert "too long" in complaint("ä" * 126 + ".txt", FORMS)
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "nothing may be written" in complaint("new.txt", FORMS)


async def test_a_stem_and_forms_of_any_text_are_harmless() -> None:
    async with opened(lambda: SaveDialog("x[/y]\x1b]0;owned\x07/../z", {".txt": "the [b]text"})) as (app, pilot):
        await app.shows("the [b]text")
        await pilot.press("enter")
        assert app.result == Path("x-y-0-owned-..-z-1.txt")
