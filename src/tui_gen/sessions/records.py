"""What happens in a session, an event a line: events as JSON objects, and what each changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, asdict, fields, replace
from itertools import groupby
from typing import Any

import numpy as np

from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch
from tui_gen.generation.surgery import Forget, Hold, Intervention, Take
from tui_gen.json_fields import MAX_LENGTH, MAX_NUMBER, JsonFields
from tui_gen.sampling.params import FREE, SamplingParams, Tokens
from tui_gen.sampling.sweep import Sweep
from tui_gen.scoring.comparison import MOST
from tui_gen.sessions.session import Record, Session

Line = Mapping[str, Any]
MAX_CELLS = 2**25
"""Tokens that all branches and prompts of a session may have, with all their samples."""
MAX_SAMPLES, MAX_NAME, MAX_BRANCHES, MAX_MODELS = 4096, 200, 10_000, 1000
MAX_INTERVENTIONS = 64
"""Of a branch."""
_HASH = re.compile(r"[0-9a-f]{64}")
Row = list[int | list[int]]
"""Tokens, and [token, count] for one that stands several times."""
_MAX_TOKEN = 2**31
_LEAST_RUN = 3
"""Fewer are shorter one by one."""
_SORTS = "knobs", "sweep"
"""Of parameters: those of all samples, and those of a sweep, with its knob and its values."""


def record_of(
    number: int, branch: Branch, parent: int | None, model: int = 0, *, donors: Mapping[Branch, int] | None = None
) -> Record:
    """A branch that begins. number: its own. parent: the number of the one that it leaves. model: which one's it is.

    donors: the numbers of those whose states it takes.
    """
    start, parent_length = branch.start, 0 if parent is None else branch.start.at
    how = (start.seed, start.params, start.sweep, start.text, parent, start.at, start.override)
    record = Record(
        number, branch.name, start.prompt[:, parent_length:], *how, positions=max(1, parent_length), model=model
    )
    record.interventions = tuple(
        replace(each, donor=(donors or {})[each.donor]) if isinstance(each, Take) else each
        for each in start.interventions
    )
    return record


def begun_line(record: Record) -> Line:
    """A branch begins."""
    line: dict[str, Any] = {"event": "begun", "branch": record.number, "name": record.name, "text": record.text}
    if record.model:
        line["model"] = record.model
    if record.parent is not None:
        line |= {"parent": record.parent, "at": record.at}
    if record.override is not None:
        line["override"] = rows_to_json(record.override)
    if record.interventions:
        line["interventions"] = list(map(intervention_to_json, record.interventions))
    rows = rows_to_json(record.prompt)
    return line | {
        "samples": record.samples,
        "prompt": rows,
        "seed": record.seed,
        "params": params_to_json(record.params, record.sweep),
    }


def made_line(
    number: int,
    positions: int,
    sha256: str,
    turns: Sequence[tuple[int, SamplingParams]],
    sweep: Sweep | None = None,
) -> Line:
    """A branch has so many positions. turns: those since the last such line. sweep: the branch's."""
    line = {"event": "made", "branch": number, "positions": positions, "sha256": sha256}
    turn_rows = [[at, params_to_json(params, sweep)] for at, params in turns]
    return line | {"turns": turn_rows} if turn_rows else line


def renamed_line(number: int, name: str) -> Line:
    """A branch has another name from here on."""
    return {"event": "renamed", "branch": number, "name": name}


def deleted_line(number: int) -> Line:
    """A branch is gone; what left it stays."""
    return {"event": "deleted", "branch": number}


def shown_line(number: int) -> Line:
    """A branch is on the screen."""
    return {"event": "shown", "branch": number}


def compared_line(numbers: Sequence[int]) -> Line:
    """Branches stand beside each other, each of another model; one alone stands beside no other any more."""
    return {"event": "compared", "branches": list(numbers)}


def read_hash(facts: JsonFields) -> str:
    """What `sha256` says. Raises TuiGenError for anything else than that."""
    sha256 = facts.text("sha256")
    if not _HASH.fullmatch(sha256):
        raise facts.fault("sha256", f"must be 64 hexadecimal digits, not {sha256!r:.80}")
    return sha256


def apply(session: Session, line: Line) -> None:
    """Takes an event into account. Raises TuiGenError for one that cannot be, and then leaves the session as it is."""
    facts = _Facts(dict(line), "")
    event = facts.text("event")
    if event not in _EVENTS:
        raise facts.fault("event", f"must be one of {', '.join(_EVENTS)}, not {event!r:.60}")
    _EVENTS[event](session, facts)


