"""A dialog by itself, over an app that has nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from textual.app import App
from textual.pilot import Pilot
from textual.widgets import OptionList

from tui_gen.tui.dialogs.dialog import Dialog

OPEN = object()
"""The result of a dialog that is not closed yet."""


class Bare(App[None]):
    """Shows a dialog and keeps what it returns, and which of its messages got out."""

    def __init__(self, make: Callable[[], Dialog[Any]]) -> None:
        super().__init__()
        self._make, self.result = make, OPEN
        self.leaked = list[object]()

    def on_mount(self) -> None:
        self.push_screen(self._make(), lambda result: setattr(self, "result", result))

    def on_input_changed(self, event: object) -> None:
        self.leaked.append(event)

    def on_input_submitted(self, event: object) -> None:
        self.leaked.append(event)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.leaked.append(event)

    @property
    def text(self) -> str:
        """What is on the screen."""
        strips = self.screen._compositor.render_strips(self.size)
        return "\n".join(strip.text.rstrip() for strip in strips)

    async def until(self, what: Callable[[], Any]) -> None:
        """Waits for something to come true; fails after ten seconds."""
        for _ in range(1000):
            if what():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it never came true:\n" + self.text)

    async def shows(self, text: str) -> None:
        """Waits for something to be read on the screen."""
        await self.until(lambda: text in self.text)

    def place(self, text: str) -> tuple[int, int]:
        """Where a text stands: (column, row)."""
        for row, line in enumerate(self.text.split("\n")):
            if text in line:
                return line.index(text), row
        raise AssertionError(f"{text!r} is not on the screen:\n{self.text}")


@asynccontextmanager
async def opened(
    make: Callable[[], Dialog[Any]], size: tuple[int, int] = (80, 24)
) -> AsyncIterator[tuple[Bare, Pilot[None]]]:
    """The dialog, and what presses its keys; nothing of it may reach what lies behind."""
    app = Bare(make)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield app, pilot
        assert not app.leaked
