"""Helpers for the stories of the instrument: what a part of the screen says, and what is true below it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from textual.widget import Widget

from tests.support.driver import ScreenDriver
from tui_gen.generation.branch import Branch
from tui_gen.runtime.model import Model
from tui_gen.sampling.params import SamplingParams
from tui_gen.sampling.params import weights as draw_weights
from tui_gen.sessions.workspace import Workspace


def branch(driver: ScreenDriver) -> Branch:
    """What is on the driver."""
    assert driver.view.branch
    return driver.view.branch


def workspace(driver: ScreenDriver) -> Workspace:
    """All branches of the model on the screen."""
    assert driver.playground.workspace
    return driver.playground.workspace


def tokens(of: Branch, sample: int = 0) -> list[int]:
    """The tokens of a sample, from the first position on."""
    found: list[int] = of.tokens[:, sample].tolist()
    return found


def grown(driver: ScreenDriver, beyond: int) -> bool:
    """Whether the branch on the driver has more positions than these."""
    return driver.view.branch is not None and len(driver.view.branch) > beyond


def lines(driver: ScreenDriver, part: Widget) -> list[str]:
    """The lines of the screen where a part of it stands."""
    x, y, width, height = part.region
    return [line.ljust(x + width)[x : x + width].rstrip() for line in driver.screen().split("\n")[y : y + height]]


def panel(driver: ScreenDriver) -> str:
    """The distribution as it can be read."""
    return "\n".join(lines(driver, driver.playground.side.next_token))


def footer(driver: ScreenDriver) -> str:
    """The last line of the screen."""
    return "".join(lines(driver, driver.playground.key_bar))


def told(driver: ScreenDriver) -> str:
    """What the screen has said last; empty if nothing."""
    return "".join(note.message for note in driver.app._notifications)


def place(driver: ScreenDriver, text: str) -> tuple[int, int]:
    """Where a text stands on the screen: (column, row)."""
    for y, line in enumerate(driver.screen().split("\n")):
        if text in line:
            return line.index(text), y
    raise AssertionError(f"{text} is not on the screen:\n{driver.screen()}")


def at_rest(driver: ScreenDriver) -> bool:
    """Whether the run is paused, its engine waits, and all that was made is shown."""
    if not driver.view.paused or not driver.view:
        return False
    engine: Any = driver.view.pace._condition
    handed_over: Any = driver.view._room
    return bool(engine._waiters) and handed_over._value == 2


async def grows_to(driver: ScreenDriver, positions: int) -> None:
    """Waits until a paused run stands still with so many positions."""
    await driver.until(lambda: at_rest(driver) and len(branch(driver)) == positions)


async def reads(driver: ScreenDriver, text: str) -> None:
    """Waits for something to be read in the panel of the distribution."""
    await driver.until(lambda: text in panel(driver))


def counted_steps(patch: pytest.MonkeyPatch) -> list[int]:
    """From now on, every step of any model adds its number of samples to this list."""
    made, step = list[int](), Model.step

    def counting(self: Model, read: Any, state: Any) -> Any:
        made.append(len(read))
        return step(self, read, state)

    patch.setattr(Model, "step", counting)
    return made


def shares(driver: ScreenDriver, position: int, params: SamplingParams, sample: int = 0) -> list[str]:
    """The probability of each token at a position after the knobs, as the panel writes it."""
    weights = draw_weights(branch(driver).look(position).logits, params.row())[sample].astype(np.float64)
    return [_percent(share) for share in weights / weights.sum()]


def _percent(share: float) -> str:
    if share == 0:
        return "cut"
    if share < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= share < 1 else f"{100 * share:.1f}%"
