"""Which installed model a session was made with."""

from __future__ import annotations

from pathlib import Path

from tui_gen.errors import TuiGenError
from tui_gen.files import read_bytes
from tui_gen.library import Entry, find_models, locate, read_card
from tui_gen.session import Session
from tui_gen.verdict import digest


def model_folder(session: Session, model: str | None, *, anyway: bool) -> tuple[Path, bool]:
    """The folder of the model to play a session with, and whether it is the very one that it was made with.

    model: another one, by name or folder, if somebody asked for it. anyway: takes it even if it is not the same.
    Raises TuiGenError that says which model is missing or another one.
    """
    folder = _installed(session) if model is None else locate(model)
    found = _sha256(folder)
    if found != session.sha256 and not anyway:
        raise TuiGenError(
            f"the session was made with {_named(session)}, and {folder} has another model.onnx (sha256 {found[:12]}); "
            "--model names the right one, --anyway plays it with this one"
        )
    return folder, found == session.sha256


def _installed(session: Session) -> Path:
    """The same file under whatever name, or else what has the same name."""
    entries = [entry for entry in find_models() if entry.card]
    entries.sort(key=lambda entry: (not _is_same(entry, session), entry.name != session.model))
    if entries and (_is_same(entries[0], session) or entries[0].name == session.model):
        return entries[0].path
    names = ", ".join(entry.name for entry in entries) or "none"
    raise TuiGenError(f"{_named(session)} is not installed; --model takes its folder; installed: {names}")


def _is_same(entry: Entry, session: Session) -> bool:
    return entry.card is not None and entry.card.sha256 == session.sha256


def _sha256(folder: Path) -> str:
    return read_card(folder).sha256 or digest(read_bytes(folder / "model.onnx"))


def _named(session: Session) -> str:
    return f"the model {session.model!r:.60} (sha256 {session.sha256[:12]})"
