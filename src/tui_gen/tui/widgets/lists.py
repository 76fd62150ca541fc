"""The left column: the models that are there, and the branches of the one that plays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui_gen.errors import TuiGenError
from tui_gen.generation.describe import describe, describe_difference
from tui_gen.generation.tree import Tree, TreeRow
from tui_gen.library import Entry, LoadedModel
from tui_gen.sessions.workspace import Workspace
from tui_gen.terminal_text import scrub_line
from tui_gen.text.codec import Codec
from tui_gen.training_run import shown_name
from tui_gen.tui.bindings import KEYS, Key, bind, bindings_of, key_of
from tui_gen.tui.widgets.cells import SteadyOptionList

_DEEPEST = 3
"""Levels that are drawn; branches further down stand there too, and name the one that they left."""


class BranchList(SteadyOptionList):
    """Branches below those that they left, the one on the screen marked; then other models that were played."""

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

    BINDINGS: ClassVar[list[BindingType]] = bindings_of("BranchList")

    @dataclass
    class Selected(Message):
        """A person wants to see this branch."""

        name: str

    @dataclass
    class Compared(Message):
        """A person wants to compare this branch with the one on the screen."""

        name: str

    @dataclass
    class Renamed(Message):
        """A person wants to give this branch another name."""

        name: str

    class Changed(Message):
        """A branch is gone."""

    @dataclass
    class ModelSelected(Message):
        """A person wants to play this other model."""

        workspace: Workspace

    @dataclass
    class ModelCompared(Message):
        """A person wants to compare this other model with the one on the screen."""

        workspace: Workspace

    def __init__(self, keys: Sequence[Key] = KEYS) -> None:
        super().__init__(markup=False)
        bind(self, "BranchList", keys)
        self._delete_key = key_of("delete_branch", keys)
        self._content: list[object] = []
        self._others = dict[str, Workspace]()
        """Other models, by the ids of their lines."""
        self._workspace: Workspace | None = None
        self._to_delete = ""
        """The branch that goes when it is to be deleted once more."""

    def show(self, workspace: Workspace, current: str, others: Sequence[tuple[str, Workspace]] = ()) -> None:
        """Lists the branches; costs little when it is called again and nothing has changed.

        others: models that were played too, and their names.
        """
        self._workspace, tree, codec = workspace, workspace.tree, workspace.loaded_model.codec
        rows = list(tree.rows())
        labels = [_label(row, tree, codec) for row in rows]
        content: list[object] = [current, *((row.depth, label) for row, label in zip(rows, labels, strict=True))]
        content += [(label, other, len(other.tree)) for label, other in others]
        if content == self._content:
            return
        moved, self._content = not self._content or current != self._content[0], content
        self._others = {
            f" {number}": other for number, (_, other) in enumerate(others)
        }  # no branch's name, by its space
        name = self.selected
        name = current if moved or not (name in tree or name in self._others) else name
        self.clear_options()
        self.add_options(_options(rows, labels, current))
        self.add_options(_folded(others))
        if name in tree or name in self._others:
            self.highlighted = self.get_option_index(name)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter, or a click."""
        event.stop()
        self._to_delete, name = "", str(event.option.id)
        other = self._others.get(name)
        self.post_message(self.ModelSelected(other) if other else self.Selected(name))

    def action_compare(self) -> None:
        """Asks for a comparison with the branch, or the model, on the screen."""
        if name := self.selected:
            other = self._others.get(name)
            self.post_message(self.ModelCompared(other) if other else self.Compared(name))

    def action_rename(self) -> None:
        """Asks for another name."""
        if (name := self.selected) and not self._tells_of_model(name):
            self.post_message(self.Renamed(name))

    def action_delete(self) -> None:
        """Deletes a branch when it is asked twice."""
        name, workspace = self.selected, self._workspace
        if not name or not workspace or self._tells_of_model(name):
            return
        if name != self._to_delete and len(workspace.tree) > 1:
            self._to_delete = name
            self.notify(f"{self._delete_key} once more deletes branch {name}")
            return
        self._to_delete = ""
        try:
            workspace.delete(name)
        except TuiGenError as fault:
            self.notify(str(fault), severity="error")
        else:
            self.notify(f"branch {name} is deleted")
            self.post_message(self.Changed())

    def _tells_of_model(self, name: str) -> bool:
        if name in self._others:
            self.notify("that is a model with its branches: enter opens it, c compares it")
        return name in self._others

    @property
    def selected(self) -> str:
        """The branch that the arrows have selected, or the id of another model; empty where there is none."""
        option = self.highlighted_option
        return str(option.id) if option else ""


def _folded(others: Sequence[tuple[str, Workspace]]) -> Iterator[Option | None]:
    """A line for each other model, below a rule."""
    if others:
        yield None
    for number, (label, other) in enumerate(others):
        yield Option(f"▸ {scrub_line(label)} ({len(other.tree)})", id=f" {number}")


