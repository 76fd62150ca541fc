"""Drives an app by keys and mouse, waits until something is true, reads its screen; on_screen() runs the real app."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from rich.segment import Segment
from textual import events
from textual._context import visible_screen_stack
from textual.app import App
from textual.geometry import Offset, Size
from textual.keys import _character_to_key
from textual.message import Message
from textual.message_pump import MessagePump
from textual.strip import Strip
from textual.widget import Widget

from tui_gen.checkpoint import is_checkpoint
from tui_gen.generation.branch import Branch, StepBuffer
from tui_gen.generation.generate import generate
from tui_gen.hub import is_address
from tui_gen.library import find_models, open_model
from tui_gen.run_watch import Training
from tui_gen.runtime.model import Model
from tui_gen.sampling.params import SamplingParams
from tui_gen.sampling.params import weights as draw_weights
from tui_gen.sessions.workspace import Workspace
from tui_gen.tui.app import TuiGen
from tui_gen.tui.knob_state import Settings
from tui_gen.tui.playground import PlaygroundScreen
from tui_gen.tui.tour import Tour
from tui_gen.tui.widgets.candidates import percent
from tui_gen.tui.widgets.run_view import RunView
from tui_gen.tui.widgets.text_view import TextView

GUARD_SECONDS = 60
"""What has not come true by then hangs."""
SNAPSHOTS = Path(__file__).parents[1] / "tui" / "snapshots"
_QUIET_TURNS = 5
"""Turns of the event loop without a message after which nothing is on its way."""
_MOST_TURNS = 500
"""So often the event loop turns at most until the widgets are quiet; a run without a limit never lets them be."""
_at_work = list[Message]()
_dispatch = MessagePump._dispatch_message


async def _dispatch_and_note(self: MessagePump, message: Message) -> None:
    _at_work.append(message)
    try:
        await _dispatch(self, message)
    finally:
        _at_work.remove(message)


MessagePump._dispatch_message = _dispatch_and_note  # type: ignore[method-assign]


async def until(condition: Callable[[], Any], report: Callable[[], str] = str) -> None:
    """Waits for a condition, looked at after every turn of the event loop: nothing on the screen changes in between.

    What a thread changes must come with a message, or with anything else that turns the loop.
    """
    if condition():
        return
    loop: Any = asyncio.get_running_loop()
    reached, context, turn = loop.create_future(), copy_context(), loop._run_once

    def turn_and_look() -> None:
        turn()
        try:
            if not reached.done() and context.run(condition):
                reached.set_result(None)
        except Exception as fault:
            reached.set_exception(fault)

    loop._run_once = turn_and_look
    try:
        async with asyncio.timeout(GUARD_SECONDS):
            await reached
    except TimeoutError:
        raise AssertionError("it never came true:\n" + report()) from None
    finally:
        loop._run_once = turn


def check_snapshot(name: str, text: str) -> None:
    """Compares with the file of that name. After an intended change: UPDATE_SNAPSHOTS=1 pytest, and read the diff."""
    path = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


class AppDriver:
    """A running app."""

    def __init__(self, app: App[Any]) -> None:
        self.app: Any = app

    async def until(self, condition: Callable[[], Any]) -> None:
        """Waits for something to come true, and lets the widgets finish what they have begun by then."""

        def holds() -> Any:
            assert not self.app._exception, f"the app failed: {self.app._exception!r}"
            return condition()

        await until(holds, self.screen)
        await self.settle()

    async def settle(self) -> None:
        """Lets the widgets finish what they have begun, and draws it."""
        quiet = 0
        for _ in range(_MOST_TURNS):
            quiet = 0 if self._is_busy() else quiet + 1
            if quiet > _QUIET_TURNS:
                return
            await asyncio.sleep(0)

    def _is_busy(self) -> bool:
        screens = self.app.screen_stack[-1:] if self.app.is_running else []
        pumps = [self.app, *screens, *(widget for screen in screens for widget in screen.walk_children())]
        if _at_work or any(pump.message_queue_size for pump in pumps):
            return True
        if self.app._resize_event:
            self.app._check_resize()
            return True
        undrawn = any(screen._layout_required or screen._scroll_required or screen._repaint_required
                      or screen._dirty_widgets or screen._callbacks for screen in screens)  # fmt: skip
        if undrawn:
            screens[0]._on_timer_update()
        return undrawn

    async def shows(self, text: str) -> None:
        """Waits for something to be read on the screen."""
        await self.until(lambda: text in self.screen())

    async def hides(self, text: str) -> None:
        """Waits for something to be gone from the screen."""
        await self.until(lambda: text not in self.screen())

    async def press(self, *keys: str) -> None:
        """Presses keys, one after the other, by their names or characters."""
        for key in keys:
            self.post_key(key)
            await self.settle()

    def post_key(self, key: str) -> None:
        """Presses a key, and waits for nothing."""
        name = key if len(key) > 1 or key.isalnum() else _character_to_key(key)
        self.app.post_message(events.Key(name, key if len(key) == 1 else " " if key == "space" else None))

    async def click(self, at: Widget | tuple[int, int], offset: tuple[int, int] = (0, 0)) -> None:
        """Clicks on a cell of the screen, or of a widget."""
        origin = at.region.offset if isinstance(at, Widget) else Offset(*at)
        cell = origin + offset
        for kind in (events.MouseDown, events.MouseUp, events.Click):
            await self.mouse(kind, cell)

    async def mouse(self, kind: type[events.MouseEvent], cell: tuple[int, int]) -> None:
        """Something that the mouse does at a cell of the screen."""
        await self.settle()
        x, y = cell
        assert cell in self.app.screen.size.region
        self.app.mouse_position = Offset(x, y)
        self.app.screen._forward_event(kind(None, x, y, 0, 0, 1, False, False, False, x, y))
        await self.settle()

    async def resize(self, width: int, height: int) -> None:
        """Gives the terminal another size."""
        size = Size(width, height)
        self.app._driver._size = size
        self.app.post_message(events.Resize(size, size))
        await self.settle()

    def strips(self) -> list[Strip]:
        """The rows of the screen, all as wide as it is; none while it is not laid out yet."""
        width, height = self.app.size
        visible_screen_stack.set(self.app._background_screens)  # a dialog draws what is behind it
        strips: list[Strip] = self.app.screen._compositor.render_strips(self.app.size)
        assert all(strip.cell_length == width for strip in strips)
        return strips if len(strips) == height else []

    def screen(self) -> str:
        """The whole screen as text, trailing spaces cut; empty while it is not laid out yet."""
        return "".join(strip.text.rstrip() + "\n" for strip in self.strips())

    def lines(self, part: Widget | None = None) -> list[str]:
        """The lines of the screen, or of where a part of it stands."""
        x, y, width, height = part.region if part else self.app.size.region
        return [line.ljust(x + width)[x : x + width].rstrip() for line in self.screen().split("\n")[y : y + height]]

    def segments(self, text: str) -> list[Segment]:
        """Those on the screen that have exactly this text."""
        return [segment for strip in self.strips() for segment in strip if segment.text == text]

    def place(self, text: str) -> tuple[int, int]:
        """Where a text stands on the screen: (column, row)."""
        for y, line in enumerate(self.screen().split("\n")):
            if text in line:
                return line.index(text), y
        raise AssertionError(f"{text} is not on the screen:\n{self.screen()}")


class ShownStep(NamedTuple):
    """A token that has come to the screen, and the knobs that counted for it."""

    position: int
    params: SamplingParams


class ScreenDriver(AppDriver):
    """The real app, and the steps that it has shown."""

    def __init__(self, app: TuiGen) -> None:
        super().__init__(app)
        self.steps = list[ShownStep]()
        self._last: StepBuffer | None = None
        self._params = SamplingParams()

    def hear(self, message: Message) -> None:
        """Notes what is shown."""
        if isinstance(message, RunView.Advanced) and message.buffer is not self._last:
            self._last, turns = message.buffer, dict(message.buffer.turns)
            for index in range(message.buffer.first, message.buffer.first + len(message.buffer)):
                self._params = turns.get(index, self._params)
                self.steps.append(ShownStep(index, self._params))

    # --- what a person does ---

    async def type(self, text: str) -> None:
        """Types into whatever has the focus, as fast as a terminal hands over what was pasted by an input method."""
        for character in text:
            self.post_key("enter" if character == "\r" else character)
        await self.until(self._keys_are_done)

    async def press(self, *keys: str) -> None:
        """Presses keys; does not wait for the run, which may go on for ever."""
        for key in keys:
            self.post_key(key)
            await self.until(self._keys_are_done)

    def _keys_are_done(self) -> bool:
        return not (self.app.is_running and (self.app._keys or self.app._key_at_work))

    async def run_to_end(self) -> None:
        """Presses enter and waits until the run is over and the screen says so."""
        before = self.view.branch if self.playground.run_view else None
        await self.press("enter")
        await self.until(lambda: self.playground.run_view and self.view.branch is not before and self.says_end())

    async def grow_beyond(self, positions: int) -> None:
        """Presses enter and waits until the run has more positions than these."""
        await self.press("enter")
        await self.until(lambda: self.length > positions)

    async def pause_beyond(self, positions: int, key: str = "space") -> None:
        """The same, and pauses it by a key; the run stands still then."""
        await self.grow_beyond(positions)
        await self.press(key)
        await self.stands_still()

    async def stop(self) -> None:
        """Ends the run."""
        await self.press("escape")
        await self.until(self.says_end)

    # --- what is waited for ---

    def says_end(self) -> bool:
        """Whether the run is over and the screen says so."""
        view = self.playground.run_view
        if view is None or view.running or not view.views or not all(part.size for part in view.views):
            return False
        return self.playground.side.knobs.progress == view.progress()

    async def ends(self, branch: str) -> None:
        """Waits until a branch is on the screen, and its run is over."""
        await self.until(lambda: self.shown == branch and self.says_end())

    async def stands_still(self) -> None:
        """Waits until the run has come to its stop in a pause, and all that was made is shown."""
        await self.until(lambda: self.view.still)

    async def grows_to(self, positions: int) -> None:
        """Waits until a paused run stands still with so many positions."""
        await self.until(lambda: self.view.still and self.length == positions)

    async def reads(self, text: str) -> None:
        """Waits for something to be read in the panel of the next token."""
        await self.until(lambda: text in self.panel)

    async def says(self, text: str) -> None:
        """Waits until the screen has said something, and nothing else, last."""
        await self.until(lambda: self.notice == text)

    # --- what is there ---

    @property
    def playground(self) -> PlaygroundScreen:
        """The screen below all dialogs."""
        playground: PlaygroundScreen = self.app.playground
        return playground

    @property
    def view(self) -> RunView:
        """The branch in the middle, which must be there."""
        assert self.playground.run_view
        return self.playground.run_view

    @property
    def branch(self) -> Branch:
        """What is in the middle."""
        return self.view.branch

    @property
    def shown(self) -> str:
        """The name of the branch in the middle; empty while there is none."""
        return self.branch.name if self.playground.run_view else ""

    @property
    def length(self) -> int:
        """Positions of the branch in the middle."""
        return len(self.branch) if self.playground.run_view else 0

    @property
    def running(self) -> bool:
        """Whether tokens are being made."""
        return self.playground.run_view is not None and self.view.running

    @property
    def workspace(self) -> Workspace:
        """Of the model on the screen."""
        assert self.playground.workspace
        return self.playground.workspace

    @property
    def params(self) -> SamplingParams:
        """The knobs as they are turned."""
        return self.playground.knobs.params

    def tokens(self, sample: int = 0, branch: str = "") -> list[int]:
        """Of a sample, from the first position on; of the branch in the middle unless another is named."""
        source = self.workspace.tree[branch] if branch else self.branch
        tokens: list[int] = source.tokens[:, sample].tolist()
        return tokens

    # --- what is read ---

    @property
    def page(self) -> str:
        """The text of the first sample; empty while there is none."""
        return next(iter(self.pages), "")

    @property
    def pages(self) -> list[str]:
        """The texts of all samples."""
        return [view.text for view in self.app.query(TextView)]

    @property
    def panel(self) -> str:
        """The panel of the next token as it can be read."""
        return "\n".join(self.lines(self.playground.side.next_token))

    @property
    def surprisal(self) -> str:
        """The panel of surprisal likewise."""
        return "\n".join(self.lines(self.playground.side.surprisal))

    @property
    def footer(self) -> str:
        """The last line of the screen."""
        return "".join(self.lines(self.playground.key_bar))

    @property
    def branches(self) -> list[str]:
        """The lines of the list of branches."""
        return [line.rstrip("▕ ") for line in self.lines(self.playground.branches)[1:] if line.strip("▕ ")]

    @property
    def notice(self) -> str:
        """What the screen has said last; empty if nothing."""
        return "".join(note.message for note in self.app._notifications)

    def shares(self, position: int, params: SamplingParams, sample: int = 0) -> list[str]:
        """The probability of each token at a position after the knobs, as the panel writes it."""
        weights = draw_weights(self.branch.look(position).logits, params.row())[sample].astype(np.float64)
        return [percent(share) if share else "cut" for share in weights / weights.sum()]


@asynccontextmanager
async def on_screen(
    folder: Path,
    *,
    size: tuple[int, int] = (80, 24),
    pace: float = math.inf,
    tour: Tour | None = None,
    training: Training | None = None,
    **settings: Any,
) -> AsyncIterator[ScreenDriver]:
    """The app with a model folder opened, at a pace, or a checkpoint being converted, or a model downloaded; the models
    beside it are listed.

    tour, training: through which it leads, or which it follows.
    """
    app = TuiGen(Settings(folder, **settings), find_models(), tour=tour, training=training)
    driver = ScreenDriver(app)
    async with app.run_test(size=size, message_hook=driver.hear):
        if not (is_checkpoint(folder) or is_address(folder)):
            await driver.until(lambda: driver.playground.workspace is not None or driver.notice)
        driver.playground.knobs.rate = pace
        yield driver


def count_model_steps(patch: pytest.MonkeyPatch) -> list[int]:
    """From now on, every step of any model adds its number of samples to this list."""
    counts, step = list[int](), Model.step

    def count(self: Model, tokens: Any, state: Any) -> Any:
        counts.append(len(tokens))
        return step(self, tokens, state)

    patch.setattr(Model, "step", count)
    return counts


async def engines_end() -> None:
    """Waits until no thread of any run or loader is at work; none can begin any more."""
    async with asyncio.timeout(GUARD_SECONDS):
        await asyncio.get_running_loop().shutdown_default_executor()


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
