"""Helpers for the stories of the instrument: what a part of the screen says, and what is true below it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from textual.widget import Widget

from tests.support.stage import Stage
from tui_gen.generation.branch import Branch
from tui_gen.runtime.model import Model
from tui_gen.sampling.params import SamplingParams
from tui_gen.sampling.params import weights as draw_weights
from tui_gen.sessions.workspace import Workspace


def branch(stage: Stage) -> Branch:
    """What is on the stage."""
    assert stage.app.stage.branch
    return stage.app.stage.branch


def workspace(stage: Stage) -> Workspace:
    """All branches of the model on the screen."""
    assert stage.app.stage.workspace
    return stage.app.stage.workspace


def tokens(of: Branch, sample: int = 0) -> list[int]:
    """The tokens of a sample, from the first position on."""
    found: list[int] = of.tokens[:, sample].tolist()
    return found


def grown(stage: Stage, beyond: int) -> bool:
    """Whether the branch on the stage has more positions than these."""
    return stage.app.stage.branch is not None and len(stage.app.stage.branch) > beyond


def lines(stage: Stage, part: Widget) -> list[str]:
    """The lines of the screen where a part of it stands."""
    x, y, width, height = part.region
    return [line.ljust(x + width)[x : x + width].rstrip() for line in stage.screen().split("\n")[y : y + height]]


def panel(stage: Stage) -> str:
    """The distribution as it can be read."""
    return "\n".join(lines(stage, stage.app.next_token))


def footer(stage: Stage) -> str:
    """The last line of the screen."""
    return "".join(lines(stage, stage.app.key_bar))


def told(stage: Stage) -> str:
    """What the screen has said last; empty if nothing."""
    return "".join(note.message for note in stage.app._notifications)


def place(stage: Stage, text: str) -> tuple[int, int]:
    """Where a text stands on the screen: (column, row)."""
    for y, line in enumerate(stage.screen().split("\n")):
        if text in line:
            return line.index(text), y
    raise AssertionError(f"{text} is not on the screen:\n{stage.screen()}")


def at_rest(stage: Stage) -> bool:
    """Whether the run is paused, its engine waits, and all that was made is shown."""
    if not stage.app.stage.paused or not stage.player:
        return False
    engine: Any = stage.player.pace._condition
    handed_over: Any = stage.player._room
    return bool(engine._waiters) and handed_over._value == 2


async def grows_to(stage: Stage, positions: int) -> None:
    """Waits until a paused run stands still with so many positions."""
    await stage.until(lambda: at_rest(stage) and len(branch(stage)) == positions)


async def reads(stage: Stage, text: str) -> None:
    """Waits for something to be read in the panel of the distribution."""
    await stage.until(lambda: text in panel(stage))


def counted_steps(patch: pytest.MonkeyPatch) -> list[int]:
    """From now on, every step of any model adds its number of samples to this list."""
    made, step = list[int](), Model.step

    def counting(self: Model, read: Any, state: Any) -> Any:
        made.append(len(read))
        return step(self, read, state)

    patch.setattr(Model, "step", counting)
    return made


def shares(stage: Stage, position: int, params: SamplingParams, sample: int = 0) -> list[str]:
    """The probability of each token at a position after the knobs, as the panel writes it."""
    weights = draw_weights(branch(stage).look(position).logits, params.row())[sample].astype(np.float64)
    return [_percent(share) for share in weights / weights.sum()]


def _percent(share: float) -> str:
    if share == 0:
        return "cut"
    if share < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= share < 1 else f"{100 * share:.1f}%"
