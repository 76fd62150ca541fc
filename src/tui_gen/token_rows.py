"""Rows of tokens as JSON: short where a token stands many times in a row, or all samples have the same."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np

from tui_gen.errors import TuiGenError
from tui_gen.generate import FREE
from tui_gen.sampling import Tokens

Row = list[int | list[int]]
"""Tokens, and [token, count] for one that stands several times."""
_MAX_TOKEN = 2**31
_LEAST_RUN = 3
"""Fewer are shorter one by one."""


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
    return sum(_count(part) for part in row)


def _count(part: Any) -> int:
    token, count = part if isinstance(part, list) and len(part) == 2 else (part, 1)
    if type(token) is not int or type(count) is not int or not FREE <= token < _MAX_TOKEN or count < 1:
        raise TuiGenError(f"must hold token ids and [token id, count], not {part!r:.60}")
    return count
