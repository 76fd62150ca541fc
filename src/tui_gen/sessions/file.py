"""Session files: JSON lines, of which the first says what they are about and each other one what happened."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tui_gen import __version__, hub
from tui_gen.card import MAX_NAME, ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.files import digest, read_bytes
from tui_gen.json_fields import JsonFields, parse_json
from tui_gen.library import LoadedModel, find_models, graph_file, locate, model_folder, read_card
from tui_gen.sessions.records import (
    MAX_MODELS,
    Line,
    apply,
    begun_line,
    compared_line,
    deleted_line,
    made_line,
    read_hash,
    shown_line,
)
from tui_gen.sessions.session import Record, Session, SessionModel
from tui_gen.terminal_text import counted, scrub_line

FORMAT = 3
"""The newest that this tui-gen reads. It writes the oldest one that says all, for older versions to read: 1 where one
model is enough, 3 where something is done to a state, which those would leave undone.
"""
MAX_FILE_BYTES = 2**26
_SAME, _LATER, _ANOTHER = range(3)


def session_model(loaded_model: LoadedModel) -> SessionModel:
    """What a session says of a model."""
    sha256 = loaded_model.card.sha256 or digest(read_bytes(graph_file(loaded_model.folder)))
    name = loaded_model.address if loaded_model.snapshot else loaded_model.path.resolve().name
    return SessionModel(name, loaded_model.card.kind, sha256)


def session_of(loaded_model: LoadedModel) -> Session:
    """A session with a model in which nothing has happened yet."""
    return Session([session_model(loaded_model)], __version__)


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
    """What a session is about: the first model alone if it made all branches, else all models."""
    about = [{"name": model.name, "kind": model.kind, "sha256": model.sha256} for model in session.models]
    needed = session.needed()
    surgery = any(record.interventions for record in needed)
    if surgery or any(record.model for record in needed):
        return {"session": "tui-gen", "format": 3 if surgery else 2, "version": __version__, "models": about}
    first = {"model" if key == "name" else key: value for key, value in about[0].items()}
    return {"session": "tui-gen", "format": 1, "version": __version__, **first}


def needed_lines(session: Session) -> Iterator[Line]:
    """The events that rebuild the session as it is now, without renames and deleted branches that have no children."""
    for record in session.needed():
        yield from _record_lines(record)
    for record in session.living():
        if len(together := session.compared(record)) > 1:
            yield compared_line([each.number for each in together])
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
    lines = read_bytes(path, most=MAX_FILE_BYTES).split(b"\n")
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
    if format_number == 1:
        return Session([_model_facts(facts, "model")], version)
    models = facts.items("models")
    if not 1 <= len(models) <= MAX_MODELS or not all(isinstance(model, dict) for model in models):
        raise facts.fault("models", f"must be 1 to {MAX_MODELS} objects")
    return Session([_model_facts(JsonFields(model, "models."), "name") for model in models], version)


def _model_facts(facts: JsonFields, name_key: str) -> SessionModel:
    name, kind = facts.text(name_key, longest=MAX_NAME), facts.text("kind")
    if kind not in ("text", "image"):
        raise facts.fault("kind", f"must be text or image, not {kind!r:.60}")
    return SessionModel(name, kind, read_hash(facts))


def _object(line: bytes) -> dict[str, Any]:
    try:
        values = parse_json(line)
    except TuiGenError as fault:
        raise TuiGenError(f"damaged, it {fault}") from fault
    if not isinstance(values, dict):
        raise TuiGenError("damaged, it is no JSON object")
    return values


def _is_json(line: bytes) -> bool:
    with contextlib.suppress(TuiGenError):
        parse_json(line)
        return True
    return False


def _error(message: str) -> TuiGenError:
    """An error about a file that somebody else may have written."""
    return TuiGenError(scrub_line(message))


def model_folders(
    session: Session, asked: Sequence[str], *, anyway: bool
) -> tuple[dict[int, Path], list[SessionModel], list[SessionModel]]:
    """The folders of the models that a session needs, by their index in it; of which there is a later file of the same
    network, as its card says; and of which there is another model.

    asked: models, by name or folder, that somebody asked for: each stands for the session's model that is the same,
    else for that of the same name, else for the first that is left. anyway: takes one even if it is not the same.
    Raises TuiGenError that says which model is missing or another one.
    """
    needed = session.needed_models()
    folders = _assign(session, needed, [locate(model) for model in asked])
    kinship = dict[SessionModel, int]()
    for index in needed:
        model = session.models[index]
        folder = folders[index] = folders.get(index) or _find_installed(model)
        card = _card(folder)
        kinship[model] = _kinship(card, model)
        if kinship[model] == _ANOTHER and not anyway:
            raise TuiGenError(
                f"the session was made with {model}, and {folder} has another model.onnx (sha256 {card.sha256[:12]}); "
                "--model names the right one, --anyway plays it with this one"
            )
    earlier, replaced = ([m for m, kin in kinship.items() if kin == which] for which in (_LATER, _ANOTHER))
    return folders, earlier, replaced


def _assign(session: Session, needed: Sequence[int], folders: Sequence[Path]) -> dict[int, Path]:
    """Which folder that was asked for stands for which model."""
    models, assigned, cards = session.models, dict[int, Path](), {folder: _card(folder) for folder in folders}
    for folder in sorted(folders, key=lambda folder: min(_kinship(cards[folder], models[index]) for index in needed)):
        left = [index for index in needed if index not in assigned]
        if not left:
            raise TuiGenError(f"the session has {counted(len(needed), 'model')}, and --model names more")
        card, name = cards[folder], folder.resolve().name
        left.sort(key=lambda index: (_kinship(card, models[index]), models[index].name != name))
        assigned[left[0]] = folder
    return assigned


def _find_installed(model: SessionModel) -> Path:
    """The same file under whatever name, or a later one of it, or else what has the same name; of the hub what is in
    its cache, for a session may be a stranger's, and nothing is downloaded that nobody asked for.
    """
    entries = [entry for entry in find_models() if entry.card]
    entries.sort(key=lambda entry: (_kinship(entry.card, model), entry.name != model.name))
    if entries and (_kinship(entries[0].card, model) != _ANOTHER or entries[0].name == model.name):
        return entries[0].path
    if hub.is_address(model.name):
        if hub.cached(model.name):
            return Path(model.name)
        raise TuiGenError(f"{model} is of the hub, and not in its cache; --model {model.name} downloads it")
    names = ", ".join(entry.name for entry in entries) or "none"
    raise TuiGenError(f"{model} is not installed; --model takes its folder or file; installed: {names}")


def _kinship(card: ModelCard | None, model: SessionModel) -> int:
    """How near a model is to one of a session: the same file, a later one of the same network, or another."""
    if card is None or model.sha256 not in (card.sha256, *card.replaces):
        return _ANOTHER
    return _SAME if card.sha256 == model.sha256 else _LATER


def _card(folder: Path) -> ModelCard:
    """With the hash of model.onnx, also where it does not say it."""
    folder = model_folder(folder) if hub.is_address(folder) else folder
    card = read_card(folder)
    return card if card.sha256 else replace(card, sha256=digest(read_bytes(graph_file(folder))))
