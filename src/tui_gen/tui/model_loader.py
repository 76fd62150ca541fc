"""Opens models and makes sessions again, in a thread beside the screen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from textual import work
from textual.message import Message
from textual.widget import Widget
from textual.worker import get_current_worker

from tui_gen.errors import TuiGenError
from tui_gen.library import LoadedModel, open_model
from tui_gen.sessions.replay import LoadedSession, Replay
from tui_gen.sessions.workspace import Workspace
from tui_gen.tui.knob_state import Settings

_TOKENS_BETWEEN_REPORTS = 500


@dataclass
class ModelOpened(Message):
    """A model can be played."""

    workspace: Workspace
    session: LoadedSession | None
    """What is made again with it now."""


@dataclass
class ModelRefused(Message):
    """A model could not be opened, or not be what a session is made again with."""

    fault: str


@dataclass
class ReplayProgress(Message):
    """How far the replay of a session is."""

    done: int
    total: int


@dataclass
class ReplayEnded(Message):
    """A session was made again, as far as no fault stopped it."""

    workspace: Workspace
    replay: Replay
    session: LoadedSession
    fault: str


class ModelLoader(Widget):
    """Keeps a workspace of every model that was played. Has no looks; its messages say what it has done."""

    DEFAULT_CSS = "ModelLoader { display: none; }"

    def __init__(self, settings: Settings, workspaces: dict[Path, Workspace]) -> None:
        """settings: how models are opened, and the session that is made again with the first one.

        workspaces: by the folders of their models; grows.
        """
        super().__init__()
        self.folder: Path | None = settings.folder
        """Of the model that is being opened, or with which a session is made again; at first, of the one to open."""
        self._settings, self._workspaces, self._session = settings, workspaces, settings.session

    def open(self, folder: Path) -> None:
        """Opens a model, in place of the one that is being opened."""
        self.folder = folder
        self._run(folder, self._workspaces.get(folder), self._session if folder == self._settings.folder else None)

    @work(thread=True, exclusive=True)
    def _run(self, folder: Path, workspace: Workspace | None, session: LoadedSession | None) -> None:
        worker = get_current_worker()
        for message in _messages(folder, workspace, session, self._settings):
            if worker.is_cancelled:  # by the choice of another model
                return
            if message:
                self.post_message(message)

    def on_model_opened(self, message: ModelOpened) -> None:
        """Keeps the workspace."""
        self._workspaces[message.workspace.loaded_model.path] = message.workspace
        self._end(message.workspace if message.session is None else None)

    def on_replay_ended(self, message: ReplayEnded) -> None:
        """Keeps the workspace in place of the empty one."""
        self._workspaces[message.workspace.loaded_model.path] = message.workspace
        self._session = None
        self._end(message.workspace)

    def on_model_refused(self) -> None:
        """Nothing is being opened."""
        self.folder = None

    def _end(self, workspace: Workspace | None) -> None:
        if workspace and workspace.loaded_model.path == self.folder:
            self.folder = None


def _messages(
    folder: Path, workspace: Workspace | None, session: LoadedSession | None, settings: Settings
) -> Iterator[Message | None]:
    """What happens, as it happens; None where it may be cancelled."""
    try:
        workspace = workspace or Workspace(_load(folder, settings))
        yield ModelOpened(workspace, session)
        if session:
            yield from _replay(workspace.loaded_model, session)
    except (TuiGenError, OSError, MemoryError) as fault:
        yield ModelRefused(str(fault) or type(fault).__name__)


def _load(folder: Path, settings: Settings) -> LoadedModel:
    """Opens a model folder as the command line asks, and decides where the model runs."""
    loaded_model = open_model(folder, provider=settings.provider, threads=settings.threads, device=settings.device)
    loaded_model.model.place(settings.samples)
    return loaded_model


def _replay(loaded_model: LoadedModel, session: LoadedSession) -> Iterator[Message | None]:
    replay, fault = Replay(session.session, loaded_model), ""
    try:
        for _ in replay.run():
            due = replay.done % _TOKENS_BETWEEN_REPORTS == 0
            yield ReplayProgress(replay.done, replay.total) if due else None
    except TuiGenError as error:
        fault = str(error)
    yield ReplayEnded(Workspace.of_replay(loaded_model, replay), replay, session, fault)
