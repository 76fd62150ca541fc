"""Vocabulary files: lines of tokens, perhaps with ids or counts in columns beside them, JSON, pickles, known sets."""

from __future__ import annotations

import csv
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tui_gen.errors import TuiGenError

from .metadata import walk
from .special_tokens import Texts, is_special
from .vocabulary_values import GAPS, find_vocabularies, read_json, tokenizer_tokens

if TYPE_CHECKING:  # the help would wait for PyTorch
    from ..assumptions import Assumptions

CHARACTER_SETS: dict[str, tuple[str, ...]] = {
    "printable": tuple(string.printable),
    "ascii": tuple(map(chr, range(128))),
    "letters": tuple(string.ascii_letters),
    "lowercase": tuple(string.ascii_lowercase),
}
"""Sets of characters in the order of their ids, by the names that --vocab takes; `bytes` is another."""
BYTES = "bytes"
_PICKLES = (".pkl", ".pickle", ".pt", ".pth")
_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\r": "\r", "\\s": " ", "\\\\": "\\"}
_HEADER = re.compile(
    r"#.*|\W*(tokens?|words?|chars?|characters?|vocab(ulary)?|symbols?|ids?|ind(ex|ices)|idx)\W*", re.I
)
_COLUMNS = {
    "token": (0, 0),
    "token,count": (0, 1),
    "token,id": (0, 1),
    "token,score": (0, 1),
    "id,token": (1, 0),
    "count,token": (1, 0),
    "id,token,count": (1, 1),
    "token,id,count": (0, 2),
    "token,count,id": (0, 2),
}
"""How many numbers stand before and after the token in a line, by what the columns are."""
_SIGNS = ("\t", ",", " ")
_NUMBER = re.compile(r"-?\d{1,15}(\.\d*)?(e-?\d+)?", re.I | re.ASCII)
_MOST = 0.8
"""Of all lines that have numbers beside a token, if that is what the file is."""
_SORTED = 0.95
"""Of all counts that are followed by none greater, if the commonest tokens stand first."""


@dataclass(frozen=True)
class VocabularyFile:
    """A vocabulary from outside the checkpoint."""

    origin: str
    """For people: where it is from, and what was in its columns."""
    tokens: Texts
    counts: tuple[float, ...] = ()
    """How often each token occurred, where the file says it."""
    tokenizer: str = ""
    """The text of a tokenizer.json with these tokens."""
    is_bytes: bool = False
    """Whether the tokens are bytes, in the characters that `byte_text` gives."""


def read_vocabulary_file(name: str, size: int, assumptions: Assumptions) -> VocabularyFile:
    """What --vocab names, of any size. Raises TuiGenError for a file in no known form.

    size: how many tokens are looked for, to choose by if a file can be read in several ways.
    """
    path = Path(name)
    if name in CHARACTER_SETS and not path.exists():
        return VocabularyFile(f"the {len(CHARACTER_SETS[name])} characters called {name}", [*CHARACTER_SETS[name]])
    beginning = _beginning(path)
    if beginning.startswith((b"\x80", b"PK")) or path.suffix in _PICKLES:
        from ..checkpoints.load import load_values  # the help would wait for PyTorch
        from ..checkpoints.values import facts_of

        return _of_values(path, facts_of(load_values(path)), size, assumptions)
    if path.suffix == ".model" and beginning.startswith(b"\n"):
        raise TuiGenError(f"--vocab {path} is a SentencePiece model; name the .vocab file that was written beside it")
    if beginning.startswith(b"\x93NUMPY"):
        return _of_values(path, _array(path), size, assumptions)
    text = read_text_file(path)
    value = read_json(text) if beginning.lstrip()[:1] in (b"{", b"[") else None
    if tokens := tokenizer_tokens(value):
        return VocabularyFile(str(path), tokens, tokenizer=text)
    return _of_lines(path, text, size, assumptions) if value is None else _of_values(path, value, size, assumptions)


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except FileNotFoundError:
        names = ", ".join((*CHARACTER_SETS, BYTES))
        raise TuiGenError(f"--vocab {path}: there is no such file; a name instead of a file is {names}") from None
    except OSError as fault:
        raise TuiGenError(f"--vocab {path} cannot be read: {fault.strerror}") from fault


def _array(path: Path) -> object:
    """The texts of a NumPy file."""
    try:
        return np.load(path, allow_pickle=False).tolist()
    except (ValueError, OSError) as fault:
        raise TuiGenError(f"--vocab {path} holds no plain array of texts ({fault}); save it as a JSON list") from fault


