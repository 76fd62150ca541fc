"""The dialogs of saving: where to and in which form, and the command that makes the output again."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Input, Static

from tui_gen.errors import TuiGenError
from tui_gen.files import free_path
from tui_gen.generation.branch import Branch
from tui_gen.launcher import in_browser
from tui_gen.library import LoadedModel, find_models
from tui_gen.output.branch_file import SESSION, forms_of, write_output
from tui_gen.sessions.command import NamedBranch, command_for
from tui_gen.sessions.workspace import Workspace
from tui_gen.terminal_text import listed, scrub_line
from tui_gen.tui.browser import complaint_about_name, download
from tui_gen.tui.dialogs.dialog import Dialog, Frame, KeyHints, LineInput, Note

_LONGEST_NAME = 255
"""Bytes, on all common file systems."""
_DOWNLOAD = "to where the browser keeps downloads; nothing is saved on the server"
_COPY, _SAVE, _LEAVE = ("enter", "copy", "copy"), ("s", "save the session", "save"), ("esc", "close", "leave")


class SaveDialog(Dialog[Path]):
    """Asks for a name whose ending says the form, writes a file that is not there yet, and returns its path.

    In a browser, it is downloaded.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "turn(-1)", "form", show=False, priority=True),
        Binding("down", "turn(1)", "form", show=False, priority=True),
    ]

    def __init__(self, stem: str, forms: Mapping[str, str], write: Callable[[Path], None]) -> None:
        """stem: how the name begins that is proposed. forms: what each ending, such as `.png`, means.

        write: saves; what it cannot do, it raises as a TuiGenError, and another name may be better.
        """
        super().__init__()
        self._stem, self._forms, self._endings, self._write = stem, forms, list(forms), write
        self._default_name = self._free_name(self._endings[0])
        self._line, self._note = LineInput(self._default_name, title="name"), Note()
        self._list = Static(markup=False)

    def compose(self) -> ComposeResult:
        """The name, what each ending means, and what is wrong."""
        verb = "download" if in_browser() else "save"
        with Frame(verb):
            yield self._line
            yield self._list
            yield self._note
            yield KeyHints(("enter", verb, "accept"), ("↑↓", "another form", "turn(1)"), ("esc", "cancel", "leave"))

    def on_mount(self) -> None:
        """The cursor stands before the ending, where a name is changed."""
        self._line.focus()
        self._line.cursor_position = len(self._default_name) - len(self._endings[0])
        self._show()

    def on_input_changed(self, event: Input.Changed) -> None:
        """What is wrong is said at once: looking costs little. An ending that was typed takes the other's place."""
        event.stop()
        once = _without_ending(event.value, self._forms)
        if once != event.value and _ending(once) in self._forms:
            self._line.value = once
            self._line.cursor_position = len(once)
        self._show()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        event.stop()
        self.action_accept()

    def action_accept(self) -> None:
        """Saves and closes the dialog, unless something is wrong."""
        self._show()
        if complaint(self._line.value, self._forms):
            return
        path = _path(self._line.value)
        try:
            if in_browser():
                download(self.app, path.name, self._write)
            else:
                self._write(path)
        except TuiGenError as fault:
            self._note.tell(str(fault))
        else:
            self.notify(f"{path.name} goes to the browser's downloads" if in_browser() else f"saved as {path}")
            self.dismiss(path)

    def action_turn(self, direction: int) -> None:
        """The next form, or the one before."""
        ending = _ending(self._line.value)
        at = self._endings.index(ending) if ending in self._forms else -min(direction, 0)
        self.action_choose((at + direction) % len(self._endings) if ending in self._forms else at)

    def action_choose(self, number: int) -> None:
        """A form: another ending; of the name that was proposed, one that is free."""
        ending, value = self._endings[number], self._line.value
        if value == self._default_name:
            self._default_name = value = self._free_name(ending)
        else:
            value = _without_ending(value, self._forms) + ending
        self._line.value = value
        self._line.cursor_position = len(value) - len(ending)

    def _free_name(self, ending: str) -> str:
        return free_path(Path(os.devnull) if in_browser() else Path(), self._stem, ending).name

    def _show(self) -> None:
        self._list.update(self._forms_text(_ending(self._line.value)))
        place = f"in {_folder(self._line.value)}"
        self._note.tell(complaint(self._line.value, self._forms), _DOWNLOAD if in_browser() else place)

    def _forms_text(self, current: str) -> Text:
        """A line for each form, which a click chooses; the chosen one is marked."""
        lines = Text()
        for number, (ending, meaning) in enumerate(self._forms.items()):
            style = Style(bold=ending == current, meta={"@click": f"screen.choose({number})"})
            lines.append(f"{'▸' if ending == current else ' '} {ending:7} {meaning}\n", style)
        lines.right_crop(1)
        return lines


