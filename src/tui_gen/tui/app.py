"""The app: theme, help and exit, and the queue of keys, which are handed on one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import App
from textual.binding import BindingType
from textual.message import Message
from textual.message_pump import MessagePump
from textual.notifications import SeverityLevel
from textual.screen import ModalScreen, Screen
from textual.timer import Timer

from tui_gen.library import Entry
from tui_gen.sessions.workspace import Workspace
from tui_gen.terminal_text import scrub
from tui_gen.tui.bindings import bindings_of, owns
from tui_gen.tui.dialogs.help import HelpScreen
from tui_gen.tui.knob_state import Settings
from tui_gen.tui.playground import PlaygroundScreen

if TYPE_CHECKING:
    from textual.command import Provider

THEMES = ("textual-dark", "textual-light")
_PATIENCE = 1.0
"""Seconds after which a key counts as handled, be it that the widget which had it went away."""


def _actions() -> type[Provider]:
    """What the command palette finds; it is loaded when somebody asks."""
    from tui_gen.tui.dialogs.help import Actions

    return Actions


_ROUNDS = 3
"""A key may be answered by a message, and that by another one; what follows the key as often comes after both."""


class KeyHandled(Message):
    """Posted to a widget after a key: bubbles up to the app once that widget and its ancestors have handled the key."""

    def __init__(self, target: MessagePump, rounds: int) -> None:
        """rounds: how many of these were sent after the key, with this one."""
        super().__init__()
        self.target, self.rounds = target, rounds


class TuiGen(App[None]):
    """The playground. Keys and pastes wait for the one before: what it does may move the focus."""

    CSS_PATH = "app.tcss"
    TITLE = "tui-gen"
    COMMANDS = {_actions}  # noqa: RUF012 (so it is in Textual)
    BINDINGS: ClassVar[list[BindingType]] = bindings_of("app")
    COMMAND_PALETTE_BINDING = "ctrl+p"

    def __init__(self, settings: Settings, entries: Sequence[Entry]) -> None:
        super().__init__()
        self.animation_level = "none"  # what is scrolled to is there at once, also over a slow line
        self.workspaces: dict[Path, Workspace] = {}
        """Of every model that was played, by its folder."""
        self.playground = PlaygroundScreen(settings, entries, self.workspaces)
        self._keys = deque[events.Key | events.Paste]()
        self._key_at_work: KeyHandled | None = None
        self._key_timer: Timer | None = None

    def get_default_screen(self) -> Screen[None]:
        """The playground lies below all dialogs."""
        return self.playground

    def on_mount(self) -> None:
        """Ends with the terminal, and when it is asked to: the exit status is 128 and the signal's number."""
        for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows; not in the main thread
                asyncio.get_running_loop().add_signal_handler(number, self.exit, None, 128 + number)

    def on_unmount(self) -> None:
        """What is noted is closed."""
        for workspace in self.workspaces.values():
            workspace.close()

    @property
    def failure(self) -> Exception | None:
        """What ended the screen, if it was not a person."""
        return self._exception

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Tells one thing at a time."""
        self.clear_notifications()
        super().notify(scrub(message), title=title, severity=severity, timeout=timeout, markup=markup)

    def action_theme(self) -> None:
        """Light or dark."""
        self.theme = THEMES[self.theme == THEMES[0]]

    def action_help(self) -> None:
        """Shows the help."""
        self.push_screen(HelpScreen())

    def action_command_palette(self) -> None:
        """Finds actions by their names."""
        from tui_gen.tui.dialogs.help import Palette

        self.push_screen(Palette(id="--command-palette"))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leaves the keys to a dialog while one is open."""
        return action == "quit" or not isinstance(self.screen, ModalScreen) or not owns("app", action)

    async def on_event(self, event: events.Event) -> None:
        """Queues what a person types; everything else as always."""
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            self._keys.append(event)
            await self._hand_on_keys()
        else:
            await super().on_event(event)

    async def on_key_handled(self, message: KeyHandled) -> None:
        """The next key, once what this one has set off is over too."""
        if message is self._key_at_work and not self._follow(message.target, message.rounds + 1):
            await self._release_keys()

    async def _release_keys(self) -> None:
        self._key_at_work = None
        if self._key_timer:
            self._key_timer.stop()
            self._key_timer = None
        await self._hand_on_keys()

    async def _hand_on_keys(self) -> None:
        while self._keys and not self._key_at_work and self.screen_stack:  # which is empty once the app has ended
            event, target = self._keys.popleft(), self.focused or self.screen
            await super().on_event(event)
            self._follow(target if event.is_forwarded else self.screen, 1)
        if self._keys and not self._key_timer:  # the widget may go away before it hears of the key
            self._key_timer = self.set_timer(_PATIENCE, self._release_keys)

    def _follow(self, target: MessagePump, rounds: int) -> bool:
        """Sends a message after what was sent to a widget; False if that has been done often enough, or cannot be."""
        self._key_at_work = KeyHandled(target, rounds)
        if rounds > _ROUNDS or not target.post_message(self._key_at_work):
            self._key_at_work = None
        return self._key_at_work is not None
