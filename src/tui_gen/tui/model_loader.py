"""What the screen does in a thread before a model can be played: opening its folder, making a session again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from textual.message import Message

from tui_gen.errors import TuiGenError
from tui_gen.library import LoadedModel, open_model
from tui_gen.sessions.replay import Replay
from tui_gen.tui.knob_state import Settings

_TOKENS_BETWEEN_REPORTS = 500


@dataclass
class ModelOpened(Message):
    """A model has been opened."""

    loaded_model: LoadedModel


@dataclass
class ModelRefused(Message):
    """A model could not be opened."""

    fault: str


@dataclass
class ReplayProgress(Message):
    """How far the replay of a session is."""

    done: int
    total: int


@dataclass
class ReplayEnded(Message):
    """A session was made again, as far as no fault stopped it."""

    loaded_model: LoadedModel
    replay: Replay
    fault: str = ""


def load(folder: Path, settings: Settings) -> ModelOpened | ModelRefused:
    """Opens a model folder as the command line asks, and decides where the model runs."""
    try:
        loaded_model = open_model(folder, provider=settings.provider, threads=settings.threads, device=settings.device)
        loaded_model.model.place(settings.samples)
    except (TuiGenError, OSError, MemoryError) as fault:
        return ModelRefused(str(fault) or type(fault).__name__)
    return ModelOpened(loaded_model)


def run_replay(
    loaded_model: LoadedModel, replay: Replay, is_cancelled: Callable[[], bool]
) -> Iterator[ReplayProgress | ReplayEnded]:
    """Makes the branches of a session again; ends early, without a last message, where it is cancelled."""
    fault = ""
    try:
        for _ in replay.run():
            if is_cancelled():
                return
            if replay.done % _TOKENS_BETWEEN_REPORTS == 0:
                yield ReplayProgress(replay.done, replay.total)
    except TuiGenError as error:
        fault = str(error)
    yield ReplayEnded(loaded_model, replay, fault)