def complaint(name: str, forms: Mapping[str, str]) -> str:
    """Why no new file of one of the forms can be written under this name; empty if one can."""
    path, endings = _path(name), listed(list(forms))
    if not name.strip() or name.lower() in forms:
        return f"type a name that ends in {endings}"
    if not in_browser() and os.path.isdir(path):
        return f"{name} is a folder; add a name that ends in {endings}"
    if _ending(name) not in forms:
        return f"the name must end in {endings}; the ending says what to save"
    return complaint_about_name(name) if in_browser() else _fault_of_path(path)


def _fault_of_path(path: Path) -> str:
    if not os.path.isdir(path.parent):
        return f"there is no folder {path.parent}"
    if os.path.lexists(path):
        return f"{path.name} exists already and is left as it is; choose another name"
    if len(os.fsencode(path.name)) > _LONGEST_NAME:
        return "the name is too long for a file"
    return "" if os.access(path.parent, os.W_OK | os.X_OK) else f"nothing may be written to the folder {path.parent}"


def _path(name: str) -> Path:
    return Path(os.path.expanduser(name))


def _folder(name: str) -> str:
    """Where the file will be, for people."""
    try:
        return os.path.abspath(_path(name).parent)
    except OSError:  # somebody took the working directory away
        return "."


def _ending(name: str) -> str:
    return _path(name).suffix.lower()


def _without_ending(name: str, forms: Mapping[str, str]) -> str:
    """A name without the ending that says its form; other dots belong to the name."""
    ending = _ending(name)
    return name[: -len(ending)] if ending in forms else name.rstrip(".")


def save_dialog(workspace: Workspace, branch: Branch, first: str = "") -> SaveDialog:
    """Asks where to save a branch. first: the ending that is proposed."""
    loaded_model = workspace.loaded_model
    forms = sorted(forms_of(loaded_model).items(), key=lambda form: form[0] != first)
    if len(workspace.columns(branch)) > 1:
        alone = f"of {scrub_line(loaded_model.card.name)} alone"
        forms = [(end, f"{what}{', with all models' if end == SESSION else f' {alone}'}") for end, what in forms]

    def write(path: Path) -> None:
        write_output(path, loaded_model, branch, workspace.journal.save)

    return SaveDialog(loaded_model.card.name, dict(forms), write)


class CommandDialog(Dialog[str]):
    """Shows the command that makes the output again; returns `copy`, `save`, or None where it is only looked at."""

    DEFAULT_CSS = """
    CommandDialog VerticalScroll {
        height: auto;
        max-height: 12;
        scrollbar-size-vertical: 1;
    }
    CommandDialog .command {
        color: $text;
        background: $background;
        padding: 1;
    }
    CommandDialog .reason {
        color: $text-muted;
        padding: 1 0;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("enter", "enter", "copy, or save where there is nothing to copy"),
        ("c", "copy", "copy"),
        ("s", "save", "save"),
    ]

    def __init__(self, command: str, reason: str = "") -> None:
        """command: in one line; empty where none makes the output again. reason: why, and what to do; or a remark."""
        super().__init__()
        self.command, self._reason = command, reason

    def compose(self) -> ComposeResult:
        """The command, which can be selected with the mouse, and the reason."""
        with Frame("the command that makes this again" if self.command else "no command makes this again"):
            with VerticalScroll():
                if self.command:
                    yield Static(scrub_line(self.command), markup=False, classes="command")
                if self._reason:
                    yield Static(scrub_line(self._reason), markup=False, classes="reason")
            yield KeyHints(*((_COPY, _SAVE, _LEAVE) if self.command else (("enter", *_SAVE[1:]), _LEAVE)))

    def on_mount(self) -> None:
        """Lets the arrow keys scroll."""
        self.query_one(VerticalScroll).focus()

    def action_enter(self) -> None:
        """What most want."""
        self.dismiss("copy" if self.command else "save")

    def action_copy(self) -> None:
        """Copies, if there is something to copy."""
        if self.command:
            self.dismiss("copy")

    def action_save(self) -> None:
        """Saves the session, which can be replayed."""
        self.dismiss("save")


def command_dialog(columns: Sequence[tuple[LoadedModel, Branch]], *, outdated: bool = False) -> CommandDialog:
    """The command that makes a branch again, with those beside it; a model that is installed is called by its name.

    outdated: whether the folder of a model holds another one now.
    """
    if outdated:
        return CommandDialog("", "its model's folder was written anew since")
    installed = {entry.path for entry in find_models()}
    first, *beside = [
        NamedBranch(model.path.name if model.path in installed else model.address, model, branch)
        for model, branch in columns
    ]
    answer = command_for(*first, beside=beside)
    return CommandDialog(answer.command or "", answer.reason)
