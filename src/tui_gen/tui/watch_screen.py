"""The playground beside a training: the newest network is played as soon as nobody minds, beside the one before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from textual.message import Message
from textual.worker import Worker

from tui_gen.errors import TuiGenError
from tui_gen.library import Entry, LoadedModel
from tui_gen.run_watch import Network, RunState, Training
from tui_gen.scoring.comparison import MOST
from tui_gen.sessions.workspace import Workspace
from tui_gen.training_log import shown_loss
from tui_gen.training_run import log_folder
from tui_gen.tui.bindings import KEYS, Context, Key, key_of
from tui_gen.tui.knob_state import Settings
from tui_gen.tui.model_loader import ModelOpened, ModelRefused, load
from tui_gen.tui.playground import PlaygroundScreen

_SECONDS = 1.0
"""Between two looks at the run."""


class WatchScreen(PlaygroundScreen):
    """A playground that follows a run. What a person does comes first: then a newer network waits, and is told."""

    @dataclass
    class Looked(Message):
        """The run as it is now."""

        state: RunState

    @dataclass
    class Scored(Message):
        """One more network was scored, if there is no fault."""

        fault: str = ""

    def __init__(
        self,
        training: Training,
        settings: Settings,
        entries: Sequence[Entry],
        workspaces: list[Workspace],
        keys: Sequence[Key] = KEYS,
    ) -> None:
        """settings: with a network of the run, and the prompt that it is played with."""
        super().__init__(settings, entries, workspaces, keys)
        self.training, self.state = training, RunState()
        self._generate_when_open = True
        self._followed: Workspace | None = None
        """That of the newest network when it came to the screen; a person may have left it for another one."""
        self._beside: LoadedModel | None = None
        """Which the screen itself has put beside it."""
        self._awaited: Network | None = None
        """Which is being opened, without that anybody has asked."""
        self._asked = False
        """Whether a person wants the newest, whatever there is on the screen."""
        self._given_up = set[str]()
        """Networks that cannot be opened, by their digests."""
        self._has_told = False
        """Whether a line has said that newer networks wait; that at the top counts them on."""
        self._faults = set[str]()
        """Of scores, which were told."""
        self._looker: Worker[None] | None = None
        self._scorer: Worker[None] | None = None

    def on_mount(self) -> None:
        """Looks at the run from now on."""
        self.set_interval(_SECONDS, self._look)
        self._look()

    @property
    def context(self) -> Context:
        """A newer network is one more thing to load."""
        now = super().context
        return replace(now, outdated=now.outdated or self.newer is not None)

    @property
    def newer(self) -> Network | None:
        """The newest network, if it is not the one on the screen."""
        newest = self.state.newest
        is_shown = newest and self.workspace and newest.is_of(self.workspace.loaded_model)
        return None if not newest or is_shown or newest.digest in self._given_up else newest

    # --- what the run has ---

    def _look(self) -> None:
        if not self._looker or self._looker.is_finished:
            self._looker = self.run_worker(self._look_once, thread=True, group="look")

    def _look_once(self) -> None:
        """In a thread: a disk may be far away."""
        self.post_message(self.Looked(self.training.watch.look()))

    async def on_watch_screen_looked(self, message: Looked) -> None:
        """Shows what has come, and plays what may be played."""
        before, self.state = self.state, message.state
        if before.networks != self.state.networks:
            self.models.show_networks([network.entry for network in self.state.networks])
        if before.is_there and not self.state.is_there:
            self.notify(f"{self.training.watch.run} is gone; what is open stays, and a new run is waited for")
        elif self.state.fault and self.state.fault != before.fault:
            self.notify(self.state.fault, severity="warning")
        elif trouble := self._new_trouble(before):
            self.notify(trouble, severity="warning")
        self.header.show_note(self._progress())
        self._score()
        await self._consider()

    def _new_trouble(self, before: RunState) -> str:
        """Why the last epoch has no network, if that is not what is known already."""
        trouble = self.state.last.trouble if self.state.last else ""
        return "" if before.last and trouble == before.last.trouble else trouble

    def _progress(self) -> str:
        """Such as `epoch 7, held out 1.234`; without its number where its network is on the screen."""
        last = self.state.last
        if not last:
            return self._shown_score()
        held_out = not math.isnan(last.validation_loss)
        loss = shown_loss(last.validation_loss if held_out else last.train_loss)
        is_shown = self.workspace and self.workspace.loaded_model.name.endswith(last.title) and not self.newer
        return ("" if is_shown else f"{last.title}, ") + f"{'held out' if held_out else 'training'} {loss}"

    def _shown_score(self) -> str:
        """Of the network on the screen, where no log has its losses beside its score."""
        scores, workspace = self.training.scores, self.workspace
        if not scores or not workspace:
            return ""
        shown = (each for each in self.state.networks if each.is_of(workspace.loaded_model))
        return next((scores.line(network.key) for network in shown), "")

    def _score(self) -> None:
        scores = self.training.scores
        network = scores.due(self.state.networks) if scores else None
        if network and (not self._scorer or self._scorer.is_finished):
            self._scorer = self.run_worker(partial(self._score_one, network), thread=True, group="score")

    def _score_one(self, network: Network) -> None:
        assert self.training.scores
        try:
            self.training.scores.add(network, load(network.path, self.settings))
        except TuiGenError as fault:
            self.post_message(self.Scored(str(fault)))
        else:
            self.post_message(self.Scored())

    def on_watch_screen_scored(self, message: Scored) -> None:
        """Goes on with the next one; what all networks say of the file is told once."""
        if message.fault and message.fault not in self._faults:
            self._faults.add(message.fault)
            self.notify(message.fault, severity="warning")
        self.header.show_note(self._progress())
        self._score()

    # --- playing it ---

    async def _consider(self) -> None:
        """Plays the newest network, or opens it, or says that it is there."""
        newer = self.newer
        if not newer or not self.workspace:
            return
        if not (self._asked or self._may_act()):
            self._tell_of(newer)
            return
        workspace = self.loader.newest(newer.path)
        if workspace and newer.is_of(workspace.loaded_model):
            await self._play(workspace)
        elif not self.loader.is_busy:
            self._awaited = newer
            self.loader.open_beside(newer.path)

    def _may_act(self) -> bool:
        """Whether nobody types, walks, looks at anything else or lets anything run."""
        now, view = self.context, self.run_view
        is_covered = self.inside.display and self.inside.lies_over
        busy = now.running or now.walking or now.comparing or is_covered or not self.is_active
        aside = now.in_search or not (now.in_prompt or now.in_inside or now.on_output())
        text = view.branch.start.text if view else self.settings.prompt
        leads = self.workspace is self._followed and not self.loader.folder
        return leads and not busy and not aside and self.prompt.text == text

    def _tell_of(self, newer: Network) -> None:
        if not self._has_told and not (self._followed and newer.is_of(self._followed.loaded_model)):
            self._has_told = True
            self.notify(f"{newer.name} is there; {key_of('load_anew', self._keys)} plays it")
            self.key_bar.show(self.context)

    async def _play(self, workspace: Workspace) -> None:
        """The same prompt, seed and knobs, beside the network before, or those that a person has put there."""
        assert self.workspace
        if self._has_told:
            self.app.clear_notifications()
        self._asked = self._has_told = False
        view, text, inside = self.run_view, self.prompt.text, self.context.in_inside
        columns = self.workspace.columns(view.branch) if view else []
        chosen = [owner.loaded_model for owner, _ in columns[1:] if owner.loaded_model is not self._beside]
        self._beside = None if chosen else self.workspace.loaded_model
        with self.app.batch_update():
            await self.serve(workspace)
            if self.run_view:  # it was played before, beside others
                await self.output.show_card("")
            others = chosen[: MOST - 1] or [each for each in (self._beside,) if each]
            branch = await self._follow(self.output.start(text, beside=others))
            if inside:
                self.inside.view.focus()
        workspace.unattended = branch

    async def serve(self, workspace: Workspace) -> None:
        """Follows the run from its newest network on."""
        await super().serve(workspace)
        self.header.show_note(self._progress())
        newest = self.state.newest
        if not self._followed or (newest and newest.is_of(workspace.loaded_model)):
            self._followed = workspace

    async def on_model_opened(self, message: ModelOpened) -> None:
        """Of one that nobody has asked for, it is seen whether it may come to the screen still."""
        awaited, self._awaited = self._awaited, None
        if awaited and message.beside and awaited.path == message.workspace.loaded_model.path:
            message.prevent_default()
            await self._consider()

    async def on_model_refused(self, message: ModelRefused) -> None:
        """The one after it may be better."""
        awaited, self._awaited = self._awaited, None
        if awaited:
            self._given_up.add(awaited.digest)

    async def action_load_anew(self) -> None:
        if self.newer:
            self._asked = True
            await self._consider()
        else:
            await super().action_load_anew()

    def action_training(self) -> None:
        from tui_gen.tui.dialogs.training import training_dialog

        loaded_model = self.workspace.loaded_model if self.workspace else None
        if loaded_model and log_folder(loaded_model.path) == self.training.watch.run:
            self._succeeds(lambda: self.app.push_screen(training_dialog(loaded_model, self.training.scores)))
        else:
            super().action_training()
