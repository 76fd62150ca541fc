"""The list of branches: a tree of names, each with how it began."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui_gen.generation.describe import Codec, describe
from tui_gen.generation.tree import Tree, TreeRow
from tui_gen.library import Entry
from tui_gen.terminal_text import scrub_line
from tui_gen.tui.bindings import BRANCH_KEYS
from tui_gen.tui.widgets.cells import SteadyOptionList

if TYPE_CHECKING:
    from tui_gen.tui.app import TuiGen

_DEEPEST = 3
"""Levels that are drawn; branches further down stand there too, and name the one that they left."""


class BranchList(SteadyOptionList):
    """Branches below those that they left; the one on the screen is marked."""

    DEFAULT_CSS = """
    BranchList {
        height: 1fr;
        padding: 0;
        border: none;
        border-top: solid $foreground 20%;
        border-title-color: $text-muted;
        background: $background;
        scrollbar-size-vertical: 1;
        text-wrap: nowrap;
        text-overflow: ellipsis;
        &:focus {
            border: none;
            border-top: solid $accent;
            border-title-color: $accent;
            border-title-style: bold;
            background-tint: $background 0%;
        }
        & > .option-list--option { padding: 0; }
    }
    """
    BORDER_TITLE = " branches "

    @dataclass
    class Switch(Message):
        """A person wants to see this branch."""

        name: str

    @dataclass
    class Compare(Message):
        """A person wants to compare this branch with the one on the screen."""

        name: str

    @dataclass
    class Rename(Message):
        """A person wants to give this branch another name."""

        name: str

    @dataclass
    class Delete(Message):
        """A person wants to be rid of this branch."""

        name: str

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._shown: list[object] = []

    def show(self, tree: Tree, current: str, codec: Codec) -> None:
        """Lists the branches; costs little when it is called again and nothing has changed."""
        rows = list(tree.rows())
        shown: list[object] = [current, *((row.branch.name, row.branch.start) for row in rows)]
        if shown == self._shown:
            return
        moved, self._shown = not self._shown or current != self._shown[0], shown
        chosen = self._chosen()
        kept = current if moved or chosen not in tree else chosen
        self.clear_options()
        self.add_options(_options(tree, rows, current, codec))
        if kept in tree:
            self.highlighted = self.get_option_index(kept)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter, or a click."""
        event.stop()
        self.post_message(self.Switch(str(event.option.id)))

    async def on_key(self, event: events.Key) -> None:
        """Keeps its letters: elsewhere they would begin a prompt."""
        for key in BRANCH_KEYS:
            if event.key in key.key.split(","):
                event.stop()
                await self.run_action(key.action)

    def action_compare(self) -> None:
        """Asks for a comparison with the branch on the screen."""
        if name := self._chosen():
            self.post_message(self.Compare(name))

    def action_rename(self) -> None:
        """Asks for another name."""
        if name := self._chosen():
            self.post_message(self.Rename(name))

    def action_delete(self) -> None:
        """Asks to delete it."""
        if name := self._chosen():
            self.post_message(self.Delete(name))

    def _chosen(self) -> str:
        """The branch that the arrows have chosen; empty where there is none."""
        option = self.highlighted_option
        return str(option.id) if option else ""


def _options(tree: Tree, rows: list[TreeRow], current: str, codec: Codec) -> Iterator[Option]:
    for row, drawn in zip(rows, _lines(rows), strict=True):
        branch = row.branch
        parent = tree[branch.start.parent] if branch.start.parent else None
        sign = "▸" if branch.name == current else " "
        label = scrub_line(f"{branch.name}{_left(row)}  {describe(branch, codec, parent)}")
        yield Option(f"{sign} {drawn}{label}", id=branch.name)


def _lines(rows: list[TreeRow]) -> Iterator[str]:
    """What is drawn before each name."""
    levels = [min(row.depth, _DEEPEST) for row in rows]
    branches_off = [True] * _DEEPEST
    for level, last in zip(levels, _lasts(levels), strict=True):
        if level:
            yield "".join("│ " if off else "  " for off in branches_off[1:level]) + ("└ " if last else "├ ")
            branches_off[level:] = [not last] * (_DEEPEST - level)
        else:
            yield ""


def _lasts(levels: list[int]) -> list[bool]:
    """Of each line, whether no other one of the same level follows below the same one."""
    lasts, below = list[bool](), set[int]()
    for level in reversed(levels):
        lasts.append(level not in below)
        below = {other for other in below if other < level} | {level}
    return lasts[::-1]


def _left(row: TreeRow) -> str:
    return f" of {row.branch.start.parent}" if row.depth > _DEEPEST else ""


class ModelList(SteadyOptionList):
    """Models under their kinds; the one that plays is marked."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        super().__init__(markup=False, compact=True)
        self._entries = {entry.name: entry for entry in entries}
        self._playing = ""
        self._fill()

    def entry(self, option: Option) -> Entry:
        """The model folder behind an option."""
        return self._entries[str(option.id)]

    def mark(self, name: str) -> None:
        """Marks the model that plays."""
        self._playing = name
        highlighted = self.highlighted
        self._fill()
        self.highlighted = self.get_option_index(name) if name in self._entries else highlighted

    def _fill(self) -> None:
        self.clear_options()
        heading = ""
        for entry in self._entries.values():
            kind = entry.card.kind if entry.card else "damaged"
            if kind != heading:
                self.add_option(Option(kind, disabled=True))
                heading = kind
            sign = "▸" if entry.name == self._playing else " "
            self.add_option(Option(f"{sign} {scrub_line(entry.name)}", id=entry.name))


class Folding(Vertical):
    """Where it is folded away, it is there while it has the focus. The style sheet of the app says where that is."""

    _wanted = False

    def unfold(self, what: Widget) -> None:
        """Goes to a widget of this part, also where it is folded away."""
        self._wanted = True
        self.add_class("-open")
        what.focus()

    def fold(self) -> None:
        """Stays there only while it has the focus, or is about to get it."""
        inside = self.has_focus_within
        self._wanted = self._wanted and not inside
        self.set_class(inside or self._wanted, "-open")


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
