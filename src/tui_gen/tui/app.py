"""The app: theme, help and exit, and the queue of keys, which are handed on one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.app import App, ScreenError
from textual.binding import BindingType
from textual.css.query import NoMatches
from textual.driver import Driver
from textual.message import Message
from textual.message_pump import MessagePump
from textual.notifications import SeverityLevel
from textual.screen import ModalScreen, Screen
from textual.timer import Timer
from textual.widget import MountError

from tui_gen.checkpoint import Conversion
from tui_gen.child import end_children
from tui_gen.launcher import in_browser
from tui_gen.library import Entry
from tui_gen.runtime.watch import WATCH
from tui_gen.sessions.workspace import Workspace
from tui_gen.terminal_text import brief, counted, scrub_line
from tui_gen.tui.bindings import bind, bindings_of, key_of, owns
from tui_gen.tui.clipboard import CopyRequest, pass_on
from tui_gen.tui.dialogs.help import HelpScreen
from tui_gen.tui.driver import no_shell_waits, sparing
from tui_gen.tui.keymap import Keymap
from tui_gen.tui.knob_state import Settings
from tui_gen.tui.layout import drawn_size
from tui_gen.tui.playground import PlaygroundScreen
from tui_gen.tui.themes import DARK, LIGHT, Themes

if TYPE_CHECKING:
    from textual.command import Provider

    from tui_gen.run_watch import Training
    from tui_gen.tui.tour import Tour
    from tui_gen.tui.tour_screen import TourScreen

_TIME_TO_READ = 12
"""Seconds that a mistake in the configuration stays on the screen."""
_LONGEST_NOTICE = 400
"""Characters of one thing that is told beside the rest."""
_OF_LEAVING = (MountError, NoMatches, ScreenError)
"""What is raised where the screen, or a part of it, is gone."""
_PATIENCE, _LOOK = 1.0, 0.05
"""Seconds after which a key counts as handled, and after which one looks whether the widget that had it is gone."""


def _prompts() -> type[Provider]:
    """What the command palette finds beside the actions; it is loaded when somebody asks."""
    from tui_gen.tui.dialogs.help import PastPrompts

    return PastPrompts


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
    COMMANDS = {_prompts}  # noqa: RUF012 (so it is in Textual)
    BINDINGS: ClassVar[list[BindingType]] = bindings_of("app")
    COMMAND_PALETTE_BINDING = "ctrl+p"

    def __init__(
        self,
        settings: Settings,
        entries: Sequence[Entry],
        *,
        tour: Tour | None = None,
        training: Training | None = None,
    ) -> None:
        """tour, training: through which the screen leads, or which it follows; one of them at most."""
        super().__init__()
        self.animation_level = "none"  # what is scrolled to is there at once, also over a slow line
        self._bound = Keymap(settings.keys, browser=in_browser())
        bind(self, "app", self._bound.keys)
        self._themes = Themes(settings.theme, settings.themes)
        for theme in self._themes.added.values():
            self.register_theme(theme)
        self.theme = self._themes.first
        self._faults = [*settings.faults, *self._themes.faults, *self._bound.faults]
        self.workspaces: list[Workspace] = []
        """Of every model that was opened."""
        self._tour: TourScreen | None = None
        keys = self._bound.keys
        if tour:
            from tui_gen.tui.tour_screen import TourScreen

            self._tour = TourScreen(tour, settings, entries, self.workspaces, keys)
        self.playground = self._tour or PlaygroundScreen(settings, entries, self.workspaces, keys)
        if training:
            from tui_gen.tui.watch_screen import WatchScreen

            self.playground = WatchScreen(training, settings, entries, self.workspaces, keys)
        self._copying = threading.Lock()
        self._keys = deque[events.Key | events.Paste]()
        self._key_at_work: KeyHandled | None = None
        self._key_timer: Timer | None = None
        self._looks = 0

    def get_driver_class(self) -> type[Driver]:
        """The system's, writing only what differs. What is written to Windows comes in pieces that end anywhere."""
        if in_browser():
            from tui_gen.tui.browser import BrowserDriver

            return BrowserDriver
        driver = super().get_driver_class()
        return driver if sys.platform == "win32" else sparing(driver)

    def get_default_screen(self) -> Screen[None]:
        """The playground lies below all dialogs."""
        return self.playground

    def on_mount(self) -> None:
        """Ends with the terminal, and when it is asked to: the exit status is 128 and the signal's number."""
        self.app_resume_signal.subscribe(self, lambda _: self.refresh(layout=True))  # the terminal has forgotten all
        for name in ("SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT"):
            with contextlib.suppress(AttributeError, NotImplementedError, RuntimeError):  # Windows; another thread
                number = getattr(signal, name)
                asyncio.get_running_loop().add_signal_handler(number, self.exit, None, 128 + number)
        self.call_after_refresh(self._tell_faults)

    def _tell_faults(self) -> None:
        """What is wrong with the configuration, once the prompt is there: its first text ends what was told before."""
        if faults := self._faults:
            more = f" ({len(faults) - 1} more: tui-gen config lists them)" if len(faults) > 1 else ""
            self.notify(f"configuration: {faults[0]}{more}", severity="warning", timeout=_TIME_TO_READ)

    def on_unmount(self) -> None:
        """What is computed is ended, for nobody waits for it; what is noted is closed."""
        WATCH.end_runs("the screen was closed")
        end_children()
        for workspace in self.workspaces:
            workspace.close()

    @property
    def conversions(self) -> list[Conversion]:
        """Of the checkpoints that were played, as they are now."""
        newest = {each.loaded_model.path: each.loaded_model.conversion for each in self.workspaces}
        return [conversion for conversion in newest.values() if conversion]

    @property
    def failure(self) -> Exception | None:
        """What ended the screen, if it was not a person."""
        return self._exception

    def _handle_exception(self, error: Exception) -> None:
        """Ends the screen. Where that goes on already, a widget that loses its place is no failure."""
        if not (self._exit and isinstance(error, _OF_LEAVING)):
            super()._handle_exception(error)

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Tells one thing at a time, of which as much as leaves room for the screen."""
        self.clear_notifications()
        super().notify(
            scrub_line(brief(message, _LONGEST_NOTICE)), title=title, severity=severity, timeout=timeout, markup=markup
        )

    def copy_to_clipboard(self, text: str) -> None:
        """Copies by every way there is, and says which."""
        self._copy(text, counted(len(text), "character"))

    def on_copy_request(self, message: CopyRequest) -> None:
        """Copies what the screen asks for."""
        self._copy(message.text, message.what)

    def _copy(self, text: str, what: str) -> None:
        if text:
            super().copy_to_clipboard(text)
            self.run_worker(self._pass_on(text, what))

    async def _pass_on(self, text: str, what: str) -> None:
        """In a thread: a program may take its time. Of two texts, the later one stays. A server's is left alone."""
        if in_browser():
            self.notify(f"copied {what} for the browser, which may ask first, or forbid it")
            return

        def copy() -> str:
            with self._copying:
                return pass_on(text) if text == self.clipboard else ""

        if ways := await asyncio.to_thread(copy):
            self.notify(f"copied {what} {ways}")

    def action_suspend(self) -> None:
        """Stops the program, a run with it; the shell that waits for it has the terminal until `fg`."""
        if reason := self._reason_to_stay():
            self.notify(f"{reason}; {key_of('quit', self._bound.keys)} quits", severity="warning")
        elif sys.platform != "win32":
            os.killpg(os.getpgrp(), signal.SIGTSTP)  # as the terminal does it: also what has started this program

    def _reason_to_stay(self) -> str:
        if sys.platform == "win32":
            return "Windows cannot suspend a program"
        if self.is_headless or in_browser():
            return "there is no shell here to go back to"
        return "no shell waits that could bring this back" if no_shell_waits() else ""

    def action_theme(self) -> None:
        """Our light theme after any dark one, and the other way round."""
        self.theme = (LIGHT if self.current_theme.dark else DARK).name

    def action_help_quit(self) -> None:
        """Says how to leave, to whom ctrl+c has done nothing."""
        self.notify(f"{key_of('quit', self._bound.keys)} quits")

    def action_help(self) -> None:
        """Shows the help."""
        self.push_screen(HelpScreen(self._bound.tasks))

    def action_command_palette(self) -> None:
        """Finds actions by their names."""
        from tui_gen.tui.dialogs.help import Palette

        self.push_screen(Palette([*self.COMMANDS, self._actions], id="--command-palette"))

    def _actions(self) -> type[Provider]:
        """What the command palette finds; it is loaded when somebody asks."""
        from tui_gen.tui.dialogs.help import Actions

        keys = self._bound.keys
        return cast("type[Provider]", partial(Actions, keys=keys))  # Textual only calls it, as it would the class

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leaves the keys to a dialog while one is open."""
        return action in ("quit", "suspend") or not isinstance(self.screen, ModalScreen) or not owns("app", action)

    async def on_key(self, event: events.Key) -> None:
        """A dialog has no use for it; a tour may have, which closes the dialog."""
        if self._tour and isinstance(self.screen, ModalScreen) and await self._tour.take(event.key):
            event.prevent_default()  # the screen on which it is bound is the active one now

    async def on_event(self, event: events.Event) -> None:
        """Queues what a person types; everything else as always."""
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            self._keys.append(event)
            await self._hand_on_keys()
        else:
            if isinstance(event, events.Resize) and (size := drawn_size(event.size)) != event.size:
                event = events.Resize(size, size)
                self.refresh(layout=True)  # the size may be as before, and the terminal have forgotten all
            await super().on_event(event)

    async def on_key_handled(self, message: KeyHandled) -> None:
        """The next key, once what this one has set off is over too."""
        if message is self._key_at_work and not self._follow(message.target, message.rounds + 1):
            await self._release_keys()

    async def _release_keys(self) -> None:
        self._key_at_work = None
        self.playground.panels.hurry()  # who presses a key looks
        if self._key_timer:
            self._key_timer.stop()
            self._key_timer, self._looks = None, 0
        await self._hand_on_keys()

    async def _hand_on_keys(self) -> None:
        while self._keys and not self._key_at_work and self.screen_stack and not self._exit:
            event, target = self._keys.popleft(), self.focused or self.screen
            self.playground.heed(event)
            await super().on_event(event)
            self._follow(target if event.is_forwarded else self.screen, 1)
        if self._key_at_work and not self._key_timer:
            self._key_timer = self.set_interval(_LOOK, self._look_for_key)

    async def _look_for_key(self) -> None:
        """The widget may go away before it hears of the key, or take its time."""
        self._looks += 1
        if not self._key_at_work or not self._key_at_work.target.is_running or self._looks > _PATIENCE / _LOOK:
            await self._release_keys()

    def _follow(self, target: MessagePump, rounds: int) -> bool:
        """Sends a message after what was sent to a widget; False if that has been done often enough, or cannot be."""
        self._key_at_work = KeyHandled(target, rounds)
        if rounds > _ROUNDS or not target.post_message(self._key_at_work):
            self._key_at_work = None
        return self._key_at_work is not None
