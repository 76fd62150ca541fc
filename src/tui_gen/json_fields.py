"""Checked access to a JSON object that somebody else wrote."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from tui_gen.errors import TuiGenError
from tui_gen.terminal_text import did_you_mean

MAX_NUMBER = 1e300
MAX_LENGTH, MAX_PARTS, MAX_DEPTH = 2**25, 2**20, 64
"""Of a JSON text: characters or bytes, how many lists and objects it has, and how many lie within each other."""
MAX_TEXT = 2**20
"""Characters of a text in it, where nothing says less."""


def parse_json(text: str | bytes, *, longest: int = MAX_LENGTH) -> Any:
    """The value of a JSON text. Raises TuiGenError for what is none, and for one that is too long or nests too deep."""
    if len(text) > longest:
        raise TuiGenError(f"is too long for what it is to say: more than {longest >> 10:,} KiB")
    brackets = ("[", "{") if isinstance(text, str) else (b"[", b"{")
    if sum(map(text.count, brackets)) > MAX_PARTS:  # type: ignore[arg-type]
        raise TuiGenError(f"has more than {MAX_PARTS:,} lists and objects")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise TuiGenError(f"is not JSON: {fault}") from fault
    parts = [value]
    depth = 0
    while parts and depth < MAX_DEPTH:
        insides = (part.values() if isinstance(part, dict) else part for part in parts if isinstance(part, dict | list))
        parts = [part for inside in insides for part in inside if isinstance(part, dict | list)]
        depth += 1
    if parts:
        raise TuiGenError(f"nests lists and objects deeper than {MAX_DEPTH}")
    return value


class JsonFields:
    """Values by key. What is missing or of another kind raises TuiGenError that names the key and what it should be."""

    def __init__(self, values: dict[str, Any], path: str) -> None:
        self._values, self._path = values, path

    def text(self, key: str, default: str | None = None, *, longest: int = MAX_TEXT) -> str:
        """A text of so many characters at most."""
        value = cast(str, self._get(key, str, "text", default))
        if len(value) > longest:
            raise self.fault(key, f"must have at most {longest:,} characters, not {len(value):,}")
        return value

    def integer(self, key: str, *, minimum: int = 0, maximum: int = 2**31 - 1) -> int:
        """A whole number within these bounds."""
        value = cast(int, self._get(key, int, "a whole number", None))
        if not minimum <= value <= maximum or isinstance(value, bool):
            bounds = f"of at most {maximum}" if maximum < value < 2**31 else f"of at least {minimum}"
            raise self.fault(key, f"must be a whole number {bounds}, not {value!r:.60}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number."""
        value = cast(float, self._get(key, (int, float), "a number", default))
        if not abs(value) <= MAX_NUMBER:
            raise self.fault(key, f"must be a finite number, not {value!r:.60}")
        return float(value)

    def items(self, key: str) -> list[Any]:
        """A list; empty when missing."""
        return cast(list[Any], self._get(key, list, "a list", []))

    def section(self, key: str) -> JsonFields | None:
        """An object, to be read in the same way; None when missing."""
        value = self._get(key, dict, "an object", {})
        return JsonFields(cast(dict[str, Any], value), f"{self._path}{key}.") if value else None

    def raw(self, key: str) -> dict[str, Any]:
        """An object as it is; empty when missing."""
        return cast(dict[str, Any], self._get(key, dict, "an object", {}))

    def value(self, key: str) -> object:
        """Whatever stands there; None when missing."""
        return self._values.get(key)

    def refuse_others(self, keys: Sequence[str]) -> None:
        """Raises TuiGenError for a key that means nothing."""
        for key in self._values:
            if key not in keys:
                raise self.fault(key, f"means nothing; {did_you_mean(key, keys) or 'known are ' + ', '.join(keys)}")

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return self._values.get(key) is not None

    def fault(self, key: str, what: str) -> TuiGenError:
        """The error to raise for a key."""
        return TuiGenError(f"'{self._path}{key}' {what}")

    def _get(self, key: str, kind: type | tuple[type, ...], expected: str, default: Any) -> Any:
        value = self._values.get(key)
        if value is None:
            if default is None:
                raise self.fault(key, "is missing")
            return default
        if not isinstance(value, kind):
            raise self.fault(key, f"must be {expected}, not {value!r:.60}")
        return value


def readable_json(value: Any, indent: int = 0) -> str:
    """As `json.dumps` with two blanks a level, but for what is flat, such as a list of numbers: that is one line."""
    if isinstance(value, dict) and value:
        parts = [
            f"{json.dumps(key, ensure_ascii=False)}: {readable_json(part, indent + 2)}" for key, part in value.items()
        ]
        return _block("{", parts, "}", indent)
    if isinstance(value, list | tuple) and any(isinstance(part, dict | str) for part in value):
        return _block("[", [readable_json(part, indent + 2) for part in value], "]", indent)
    return json.dumps(value, ensure_ascii=False)


def _block(opening: str, parts: list[str], closing: str, indent: int) -> str:
    inner = ",\n".join(" " * (indent + 2) + part for part in parts)
    return f"{opening}\n{inner}\n{' ' * indent}{closing}"
