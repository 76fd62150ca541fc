"""Drives the real screen with toy models: presses keys, and waits for messages until something is true."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from textual import events
from textual._context import visible_screen_stack
from textual.keys import _character_to_key
from textual.message import Message
from textual.message_pump import MessagePump
from textual.pilot import Pilot

from tui_gen.generation.branch import Branch, StepBuffer
from tui_gen.generation.generate import generate
from tui_gen.library import find_models, open_model
from tui_gen.sampling.params import SamplingParams
from tui_gen.sessions.workspace import Workspace
from tui_gen.tui.app import TuiGen
from tui_gen.tui.knob_state import Settings
from tui_gen.tui.playground import PlaygroundScreen
from tui_gen.tui.widgets.run_view import RunView
from tui_gen.tui.widgets.text_view import TextView

GUARD_SECONDS = 6
"""What has not come true by then hangs."""
_HEARTBEAT = 0.05
"""Seconds after which a condition is looked at again: threads change things without a message."""
_QUIET = 5
"""Turns of the event loop without a message after which nothing is on its way."""
_LAST_MESSAGES = 500
"""So often the event loop turns at most until what a condition has come with is drawn; a free run never rests."""
_waiting = set[asyncio.Event]()
_dispatch = MessagePump._dispatch_message


_at_work = list[Message]()


async def _dispatch_and_tell(self: MessagePump, message: Message) -> None:
    _at_work.append(message)
    try:
        await _dispatch(self, message)
    finally:
        _at_work.remove(message)
        for event in _waiting:
            event.set()


MessagePump._dispatch_message = _dispatch_and_tell  # type: ignore[method-assign]


async def until(condition: Callable[[], Any], report: Callable[[], str] = str) -> None:
    """Waits for a condition, looked at after every message that any widget has handled."""
    event = asyncio.Event()
    _waiting.add(event)
    try:
        async with asyncio.timeout(GUARD_SECONDS):
            while not condition():
                event.clear()
                try:
                    await asyncio.wait_for(event.wait(), _HEARTBEAT)
                except TimeoutError:
                    continue
    except TimeoutError:
        raise AssertionError("it never came true:\n" + report()) from None
    finally:
        _waiting.discard(event)


class ShownStep(NamedTuple):
    """A token that has come to the screen, and the knobs that counted for it."""

    index: int
    params: SamplingParams


class ScreenDriver:
    """A running app, and the steps that it has shown."""

    def __init__(self, app: TuiGen) -> None:
        self.app, self.steps = app, list[ShownStep]()
        self._last: StepBuffer | None = None
        self._params = SamplingParams()

    def hear(self, message: Message) -> None:
        """Notes what is shown."""
        if isinstance(message, RunView.Advanced) and message.buffer is not self._last:
            self._last, turns = message.buffer, dict(message.buffer.turns)
            for index in range(message.buffer.first, message.buffer.first + len(message.buffer)):
                self._params = turns.get(index, self._params)
                self.steps.append(ShownStep(index, self._params))

    async def until(self, condition: Callable[[], Any]) -> None:
        """Waits for something to come true, and lets the widgets finish what they have begun by then."""
        await until(condition, self.screen)
        quiet = 0
        for _ in range(_LAST_MESSAGES):
            quiet = 0 if _at_work or any(pump.message_queue_size for pump in self._pumps()) else quiet + 1
            if quiet > _QUIET:
                return
            await asyncio.sleep(0)

    def _pumps(self) -> list[MessagePump]:
        screen = self.app.screen_stack[-1:]
        return [self.app, *screen, *(widget for node in screen for widget in node.walk_children())]

    async def shows(self, text: str) -> None:
        """Waits for something to be read on the screen."""
        await self.until(lambda: text in self.screen())

    async def hides(self, text: str) -> None:
        """Waits for something to be gone from the screen."""
        await self.until(lambda: text not in self.screen())

    async def type(self, text: str) -> None:
        """Types into whatever has the focus, as fast as a terminal hands over what was pasted by an input method."""
        for character in text:
            key = "enter" if character == "\r" else _character_to_key(character)
            self.app.post_message(events.Key(key, character))
        await self.until(self.is_idle)

    async def press(self, *keys: str) -> None:
        """Presses keys; does not wait for the run, which may go on for ever."""
        for key in keys:
            self.app.simulate_key(key)
            await self.until(self.is_idle)

    def is_idle(self) -> bool:
        """Whether all keys have done what they do, and nobody who takes keys has anything left to do."""
        if not self.app.is_running or not self.app.screen_stack:  # a key has ended it
            return True
        takers = [self.app, self.app.screen, self.app.focused, self.playground, self.view, self.playground.side]
        return not (self.app._keys or self.app._key_at_work or any(pump.message_queue_size for pump in takers if pump))

    async def run_to_end(self) -> None:
        """Presses enter and waits until the run is over and the screen says so."""
        before = self.view.branch if self.view else None
        await self.press("enter")
        await self.until(lambda: self.view and self.view.branch is not before and self.says_end())

    def says_end(self) -> bool:
        """Whether the run is over and the screen says so."""
        view = self.view
        if view is None or view.running or not view.views or not all(part.size for part in view.views):
            return False
        return self.playground.side.knobs.progress == view.progress()

    def says_end_of(self, branch: str) -> bool:
        """The same of a branch that has come on the screen; before it has, and before it runs, nothing is over."""
        return self.view is not None and self.view.branch.name == branch and self.says_end()

    @property
    def playground(self) -> PlaygroundScreen:
        """The screen below all dialogs."""
        return self.app.playground

    @property
    def view(self) -> RunView | None:
        """The branch in the middle, if there is one."""
        return self.playground.run_view

    @property
    def branch(self) -> Branch:
        """What is in the middle."""
        assert self.view
        return self.view.branch

    @property
    def workspace(self) -> Workspace:
        """Of the model on the screen."""
        assert self.playground.workspace
        return self.playground.workspace

    @property
    def running(self) -> bool:
        """Whether tokens are being made."""
        return self.view is not None and self.view.running

    @property
    def params(self) -> SamplingParams:
        """The knobs as they are turned."""
        return self.playground.knobs.params

    @property
    def page(self) -> str:
        """The text of the first sample; empty while there is none."""
        return next((view.text for view in self.app.query(TextView)), "")

    def screen(self) -> str:
        """The whole screen as text, trailing spaces cut; empty while it is not laid out yet."""
        width, height = self.app.size
        visible_screen_stack.set(self.app._background_screens)  # a dialog draws what is behind it
        strips = self.app.screen._compositor.render_strips(self.app.size)
        if len(strips) < height:
            return ""
        assert all(strip.cell_length == width for strip in strips)
        return "\n".join(strip.text.rstrip() for strip in strips) + "\n"


@asynccontextmanager
async def on_screen(
    folder: Path, *, size: tuple[int, int] = (80, 24), pace: float = math.inf, **settings: Any
) -> AsyncIterator[tuple[ScreenDriver, Pilot[None]]]:
    """The app with a model folder opened, at a pace; the models beside it are listed too."""
    app = TuiGen(Settings(folder, **settings), find_models())
    driver = ScreenDriver(app)
    async with app.run_test(size=size, message_hook=driver.hear) as pilot:
        await driver.until(lambda: driver.playground.workspace is not None or app._notifications)
        driver.playground.knobs.rate = pace
        yield driver, pilot


def headless_text(
    folder: Path,
    prompt: str,
    *,
    seed: int,
    temperature: float = 1.0,
    sample: int = 0,
    samples: int = 1,
    length: int | None = None,
) -> str:
    """What `tui-gen generate` would print."""
    loaded_model = open_model(folder)
    codec = loaded_model.codec
    steps = generate(
        loaded_model.model,
        codec.prompt([prompt] * samples),
        SamplingParams(temperature),
        length=codec.length(length),
        seed=seed,
    )
    reader = codec.reader()
    return "".join(reader.read(int(step.tokens[sample])) for step in steps if step.live[sample])
