"""Opening models, and what the screen takes from the one that was opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import work
from textual.app import ComposeResult
from textual.message import Message
from textual.widget import Widget
from textual.worker import get_current_worker

from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch
from tui_gen.library import LoadedModel, open_model
from tui_gen.sessions.replay import LoadedSession, Replay
from tui_gen.sessions.workspace import Workspace
from tui_gen.training_log import read_learning
from tui_gen.tui.knob_state import Settings
from tui_gen.tui.widgets.header import About, about_text

if TYPE_CHECKING:
    from tui_gen.tui.app import TuiGen

_SAID_EVERY = 500
"""Tokens between two words about how far it is."""


class Serving(Widget):
    """Has no look. Each model has a sitting of its own, which stays when another model is opened."""

    DEFAULT_CSS = "Serving { display: none; }"

    def __init__(self, desk: TuiGen, settings: Settings) -> None:
        super().__init__()
        self._desk, self._settings = desk, settings
        self._opener = Opener(settings)
        self._workspaces: dict[Path, Workspace] = {}
        self._prompts: dict[str, str] = {}
        self._start_when_open = self._serving = False
        self._session = settings.session

    def compose(self) -> ComposeResult:
        """What opens them."""
        yield self._opener

    @property
    def busy(self) -> bool:
        """Whether a model is being opened."""
        return self._opener.busy or self._serving

    def sit(self, loaded_model: LoadedModel, workspace: Workspace) -> Workspace:
        """Takes a sitting in the place of the one that the model has."""
        self._workspaces[loaded_model.path] = workspace
        return workspace

    def start_when_open(self) -> None:
        """Somebody could not wait."""
        self._start_when_open = True

    def open(self, folder: Path) -> None:
        """Opens a model beside the screen; the one that plays goes on."""
        playing = self._desk.loaded_model
        if playing and playing.path == folder and not self.busy:
            return
        self._desk.header.show(f"opening {folder.name} ...")
        self._opener.open(folder)

    def show_learning(self) -> None:
        """How the model on the screen learned, if its folder says."""
        from tui_gen.tui.dialogs.training import TrainingDialog

        if not (loaded_model := self._desk.loaded_model):
            return
        try:
            learning = read_learning(loaded_model.path, loaded_model.card)
        except TuiGenError as fault:
            self._desk.complain(str(fault))
            return
        if learning.epochs:
            self._desk.push_screen(TrainingDialog(loaded_model.card, learning))
        else:
            self._desk.say(f"{loaded_model.path.name} does not say how it learned: it has no training log")

    def on_opener_refused(self, message: Opener.Refused) -> None:
        """A model that cannot be opened; what is on the screen stays."""
        desk = self._desk
        if desk.closing:
            return
        self._start_when_open = False
        desk.complain(message.fault)
        desk.showing.facts()
        if desk.loaded_model is None:
            desk.stage.mount(About(f"{message.fault}\n\nChoose another model with f3."))

    async def on_opener_opened(self, message: Opener.Opened) -> None:
        """A model is ready; its card is shown until it runs."""
        if self._desk.closing:
            return
        self._serving = True
        await self._serve(message.loaded_model)
        self._serving = False
        if self._session:
            loaded, self._session = self._session, None
            await Replaying(self._desk, loaded).start(message.loaded_model)
        if self._start_when_open:
            self._start_when_open = False
            await self._desk.action_generate()

    async def _serve(self, loaded_model: LoadedModel) -> None:
        desk, card = self._desk, loaded_model.card
        if desk.loaded_model:
            self._prompts[desk.loaded_model.card.name] = desk.prompt_line.value
            desk.prompt_line.value = self._prompts.get(card.name, "")
        desk.loaded_model = loaded_model
        desk.dials.serve(card, self._settings.temperature)
        desk.stage.workspace = self._workspaces.setdefault(loaded_model.path, Workspace(loaded_model))
        desk.surprising.hide()
        await desk.stage.put(About(about_text(loaded_model)))
        desk.prompt_line.serve(loaded_model.codec, card.prompt_example)
        desk.models.mark(loaded_model.path.name)
        desk.next_token.clear(loaded_model.codec)
        desk.knobs.serve(desk.dials.knobs)
        desk.showing.facts()
        desk.stage.show_progress()
        desk.showing.everything()
        workspace = desk.stage.workspace
        if workspace.shown in workspace.tree:
            await desk.stage.show(workspace.tree[workspace.shown])
            desk.prompt_line.focus()


class Opener(Widget):
    """Has no look; owns the thread that opens model folders."""

    DEFAULT_CSS = "Opener { display: none; }"

    @dataclass
    class Opened(Message):
        """A model has been opened."""

        loaded_model: LoadedModel

    @dataclass
    class Refused(Message):
        """A model could not be opened."""

        fault: str

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self.busy = False

    def open(self, folder: Path) -> None:
        """Opens a model folder and says how it went; what was being opened before is forgotten."""
        self.busy = True
        self._open_in_thread(folder)

    @work(thread=True, exclusive=True)
    def _open_in_thread(self, folder: Path) -> None:
        try:
            asked = self._settings
            loaded_model = open_model(folder, provider=asked.provider, threads=asked.threads, device=asked.device)
            loaded_model.model.place(asked.samples)
            outcome: Message = self.Opened(loaded_model)
        except (TuiGenError, OSError, MemoryError) as fault:
            outcome = self.Refused(str(fault) or type(fault).__name__)
        if not get_current_worker().is_cancelled:  # by the choice of another model
            self.busy = False
            self.post_message(outcome)


class Replaying:
    """Does so once, for the session that the screen was started with."""

    def __init__(self, desk: TuiGen, loaded: LoadedSession) -> None:
        self._desk, self.loaded = desk, loaded

    async def start(self, loaded_model: LoadedModel) -> None:
        """Begins, in a thread."""
        try:
            replay = Replay(self.loaded.session, loaded_model)
        except TuiGenError as fault:
            self._desk.complain(str(fault))
            return
        await self._desk.stage.put(About("making the session again ..."))
        self._desk.run_worker(lambda: self._make(replay, loaded_model), thread=True, exit_on_error=False)

    def _make(self, replay: Replay, loaded_model: LoadedModel) -> None:
        """In the thread."""
        desk, fault = self._desk, ""
        try:
            for _ in replay.run():
                if desk.closing:
                    return
                if replay.done % _SAID_EVERY == 0:
                    said = f"making the session again: {replay.done:,} of {replay.total:,} tokens"
                    desk.call_from_thread(desk.header.show, said)
        except TuiGenError as problem:
            fault = str(problem)
        if not desk.closing:
            desk.call_from_thread(lambda: desk.run_worker(self._show(replay, loaded_model, fault)))

    async def _show(self, replay: Replay, loaded_model: LoadedModel, fault: str) -> None:
        desk = self._desk
        desk.showing.facts()
        desk.stage.workspace = desk.serving.sit(loaded_model, Workspace(loaded_model, replay.tree))
        if journal := desk.keeping.journal:
            journal.take_up(self.loaded.session, replay.branches)
        branch = replay.branches.get(self.loaded.chosen.number)
        if branch is None or branch.name not in replay.tree:
            branch = next((row.branch for row in replay.tree.rows()), None)
        if branch:
            self._turn_knobs_to(branch)
            await desk.stage.show(branch)
        self._tell(replay, fault)

    def _turn_knobs_to(self, branch: Branch) -> None:
        """As they were when the branch was left."""
        dials, params = self._desk.dials, branch.params_at(len(branch) - 1)
        for name in ("temperature", "top_k", "top_p", "min_p"):
            setattr(dials.params, name, getattr(params, name))
        dials.seed, dials.samples = branch.start.seed, branch.samples
        self._desk.prompt_line.value = self._desk.prompt_line.validate_value(branch.start.text)

    def _tell(self, replay: Replay, fault: str) -> None:
        if fault:
            self._desk.complain(fault)
        elif not self.loaded.same_model:
            self._desk.complain("not exact: this is another model than the one that the session was made with")
        elif replay.differences:
            self._desk.complain(f"not exact: {replay.differences[0]}")
        else:
            self._desk.say(f"replayed exactly: {len(replay.tree)} branch{'es' if len(replay.tree) != 1 else ''}")