class _Facts(JsonFields):
    def seed(self) -> int:
        """Of any size, as on the command line."""
        seed = self._values.get("seed")
        if type(seed) is not int or seed < 0:
            raise self.fault("seed", f"must be a whole number of at least 0, not {seed!r:.60}")
        return seed


def _apply_start(session: Session, facts: _Facts) -> None:
    number, samples = facts.integer("branch"), facts.integer("samples", minimum=1)
    if number in session.records or len(session.records) >= MAX_BRANCHES:
        raise facts.fault("branch", f"must be a new one of at most {MAX_BRANCHES}, not {number}")
    model, parent = _model(session, facts), _record(session, facts, "parent") if facts.has("parent") else None
    if parent and parent.model != model:
        raise facts.fault("parent", f"names a branch of another model: {parent.number}")
    if samples > MAX_SAMPLES or (parent and samples != parent.samples):
        expectation = parent.samples if parent else f"at most {MAX_SAMPLES}"
        raise facts.fault("samples", f"must be {expectation}, not {samples}")
    override = _rows(session, facts, "override", samples) if facts.has("override") else None
    interventions = _interventions(session, facts, parent)
    prompt, seed = _prompt(session, facts, samples, parent), facts.seed()
    params, sweep = _params(facts, "params", facts.raw("params"), samples)
    record = Record(
        number,
        _name(session, facts, model),
        prompt,
        seed,
        params,
        sweep,
        facts.text("text", "", longest=MAX_LENGTH),
        parent.number if parent else None,
        _at(facts, parent) if parent else 1,
        override,
        model=model,
        interventions=interventions,
    )
    record.positions = record.start
    own = record.prompt.shape[1] + (0 if override is None else override.shape[1]) + len(record.takes)
    _count(session, facts, "prompt", samples * (record.positions + own))
    session.records[number] = record


def _apply_growth(session: Session, facts: JsonFields) -> None:
    record, positions, sha256 = _record(session, facts), facts.integer("positions"), read_hash(facts)
    if positions < record.positions:
        raise facts.fault("positions", f"must be at least {record.positions}, not {positions}")
    turns = [_turn(facts, turn, record) for turn in facts.items("turns")]
    places = [at for at, _ in (*record.turns[-1:], *turns)]
    if any(not record.start <= at < positions for at, _ in turns) or places != sorted(set(places)):
        raise facts.fault("turns", f"must be in order, at positions from {record.start} to {positions - 1}")
    _count(session, facts, "positions", (positions - record.positions) * record.samples)
    record.positions = positions
    record.turns += turns
    record.checks.append((positions, sha256))


def _apply_rename(session: Session, facts: JsonFields) -> None:
    record = _record(session, facts)
    record.name = _name(session, facts, record.model)


def _apply_deletion(session: Session, facts: JsonFields) -> None:
    _record(session, facts).deleted = True


def _apply_view(session: Session, facts: JsonFields) -> None:
    session.shown = _record(session, facts).number


def _apply_comparison(session: Session, facts: JsonFields) -> None:
    numbers = facts.items("branches")
    if not 1 <= len(numbers) <= MOST or not all(type(number) is int for number in numbers):
        raise facts.fault("branches", f"must be the numbers of 1 to {MOST} branches, not {numbers!r:.60}")
    if unknown := [number for number in numbers if number not in session.records]:
        raise facts.fault("branches", f"names a branch that is unknown: {unknown[0]!r:.60}")
    records = [session.records[number] for number in numbers]
    if records[0].model or len({record.model for record in records}) < len(records):
        raise facts.fault("branches", "must be one of the first model and then each of another one")
    if len({(record.samples, session.models[record.model].kind) for record in records}) > 1:
        raise facts.fault("branches", "must have as many samples, and all be text or all pictures")
    session.comparisons[records[0].number] = tuple(numbers)


def _model(session: Session, facts: JsonFields) -> int:
    model = facts.integer("model") if facts.has("model") else 0
    if model >= len(session.models):
        raise facts.fault("model", f"names a model that is unknown: {model}")
    return model


def _record(session: Session, facts: JsonFields, key: str = "branch") -> Record:
    number = facts.integer(key)
    if number not in session.records:
        raise facts.fault(key, f"names a branch that is unknown: {number}")
    return session.records[number]


