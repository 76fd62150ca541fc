"""Opens models and makes sessions again, in a thread beside the screen; notices models that were written anew."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue

from textual import work
from textual.message import Message
from textual.widget import Widget
from textual.worker import Worker, get_current_worker

from tui_gen import hub
from tui_gen.checkpoint import Answers, Diagnosis, StoppedError, is_checkpoint, open_checkpoint
from tui_gen.child import Report
from tui_gen.errors import TuiGenError
from tui_gen.library import LoadedModel, distinct_names, graph_file, open_model
from tui_gen.sessions.replay import LoadedSession, Replay
from tui_gen.sessions.workspace import Workspace
from tui_gen.training_run import log_folder, network_folder
from tui_gen.tui.knob_state import Settings

_TOKENS_BETWEEN_REPORTS = 500
_SECONDS_BETWEEN_LOOKS = 1.0
_PATIENCE = 0.15
"""Seconds that the screen waits for a stranger's tokenizer: an honest one answers within a hundredth of that."""
_LOOK = 0.1
"""Seconds after which one who waits for answers looks again whether anybody wants the model."""
_EARLIER_VERSIONS = 4
"""Of a model whose folder is written anew again and again, and of a run, so many stay open besides the newest."""
FileTimes = tuple[tuple[int, int], ...]
"""When each file of a model was last changed, in nanoseconds, and its bytes."""


@dataclass
class ModelOpened(Message):
    """A model can be played."""

    workspace: Workspace
    session: LoadedSession | None
    """What is made again with it now."""
    times: FileTimes
    """Of its files, just before they were read."""
    beside: bool = False
    """Whether it is to be compared with the model on the screen."""


@dataclass(frozen=True)
class Asker:
    """A conversion that waits for answers."""

    worker: Worker[None]
    replies: SimpleQueue[Answers]


@dataclass
class CheckpointAsks(Message):
    """A checkpoint does not say what is needed to make a model of it."""

    path: Path
    diagnosis: Diagnosis
    answers: Answers = ()
    """What was answered already."""
    fault: str = ""
    """Why that was of no use."""
    beside: bool = False
    """As of `ModelOpened`."""
    asker: Asker | None = None
    """None where nobody waits for the answers."""


@dataclass
class ConversionProgress(Message):
    """What is being done to make a model of a checkpoint, or to download one."""

    path: Path
    line: str
    since: float
    """When that began, by the monotonic clock."""

    @property
    def seconds(self) -> int:
        """That it takes already."""
        return int(time.monotonic() - self.since)


@dataclass
class ModelRefused(Message):
    """A model could not be opened, or not be what a session is made again with."""

    fault: str


