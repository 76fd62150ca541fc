"""Helpers for stories on the real screen with toy models."""

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

from tui_gen.generation.branch import StepBuffer
from tui_gen.generation.generate import generate
from tui_gen.library import find_models, open_model
from tui_gen.sampling.params import SamplingParams
from tui_gen.tui.app import TuiGen
from tui_gen.tui.knob_state import Settings
from tui_gen.tui.widgets.run_view import Player
from tui_gen.tui.widgets.text_view import TextView


class Shown(NamedTuple):
    """A token that has come to the screen, and the knobs that counted for it."""

    index: int
    params: SamplingParams


class Stage:
    """A running app, and the steps that it has shown."""

    def __init__(self, app: TuiGen) -> None:
        self.app, self.steps = app, list[Shown]()
        self._heard: StepBuffer | None = None
        self._params = SamplingParams()

    def hear(self, message: Message) -> None:
        """Notes what is shown."""
        if isinstance(message, Player.Advanced) and message.made is not self._heard:
            self._heard, turns = message.made, dict(message.made.turns)
            for index in range(message.made.first, message.made.first + len(message.made)):
                self._params = turns.get(index, self._params)
                self.steps.append(Shown(index, self._params))

    async def until(self, what: Callable[[], Any]) -> None:
        """Waits for something to come true; fails after ten seconds."""
        for _ in range(1000):
            if what():
                await asyncio.sleep(0.02)
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it never came true:\n" + self.screen())

    async def shows(self, text: str) -> None:
        """Waits for something to be read on the screen; fails after ten seconds."""
        await self.until(lambda: text in self.screen())

    async def hides(self, text: str) -> None:
        """Waits for something to be gone from the screen; fails after ten seconds."""
        await self.until(lambda: text not in self.screen())

    async def type(self, text: str) -> None:
        """Types into whatever has the focus."""
        for character in text:
            self.app.post_message(events.Key(_character_to_key(character), character))
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)

    async def press(self, *keys: str) -> None:
        """Presses keys; does not wait for the run, which may go on for ever."""
        for key in keys:
            self.app.simulate_key(key)
            await self.until(lambda: not any(pump.message_queue_size for pump in self._takers_of_keys()))

    def _takers_of_keys(self) -> list[MessagePump]:
        return [self.app, self.app.screen, *([self.app.focused] if self.app.focused else [])]

    async def run_to_end(self) -> None:
        """Presses enter and waits until the run is over and the screen says so."""
        before = self.player.branch if self.player else None
        await self.press("enter")
        await self.until(lambda: self.player and self.player.branch is not before and self.told_of_the_end())

    def told_of_the_end(self) -> bool:
        """Whether the run is over and the screen says so."""
        if self.player is None or self.player.ending is None:
            return False
        made = max(0, len(self.player.branch) - self.player.head)
        return self.app.knobs.progress == self.app.stage.meter.result(self.player.ending, made)

    def told_of_the_end_of(self, branch: str) -> bool:
        """The same of a branch that has come on the stage; before it has, and before it runs, nothing is over."""
        return self.player is not None and self.player.branch.name == branch and self.told_of_the_end()

    @property
    def player(self) -> Player | None:
        """What is on the stage of the app."""
        return self.app.stage.player

    @property
    def running(self) -> bool:
        """Whether tokens are being made."""
        return self.app.stage.running

    @property
    def params(self) -> SamplingParams:
        """The knobs as they are turned."""
        return self.app.dials.params

    @property
    def page(self) -> str:
        """The text of the first sample."""
        return self.app.query(TextView).first().text

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
async def on_stage(
    folder: Path, *, size: tuple[int, int] = (80, 24), pace: float = math.inf, **settings: Any
) -> AsyncIterator[tuple[Stage, Pilot[None]]]:
    """The app with a model folder opened, at a pace; the models beside it are listed too."""
    app = TuiGen(Settings(folder, **settings), find_models())
    stage = Stage(app)
    async with app.run_test(size=size, message_hook=stage.hear) as pilot:
        await stage.until(lambda: app.loaded_model is not None or app._notifications)
        app.dials.rate = pace
        yield stage, pilot


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