def _name(session: Session, facts: JsonFields, model: int) -> str:
    name = facts.text("name")
    if not 0 < len(name.strip()) == len(name) <= MAX_NAME:
        raise facts.fault("name", f"must be a text of 1 to {MAX_NAME} characters, not {name!r:.60}")
    if any(record.name == name and record.model == model for record in session.living()):
        raise facts.fault("name", f"is that of another branch: {name!r:.60}")
    return name


def _prompt(session: Session, facts: JsonFields, samples: int, parent: Record | None) -> Tokens:
    prompt = _rows(session, facts, "prompt", samples)
    if not parent and (prompt.shape[1] == 0 or (prompt[:, 0] == FREE).any()):
        raise facts.fault("prompt", "must have a token at its first position")
    return prompt


def _rows(session: Session, facts: JsonFields, key: str, samples: int) -> Tokens:
    rows = facts.items(key)
    try:
        return rows_from_json(rows, samples, room=MAX_CELLS - session.cells)
    except TuiGenError as fault:
        raise facts.fault(key, str(fault)) from fault


def _at(facts: JsonFields, parent: Record) -> int:
    at = facts.integer("at", minimum=1)
    if at > parent.positions:
        raise facts.fault("at", f"must be a token of branch {parent.name!r} or the next, not {at}")
    return at


def _interventions(session: Session, facts: JsonFields, parent: Record | None) -> tuple[Intervention, ...]:
    values = facts.items("interventions")
    if len(values) > (MAX_INTERVENTIONS if parent else 0):
        most = f"at most {MAX_INTERVENTIONS}" if parent else "left out of a branch that left no other one"
        raise facts.fault("interventions", f"must be {most}, not {len(values)}")
    try:
        interventions = tuple(map(intervention_from_json, values))
    except TuiGenError as fault:
        raise facts.fault("interventions", f"cannot be used: {fault}") from fault
    for take in interventions:
        if parent and isinstance(take, Take) and not _may_take(session, take, parent):
            where = f"of branch {take.donor} at position {take.position}"
            raise facts.fault("interventions", f"takes a state that {parent.name!r} cannot have, {where}")
    return interventions


def _may_take(session: Session, take: Take[int], parent: Record) -> bool:
    """Whether there is such a state, and of the same model and as many samples."""
    donor = session.records.get(take.donor, parent)
    alike = (donor.model, donor.samples) == (parent.model, parent.samples)
    return take.donor in session.records and alike and take.position <= donor.positions


def _params(facts: JsonFields, key: str, values: Any, samples: int) -> tuple[SamplingParams, Sweep | None]:
    try:
        params, sweep = params_from_json(values)
    except TuiGenError as fault:
        raise facts.fault(key, f"cannot be used: {fault}") from fault
    if sweep and len(sweep) != samples:
        raise facts.fault(key, f"must have {samples} values, one per sample, not {len(sweep)}")
    return params, sweep


def _turn(facts: JsonFields, turn: Any, record: Record) -> tuple[int, SamplingParams]:
    if not isinstance(turn, list) or len(turn) != 2 or type(turn[0]) is not int:
        raise facts.fault("turns", f"must be pairs of a position and knobs, not {turn!r:.60}")
    params, sweep = _params(facts, "turns", turn[1], record.samples)
    if sweep != record.sweep:
        raise facts.fault("turns", "must keep what the samples differ by: the knob and its values, or none")
    return turn[0], params


def _count(session: Session, facts: JsonFields, key: str, cells: int) -> None:
    if session.cells + cells > MAX_CELLS:
        raise facts.fault(key, f"makes the session larger than {MAX_CELLS} tokens")
    session.cells += cells


_EVENTS: dict[str, Callable[[Session, _Facts], None]] = {
    "begun": _apply_start,
    "made": _apply_growth,
    "renamed": _apply_rename,
    "deleted": _apply_deletion,
    "shown": _apply_view,
    "compared": _apply_comparison,
}


def rows_to_json(tokens: Tokens) -> list[Row]:
    """One row of int64[samples, n] per sample, or a single one where all are the same."""
    alike = (tokens == tokens[:1]).all()
    return [_row_to_json(row) for row in tokens[: 1 if alike else None].tolist()]