@dataclass
class ModelWritten(Message):
    """The folder of an open model holds another one now."""

    folder: Path


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

    def __init__(self, settings: Settings, workspaces: list[Workspace]) -> None:
        """settings: how models are opened, and the session that is made again with the first one.

        workspaces: of the models that were opened, of one folder the newest last; grows.
        """
        super().__init__()
        self.folder: Path | None = settings.folder
        """Of the model that is being opened, or with which a session is made again."""
        self.workspaces, self._settings, self._session = workspaces, settings, settings.session
        self._read_times, self._last_times = dict[Path, FileTimes](), dict[Path, FileTimes]()
        self._progress: ConversionProgress | None = None
        """What was said last of a conversion that goes on."""
        self.playing: Workspace | None = None
        """The one on the screen, which stays open."""
        self._newer = dict[Path, FileTimes]()
        """Of the files in folders that hold another model now than the one that was read there."""

    def on_mount(self) -> None:
        """Looks at the folders of open models from now on."""
        self.set_interval(_SECONDS_BETWEEN_LOOKS, self.look)

    def open(self, folder: Path) -> None:
        """Opens a model, in place of the one that is being opened."""
        self.folder = folder
        self._run(folder, self.newest(folder), self._session if folder == self._settings.folder else None)

    def open_beside(self, folder: Path) -> None:
        """Opens a model to be compared with the one on the screen."""
        self._run(folder, None, None, beside=True)

    @property
    def is_busy(self) -> bool:
        """Whether a model is being opened, for the screen or beside it."""
        return any(worker.node is self and not worker.is_finished for worker in self.workers)

    def cancel(self) -> None:
        """Opens nothing any more."""
        self.workers.cancel_node(self)
        self.folder = None

    def reload(self, folder: Path) -> None:
        """Opens a model as its folder is now, whatever was opened before; of a checkpoint, with the same answers."""
        self.folder = folder
        before = self.newest(folder)
        self._run(folder, None, None, question=self.question_of(before.loaded_model) if before else None)

    def question_of(self, loaded_model: LoadedModel) -> CheckpointAsks | None:
        """What its checkpoint does not say, with what was answered on the screen; None for a model of another kind."""
        conversion = loaded_model.conversion
        if not conversion:
            return None
        answers = conversion.answers[len(self._settings.answers) :]
        return CheckpointAsks(conversion.path, conversion.diagnosis, answers)

    def answer(self, question: CheckpointAsks, answers: Answers) -> None:
        """Makes a model of a checkpoint with these answers besides those of the command line, and opens it."""
        self.folder = None if question.beside else question.path
        if question.asker and not question.asker.worker.is_cancelled:
            question.asker.replies.put(answers)
        else:
            self._run(question.path, None, None, beside=question.beside, question=replace(question, answers=answers))

    def newest(self, folder: Path) -> Workspace | None:
        """Of the model in a folder, as it was opened last; None where it never was."""
        return next((each for each in reversed(self.workspaces) if each.loaded_model.path == folder), None)

    def ready(self, folder: Path) -> Workspace | None:
        """The same, by whatever path, unless a session is still to be made again with it."""
        if self._session and folder == self._settings.folder:
            return None
        same = (each for each in self.workspaces if each.loaded_model.path.resolve() == folder.resolve())
        return next((self.newest(each.loaded_model.path) for each in same), None)

    def is_outdated(self, loaded_model: LoadedModel) -> bool:
        """Whether the folder of this model holds another one now."""
        newest = self.newest(loaded_model.path)
        return newest is not None and (newest.loaded_model is not loaded_model or loaded_model.path in self._newer)

    def names(self, models: Sequence[LoadedModel]) -> list[str]:
        """What to call models, open ones here or those of a session, to tell them apart."""
        known = [each.loaded_model for each in self.workspaces]
        every = [model for model in models if model not in known] + known
        names = dict(zip(map(id, every), labels(every), strict=True))
        return [names[id(model)] for model in models]

    def played_beside(self, workspace: Workspace) -> list[tuple[str, Workspace]]:
        """The models that were played besides one, and their names."""
        names = labels([each.loaded_model for each in self.workspaces])
        pairs = zip(names, self.workspaces, strict=True)
        return [(name, each) for name, each in pairs if each is not workspace and len(each.tree)]

    def look(self) -> None:
        """Looks whether folders of open models were written anew; one that is still being written waits. Says again
        what is being converted.
        """
        if self._progress:
            self.post_message(replace(self._progress))
        for folder, read in self._read_times.items():
            times = _file_times(folder)
            settled, self._last_times[folder] = times == self._last_times.get(folder), times
            if times and times not in (read, self._newer.get(folder)) and settled:
                self._newer[folder] = times
                self.post_message(ModelWritten(folder))

    @work(thread=True, exclusive=True)
    def _run(
        self,
        folder: Path,
        workspace: Workspace | None,
        session: LoadedSession | None,
        *,
        beside: bool = False,
        question: CheckpointAsks | None = None,
    ) -> None:
        """question: that was answered, of a checkpoint."""
        worker = get_current_worker()
        if workspace is None and (hub.is_address(folder) or is_checkpoint(folder)):
            is_foreign = hub.is_address(folder)
            refusal = self._fetch(folder, worker) if is_foreign else self._convert(folder, worker, question, beside)
            if refusal and not worker.is_cancelled:
                self.post_message(refusal)
            if refusal:
                return
        for message in _messages(folder, workspace, session, self._settings):
            if worker.is_cancelled:  # by the choice of another model
                return
            if isinstance(message, ModelOpened):
                message.beside = beside
            if message:
                self.post_message(message)

    def _teller(self, path: Path) -> Report:
        began = time.monotonic()

        def tell(line: str) -> None:
            self._progress = ConversionProgress(path, line, began)
            self.post_message(replace(self._progress))

        return tell

    def _fetch(self, path: Path, worker: Worker[None]) -> ModelRefused | None:
        """Downloads a model that the cache does not have, or says what stands against it."""
        try:
            hub.fetch(path, tell=self._teller(path), is_stopped=lambda: worker.is_cancelled)
        except (TuiGenError, OSError) as fault:
            return ModelRefused(str(fault))
        finally:
            self._progress = None
        return None

    def _convert(
        self, path: Path, worker: Worker[None], question: CheckpointAsks | None, beside: bool
    ) -> CheckpointAsks | ModelRefused | None:
        """Makes a model of a checkpoint, or says what stands against it. question: that was answered, here at last."""
        tell = self._teller(path)

        def ask(diagnosis: Diagnosis) -> Answers:
            nonlocal question
            asker = Asker(worker, SimpleQueue())
            self.post_message(CheckpointAsks(path, diagnosis, beside=beside, asker=asker))
            while not worker.is_cancelled:
                with suppress(Empty):
                    question = CheckpointAsks(path, diagnosis, asker.replies.get(timeout=_LOOK), beside=beside)
                    return question.answers
            raise StoppedError(f"the conversion of {path} was ended")

        try:
            open_checkpoint(
                path,
                self._settings.answers,
                more=question.answers if question else None,
                ask=ask,
                tell=tell,
                is_stopped=lambda: worker.is_cancelled,
            )
        except (TuiGenError, OSError, MemoryError) as fault:
            words = str(fault) or type(fault).__name__
            return replace(question, fault=words) if question else ModelRefused(words)
        finally:
            self._progress = None
        return None

    def on_model_opened(self, message: ModelOpened) -> None:
        """Keeps the workspace."""
        workspace = message.workspace
        if workspace not in self.workspaces:
            self._keep(workspace, message.times)
        self._end(workspace if message.session is None else None)

    def on_replay_ended(self, message: ReplayEnded) -> None:
        """Keeps the workspace in place of the empty one."""
        model = message.workspace.loaded_model
        self.workspaces[:] = [message.workspace if each.loaded_model is model else each for each in self.workspaces]
        self._session = None
        self._end(message.workspace)

    def on_model_refused(self) -> None:
        """Nothing is being opened."""
        self.folder = None

    def _keep(self, workspace: Workspace, times: FileTimes) -> None:
        """Of the earlier versions, or the networks of one run, the last few stay that were played."""
        folder = workspace.loaded_model.path
        training = log_folder(folder)
        versions = [each for each in self.workspaces if log_folder(each.loaded_model.path) == training]
        stay = [each for each in versions if len(each.tree)][-_EARLIER_VERSIONS:]
        for version in versions:
            if version not in stay and not (version is self.playing and len(version.tree)):
                self.workspaces.remove(version)
                version.retire()
        self.workspaces.append(workspace)
        self._read_times[folder] = self._last_times[folder] = times
        self._newer.pop(folder, None)

    def _end(self, workspace: Workspace | None) -> None:
        if workspace and workspace.loaded_model.path == self.folder:
            self.folder = None


