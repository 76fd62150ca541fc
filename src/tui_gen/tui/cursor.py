"""Walking through what was made: the cursor, and the panel that shows the distribution where it stands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textual.widget import Widget

from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch, StepBuffer
from tui_gen.sampling.step import Step
from tui_gen.tui.widgets.text_view import TextView

if TYPE_CHECKING:
    from tui_gen.tui.app import TuiGen

BEHIND = 2**40
"""A position that no branch reaches: behind the last token."""


class Walking:
    """Knows where the cursor stands; without one, the panel is about the newest token of the sample."""

    def __init__(self, desk: TuiGen) -> None:
        self._desk = desk
        self.cursor: Cursor | None = None
        self.sample = 0
        """The sample that the panels are about."""

    def forget(self) -> None:
        """Something else is on the stage."""
        self.cursor = None

    def by(self, tokens: int) -> None:
        """Moves the cursor; from behind the last token on, makes one more."""
        player = self._desk.stage.player
        if not player:
            return
        self._pause()
        if tokens == 1 and self.cursor and self.cursor.position is None:
            self._make_one()
        else:
            cursor = self.cursor or Cursor(self.sample)
            moved = cursor.moved(player.branch, tokens, self._room(player.branch))
            if moved == self.cursor and tokens > 0:
                self._desk.say("here it ends; another token here, or before, begins a branch")
            self._stand(moved)

    def to(self, position: int, sample: int | None = None) -> None:
        """Puts the cursor on a position, or behind the last one."""
        player = self._desk.stage.player
        if not player:
            return
        self._pause()
        self.sample = self.sample if sample is None else sample
        self._stand(Cursor(self.sample).to(player.branch, position, self._room(player.branch)))

    def to_end(self) -> None:
        """Behind the last token, wherever that will be when what is on its way has come."""
        self._stand(Cursor(self.sample))

    def at(self) -> int | None:
        """The position that the cursor stands on; None without one."""
        branch = self._desk.stage.branch
        return self.cursor.at(branch, self._room(branch)) if self.cursor and branch else None

    def turn_to(self, direction: int) -> None:
        """The next or the last sample, for the cursor and the panels."""
        player = self._desk.stage.player
        if not player:
            return
        self.sample = (self.sample + direction) % player.branch.samples
        if self.cursor:
            self._stand(Cursor(self.sample).to(player.branch, self.at() or 0, self._room(player.branch)))
        else:
            self.show()
        self._desk.surprising.show()

    def leave(self) -> bool:
        """Takes the cursor away; False if there is none, or if it merely waits at the end of a run."""
        player, cursor = self._desk.stage.player, self.cursor
        if cursor is None or not player:
            return False
        self.cursor = None
        player.walk_to(self.sample, None)
        self.show()
        self._desk.showing.keys()
        return cursor.position is not None

    def follow(self, made: StepBuffer) -> None:
        """New tokens have come."""
        if self.cursor:
            self.show()
        elif self.sample == 0 and made.telling:
            self._show(made.telling.index, made.telling)
        else:
            self.show()

    def follow_focus(self, focused: Widget | None) -> None:
        """The panels are about the page that has the focus."""
        if isinstance(focused, TextView) and focused.sample != self.sample:
            self.sample = focused.sample
            if self.cursor:
                self.cursor = self.cursor.in_sample(self.sample)
            self.show()
            self._desk.surprising.show()

    def show(self) -> None:
        """Where the cursor stands, or the newest token of the sample."""
        branch = self._desk.stage.branch
        if not branch:
            return
        self.sample = min(self.sample, branch.samples - 1)
        if self.cursor:
            self._show(self.cursor.at(branch, self._room(branch)))
        elif len(branch) > 1:
            self._show(max(1, int(branch.live[:, self.sample].sum()) - 1))

    def show_knobs(self) -> None:
        """What the knobs, as they are now, make of the distribution at the cursor; the model does not run."""
        if self.cursor:
            self._desk.next_token.show_knobs(self._desk.dials.params_of(self.sample))

    def _stand(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.show()
        self._desk.surprising.show()
        self._desk.stage.show_progress()
        self._desk.showing.keys()

    def _show(self, position: int, step: Step | None = None) -> None:
        stage, panel = self._desk.stage, self._desk.next_token
        player, workspace = stage.player, stage.workspace
        assert player
        assert workspace
        branch = player.branch
        if self.cursor:
            player.walk_to(self.sample, position)
        try:
            step = step or branch.look(position)
        except TuiGenError as fault:
            self._desk.complain(str(fault))
            return
        title, chosen = workspace.title(branch, position), branch.is_chosen(position, self.sample)
        if branch.samples > 1:
            title += f" #{self.sample + 1}"
        panel.show_step(step, title=title, place=position - player.head, sample=self.sample, chosen=chosen)
        self.show_knobs()

    def _room(self, branch: Branch) -> range:
        workspace = self._desk.stage.workspace
        assert workspace
        return workspace.room(branch)

    def _pause(self) -> None:
        stage = self._desk.stage
        if stage.player and stage.running and not stage.paused:
            stage.player.pace.toggle_pause()

    def _make_one(self) -> None:
        player = self._desk.stage.player
        assert player
        if player.running:
            player.pace.grant()
        elif player.branch.ended:
            self._desk.say("it has come to its end; choose another token before it")
        else:
            self._desk.stage.grow(1)


@dataclass(frozen=True)
class Cursor:
    """Stands on a token of a sample, or behind the last one: on the one that would be made next."""

    sample: int = 0
    position: int | None = None
    """None stands behind the last token, however many are made."""

    def at(self, branch: Branch, room: range) -> int:
        """The position, of the next token if there is none yet."""
        position = len(branch) if self.position is None else min(self.position, len(branch))
        return min(position, room.stop - 1)

    def moved(self, branch: Branch, by: int, room: range) -> Cursor:
        """So many tokens further on or back, within what the sample has."""
        return self.to(branch, self.at(branch, room) + by, room)

    def to(self, branch: Branch, position: int, room: range) -> Cursor:
        """On a position, or the nearest one that the sample has; past the last one, behind it.

        room: the positions that a cursor may stand on at all.
        """
        past = int(branch.live[:, self.sample].sum())
        goes_on = past == len(branch) and not branch.ended and past < room.stop
        if position >= past:
            return replace(self, position=None if goes_on else past - 1)
        return replace(self, position=max(room.start, position))

    def in_sample(self, sample: int) -> Cursor:
        """The same place in another sample."""
        return replace(self, sample=sample)
