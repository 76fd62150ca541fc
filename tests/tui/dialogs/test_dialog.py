"""A dialog that asks for a line of text: typing, complaints, suggestions, pasting and clicks."""

from __future__ import annotations

import pytest
from textual import events

from tests.support.widget_app import OPEN, opened
from tui_gen.tui.dialogs import dialog
from tui_gen.tui.dialogs.dialog import Ask


def no_shouting(text: str) -> str:
    return f"{text!r} is too loud" if text.isupper() else ""


async def test_enter_returns_what_was_typed_behind_what_was_there() -> None:
    async with opened(lambda: Ask("another word", "c")) as driver:
        await driver.press("a", "t", "enter")
        assert driver.result == "cat"


async def test_escape_returns_nothing() -> None:
    async with opened(lambda: Ask("another word", "c")) as driver:
        await driver.press("a", "escape")
        assert driver.result is None


async def test_a_complaint_is_told_while_typing_pauses_and_gone_when_it_is_mended() -> None:
    async with opened(lambda: Ask("name", hint="any name", check=no_shouting)) as driver:
        await driver.shows("any name")
        await driver.press("H", "I")
        await driver.shows("! 'HI' is too loud")
        await driver.press("s")
        await driver.shows("any name")
        assert "too loud" not in driver.screen()


async def test_enter_refuses_what_is_wrong_and_keeps_it() -> None:
    async with opened(lambda: Ask("name", check=no_shouting)) as driver:
        await driver.press("H", "enter")
        assert driver.result is OPEN
        await driver.shows("! 'H' is too loud")
        await driver.press("i", "enter")
        assert driver.result == "Hi"


async def test_what_was_there_already_is_no_fault_before_anything_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialog, "PATIENCE", 0)
    async with opened(lambda: Ask("another word", "C", check=no_shouting)) as driver:
        await driver.press("left", "right")
        assert "too loud" not in driver.screen()


async def test_a_suggestion_is_taken_with_the_right_arrow() -> None:
    async with opened(lambda: Ask("another word", "ca", suggestions=["dog", "carrot"])) as driver:
        await driver.press("r")
        await driver.shows("carrot")
        await driver.press("right", "enter")
        assert driver.result == "carrot"


async def test_a_pasted_newline_is_a_newline_and_shown_as_its_sign() -> None:
    async with opened(lambda: Ask("another word")) as driver:
        driver.app.post_message(events.Paste("a\nb\n"))
        await driver.shows("a\u240ab")
        await driver.press("enter")
        assert driver.result == "a\nb"


async def test_nothing_in_it_is_obeyed_as_markup_or_by_the_terminal() -> None:
    hostile = "x[/y]\x1b]0;owned\x07"
    async with opened(
        lambda: Ask(hostile, hostile, hint=hostile, check=lambda text: text * (text == "no"), suggestions=[hostile])
    ) as driver:
        assert driver.screen().count("x[/y]\u241b]0;owned\u2407") == 3
        await driver.press("enter")
        assert "\x1b" not in str(driver.result)


async def test_a_click_on_a_key_does_what_the_key_does() -> None:
    async with opened(lambda: Ask("another word", "cat")) as driver:
        await driver.click(driver.place("enter accept"))
        assert driver.result == "cat"
