"""Choosing where to save and as what, and the command that makes the output again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.widget_app import OPEN, opened
from tui_gen.errors import TuiGenError
from tui_gen.tui.dialogs.save import CommandDialog, SaveDialog, complaint

FORMS = {".txt": "the text", ".png": "the picture", ".jsonl": "the session"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_enter_alone_saves_under_a_name_that_is_free(here: Path) -> None:
    (here / "cats-1.txt").touch()
    async with opened(lambda: SaveDialog("cats", FORMS, Path.touch)) as driver:
        await driver.shows(str(here)[:50])
        await driver.press("enter")
        assert driver.result == Path("cats-2.txt")


async def test_arrows_choose_the_form_and_another_free_name(here: Path) -> None:
    (here / "cats-1.png").touch()
    async with opened(lambda: SaveDialog("cats", FORMS, Path.touch)) as driver:
        await driver.shows("▸ .txt")
        await driver.press("down")
        await driver.shows("▸ .png")
        await driver.press("enter")
        assert driver.result == Path("cats-2.png")


async def test_a_name_that_was_typed_only_gets_another_ending() -> None:
    async with opened(lambda: SaveDialog("cats", FORMS, Path.touch)) as driver:
        await driver.press("b", "up", "enter")
        assert driver.result == Path("cats-1b.jsonl")


async def test_a_click_chooses_a_form() -> None:
    async with opened(lambda: SaveDialog("cats", FORMS, Path.touch)) as driver:
        await driver.click(driver.place("the picture"))
        await driver.shows("▸ .png")
        await driver.press("enter")
        assert driver.result == Path("cats-1.png")


async def test_the_ending_that_is_typed_chooses_the_form(here: Path) -> None:
    async with opened(lambda: SaveDialog("cats", FORMS, Path.touch)) as driver:
        await driver.press("ctrl+u", "ctrl+k", *"~x/a.PNG")
        await driver.shows("▸ .png")
        await driver.shows("! there is no folder ~x")
        await driver.press("ctrl+u", *"a.PNG", "enter")
        assert driver.result == Path("a.PNG")


async def test_a_name_without_an_ending_gets_one_by_an_arrow() -> None:
    async with opened(lambda: SaveDialog("cats", FORMS, Path.touch)) as driver:
        await driver.press("ctrl+u", "ctrl+k", *"my.cats", "enter")
        assert driver.result is OPEN
        await driver.shows("! the name must end in .txt, .png or .jsonl")
        await driver.press("down", "enter")
        assert driver.result == Path("my.cats.txt")


async def test_a_file_that_exists_is_told_before_enter_and_never_returned(here: Path) -> None:
    (here / "old.txt").touch()
    async with opened(lambda: SaveDialog("cats", FORMS, Path.touch)) as driver:
        await driver.press("ctrl+u", "ctrl+k", *"old.txt")
        await driver.shows("! old.txt exists already")
        await driver.press("enter")
        assert driver.result is OPEN
        await driver.press("escape")
        assert driver.result is None


async def test_what_fails_while_it_is_written_is_said_and_another_name_can_be_tried() -> None:
    def write(path: Path) -> None:
        if path.suffix == ".txt":
            raise TuiGenError("the disk is full")
        path.touch()

    async with opened(lambda: SaveDialog("cats", FORMS, write)) as driver:
        await driver.press("enter")
        await driver.shows("! the disk is full")
        await driver.press("down", "enter")
        assert driver.result == Path("cats-1.png")


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
    async with opened(lambda: SaveDialog("x[/y]\x1b]0;owned\x07/../z", {".txt": "the [b]text"}, Path.touch)) as driver:
        await driver.shows("the [b]text")
        await driver.press("enter")
        assert driver.result == Path("x-y-0-owned-..-z-1.txt")


@pytest.mark.parametrize(("key", "result"), [("enter", "copy"), ("c", "copy"), ("s", "save"), ("escape", None)])
async def test_keys_copy_save_and_close(key: str, result: str | None) -> None:
    async with opened(lambda: CommandDialog("tui-gen generate cats")) as driver:
        await driver.shows("tui-gen generate cats")
        await driver.press(key)
        assert driver.result == result


async def test_without_a_command_the_reason_is_read_and_enter_saves() -> None:
    async with opened(lambda: CommandDialog("", "a person chose token 3; save the session")) as driver:
        await driver.shows("a person chose token 3; save the session")
        await driver.press("c")
        assert driver.result is OPEN
        await driver.press("enter")
        assert driver.result == "save"


async def test_a_command_longer_than_the_screen_can_be_scrolled_to_its_end() -> None:
    async with opened(lambda: CommandDialog("tui-gen generate " + "cat " * 1000 + "the-end")) as driver:
        assert "the-end" not in driver.screen()
        await driver.press("end")
        await driver.shows("the-end")
        assert "esc close" in driver.screen()


async def test_what_a_prompt_holds_is_not_obeyed() -> None:
    async with opened(lambda: CommandDialog("tui-gen generate 'x[/y]\x1b]0;owned\x07'")) as driver:
        await driver.shows("x[/y]\u241b]0;owned\u2407")
