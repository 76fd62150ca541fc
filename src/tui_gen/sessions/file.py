"""Session files: JSON lines, of which the first says what they are about and each other one what happened."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tui_gen import __version__
from tui_gen.errors import TuiGenError
from tui_gen.files import digest, read_bytes
from tui_gen.json_fields import JsonFields
from tui_gen.library import Entry, LoadedModel, find_models, locate, read_card
from tui_gen.sessions.records import Line, apply, begun_line, deleted_line, made_line, read_hash, shown_line
from tui_gen.sessions.session import Record, Session
from tui_gen.terminal_text import scrub_line

FORMAT = 1
"""What this tui-gen writes, and the newest that it reads."""
MAX_FILE_BYTES = 2**26


def session_of(loaded_model: LoadedModel) -> Session:
    """A session with a model in which nothing has happened yet."""
    sha256 = loaded_model.card.sha256 or digest(read_bytes(loaded_model.path / "model.onnx"))
    return Session(loaded_model.path.resolve().name, loaded_model.card.kind, sha256, __version__)


def read_session(path: Path) -> Session:
    """Reads a session file. A cut-off last line, as a crash leaves it, is left out, and the session says so.

    Raises TuiGenError that names the line and what is wrong with it.
    """
    lines, cut = _lines(path)
    session = _header(path, next(lines, b""))
    session.cut = cut
    for number, line in enumerate(lines, start=2):
        try:
            apply(session, _object(line))
        except TuiGenError as fault:
            raise _error(f"{path}, line {number}: {fault}") from fault
    return session


def session_text(session: Session) -> str:
    """A session as the text of a file: what is needed to make its branches again, without what led there."""
    return "".join(map(line_text, (header_line(session), *needed_lines(session))))


def header_line(session: Session) -> Line:
    """What a session is about."""
    about = {"model": session.model, "kind": session.kind, "sha256": session.sha256}
    return {"session": "tui-gen", "format": FORMAT, "version": __version__, **about}


def needed_lines(session: Session) -> Iterator[Line]:
    """The events that rebuild the session as it is now, without renames and deleted branches that have no children."""
    for record in session.needed():
        yield from _record_lines(record)
    if any(record.number == session.shown for record in session.living()):
        assert session.shown is not None
        yield shown_line(session.shown)


def line_text(line: Line) -> str:
    """As it stands in the file, in ASCII, so that a cut never leaves half a character."""
    return json.dumps(line) + "\n"


def _record_lines(record: Record) -> Iterator[Line]:
    """Its checks are kept, so that a replay that is not exact can say from where on."""
    yield begun_line(record)
    turns = list(record.turns)
    for positions, sha256 in record.checks:
        due = [turn for turn in turns if turn[0] < positions]
        turns = turns[len(due) :]
        yield made_line(record.number, positions, sha256, due, record.sweep)
    if record.deleted:
        yield deleted_line(record.number)


def _lines(path: Path) -> tuple[Iterator[bytes], bool]:
    """The lines of a file, and whether there is one more that is cut off."""
    with contextlib.suppress(OSError):  # of which `read_bytes` tells
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _error(f"{path} is larger than {MAX_FILE_BYTES // 2**20} MiB, too large for a session of tui-gen")
    lines = read_bytes(path).split(b"\n")
    cut = bool(lines[-1]) and not _is_json(lines[-1])
    return iter(lines[:-1] if cut or not lines[-1] else lines), cut


def _header(path: Path, line: bytes) -> Session:
    try:
        facts = JsonFields(_object(line), "")
        if facts.text("session") != "tui-gen":
            raise facts.fault("session", "must be tui-gen")
    except TuiGenError as fault:
        raise _error(f"{path} is not a session of tui-gen") from fault
    try:
        return _about(facts)
    except TuiGenError as fault:
        raise _error(f"{path}, line 1: {fault}") from fault


def _about(facts: JsonFields) -> Session:
    version, format_number = facts.text("version", ""), facts.integer("format", minimum=1)
    if format_number > FORMAT:
        raise TuiGenError(
            f"format {format_number} is newer than this tui-gen, which reads {FORMAT}; tui-gen {version!r:.20} wrote it"
        )
    model, kind, sha256 = facts.text("model"), facts.text("kind"), read_hash(facts)
    if kind not in ("text", "image"):
        raise facts.fault("kind", f"must be text or image, not {kind!r:.60}")
    return Session(model, kind, sha256, version)


def _object(line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as fault:
        raise TuiGenError("damaged, it is not JSON") from fault
    if not isinstance(values, dict):
        raise TuiGenError("damaged, it is no JSON object")
    return values


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _error(message: str) -> TuiGenError:
    """An error about a file that somebody else may have written."""
    return TuiGenError(scrub_line(message))


def model_folder(session: Session, model: str | None, *, anyway: bool) -> tuple[Path, bool]:
    """The folder of the model to play a session with, and whether it is the very one that it was made with.

    model: another one, by name or folder, if somebody asked for it. anyway: takes it even if it is not the same.
    Raises TuiGenError that says which model is missing or another one.
    """
    folder = _find_installed(session) if model is None else locate(model)
    sha256 = _sha256(folder)
    if sha256 != session.sha256 and not anyway:
        raise TuiGenError(
            f"the session was made with {_model(session)}, and {folder} has another model.onnx (sha256 {sha256[:12]}); "
            "--model names the right one, --anyway plays it with this one"
        )
    return folder, sha256 == session.sha256


def _find_installed(session: Session) -> Path:
    """The same file under whatever name, or else what has the same name."""
    entries = [entry for entry in find_models() if entry.card]
    entries.sort(key=lambda entry: (not _is_same(entry, session), entry.name != session.model))
    if entries and (_is_same(entries[0], session) or entries[0].name == session.model):
        return entries[0].path
    names = ", ".join(entry.name for entry in entries) or "none"
    raise TuiGenError(f"{_model(session)} is not installed; --model takes its folder; installed: {names}")


def _is_same(entry: Entry, session: Session) -> bool:
    return entry.card is not None and entry.card.sha256 == session.sha256


def _sha256(folder: Path) -> str:
    return read_card(folder).sha256 or digest(read_bytes(folder / "model.onnx"))


def _model(session: Session) -> str:
    return f"the model {session.model!r:.60} (sha256 {session.sha256[:12]})"
