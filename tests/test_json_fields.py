"""JSON that somebody else wrote."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from tui_gen.errors import TuiGenError
from tui_gen.json_fields import MAX_DEPTH, JsonFields, parse_json

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "is not JSON: Expecting property name"),
        (b"\xff", "is not JSON: "),
        ("1" * 5000, "is not JSON: Exceeds the limit"),
        ("[" * 10**6, "is not JSON: maximum recursion depth exceeded"),
        ("[" * 900 + "]" * 900, "nests lists and objects deeper than 64"),
        ('{"a":' * (MAX_DEPTH + 1) + "0" + "}" * (MAX_DEPTH + 1), "nests lists and objects deeper than 64"),
        ("[" + "[]," * 2**20, "has more than 1,048,576 lists and objects"),
        ("[" + "1, " * 10, "is too long for what it is to say"),
    ],
)
def test_what_is_damaged_or_nests_or_is_too_long_is_told(text: str | bytes, fault: str) -> None:
    with pytest.raises(TuiGenError, match=fault):
        parse_json(text, longest=30 if "too long" in fault else 2**25)


def test_what_is_not_too_deep_is_read() -> None:
    value: Any = parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    for _ in range(MAX_DEPTH - 1):
        (value,) = value
    assert value == []


def test_a_long_key_is_cut_in_what_is_told() -> None:
    with pytest.raises(TuiGenError) as caught:
        JsonFields({}, "x." * 100_000).text("name")
    assert str(caught.value).endswith(".name' is missing")
    assert len(str(caught.value)) == 1000


def test_json_of_others_is_read_in_one_place() -> None:
    sources = [path for root in ("src/tui_gen", "export") for path in (ROOT / root).rglob("*.py")]
    assert {str(path.relative_to(ROOT)) for path in sources if "json.load" in _calls(path)} == {
        "src/tui_gen/json_fields.py",
        "src/tui_gen/bench/networks.py",
        "src/tui_gen/child.py",
        "src/tui_gen/checkpoint.py",
    }  # but for the first, their own


def _calls(path: Path) -> str:
    return " ".join(
        ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
    )
