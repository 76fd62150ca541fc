"""Looking at the command that makes the output again."""

from __future__ import annotations

import pytest

from tests.support.dialogs import OPEN, opened
from tui_gen.tui.dialogs.save import CommandDialog


@pytest.mark.parametrize(("key", "result"), [("enter", "copy"), ("c", "copy"), ("s", "save"), ("escape", None)])
async def test_keys_copy_save_and_close(key: str, result: str | None) -> None:
    async with opened(lambda: CommandDialog("tui-gen generate cats")) as (app, pilot):
        await app.shows("tui-gen generate cats")
        await pilot.press(key)
        assert app.result == result


async def test_without_a_command_the_reason_is_read_and_enter_saves() -> None:
    async with opened(lambda: CommandDialog("", "a person chose token 3; save the session")) as (app, pilot):
        await app.shows("a person chose token 3; save the session")
        await pilot.press("c")
        assert app.result is OPEN
        await pilot.press("enter")
        assert app.result == "save"


async def test_a_command_longer_than_the_screen_can_be_scrolled_to_its_end() -> None:
    async with opened(lambda: CommandDialog("tui-gen generate " + "cat " * 1000 + "the-end")) as (app, pilot):
        assert "the-end" not in app.text
        await pilot.press("end")
        await app.shows("the-end")
        assert "esc close" in app.text


async def test_what_a_prompt_holds_is_not_obeyed() -> None:
    async with opened(lambda: CommandDialog("tui-gen generate 'x[/y]\x1b]0;owned\x07'")) as (app, _):
        await app.shows("x[/y]\u241b]0;owned\u2407")