def _options(rows: list[TreeRow], labels: list[str], current: str) -> Iterator[Option]:
    for row, label, branch_lines in zip(rows, labels, _lines(rows), strict=True):
        sign = "▸" if row.branch.name == current else " "
        yield Option(f"{sign} {branch_lines}{label}", id=row.branch.name)


def _label(row: TreeRow, tree: Tree, codec: Codec) -> str:
    branch, parent = row.branch, row.branch.start.parent
    text = describe_difference(branch, codec, tree[parent]) if parent else describe(branch, codec)
    return scrub_line(f"{branch.name}{_parent_note(row)}  {text}")


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


def _parent_note(row: TreeRow) -> str:
    return f" of {row.branch.start.parent}" if row.depth > _DEEPEST else ""


class ModelList(SteadyOptionList):
    """Models under their kinds; the one that plays is marked."""

    BINDINGS: ClassVar[list[BindingType]] = bindings_of("ModelList")

    @dataclass
    class Selected(Message):
        """A person wants to play this model."""

        folder: Path

    @dataclass
    class Compared(Message):
        """A person wants to compare this model with the one that plays."""

        folder: Path

    def __init__(self, entries: Sequence[Entry], keys: Sequence[Key] = KEYS) -> None:
        super().__init__(markup=False, compact=True)
        bind(self, "ModelList", keys)
        self._entries = {str(entry.path.resolve()): entry for entry in entries}
        self._networks = dict[str, Entry]()
        """Those of a run, which stand before the others and are none of them."""
        self._playing = ""
        self._fill()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter, or a click."""
        event.stop()
        self.post_message(self.Selected(self._listed[str(event.option.id)].path))

    def action_compare(self) -> None:
        """Asks for a comparison with the model that plays."""
        if (option := self.highlighted_option) and not option.disabled:
            self.post_message(self.Compared(self._listed[str(option.id)].path))

    def show_networks(self, entries: Sequence[Entry]) -> None:
        """Lists the networks of a run, which may have changed, before the others."""
        selected, playing = self.highlighted_option, self._networks.get(self._playing)
        self._networks = {str(entry.path.resolve()): entry for entry in entries}
        if playing:
            self._networks.setdefault(self._playing, playing)
        self._fill()
        if selected and selected.id in self._listed:
            self.highlighted = self.get_option_index(str(selected.id))

    def mark(self, loaded_model: LoadedModel) -> None:
        """Marks the model that plays, which is listed from then on."""
        folder = loaded_model.path
        self._playing = str(folder.resolve())
        if loaded_model.epoch is not None:
            self._networks[self._playing] = Entry(loaded_model.name, folder, loaded_model.card)
        elif self._playing not in self._entries:
            self._entries = {self._playing: Entry(shown_name(folder), folder, loaded_model.card), **self._entries}
        self._fill()
        self.highlighted = self.get_option_index(self._playing)

    @property
    def _listed(self) -> dict[str, Entry]:
        return {**self._networks, **self._entries, **self._networks}  # first, and by their own names

    def _fill(self) -> None:
        kinds = dict[str, list[Option]]()
        for key, entry in self._listed.items():
            kind, sign = entry.card.kind if entry.card else "damaged", "▸" if key == self._playing else " "
            heading = Option(kind, disabled=True)
            kinds.setdefault(kind, [heading]).append(Option(f"{sign} {scrub_line(entry.name)}", id=key))
        self.clear_options()
        self.add_options(option for options in kinds.values() for option in options)


class Sidebar(Vertical):
    """A column beside the middle; where there is no room for it, it lies over the middle while it has the focus."""

    def __init__(self, *children: Widget, id: str, least: int) -> None:  # noqa: A002 (so it is in Textual)
        """least: columns that it has while it has the focus, at least."""
        super().__init__(*children, id=id)
        self._columns, self._least = 0, least
        self._open = self._opening = False

    @property
    def lies_over(self) -> bool:
        """Whether there is room for it only over the middle."""
        return not self._columns

    def take_columns(self, columns: int) -> None:
        """Takes so many columns; 0 folds it away."""
        self._columns = columns
        self._show()

    def unfold(self, widget: Widget) -> None:
        """Goes to a widget of this column, also where it is folded away."""
        self._open, self._opening = True, not self.has_focus_within
        self._show()
        widget.focus()

    def fold(self) -> None:
        """Stays there only while it has the focus, or is about to get it."""
        inside = self.has_focus_within
        self._opening = self._opening and not inside
        self._open = inside or self._opening
        self._show()

    def put_away(self) -> None:
        """Folds it away, also if it has the focus."""
        self._columns, self._open, self._opening = 0, False, False
        self._show()

    def _show(self) -> None:
        self.display = self._open or self._columns > 0
        self.set_class(not self._columns, "-over")
        self.styles.width = max(self._columns, self._least) if self._open else self._columns
