"""The knobs of a run, of whatever sort they are, as a JSON object and back."""

from __future__ import annotations

from dataclasses import Field, asdict, fields
from typing import Any

from tui_gen.errors import TuiGenError
from tui_gen.facts import MAX_NUMBER, Facts
from tui_gen.sampling import SamplingParams
from tui_gen.sweep import Sweep

_SORTS: dict[str, type[SamplingParams]] = {"knobs": SamplingParams, "sweep": Sweep}


def params_to_json(params: SamplingParams) -> dict[str, Any]:
    """All fields by name, and under `sort` which of the classes they are of."""
    sort = next(sort for sort, kind in _SORTS.items() if type(params) is kind)
    values = asdict(params)
    return {"sort": sort, **{key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}}


def params_from_json(values: Any) -> SamplingParams:
    """What `params_to_json` made. Raises TuiGenError for anything else, also for a knob that is out of its range."""
    if not isinstance(values, dict):
        raise TuiGenError(f"knobs must be an object, not {values!r:.60}")
    facts = Facts(values, "")
    sort = facts.text("sort")
    if sort not in _SORTS:
        raise facts.fault("sort", f"must be one of {', '.join(_SORTS)}, not {sort!r:.60}")
    read = {field.name: _read(facts, values, field) for field in fields(_SORTS[sort])}
    return _SORTS[sort](**read).checked()


def _read(facts: Facts, values: dict[str, Any], field: Field[Any]) -> Any:
    """A value of the kind that the field's default is of; a list holds numbers."""
    if isinstance(field.default, str):
        return facts.text(field.name)
    if isinstance(field.default, tuple):
        return tuple(_number(facts, field.name, value) for value in facts.items(field.name))
    number = _number(facts, field.name, values.get(field.name))
    if isinstance(field.default, int) and not isinstance(number, int):
        raise facts.fault(field.name, f"must be a whole number, not {number!r:.60}")
    return number


def _number(facts: Facts, key: str, value: Any) -> float:
    """As it is: a whole number stays one, for the count of tokens that it may be."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= MAX_NUMBER:
        raise facts.fault(key, f"must be a finite number, not {value!r:.60}")
    return value
