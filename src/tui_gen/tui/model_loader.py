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
from tui_gen.library import Playable, open_model
from tui_gen.sessions.replay import Loaded, Replay
from tui_gen.sessions.workspace import Sitting
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
        self._sittings: dict[Path, Sitting] = {}
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

    def sit(self, playable: Playable, sitting: Sitting) -> Sitting:
        """Takes a sitting in the place of the one that the model has."""
        self._sittings[playable.path] = sitting
        return sitting

    def start_when_open(self) -> None:
        """Somebody could not wait."""
        self._start_when_open = True

    def open(self, folder: Path) -> None:
        """Opens a model beside the screen; the one that plays goes on."""
        playing = self._desk.playable
        if playing and playing.path == folder and not self.busy:
            return
        self._desk.header.show(f"opening {folder.name} ...")
        self._opener.open(folder)

    def show_learning(self) -> None:
        """How the model on the screen learned, if its folder says."""
        from tui_gen.tui.dialogs.training import LearnedDialog

        if not (playable := self._desk.playable):
            return
        try:
            learning = read_learning(playable.path, playable.card)
        except TuiGenError as fault:
            self._desk.complain(str(fault))
            return
        if learning.epochs:
            self._desk.push_screen(LearnedDialog(playable.card, learning))
        else:
            self._desk.say(f"{playable.path.name} does not say how it learned: it has no training log")

    def on_opener_refused(self, message: Opener.Refused) -> None:
        """A model that cannot be opened; what is on the screen stays."""
        desk = self._desk
        if desk.closing:
            return
        self._start_when_open = False
        desk.complain(message.fault)
        desk.showing.facts()
        if desk.playable is None:
            desk.stage.mount(About(f"{message.fault}\n\nChoose another model with f3."))

    async def on_opener_opened(self, message: Opener.Opened) -> None:
        """A model is ready; its card is shown until it runs."""
        if self._desk.closing:
            return
        self._serving = True
        await self._serve(message.playable)
        self._serving = False
        if self._session:
            loaded, self._session = self._session, None
            await Replaying(self._desk, loaded).start(message.playable)
        if self._start_when_open:
            self._start_when_open = False
            await self._desk.action_generate()

    async def _serve(self, playable: Playable) -> None:
        desk, card = self._desk, playable.card
        if desk.playable:
            self._prompts[desk.playable.card.name] = desk.prompt_line.value
            desk.prompt_line.value = self._prompts.get(card.name, "")
        desk.playable = playable
        desk.dials.serve(card, self._settings.temperature)
        desk.stage.sitting = self._sittings.setdefault(playable.path, Sitting(playable))
        desk.surprising.hide()
        await desk.stage.put(About(about_text(playable)))
        desk.prompt_line.serve(playable.codec, card.prompt_example)
        desk.models.mark(playable.path.name)
        desk.next_token.clear(playable.codec)
        desk.knobs.serve(desk.dials.knobs)
        desk.showing.facts()
        desk.stage.show_progress()
        desk.showing.everything()
        sitting = desk.stage.sitting
        if sitting.shown in sitting.tree:
            await desk.stage.show(sitting.tree[sitting.shown])
            desk.prompt_line.focus()


class Opener(Widget):
    """Has no look; owns the thread that opens model folders."""

    DEFAULT_CSS = "Opener { display: none; }"

    @dataclass
    class Opened(Message):
        """A model has been opened."""

        playable: Playable

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
            playable = open_model(folder, provider=asked.provider, threads=asked.threads, device=asked.device)
            playable.model.place(asked.samples)
            outcome: Message = self.Opened(playable)
        except (TuiGenError, OSError, MemoryError) as fault:
            outcome = self.Refused(str(fault) or type(fault).__name__)
        if not get_current_worker().is_cancelled:  # by the choice of another model
            self.busy = False
            self.post_message(outcome)


class Replaying:
    """Does so once, for the session that the screen was started with."""

    def __init__(self, desk: TuiGen, loaded: Loaded) -> None:
        self._desk, self.loaded = desk, loaded

    async def start(self, playable: Playable) -> None:
        """Begins, in a thread."""
        try:
            replay = Replay(self.loaded.session, playable)
        except TuiGenError as fault:
            self._desk.complain(str(fault))
            return
        await self._desk.stage.put(About("making the session again ..."))
        self._desk.run_worker(lambda: self._make(replay, playable), thread=True, exit_on_error=False)

    def _make(self, replay: Replay, playable: Playable) -> None:
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
            desk.call_from_thread(lambda: desk.run_worker(self._show(replay, playable, fault)))

    async def _show(self, replay: Replay, playable: Playable, fault: str) -> None:
        desk = self._desk
        desk.showing.facts()
        desk.stage.sitting = desk.serving.sit(playable, Sitting(playable, replay.tree))
        if journal := desk.keeping.journal:
            journal.take_up(self.loaded.session, replay.branches)
        branch = replay.branches.get(self.loaded.chosen.number)
        if branch is None or branch.name not in replay.tree:
            branch = next((twig.branch for twig in replay.tree.twigs()), None)
        if branch:
            self._turn_knobs_to(branch)
            await desk.stage.show(branch)
        self._tell(replay, fault)

    def _turn_knobs_to(self, branch: Branch) -> None:
        """As they were when the branch was left."""
        dials, params = self._desk.dials, branch.params_at(len(branch) - 1)
        for name in ("temperature", "top_k", "top_p", "min_p"):
            setattr(dials.params, name, getattr(params, name))
        dials.seed, dials.samples = branch.begun.seed, branch.samples
        self._desk.prompt_line.value = self._desk.prompt_line.validate_value(branch.begun.text)

    def _tell(self, replay: Replay, fault: str) -> None:
        if fault:
            self._desk.complain(fault)
        elif not self.loaded.same_model:
            self._desk.complain("not exact: this is another model than the one that the session was made with")
        elif replay.differences:
            self._desk.complain(f"not exact: {replay.differences[0]}")
        else:
            self._desk.say(f"replayed exactly: {len(replay.tree)} branch{'es' if len(replay.tree) != 1 else ''}")
