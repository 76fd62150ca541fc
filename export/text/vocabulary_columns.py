"""Columns of vocabulary files: tokens with their ids, counts or scores beside them."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .special_tokens import Texts, is_special
from .vocabulary_values import GAPS

if TYPE_CHECKING:  # the help would wait for PyTorch
    from ..assumptions import Assumptions

Row = str | list[str]
"""A line, or its cells where a file has them apart."""
COLUMNS = {
    "token": (0, 0),
    "token,count": (0, 1),
    "token,id": (0, 1),
    "token,score": (0, 1),
    "id,token": (1, 0),
    "count,token": (1, 0),
    "id,token,count": (1, 1),
    "token,id,count": (0, 2),
    "token,count,id": (0, 2),
    "token,count,count": (0, 2),
}
"""How many numbers stand before and after the token in a line, by what the columns are."""
HEADER = re.compile(
    r"#.*|\W*(tokens?|words?|chars?|characters?|vocab(ulary)?|symbols?|ids?|ind(ex|ices)|idx|counts?|freq\w*)\W*", re.I
)
ESCAPES = {"\\n": "\n", "\\t": "\t", "\\r": "\r", "\\s": " ", "\\\\": "\\"}
_SIGNS = {"\t": r"\t", ",": ",", ":": r" *[:;|=] *", " ": r"(?: +(?=\S)| )"}
"""What stands between columns, as regular expressions."""
_TOKENS = {"\t": "(.*)", ",": "(.*)", ":": r"(.*\S|\s|)", " ": r"(.*\S|\s|)"}
_DIGITS = r"-?\d{1,15}(?:\.\d*)?(?:e-?\d+)?"
_NUMBER = re.compile(_DIGITS, re.I | re.ASCII)
_VECTOR = re.compile(rf"(\S+)(?: {_DIGITS}){{4,}} ?", re.I | re.ASCII)
_SIZES = re.compile(r"\d+( \d+)?", re.ASCII)
"""A first line that says how many lines follow, and of how many numbers."""
_OBJECT_KEYS = {
    "token": ("token", "word", "char", "text", "piece", "symbol", "content"),
    "id": ("id", "index", "idx"),
    "count": ("count", "freq", "frequency"),
}
_FEW = 20
"""Lines at the end of a file of which one has numbers, if it has them at all."""
_LONGEST = 1000
"""Characters of a line; a longer one is no token and would take long to match."""
_MOST = 0.8
"""Of all lines that have numbers beside a token, if that is what the file is."""
_DISTINCT = 0.95
"""Of all tokens, if what is left of them without the numbers beside them are tokens."""
_SORTED = 0.95
"""Of all counts that are followed by none greater, if the commonest tokens stand first."""


@dataclass(frozen=True)
class ColumnTokens:
    """Tokens by their ids."""

    tokens: Texts
    counts: tuple[float, ...]
    """How often each occurred; empty where that is not known."""
    description: str
    """What was in the columns, for people."""


@dataclass(frozen=True)
class _Table:
    """Tokens with the numbers beside them."""

    columns: str
    tokens: list[str]
    numbers: list[list[float]]
    """Those of each token; none of a special token that has none."""
    header: str = ""
    is_sure: bool = True
    """Whether a person or the numbers say what the columns are."""

    @property
    def width(self) -> int:
        """How many numbers stand beside a token."""
        return sum(COLUMNS[self.columns])

    @property
    def strange(self) -> list[str]:
        """Tokens that speak against such columns: without numbers though they are not special, or there twice."""
        pairs = zip(self.tokens, self.numbers, strict=True)
        bare = [token for token, numbers in pairs if self.width and not numbers and not is_special(token)]
        return bare + [token for token, count in Counter(self.tokens).items() if count > 1]

    def column(self, name: str) -> list[float | None]:
        """The numbers of one name; empty if there is no such column."""
        names = [column for column in self.columns.split(",") if column != "token"]
        at = names.index(name) if name in names else None
        return [] if at is None else [numbers[at] if numbers else None for numbers in self.numbers]


def read_lines(lines: list[str], size: int, assumptions: Assumptions) -> ColumnTokens | None:
    """Lines of tokens and numbers; None if there are no numbers beside the tokens.

    size: how many tokens the weights know, beside special ones.
    """
    if assumptions.answer("columns", choices=COLUMNS) == "token":
        return None
    if vectors := _of_vectors(lines):
        return vectors
    for sign in _SIGNS:
        table = _table(_rows(lines, sign), sign, size, assumptions)
        if table:
            return None if table.columns == "token" else _by_ids(table, "line", size, assumptions)
    return None


def read_entries(value: object, size: int, assumptions: Assumptions) -> ColumnTokens | None:
    """A dict of counts, a list of pairs, or one of objects with a token in each; None for any other value."""
    rows = list(value.items()) if isinstance(value, Mapping) else value
    if not isinstance(rows, list) or len(rows) < 2:
        return None
    if all(isinstance(row, Mapping) for row in rows):
        return _of_objects(rows, size, assumptions)
    cells: list[Row] = [[*map(str, row)] for row in rows if isinstance(row, list | tuple)]
    table = _table(cells, ",", size, assumptions) if len(cells) == len(rows) else None
    return _by_ids(table, "entry", size, assumptions) if table else None


def _of_objects(rows: list[Mapping[str, Any]], size: int, assumptions: Assumptions) -> ColumnTokens | None:
    keys = {name: next((key for key in names if key in rows[0]), "") for name, names in _OBJECT_KEYS.items()}
    names = [name for name, key in keys.items() if key and all(key in row for row in rows)]
    columns = ",".join(names)
    texts = [str(row[keys["token"]]) for row in rows] if "token" in names else []
    numbers = [[row[keys[name]] for name in names[1:]] for row in rows]
    if columns not in COLUMNS or not all(isinstance(number, int | float) for row in numbers for number in row):
        return None
    table = _Table(columns, texts, [[float(number) for number in row] for row in numbers])
    return _by_ids(table, "entry", size, assumptions) if _is_likely(table) else None


def _of_vectors(lines: list[str]) -> ColumnTokens | None:
    """The tokens of a file with a vector for each, under a line of its sizes or not."""
    header = [lines[0]] if lines and _SIZES.fullmatch(lines[0]) else []
    matches = [_VECTOR.fullmatch(line) for line in lines[len(header) :]]
    if len(matches) < 2 or not all(matches):
        return None
    description = f"{_without(*header)}, each line a token and a vector; ids by place"
    return ColumnTokens([match[1] for match in matches if match], (), description)


def _without(header: str = "") -> str:
    return f" without its first line, {header!r}" if header else ""


def _rows(lines: list[str], sign: str) -> list[Row]:
    """Each line, or its cells where commas stand between; a newline as a token breaks its line in two."""
    joined: list[str] = []
    for line in lines:
        if joined and not joined[-1] and line.startswith(sign) and line[1:].strip().isdecimal():
            joined[-1] = f"\\n{line}"
        else:
            joined.append(line)
    if sign != "," or sum(line.count('"') for line in joined) % 2:
        return [*joined]
    try:
        return [row or [""] for row in csv.reader(f"{line}\n" for line in joined)]
    except csv.Error:  # such as a cell without end
        return [*joined]


def _table(rows: list[Row], sign: str, size: int, assumptions: Assumptions) -> _Table | None:
    """Rows as a table whose columns are known, or asked for; None if there are no numbers beside the tokens."""
    answer = assumptions.answer("columns", choices=COLUMNS)
    tables = _as_tables(rows, sign)
    if answer:
        return tables.get(answer)
    numbered = [table for table in tables.values() if table.width and _is_likely(table)]
    likely = _likeliest([table for table in numbered if table.width == max(one.width for one in numbered)], size)
    strange = [token for table in likely[:1] for token in table.strange]
    if strange:
        likely = [*likely, tables["token"]]
    if len(likely) < 2:
        return next(iter(likely), None)
    example = strange[0] if strange else sign.join(rows[-1]) if isinstance(rows[-1], list) else rows[-1]
    what = f"what the columns of --vocab are, as in {example!r}"
    columns = assumptions.ask("columns", what, choices=[table.columns for table in likely])
    return replace(tables[columns], is_sure=False)


def _likeliest(tables: list[_Table], size: int) -> list[_Table]:
    """Ids where they are beyond doubt, else all that the numbers can be."""
    ids = [table for table in tables if "id" in table.columns and not _is_doubtful(table, size)]
    places = {COLUMNS[table.columns] for table in tables}
    return ids if ids and (len(places) == 1 or len(ids) > 1) else tables


def _as_tables(rows: list[Row], sign: str) -> dict[str, _Table]:
    """Rows as every kind of table that most of them fit. A header is left out."""
    tables: dict[str, _Table] = {}
    for before, after in dict.fromkeys(COLUMNS.values()):
        first, last = f"({_DIGITS}){_SIGNS[sign]}" * before, f"{_SIGNS[sign]}({_DIGITS})" * after
        indent, rest = r"\s*" if before else "", r"\s*,?" if after else ""
        line = re.compile(f"{indent}{first}{_TOKENS[sign]}{last}{rest}", re.A | re.I)
        if not any(_split(row, line, sign, before, after)[1] for row in rows[-_FEW:]) and before + after:
            continue
        if table := _as_table([_split(row, line, sign, before, after) for row in rows], rows, sign):
            kinds = [columns for columns, places in COLUMNS.items() if places == (before, after)]
            tables |= {columns: replace(table, columns=columns) for columns in kinds}
    return {columns: tables[columns] for columns in COLUMNS if columns in tables}


def _as_table(parsed: list[tuple[str, list[float]]], rows: list[Row], sign: str) -> _Table | None:
    """Of tokens and numbers; None if too few rows have numbers, though some have."""
    header = _joined(rows[0], sign) if _is_header(rows, sign, [numbers for _, numbers in parsed]) else ""
    parsed = parsed[1:] if header else parsed
    tokens, values = [token for token, _ in parsed], [number for _, number in parsed]
    numbered = sum(map(bool, values))
    specials = sum(map(is_special, tokens))
    if numbered and numbered < max(2, min(_MOST * len(values), len(values) - specials)):
        return None
    return _Table("token", _unquoted([ESCAPES.get(token, token) for token in tokens]), values, header)


def _is_header(rows: list[Row], sign: str, numbers: list[list[float]]) -> bool:
    """Whether the first row names the columns, or says how many rows there are."""
    first = _joined(rows[0], sign) if rows else ""
    if len(rows) < 3 or not any(numbers) or len(first) > _LONGEST:
        return False
    cells = rows[0] if isinstance(rows[0], list) else re.split(_SIGNS[sign], first)
    is_named = not numbers[0] and any(map(HEADER.fullmatch, cells))
    return is_named or (_SIZES.fullmatch(first) is not None and int(first.split()[0]) == len(rows) - 1)


def _joined(row: Row, sign: str) -> str:
    return row if isinstance(row, str) else sign.join(row)


def _split(row: Row, line: re.Pattern[str], sign: str, before: int, after: int) -> tuple[str, list[float]]:
    """Token and numbers of a row; the whole row and none if there are no such numbers."""
    if isinstance(row, str):
        match = line.fullmatch(row) if len(row) < _LONGEST else None
        cells = [*match.groups()] if match else [row]
    else:
        cells = row
    end = len(cells) - after
    numbers = [*cells[:before], *cells[end:]]
    fits = end > before and all(_NUMBER.fullmatch(number) for number in numbers)
    return (sign.join(cells[before:end]), [*map(float, numbers)]) if fits else (_joined(row, sign), [])


def _unquoted(tokens: list[str]) -> list[str]:
    """Tokens without the quotes that stand around every one."""
    for quote in "'\"":
        if all(len(token) > 1 and token[0] == token[-1] == quote for token in tokens):
            return [token[1:-1] for token in tokens]
    return tokens


def _is_likely(table: _Table) -> bool:
    """Whether the numbers can be what the columns say; tokens stand there once."""
    if len({*table.tokens}) < _DISTINCT * len(table.tokens):
        return False
    names = [name for name in table.columns.split(",") if name != "token"]
    rows = [numbers for numbers in table.numbers if numbers]
    return all(_can_be(name, [row[at] for row in rows], len(table.tokens)) for at, name in enumerate(names))


def _can_be(name: str, numbers: list[float], count: int) -> bool:
    are_whole = all(number.is_integer() and number >= 0 for number in numbers)
    if name == "id":
        return are_whole and len({*numbers}) == count and min(numbers) <= 1 and max(numbers) < count + GAPS
    return are_whole if name == "count" else not are_whole


def _is_doubtful(table: _Table, size: int) -> bool:
    """Whether ids may be counts as well: they fall from line to line, or begin with 1 where the weights have no 0."""
    ids = [number or 0 for number in table.column("id")]
    falls = all(one > other for one, other in pairwise(ids))
    return falls or (min(ids) == 1 and len(ids) == size and ids != sorted(ids))


def _by_ids(table: _Table, row: str, size: int, assumptions: Assumptions) -> ColumnTokens:
    """row: what a row of the file is called."""
    order, ids = [*range(len(table.tokens))], [int(number or 0) for number in table.column("id")]
    counts = [number or 0.0 for number in table.column("count")]
    if counts and not ids and table.is_sure and not _fall(table.tokens, counts) and _ask_order(assumptions) == "counts":
        order = sorted(order, key=lambda at: (not is_special(table.tokens[at]), -counts[at]))
    less = 1 if ids and min(ids) == 1 and len(ids) == size else 0
    places = dict(zip([number - less for number in ids], order, strict=True)) if ids else dict(enumerate(order))
    tokens: Texts = [table.tokens[places[at]] if at in places else None for at in range(max(places) + 1)]
    occurrences = tuple(counts[places[at]] if at in places else 0.0 for at in range(len(tokens))) if counts else ()
    names = " and ".join("an id" if name == "id" else f"a {name}" for name in table.columns.split(","))
    by = (" less 1" if less else "") if ids else f"; ids by {'place' if order == sorted(order) else 'counts'}"
    return ColumnTokens(tokens, occurrences, f"{_without(table.header)}, each {row} {names}{by}")


def _fall(tokens: Sequence[str], counts: Sequence[float]) -> bool:
    """Whether the commonest tokens stand first, but for special ones."""
    plain = [count for token, count in zip(tokens, counts, strict=True) if not is_special(token)]
    pairs = list(pairwise(plain))
    return sum(one >= other for one, other in pairs) >= _SORTED * len(pairs)


def _ask_order(assumptions: Assumptions) -> str:
    what = "whether the ids of --vocab go by its lines or by the counts, which do not fall from line to line"
    return assumptions.ask("ids", what, choices=("lines", "counts"))
