"""The right column: what can be said of a position of a branch, its surprisal, and the knobs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from textual.app import ComposeResult
from textual.message import Message
from textual.worker import Worker

from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import StepBuffer
from tui_gen.generation.describe import shown_token
from tui_gen.sampling.params import SamplingParams
from tui_gen.scoring.branch_scores import BranchSurprisal
from tui_gen.tui.widgets.knob_panel import KnobPanel
from tui_gen.tui.widgets.lists import Sidebar
from tui_gen.tui.widgets.next_token import NextToken
from tui_gen.tui.widgets.run_view import RunView
from tui_gen.tui.widgets.surprisal_panel import SurprisalPanel
from tui_gen.tui.widgets.surprisal_rows import legend


class Side(Sidebar):
    """The distribution or the surprisal of the branch in the middle above, the knobs below."""

    @dataclass
    class Read(Message):
        """The surprisal of more tokens is known, if there is no fault."""

        scores: BranchSurprisal
        fault: str = ""

    def __init__(self, params: SamplingParams) -> None:
        """params: the knobs, which change while the model runs."""
        super().__init__(id="side")
        self.next_token, self.surprisal, self.knobs = NextToken(), SurprisalPanel(), KnobPanel()
        self.surprisal.display = False
        self.view: RunView | None = None
        """The branch that the panels are about."""
        self._params = params
        self._scores: BranchSurprisal | None = None
        self._reader: Worker[None] | None = None

    def compose(self) -> ComposeResult:
        """One panel above, the knobs below."""
        yield self.next_token
        yield self.surprisal
        yield self.knobs

    def attend(self, view: RunView | None) -> None:
        """The panels are about another branch from now on, or about none."""
        self.view = view
        self.show_position()
        self.show_surprisal(self.surprisal.display and view is not None)

    def show_position(self, buffer: StepBuffer | None = None) -> None:
        """The distribution where the cursor stands, or of the newest token. buffer: a frame that has just come."""
        view = self.view
        try:
            step = view.step(buffer) if view else None
        except TuiGenError as fault:
            self.notify(str(fault), severity="error")
            return
        if view and step:
            title, chosen = (
                view.workspace.title(view.branch, step.index),
                view.branch.is_chosen(step.index, view.sample),
            )
            title += f" #{view.sample + 1}" if view.branch.samples > 1 else ""
            place = step.index - view.head
            self.next_token.show_step(step, title=title, place=place, sample=view.sample, chosen=chosen)
            self.show_knobs()

    def show_knobs(self) -> None:
        """What the knobs, as they are now, make of the distribution; the model does not run for that."""
        if view := self.view:
            sweep = view.branch.start.sweep
            self.next_token.show_knobs(sweep.column(self._params, view.sample) if sweep else self._params)

    def show_surprisal(self, on: bool) -> None:
        """Shows the surprisal of each token in the place of the distribution, or the distribution again."""
        self.surprisal.display, self.next_token.display = on, not on
        self.show_legend()
        if on:
            self.follow_surprisal()
        else:
            self._scores = None
            if self.view:
                self.view.show_scores(None)

    def show_legend(self) -> None:
        """Where this column has no room, what the marks of surprisal mean stands below the output."""
        if view := self.view:
            apart = self.surprisal.display and not self.display
            view.show_legend(legend(view.workspace.loaded_model.card.image, tall=False) if apart else None)

    def follow_surprisal(self) -> None:
        """Reads on in a thread, if there is more to read."""
        view, scores = self.view, self._scores
        if not self.surprisal.display or not view:
            return
        if scores is None or scores.branch is not view.branch:
            scores = self._scores = BranchSurprisal(view.branch, view.workspace.loaded_model.codec)
            self._reader = None
            self.surprisal.clear()
            self.surprisal.waiting("reading ...")
        if scores.behind and not (self._reader and self._reader.is_running):
            self._reader = self.run_worker(partial(self._read, scores), thread=True, exit_on_error=False)
        else:
            self.show_scores()

    def show_scores(self) -> None:
        """What is known of the surprisal so far."""
        view, scores = self.view, self._scores
        if view and scores and scores.branch is view.branch:
            codec = view.workspace.loaded_model.codec
            self.surprisal.show(scores, view.sample, lambda token: shown_token(token, codec), view.head)
            view.show_scores(scores)

    def on_side_read(self, message: Read) -> None:
        """More is known, and may be behind again."""
        if message.fault:
            self.notify(message.fault, severity="error")
        elif message.scores is self._scores:
            self._reader = None
            self.show_scores()
            self.follow_surprisal()

    def _read(self, scores: BranchSurprisal) -> None:
        """In the thread."""
        try:
            scores.update(lambda: self._scores is not scores)
        except TuiGenError as fault:
            self.post_message(self.Read(scores, str(fault)))
        else:
            self.post_message(self.Read(scores))