def rows_from_json(rows: Any, samples: int, *, room: int) -> Tokens:
    """Back to int64[samples, n], of at most `room` tokens in all. Raises TuiGenError for anything else."""
    if not isinstance(rows, list) or len(rows) not in (1, samples):
        raise TuiGenError(f"must be a list of 1 or {samples} rows of tokens")
    widths = {_width(row) for row in rows}
    if len(widths) != 1:
        raise TuiGenError("must be rows of one length")
    if max(widths) * samples > room:
        raise TuiGenError("has more tokens than a session can hold")
    read = np.stack([_row_from_json(row) for row in rows])
    return np.repeat(read, samples, axis=0) if len(rows) < samples else read


def _row_to_json(tokens: list[int]) -> Row:
    row: Row = []
    for token, run in groupby(tokens):
        count = len(list(run))
        row += [[token, count]] if count >= _LEAST_RUN else [token] * count
    return row


def _row_from_json(row: Row) -> Tokens:
    parts = [part if isinstance(part, list) else [part, 1] for part in row]
    tokens, counts = np.array(parts, dtype=np.int64).reshape(-1, 2).T
    return tokens.repeat(counts)


def _width(row: Any) -> int:
    """How many tokens a row has; nothing of it may be trusted before."""
    if not isinstance(row, list):
        raise TuiGenError(f"must hold rows of tokens, not {row!r:.60}")
    return sum(_run_length(part) for part in row)


def _run_length(part: Any) -> int:
    token, count = part if isinstance(part, list) and len(part) == 2 else (part, 1)
    if type(token) is not int or type(count) is not int or not FREE <= token < _MAX_TOKEN or count < 1:
        raise TuiGenError(f"must hold token ids and [token id, count], not {part!r:.60}")
    return count


def params_to_json(params: SamplingParams, sweep: Sweep | None = None) -> dict[str, Any]:
    """All fields by name, those of a sweep after them, and under `sort` whether there is one."""
    if sweep is None:
        return {"sort": "knobs", **asdict(params)}
    return {"sort": "sweep", **asdict(params), "knob": sweep.knob, "values": list(sweep.values)}


def params_from_json(values: Any) -> tuple[SamplingParams, Sweep | None]:
    """What `params_to_json` made. Raises TuiGenError for anything else, also for a knob that is out of its range."""
    if not isinstance(values, dict):
        raise TuiGenError(f"knobs must be an object, not {values!r:.60}")
    facts = JsonFields(values, "")
    sort = facts.text("sort")
    if sort not in _SORTS:
        raise facts.fault("sort", f"must be one of {', '.join(_SORTS)}, not {sort!r:.60}")
    params = SamplingParams(**{field.name: _read(facts, values, field) for field in fields(SamplingParams)})
    if sort == "knobs":
        return params.checked(), None
    numbers = tuple(_number(facts, "values", value) for value in facts.items("values"))
    return params, Sweep(facts.text("knob"), numbers).checked(params)


def intervention_to_json(intervention: Intervention) -> dict[str, Any]:
    """All fields by name, but for what is left to all layers, and under `sort` what it is."""
    sort = type(intervention).__name__.lower()
    return {"sort": sort, **{key: value for key, value in asdict(intervention).items() if value is not None}}


def intervention_from_json(values: Any) -> Intervention:
    """What `intervention_to_json` made. Raises TuiGenError for anything else."""
    if not isinstance(values, dict):
        raise TuiGenError(f"an intervention must be an object, not {values!r:.60}")
    facts = JsonFields(values, "")
    sort = facts.text("sort")
    if sort == "forget":
        return Forget(facts.text("part", "", longest=MAX_NAME), facts.integer("layer") if facts.has("layer") else None)
    if sort == "hold":
        value = float(_number(facts, "value", values.get("value")))
        return Hold(facts.text("part", "", longest=MAX_NAME), facts.integer("layer"), facts.integer("unit"), value)
    if sort == "take":
        return Take(facts.integer("donor"), facts.integer("position"))
    raise facts.fault("sort", f"must be one of forget, hold, take, not {sort!r:.60}")


def _read(facts: JsonFields, values: dict[str, Any], field: Field[Any]) -> Any:
    """A number; a whole one where the field's default is."""
    number = _number(facts, field.name, values.get(field.name))
    if isinstance(field.default, int) and not isinstance(number, int):
        raise facts.fault(field.name, f"must be a whole number, not {number!r:.60}")
    return number


def _number(facts: JsonFields, key: str, value: Any) -> float:
    """As it is: a whole number stays one, for the count of tokens that it may be."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= MAX_NUMBER:
        raise facts.fault(key, f"must be a finite number, not {value!r:.60}")
    return value
