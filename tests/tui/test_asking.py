"""Typing one line into a dialog."""

from __future__ import annotations

from textual import events

from tests.support.dialogs import OPEN, opened
from tui_gen.tui.dialogs.dialog import Ask


def no_shouting(text: str) -> str:
    return f"{text!r} is too loud" if text.isupper() else ""


async def test_enter_returns_what_was_typed_behind_what_was_there() -> None:
    async with opened(lambda: Ask("another word", "c")) as (app, pilot):
        await pilot.press("a", "t", "enter")
        assert app.result == "cat"


async def test_escape_returns_nothing() -> None:
    async with opened(lambda: Ask("another word", "c")) as (app, pilot):
        await pilot.press("a", "escape")
        assert app.result is None


async def test_a_complaint_is_told_while_typing_pauses_and_gone_when_it_is_mended() -> None:
    async with opened(lambda: Ask("name", hint="any name", check=no_shouting)) as (app, pilot):
        await app.shows("any name")
        await pilot.press("H", "I")
        await app.shows("! 'HI' is too loud")
        await pilot.press("s")
        await app.shows("any name")
        assert "too loud" not in app.text


async def test_enter_refuses_what_is_wrong_and_keeps_it() -> None:
    async with opened(lambda: Ask("name", check=no_shouting)) as (app, pilot):
        await pilot.press("H", "enter")
        assert app.result is OPEN
        await app.shows("! 'H' is too loud")
        await pilot.press("i", "enter")
        assert app.result == "Hi"


async def test_what_was_there_already_is_no_fault_before_anything_is_typed() -> None:
    async with opened(lambda: Ask("another word", "C", check=no_shouting)) as (app, pilot):
        await pilot.pause(0.5)
        assert "too loud" not in app.text


async def test_a_suggestion_is_taken_with_the_right_arrow() -> None:
    async with opened(lambda: Ask("another word", "ca", suggestions=["dog", "carrot"])) as (app, pilot):
        await pilot.press("r")
        await app.shows("carrot")
        await pilot.press("right", "enter")
        assert app.result == "carrot"


async def test_a_pasted_newline_is_a_newline_and_shown_as_its_sign() -> None:
    async with opened(lambda: Ask("another word")) as (app, pilot):
        app.post_message(events.Paste("a\nb\n"))
        await app.shows("a\u240ab")
        await pilot.press("enter")
        assert app.result == "a\nb"


async def test_nothing_in_it_is_obeyed_as_markup_or_by_the_terminal() -> None:
    hostile = "x[/y]\x1b]0;owned\x07"
    async with opened(
        lambda: Ask(hostile, hostile, hint=hostile, check=lambda text: text * (text == "no"), suggestions=[hostile])
    ) as (app, pilot):
        assert app.text.count("x[/y]\u241b]0;owned\u2407") == 3
        await pilot.press("enter")
        assert "\x1b" not in str(app.result)


async def test_a_click_on_a_key_does_what_the_key_does() -> None:
    async with opened(lambda: Ask("another word", "cat")) as (app, pilot):
        await pilot.click(offset=app.place("enter accept"))
        await pilot.pause()
        assert app.result == "cat"