def _of_values(path: Path, value: object, size: int, assumptions: Assumptions) -> VocabularyFile:
    fitting, others = find_vocabularies(walk(value, ("vocab",)), size)
    if best := next(iter(fitting), None) or max(others, key=lambda other: len(other.tokens), default=None):
        return VocabularyFile(str(path), best.tokens, tokenizer=best.tokenizer, is_bytes=best.is_bytes)
    rows = list(value.items()) if isinstance(value, Mapping) else value
    rows = rows if isinstance(rows, list) else []
    pairs = [[*map(str, row)] for row in rows if isinstance(row, list | tuple)]
    if len(pairs) > 1 and len(pairs) == len(rows) and (table := _table(pairs, "\x00", size, assumptions)):
        return _of_table(path, "entry", table, assumptions)
    raise TuiGenError(f"--vocab {path} holds no list of tokens, and no dict between tokens and ids")


def read_text_file(path: Path) -> str:
    """A UTF-8 text with plain newlines. Raises TuiGenError that names the file."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise TuiGenError(f"{path} is not UTF-8 text: {fault.reason} at byte {fault.start}") from fault
    except OSError as fault:
        raise TuiGenError(f"{path} cannot be read: {fault.strerror}") from fault


def _of_lines(path: Path, text: str, size: int, assumptions: Assumptions) -> VocabularyFile:
    """A token a line, perhaps with numbers beside it."""
    lines = text.split("\n")
    lines = lines if lines[-1] else lines[:-1]
    if assumptions.answer("columns", choices=_COLUMNS) != "token":
        for sign in _SIGNS:
            table = _table(_rows(lines, sign), sign, size, assumptions)
            if table and table.columns != "token":
                return _of_table(path, "line", table, assumptions)
    tokens, left_out = _plain_lines(lines, size)
    return VocabularyFile(f"{path}{left_out}", tokens)


def _plain_lines(lines: list[str], size: int) -> tuple[Texts, str]:
    """A token a line; newlines and the like as backslash and letter, or an empty line. And what was left out."""
    tokens = [_ESCAPES.get(line, line) for line in lines]
    left_out = ""
    if len(tokens) == size + 1 and _HEADER.fullmatch(tokens[0]):
        tokens, left_out = tokens[1:], f" without its first line, {tokens[0]!r}"
    elif len(tokens) == size + 1 and tokens.count("") == 1 and not tokens[-1]:
        tokens, left_out = tokens[:-1], " without the empty line at its end"
    elif len(tokens) == size + 1 and "\n" not in tokens:  # a newline on a line of its own reads as two empty lines
        tokens = [token for at, token in enumerate(tokens) if token or at == 0 or tokens[at - 1]]
    return ["\n" if not token and "\n" not in tokens else token for token in tokens], left_out


def _rows(lines: list[str], sign: str) -> list[list[str]]:
    """The columns of each line; of a newline as a token, which breaks its line in two, the second half."""
    joined: list[str] = []
    for line in lines:
        is_rest = joined and not joined[-1] and line.startswith(sign) and line[1:].strip().isdecimal()
        joined = [*joined[:-1], f"\\n{line}"] if is_rest else joined
        joined += [] if is_rest else [line]
    if sign == "," and sum(line.count('"') for line in joined) % 2 == 0:
        return [row or [""] for row in csv.reader(f"{line}\n" for line in joined)]
    return [line.split(sign) for line in joined]


@dataclass(frozen=True)
class _Table:
    """Tokens with the numbers beside them."""

    columns: str
    tokens: list[str]
    numbers: list[list[float]]
    """Those of each token; none of a special token that has none."""
    header: str = ""

    @property
    def width(self) -> int:
        """How many numbers stand beside a token."""
        return sum(_COLUMNS[self.columns])

    @property
    def bare(self) -> list[str]:
        """Tokens without numbers, in a table that has them."""
        return [token for token, numbers in zip(self.tokens, self.numbers, strict=True) if not numbers and self.width]

    def column(self, name: str) -> list[float | None]:
        """The numbers of one name; empty if there is no such column."""
        names = [column for column in self.columns.split(",") if column != "token"]
        at = names.index(name) if name in names else None
        return [] if at is None else [numbers[at] if numbers else None for numbers in self.numbers]


def _table(rows: list[list[str]], sign: str, size: int, assumptions: Assumptions) -> _Table | None:
    """Rows as a table whose columns are known, or asked for; None if there are no numbers beside the tokens."""
    answer = assumptions.answer("columns", choices=_COLUMNS)
    tables = {columns: table for columns in _COLUMNS if (table := _as_columns(rows, sign, columns))}
    if answer:
        return tables.get(answer)
    numbered = [table for table in tables.values() if table.width and _is_likely(table)]
    widest = [table for table in numbered if table.width == max(other.width for other in numbered)]
    likely = _likeliest(widest, size)
    strange = [token for table in likely[:1] for token in table.bare if not is_special(token)]
    if strange:
        likely = [*likely, tables["token"]]
    if len(likely) < 2:
        return next(iter(likely), None)
    names = [table.columns for table in likely]
    example = sign.join(rows[-1] if not strange else [strange[0]]).strip("\x00")
    return tables[assumptions.ask("columns", f"what the columns of --vocab are, as in {example!r}", choices=names)]


def _likeliest(tables: list[_Table], size: int) -> list[_Table]:
    """Ids where they are beyond doubt, else all that the numbers can be."""
    ids = [table for table in tables if "id" in table.columns and not _is_doubtful(table, size)]
    places = {_COLUMNS[table.columns] for table in tables}
    return ids if ids and (len(places) == 1 or len(ids) > 1) else tables


def _as_columns(rows: list[list[str]], sign: str, columns: str) -> _Table | None:
    """None if too few rows have numbers where the columns say. A header is left out."""
    before, after = _COLUMNS[columns]
    parsed = [_split(row, sign, before, after) for row in rows]
    header = ""
    if before + after and len(parsed) > 2 and not parsed[0][1] and any(map(_HEADER.fullmatch, rows[0])):
        header, parsed = sign.join(rows[0]), parsed[1:]
    tokens, numbers = [token for token, _ in parsed], [number for _, number in parsed]
    if before + after and sum(map(bool, numbers)) < max(2, _MOST * len(numbers)):
        specials = sum(is_special(token) for token in tokens)
        if sum(map(bool, numbers)) < max(2, len(numbers) - specials):
            return None
    return _Table(columns, [_ESCAPES.get(token, token) for token in tokens], numbers, header)


def _split(row: list[str], sign: str, before: int, after: int) -> tuple[str, list[float]]:
    """Token and numbers of a row; the whole row and none if there are no such numbers."""
    cells = row[next((at for at, cell in enumerate(row) if cell), 0) :] if before else row  # `uniq -c` indents counts
    end = len(cells) - after
    numbers = [*cells[:before], *cells[end:]]
    fits = end > before and all(_NUMBER.fullmatch(number) for number in numbers)
    return (sign.join(cells[before:end]), [*map(float, numbers)]) if fits else (sign.join(row), [])


def _is_likely(table: _Table) -> bool:
    """Whether the numbers can be what the columns say."""
    names = [name for name in table.columns.split(",") if name != "token"]
    rows = [numbers for numbers in table.numbers if numbers]
    return all(_can_be(name, [row[at] for row in rows], len(table.tokens)) for at, name in enumerate(names))


def _can_be(name: str, numbers: list[float], count: int) -> bool:
    are_whole = all(number.is_integer() and number >= 0 for number in numbers)
    if name == "id":
        return are_whole and len({*numbers}) == count and min(numbers) <= 1 and max(numbers) < count + GAPS
    if name == "count":
        return are_whole
    return not are_whole


def _is_doubtful(table: _Table, size: int) -> bool:
    """Whether ids may be counts as well: they fall from line to line, or begin with 1 where the weights have no 0."""
    ids = [number or 0 for number in table.column("id")]
    falls = all(one > other for one, other in pairwise(ids))
    return falls or (min(ids) == 1 and len(ids) == size and ids != sorted(ids))


def _of_table(path: Path, row: str, table: _Table, assumptions: Assumptions) -> VocabularyFile:
    order, ids = [*range(len(table.tokens))], [int(number or 0) for number in table.column("id")]
    counts = [number or 0.0 for number in table.column("count")]
    if counts and not ids and not _fall(table.tokens, counts) and _ask_order(assumptions) == "counts":
        order = sorted(order, key=lambda at: (not is_special(table.tokens[at]), -counts[at]))
    places = dict(zip(ids, order, strict=True)) if ids else dict(enumerate(order))
    tokens: Texts = [table.tokens[places[at]] if at in places else None for at in range(max(places) + 1)]
    occurrences = tuple(counts[places[at]] if at in places else 0.0 for at in range(len(tokens))) if counts else ()
    header = f" without its first line, {table.header!r}" if table.header else ""
    names = " and ".join("an id" if name == "id" else f"a {name}" for name in table.columns.split(","))
    by = "" if ids else f"; ids by {'place' if order == sorted(order) else 'counts'}"
    return VocabularyFile(f"{path}{header}, each {row} {names}{by}", tokens, occurrences)


def _fall(tokens: list[str], counts: list[float]) -> bool:
    """Whether the commonest tokens stand first, but for special ones."""
    plain = [count for token, count in zip(tokens, counts, strict=True) if not is_special(token)]
    pairs = list(pairwise(plain))
    return sum(one >= other for one, other in pairs) >= _SORTED * len(pairs)


def _ask_order(assumptions: Assumptions) -> str:
    what = "whether the ids of --vocab go by its lines or by the counts, which do not fall from line to line"
    return assumptions.ask("ids", what, choices=("lines", "counts"))