def labels(models: Sequence[LoadedModel]) -> list[str]:
    """Names that tell them apart; of one folder and name, all but the last are `(before)`."""
    places = [(model.path, model.name) for model in models]
    newest = dict(zip(places, models, strict=True))
    names = dict(zip(newest, distinct_names(list(newest.values())), strict=True))
    later = [places[number + 1 :].count(place) for number, place in enumerate(places)]
    ages = ["" if not count else " (before)" if count == 1 else f" ({count} before)" for count in later]
    return [names[place] + age for place, age in zip(places, ages, strict=True)]


def _file_times(folder: Path) -> FileTimes:
    """Of the files of a model or a checkpoint; nothing where one of them is missing for a moment."""
    try:
        if folder.is_dir() and is_checkpoint(folder):
            facts = [path.stat() for path in sorted(folder.iterdir())]
        else:
            folder = network_folder(folder)
            card = [] if folder.is_file() else [folder / "config.json"]
            facts = [os.stat(path) for path in (*card, graph_file(folder))]
    except OSError:
        return ()
    return tuple((fact.st_mtime_ns, fact.st_size) for fact in facts)


def _messages(
    folder: Path, workspace: Workspace | None, session: LoadedSession | None, settings: Settings
) -> Iterator[Message | None]:
    """What happens, as it happens; None where it may be cancelled."""
    try:
        times = _file_times(folder)
        workspace = workspace or Workspace(load(folder, settings))
        yield ModelOpened(workspace, session, times)
        if session:
            yield from _replay(workspace.loaded_model, session, settings)
    except (TuiGenError, OSError, MemoryError) as fault:
        yield ModelRefused(str(fault) or type(fault).__name__)


def load(folder: Path, settings: Settings) -> LoadedModel:
    """Opens a model folder as the command line asks, and decides where the model runs."""
    loaded_model = open_model(
        folder,
        provider=settings.provider,
        threads=settings.threads,
        device=settings.device,
        trust=settings.trust,
        answers=settings.answers if is_checkpoint(folder) else (),
    )
    loaded_model.codec.hurry(_PATIENCE)
    loaded_model.model.place(settings.samples)
    return loaded_model


def _replay(loaded_model: LoadedModel, session: LoadedSession, settings: Settings) -> Iterator[Message | None]:
    others = {index: load(folder, settings) for index, folder in session.folders.items() if index}
    replay, fault = Replay(session.session, loaded_model, others), ""
    try:
        for _ in replay.run():
            due = replay.done % _TOKENS_BETWEEN_REPORTS == 0
            yield ReplayProgress(replay.done, replay.total) if due else None
    except TuiGenError as error:
        fault = str(error)
    yield ReplayEnded(Workspace.of_replay(loaded_model, replay), replay, session, fault)
