"""The right column: what can be said of a position of a branch, its surprisal, and the knobs; and a strip elsewhere."""

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
from tui_gen.tui.layout import Layout
from tui_gen.tui.widgets.knob_panel import KnobPanel
from tui_gen.tui.widgets.lists import Sidebar
from tui_gen.tui.widgets.next_token import NextToken
from tui_gen.tui.widgets.run_view import RunView
from tui_gen.tui.widgets.surprisal_panel import SurprisalPanel
from tui_gen.tui.widgets.surprisal_rows import legend
from tui_gen.tui.widgets.surprisal_strip import SurprisalStrip, TokenBits

_LEAST_COLUMNS = 34


class Side(Sidebar):
    """The distribution, the surprisal or both of the branch in the middle above, the knobs below.

    What is known of the surprisal is also drawn as a strip, which stands below the branch. Panel and strip are read for
    in a thread: while a person has asked for the surprisal, along with the run; else where the model has time.
    """

    @dataclass
    class Read(Message):
        """The surprisal of more tokens is known, if there is no fault."""

        scores: BranchSurprisal
        fault: str = ""

    def __init__(self, params: SamplingParams) -> None:
        """params: the knobs, which change while the model runs."""
        super().__init__(id="side", least=_LEAST_COLUMNS)
        self.next_token, self.surprisal, self.knobs = NextToken(), SurprisalPanel(), KnobPanel()
        self.strip = SurprisalStrip()
        self.marking = False
        """Whether a person has asked for the surprisal, which is then marked in what was made, too."""
        self._layout = Layout()
        self.view: RunView | None = None
        """The branch that the panels are about."""
        self._params = params
        self._scores: BranchSurprisal | None = None
        self._reader: Worker[None] | None = None

    def compose(self) -> ComposeResult:
        """The panels above, the knobs below."""
        yield self.next_token
        yield self.surprisal
        yield self.knobs

    def attend(self, view: RunView | None) -> None:
        """The panels are about another branch from now on, or about none."""
        self.view = view
        self.show_position()
        self.show_surprisal(self.marking and view is not None)

    def take_layout(self, layout: Layout) -> None:
        """Shows what has room."""
        self.take_columns(layout.side)
        self.set_class(layout.short, "-short")
        self._layout, self.strip.styles.height = layout, layout.strip
        self._show_panels()
        self.follow_surprisal()

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
        """Marks the surprisal of each token, and shows its panel, if need be in the place of the distribution."""
        self.marking = on
        self._show_panels()
        self.show_legend()
        if self.view and not on:
            self.view.show_scores(None)
        self.follow_surprisal()

    def show_distribution(self) -> None:
        """Brings the panel of the next token back, if that of the surprisal has its place."""
        if not self.next_token.display:
            self.show_surprisal(False)

    def _show_panels(self) -> None:
        """Before there is a branch, nothing can be said of its tokens."""
        stacked = self._layout.stacked
        self.strip.display = self.view is not None and self._layout.strip > 0
        self.surprisal.display = self.view is not None and (self.marking or stacked)
        self.next_token.display = stacked or not self.marking

    def show_legend(self) -> None:
        """Where this column has no room, what the marks of surprisal mean stands below the output."""
        if view := self.view:
            apart = self.marking and not self.display
            view.show_legend(legend(view.workspace.loaded_model.card.image, tall=False) if apart else None)

    def follow_surprisal(self) -> None:
        """Reads on in a thread, if there is more to read and somebody looks."""
        view, scores = self.view, self._scores
        if not view or not (self.surprisal.display or self.strip.display):
            self._scores = None
            self.surprisal.clear()
            self.strip.show(None)
            return
        if scores is None or scores.branch is not view.branch:
            scores = self._scores = BranchSurprisal(view.branch, view.workspace.loaded_model.codec)
            self._reader = None
            self.surprisal.clear()
            self.surprisal.waiting("reading ...")
        if scores.behind and not self._is_reading and (self.marking or not view.busy):
            self._reader = self.run_worker(partial(self._read, scores), thread=True, exit_on_error=False)
        else:
            self.show_scores()

    @property
    def _is_reading(self) -> bool:
        return self._reader is not None and self._reader.is_running

    def show_scores(self) -> None:
        """What is known of the surprisal so far."""
        view, scores = self.view, self._scores
        if view and scores and scores.branch is view.branch:
            codec = view.workspace.loaded_model.codec
            self.surprisal.show(scores, view.sample, lambda token: shown_token(token, codec), view.head)
            self.strip.show(_token_bits(view, scores))
            if self.marking:
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


def _token_bits(view: RunView, scores: BranchSurprisal) -> TokenBits:
    """Of the sample that is looked at: of a text its tokens, of a picture its pixels."""
    sample, position = view.sample, view.position
    if image := scores.image:
        known = max(0, len(scores) + 1 - view.head) // image.channels
        bits, unit, given = scores.pixels()[sample][:known], "pixel", 0
        cursor = None if position is None else view.pixel_of(position)
    else:
        bits, unit, given = scores.bits[: int(view.branch.live[1:, sample].sum()), sample], scores.unit, view.head - 1
        cursor = None if position is None else position - 1
    note = "more is read when the run rests" if scores.behind and view.busy else ""
    choices = view.workspace.loaded_model.card.vocab_size
    which = f"sample {sample + 1}" if view.branch.samples > 1 else ""
    totals = scores.totals(sample)
    average = (totals.bits_per_unit if image else totals.bits / totals.tokens) if totals.tokens else None
    return TokenBits(bits, unit, given, cursor, choices, average, which, note)
