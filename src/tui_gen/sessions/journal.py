"""Keeping a session while it goes on, so that not even a crash loses more than its last second."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tui_gen.errors import TuiGenError
from tui_gen.files import write_new
from tui_gen.generation.branch import Branch
from tui_gen.generation.surgery import Take
from tui_gen.library import LoadedModel
from tui_gen.sampling.params import SamplingParams
from tui_gen.sessions.file import FORMAT, header_line, line_text, session_model, session_of, session_text
from tui_gen.sessions.journal_file import JournalFile, journal_folder
from tui_gen.sessions.records import (
    MAX_MODELS,
    Line,
    apply,
    begun_line,
    compared_line,
    deleted_line,
    made_line,
    record_of,
    renamed_line,
    shown_line,
)
from tui_gen.sessions.session import Fingerprint, Session, SessionModel

SECONDS = 1.0
"""Between two notes of how far a running branch is."""


@dataclass
class _Entry:
    """What the journal says of a branch that lives."""

    number: int
    start: int
    """Its first own position."""
    positions: int
    name: str
    model: int
    """Whose it is, by its index in the session."""
    at: float
    """When its positions were noted, by the clock."""
    turns: int = 0
    """How many were noted."""
    fingerprint: Fingerprint = field(default_factory=Fingerprint)

    def new_turns(self, branch: Branch, positions: int) -> list[tuple[int, SamplingParams]]:
        """Those of its own that are not noted yet, before a position."""
        own = [turn for turn in branch.turns if turn[0] >= self.start]
        return [turn for turn in own[self.turns :] if turn[0] < positions]


class Journal:
    """Appends the events of one tree of branches to a session file, made with the first branch. Not thread-safe.

    A disk that is full or that cannot be written never hurts: then `fault` says so, and `save` still works elsewhere.
    """

    def __init__(
        self, loaded_model: LoadedModel, *, folder: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """folder: where to keep it, in place of `journal_folder`. clock: seconds."""
        self.session = session_of(loaded_model)
        """What has happened so far."""
        self.fault = ""
        """Why the file does not grow any more, in one line that never changes again; empty while all is well."""
        self.path: Path | None = None
        """The file, once there is one."""
        self._folder, self._clock = folder or journal_folder(), clock
        self._file: JournalFile | None = None
        self._models_in_file = 1
        self._tells_surgery = False
        self._whole = True
        self._entries: dict[Branch, _Entry] = {}

    def note_start(self, branch: Branch, loaded_model: LoadedModel | None = None) -> None:
        """A branch begins; to be told at once, before any branch is renamed or deleted.

        loaded_model: another model that makes it, to be compared with the first.
        """
        model = self._model_number(session_model(loaded_model)) if loaded_model else 0
        ours = [other for other, entry in self._entries.items() if entry.model == model]
        parents = [other for other in ours if other.name == branch.start.parent]
        self._begin(branch, parents[0] if parents else None, model)

    def note_growth(self, branch: Branch, *, now: bool = False) -> None:
        """A branch may have grown; to be told often. now: it pauses or ends, so that nothing is put off."""
        entry, positions = self._entries.get(branch), len(branch)
        if entry is None or positions == entry.positions or not (now or self._clock() - entry.at >= SECONDS):
            return
        turns = entry.new_turns(branch, positions)
        sha256 = entry.fingerprint.of(branch, positions)
        self._note(made_line(entry.number, positions, sha256, turns, branch.start.sweep))
        entry.positions, entry.at, entry.turns = positions, self._clock(), entry.turns + len(turns)

    def note_rename(self, branch: Branch) -> None:
        """A branch has a new name."""
        entry = self._entries.get(branch)
        if entry and entry.name != branch.name:
            self._note(renamed_line(entry.number, branch.name))
            entry.name = branch.name

    def note_deletion(self, branch: Branch) -> None:
        """A branch is gone."""
        entry = self._entries.pop(branch, None)
        if entry:
            self._note(deleted_line(entry.number))

    def note_shown(self, branch: Branch) -> None:
        """A branch is on the screen."""
        entry = self._entries.get(branch)
        if entry and entry.number != self.session.shown:
            self._note(shown_line(entry.number))

    def note_comparison(self, branches: Sequence[Branch]) -> None:
        """Branches of several models stand beside each other now; one alone beside no other."""
        numbers = tuple(self._entries[branch].number for branch in branches if branch in self._entries)
        if numbers and numbers != self.session.comparisons.get(numbers[0], numbers[:1]):
            self._note(compared_line(numbers))

    def take_over(
        self, session: Session, branches: Mapping[int, Branch], models: Mapping[int, LoadedModel] | None = None
    ) -> None:
        """Goes on with a session that was made again. branches: by their numbers in it, the deleted ones too.

        models: those besides the first, by their index in it.
        """
        pairs = [(branches[each.number], each) for each in session.needed() if each.number in branches]
        numbers = {index: self._model_number(session_model(model)) for index, model in (models or {}).items()}
        for branch, record in pairs:
            parent = None if record.parent is None else branches[record.parent]
            self._begin(branch, parent, numbers.get(record.model, 0))
            self.note_growth(branch, now=True)
        for branch in [branch for branch, record in pairs if record.deleted]:
            self.note_deletion(branch)
        for _, record in pairs:
            self.note_comparison(
                [branches[each.number] for each in session.compared(record) if each.number in branches]
            )
        for branch, record in pairs:
            if record.number == session.shown:
                self.note_shown(branch)

    def save(self, path: Path) -> None:
        """Writes a file, of a name that a person chose, with what is needed to make the living branches again.

        Raises TuiGenError for one that exists already or cannot be written, or if the session is too large for a file.
        """
        self._catch_up()
        if not self._whole:
            raise TuiGenError(self.fault)
        write_new(path, session_text(self.session).encode("ascii"))

    def close(self) -> None:
        """Notes what is not noted yet and closes the file."""
        self._catch_up()
        self._close_file()

    def discard(self) -> None:
        """Deletes the file, which is closed: nobody did what it says."""
        if self.path:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)

    def _model_number(self, model: SessionModel) -> int:
        """Which of the session's models it is, from now on if it is a new one."""
        models = self.session.models
        if model not in models and len(models) < MAX_MODELS:
            models.append(model)
        return models.index(model) if model in models else len(models)  # which cannot be noted

    def _begin(self, branch: Branch, parent: Branch | None, model: int) -> None:
        if parent:
            self.note_growth(parent, now=True)  # at least up to where this one leaves it
        donors = [each.donor for each in branch.start.interventions if isinstance(each, Take)]
        for donor in donors:
            self.note_growth(donor, now=True)
        number, numbers = len(self.session.records) + 1, {donor: self._entries[donor].number for donor in donors}
        record = record_of(number, branch, self._entries[parent].number if parent else None, model, donors=numbers)
        self._note(begun_line(record))
        self._entries[branch] = _Entry(number, record.start, record.positions, branch.name, model, self._clock())

    def _catch_up(self) -> None:
        for branch in self._entries:
            self.note_growth(branch, now=True)

    def _note(self, line: Line) -> None:
        """What cannot be read again is not written; after that nothing makes sense any more."""
        if not self._whole:
            return
        try:
            apply(self.session, line)
        except TuiGenError as fault:
            self._whole = False
            self._fail(f"the session can no longer be kept: {fault}")
        else:
            self._write(line)

    def _write(self, line: Line) -> None:
        if self.fault:
            return
        try:
            if self._file is None:
                self._file = JournalFile(self._folder, self.session.model)
                self.path = self._file.path
                self._file.write(line_text(header_line(self.session)))
            is_told = self._tells_surgery or "interventions" not in line
            if line.get("model", 0) < self._models_in_file and is_told:
                self._file.write(line_text(line))
            else:  # the first line has to name the new model, or the format that has surgery
                self._file.rewrite(session_text(self.session))
                self._models_in_file = len(self.session.models)
                self._tells_surgery = header_line(self.session)["format"] == FORMAT
        except OSError as fault:
            self._fail(f"the session is no longer kept in {self.path or self._folder}: {fault.strerror}")

    def _fail(self, fault: str) -> None:
        self.fault = self.fault or fault
        self._close_file()

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file:
            file.close()
