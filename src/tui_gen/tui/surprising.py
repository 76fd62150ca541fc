"""The view of surprise: each token marked by its bits, and totals in the panel's place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.worker import Worker

from tui_gen.describing import shown_token
from tui_gen.errors import TuiGenError
from tui_gen.tui.canvas import Canvas
from tui_gen.tui.surprise_panel import SurprisePanel

if TYPE_CHECKING:
    from tui_gen.branch_surprise import BranchSurprise
    from tui_gen.tui.app import TuiGen


class Surprising:
    """Reads along with the branch on the stage while it is switched on, beside the screen."""

    def __init__(self, desk: TuiGen) -> None:
        self._desk = desk
        self._surprise: BranchSurprise | None = None
        self._worker: Worker[None] | None = None

    @property
    def panel(self) -> SurprisePanel:
        """Where the totals stand."""
        return self._desk.side.surprise

    @property
    def on(self) -> bool:
        """Whether it is switched on."""
        return bool(self.panel.display)

    def toggle(self) -> None:
        """On, or off."""
        self._switch(not self.on)

    def hide(self) -> None:
        """Off."""
        if self.on:
            self._switch(False)

    def follow(self, *, anew: bool = False) -> None:
        """There is more to read; anew: another branch is on the stage."""
        stage = self._desk.stage
        if not self.on or not stage.branch or not stage.sitting:
            return
        if anew or self._surprise is None or self._surprise.branch is not stage.branch:
            from tui_gen.branch_surprise import BranchSurprise

            self._surprise = BranchSurprise(stage.branch, stage.sitting.playable.codec)
            self.panel.clear()
            self.panel.waiting("reading ...")
        if self._surprise.behind and not (self._worker and self._worker.is_running):
            surprise = self._surprise
            self._worker = self._desk.run_worker(lambda: self._read(surprise), thread=True, exit_on_error=False)
        else:
            self.show()

    def show(self) -> None:
        """What is known so far."""
        surprise, stage = self._surprise, self._desk.stage
        if not (self.on and surprise and stage.player and stage.sitting) or surprise.branch is not stage.branch:
            return
        sample, codec = self._desk.walking.sample, stage.sitting.playable.codec
        self.panel.show(surprise, sample, lambda token: shown_token(token, codec), stage.player.head)
        for view in stage.player.views:
            view.show_bits(surprise.pixels() if isinstance(view, Canvas) else surprise.bits[:, view.sample])

    def _switch(self, on: bool) -> None:
        desk = self._desk
        self.panel.display, desk.next_token.display = on, not on
        if on:
            self.follow(anew=True)
            return
        self._surprise = None
        for view in desk.stage.player.views if desk.stage.player else ():
            view.show_bits(None)

    def _read(self, surprise: BranchSurprise) -> None:
        """In a thread."""
        try:
            surprise.update(lambda: self._surprise is not surprise)
        except TuiGenError as fault:
            self._desk.call_from_thread(self._desk.complain, str(fault))
        else:
            self._desk.call_from_thread(self._read_on, surprise)

    def _read_on(self, surprise: BranchSurprise) -> None:
        self._worker = None
        if surprise is self._surprise:
            self.show()
            self.follow()
