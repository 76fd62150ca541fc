"""The left of the screen: models and branches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.widgets import OptionList

from tui_gen.library import Entry
from tui_gen.tui.branches import BranchList
from tui_gen.tui.folding import Folding
from tui_gen.tui.models import ModelList

if TYPE_CHECKING:
    from tui_gen.tui.app import TuiGen


class Lists(Folding):
    """Passes on what is chosen there."""

    def __init__(self, desk: TuiGen, entries: Sequence[Entry]) -> None:
        super().__init__(id="lists")
        self._desk = desk
        self.models, self.branches = ModelList(entries), BranchList()

    def compose(self) -> ComposeResult:
        """Models above, branches below."""
        yield self.models
        yield self.branches

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
