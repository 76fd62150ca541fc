"""The left of the screen: models and branches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import OptionList

from tui_gen.library import Entry
from tui_gen.tui.branches import BranchList
from tui_gen.tui.models import ModelList

if TYPE_CHECKING:
    from tui_gen.tui.app import TuiGen


class Lists(Vertical):
    """Passes on what is chosen there. Where it is folded away, it is there while it has the focus."""

    def __init__(self, desk: TuiGen, entries: Sequence[Entry]) -> None:
        super().__init__(id="lists")
        self._desk = desk
        self.models, self.branches = ModelList(entries), BranchList()
        self._wanted = False

    def compose(self) -> ComposeResult:
        """Models above, branches below."""
        yield self.models
        yield self.branches

    def unfold(self, what: ModelList | BranchList) -> None:
        """Goes to a list, also where it is folded away."""
        self._wanted = True
        self.add_class("-open")
        what.focus()

    def fold(self) -> None:
        """Stays there only while it has the focus, or is about to get it."""
        inside = self.has_focus_within
        self._wanted = self._wanted and not inside
        self.set_class(inside or self._wanted, "-open")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Opens the chosen model."""
        event.stop()
        self._desk.serving.open(self.models.entry(event.option).path)
        self._desk.prompt_line.focus()

    async def on_branch_list_switch(self, message: BranchList.Switch) -> None:
        """Puts another branch on the stage."""
        await self._desk.branching.switch(message.name)

    async def on_branch_list_compare(self, message: BranchList.Compare) -> None:
        """Shows two branches side by side."""
        await self._desk.branching.compare(message.name)

    def on_branch_list_rename(self, message: BranchList.Rename) -> None:
        """Asks for another name."""
        self._desk.branching.rename(message.name)

    async def on_branch_list_delete(self, message: BranchList.Delete) -> None:
        """Deletes it."""
        await self._desk.branching.delete(message.name)
