"""A session file on the screen: its branches are made again beside it, then the one that was seen last is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_gen.branch import Branch
from tui_gen.errors import TuiGenError
from tui_gen.library import Playable
from tui_gen.replay import Replay
from tui_gen.replayed import Loaded
from tui_gen.sitting import Sitting
from tui_gen.tui.about import About

if TYPE_CHECKING:
    from tui_gen.tui.app import TuiGen

_SAID_EVERY = 500
"""Tokens between two words about how far it is."""


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
