"""A widget or a dialog alone in an app: what it says to others, what it returns, and how it looks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import fields, is_dataclass
from typing import Any

from textual.app import App, ComposeResult
from textual.message import Message
from textual.widget import Widget
from textual.widgets import OptionList

from tests.support.branches import grown
from tests.support.driver import AppDriver, check_snapshot
from tui_gen.generation.branch import Branch
from tui_gen.sampling.params import SamplingParams
from tui_gen.tui.dialogs.dialog import Dialog

OPEN = object()
"""The result of a dialog that is not closed yet."""
PANEL_SIZES = [(width, height) for width in (24, 28, 40) for height in (6, 12)]


class WidgetApp(App[None]):
    """An app that is one widget, or nothing; notes which messages of its parts reach it."""

    AUTO_FOCUS = None

    def __init__(self, widget: Widget | None = None) -> None:
        super().__init__()
        self.animation_level = "none"
        self.widget, self.leaks = widget, list[object]()

    def compose(self) -> ComposeResult:
        if self.widget:
            yield self.widget

    def on_input_changed(self, event: object) -> None:
        self.leaks.append(event)

    def on_input_submitted(self, event: object) -> None:
        self.leaks.append(event)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.leaks.append(event)

    def on_image_view_clicked(self, event: object) -> None:
        self.leaks.append(event)


class WidgetDriver(AppDriver):
    """The app, and the messages of the widget."""

    def __init__(self, app: WidgetApp) -> None:
        super().__init__(app)
        self.messages, self.owner = list[Any](), type(app.widget).__name__

    def hear(self, message: Message) -> None:
        known = any(message is other for other in self.messages)
        if not known and type(message).__qualname__.startswith(self.owner + "."):
            self.messages.append(message)

    @property
    def contents(self) -> list[tuple[Any, ...]]:
        """The names of the messages, and what they say."""
        return [(type(message).__name__, *_values(message)) for message in self.messages]

    def reversed_lines(self) -> list[str]:
        """Those that stand out in reverse."""
        return [strip.text.rstrip() for strip in self.strips() if any(s.style and s.style.reverse for s in strip)]


def _values(message: Any) -> list[Any]:
    return [getattr(message, field.name) for field in fields(message)] if is_dataclass(message) else []


@asynccontextmanager
async def alone(
    widget: Widget, size: tuple[int, int], *, focus: bool = False, theme: str = "textual-dark"
) -> AsyncIterator[WidgetDriver]:
    """The widget on a screen of this size, which it fills."""
    widget.styles.height = "100%"
    app = WidgetApp(widget)
    app.theme = theme
    driver = WidgetDriver(app)
    async with app.run_test(size=size, message_hook=driver.hear):
        app.set_focus(widget if focus else None)
        await driver.settle()
        yield driver


class DialogDriver(AppDriver):
    """An app over which a dialog is open, and what the dialog returns."""

    result: Any = OPEN

    def take(self, result: Any) -> None:
        self.result = result

    async def closes(self) -> Any:
        """Waits until the dialog returns something."""
        await self.until(lambda: self.result is not OPEN)
        return self.result


@asynccontextmanager
async def opened(dialog: Callable[[], Dialog[Any]], size: tuple[int, int] = (80, 24)) -> AsyncIterator[DialogDriver]:
    """The dialog over an empty app; nothing of it may reach what lies behind."""
    app = WidgetApp()
    driver = DialogDriver(app)
    async with app.run_test(size=size):
        app.push_screen(dialog(), driver.take)
        await driver.until(lambda: isinstance(app.screen, Dialog))
        yield driver
        assert not app.leaks


def grow(branch: Branch, count: int = 50, temperature: float = 1.2) -> Branch:
    """Makes so many more steps, to show something of them."""
    return grown(branch, count, SamplingParams(temperature))


def check_panel(name: str, screens: dict[tuple[int, int], list[str]]) -> None:
    """Compares a panel at several sizes with its snapshot."""
    check_snapshot(name, "\n".join(_framed(size, lines) for size, lines in screens.items()))


def _framed(size: tuple[int, int], lines: list[str]) -> str:
    width, height = size
    return "\n".join([f"{width} x {height}", *(f"{line:{width}}|".rstrip() for line in lines), ""])
