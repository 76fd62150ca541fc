"""Helpers for tests of one panel alone: an app that holds nothing else, and its screen as text."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from textual.app import App, ComposeResult
from textual.message import Message
from textual.pilot import Pilot
from textual.widget import Widget

SNAPSHOTS = Path(__file__).parents[1] / "tui" / "snapshots"
SIZES = [(width, height) for width in (24, 28, 40) for height in (6, 12)]


class Panel(App[None]):
    """An app that is one panel, and the panel's messages."""

    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self.widget, self.heard = widget, list[Message]()

    def compose(self) -> ComposeResult:
        yield self.widget

    def hear(self, message: Message) -> None:
        known = any(message is other for other in self.heard)
        if not known and type(message).__qualname__.startswith(type(self.widget).__name__ + "."):
            self.heard.append(message)

    def lines(self) -> list[str]:
        """The screen; every line is as wide as the screen."""
        width, _ = self.size
        strips = self.screen._compositor.render_strips(self.size)
        assert all(strip.cell_length == width for strip in strips)
        return [strip.text.rstrip() for strip in strips]

    def reversed_lines(self) -> list[str]:
        """Those that stand out in reverse."""
        strips = self.screen._compositor.render_strips(self.size)
        return [strip.text.rstrip() for strip in strips if any(s.style and s.style.reverse for s in strip)]


@asynccontextmanager
async def alone(
    widget: Widget, size: tuple[int, int], *, focus: bool = False
) -> AsyncIterator[tuple[Panel, Pilot[None]]]:
    """The panel on a screen of this size, which it fills."""
    widget.styles.height = "100%"
    app = Panel(widget)
    async with app.run_test(size=size, message_hook=app.hear) as pilot:
        app.set_focus(widget if focus else None)
        await pilot.pause()
        yield app, pilot


def check_kept(name: str, screens: dict[tuple[int, int], list[str]]) -> None:
    """Compares with what is kept. After a wanted change: UPDATE_SNAPSHOTS=1 pytest, and read the diff."""
    framed = [_framed(size, lines) for size, lines in screens.items()]
    path, seen = SNAPSHOTS / f"{name}.txt", "\n".join(framed)
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_text(seen, encoding="utf-8")
    assert seen == path.read_text(encoding="utf-8")


def _framed(size: tuple[int, int], lines: list[str]) -> str:
    width, height = size
    return "\n".join([f"{width} x {height}", *(f"{line:{width}}|".rstrip() for line in lines), ""])


def arguments(message: Message) -> Any:
    """What a message says."""
    said: Any = message
    return tuple(getattr(said, field.name) for field in fields(said))
