"""Keeping what was made: the journal that runs along, files, the command that makes it again, the clipboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from tui_gen.branch import Branch
from tui_gen.errors import TuiGenError
from tui_gen.sitting import Sitting

if TYPE_CHECKING:
    from tui_gen.journal import Journal
    from tui_gen.tui.app import TuiGen


class Keeping:
    """Notes all that happens as it happens, so that nothing is lost with the screen; saves what a person wants kept."""

    def __init__(self, desk: TuiGen) -> None:
        self._desk = desk
        self._journals: WeakKeyDictionary[Sitting, Journal] = WeakKeyDictionary()
        self._told = False

    @property
    def journal(self) -> Journal | None:
        """Of what is done with the model on the screen."""
        sitting = self._desk.stage.sitting
        if sitting is None:
            return None
        if sitting not in self._journals:
            from tui_gen.journal import Journal

            self._journals[sitting] = Journal(sitting.playable)
        return self._journals[sitting]

    def note_begun(self, branch: Branch) -> None:
        """A branch has begun."""
        if journal := self.journal:
            journal.begun(branch)
            self._tell_of_trouble(journal)

    def note_made(self, branch: Branch, *, resting: bool = False) -> None:
        """A branch has grown."""
        if journal := self.journal:
            journal.made(branch, now=resting)
            self._tell_of_trouble(journal)

    def note_shown(self, branch: Branch) -> None:
        """A branch is on the screen."""
        if journal := self.journal:
            journal.shown(branch)

    def note_renamed(self, branch: Branch) -> None:
        """A branch has another name."""
        if journal := self.journal:
            journal.renamed(branch)

    def note_deleted(self, branch: Branch) -> None:
        """A branch is gone."""
        if journal := self.journal:
            journal.deleted(branch)

    def close(self) -> None:
        """The screen goes away."""
        for journal in self._journals.values():
            journal.close()

    def save(self, first: str = "") -> None:
        """Asks where to, and writes what is on the screen; the name's ending says as what.

        first: the ending that is proposed; without it, that of the output.
        """
        from tui_gen.output import forms_of, write_output
        from tui_gen.tui.saving import SaveDialog

        stage = self._desk.stage
        branch, sitting, journal = stage.branch, stage.sitting, self.journal
        if not branch or not sitting or not journal:
            return

        forms = sorted(forms_of(sitting.playable).items(), key=lambda form: form[0] != first)

        def take(path: Path | None) -> None:
            if path is None:
                return
            try:
                write_output(path, sitting.playable, branch, journal.save)
            except TuiGenError as fault:
                self._desk.complain(str(fault))
            else:
                self._desk.say(f"saved as {path}")

        self._desk.push_screen(SaveDialog(sitting.playable.card.name, dict(forms)), take)

    def show_command(self) -> None:
        """The command that makes again what is on the screen."""
        from tui_gen.library import find_models
        from tui_gen.output import SESSION
        from tui_gen.reproducing import command_for
        from tui_gen.tui.reproducing import CommandDialog

        stage = self._desk.stage
        if not stage.branch or not stage.sitting:
            return
        playable = stage.sitting.playable
        installed = any(entry.path == playable.path for entry in find_models())
        found = command_for(playable.path.name if installed else str(playable.path), playable, stage.branch)

        def take(choice: str | None) -> None:
            if choice == "copy" and found.command:
                self._copy(found.command, "the command")
            elif choice == "save":
                self.save(SESSION)

        self._desk.push_screen(CommandDialog(found.command or "", found.reason), take)

    def copy(self) -> None:
        """What was made, to the clipboard of the terminal, also over SSH."""
        from tui_gen.output import clipboard_text

        stage = self._desk.stage
        if stage.branch and stage.sitting:
            text, what = clipboard_text(stage.branch, stage.sitting.playable, self._desk.walking.sample)
            self._copy(text, what)

    def _copy(self, text: str, what: str) -> None:
        self._desk.copy_to_clipboard(text)
        self._desk.say(f"copied {what} (through the terminal, which must allow it)")

    def _tell_of_trouble(self, journal: Journal) -> None:
        if journal.fault and not self._told:
            self._told = True
            self._desk.complain(journal.fault)
