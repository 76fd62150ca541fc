"""Knobs and rows of tokens go through JSON and come back exactly."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tui_gen.sampling.params import FREE, SamplingParams
from tui_gen.sampling.sweep import Sweep
from tui_gen.sessions.records import params_from_json, params_to_json, rows_from_json, rows_to_json


@pytest.mark.parametrize(
    ("params", "sweep"),
    [
        (SamplingParams(0.1 + 0.2, 40, 0.95, 0.05), None),
        (SamplingParams(1), None),
        (SamplingParams(0.7), Sweep("top_k", (1, 5, 0))),
        (SamplingParams(top_p=0.9), Sweep("temperature", (0.1, 1 / 3, 2.0))),
    ],
)
def test_knobs_of_any_sort_come_back_exactly(params: SamplingParams, sweep: Sweep | None) -> None:
    text = json.dumps(params_to_json(params, sweep))
    assert params_from_json(json.loads(text)) == (params, sweep)


@pytest.mark.parametrize(
    ("tokens", "rows"),
    [
        ([[1, 2, 2, 5]], [[1, 2, 2, 5]]),
        ([[7, FREE, FREE, FREE, 3]] * 4, [[7, [FREE, 3], 3]]),
        ([[1, 1, 1, 1], [1, 2, 3, 4]], [[[1, 4]], [1, 2, 3, 4]]),
        ([[], []], [[]]),
    ],
)
def test_rows_of_tokens_are_short_where_they_can_be(tokens: list[list[int]], rows: Any) -> None:
    array = np.array(tokens, dtype=np.int64)
    assert rows_to_json(array) == rows
    back = rows_from_json(rows, len(tokens), room=100)
    assert (back.dtype, back.shape, back.tolist()) == (array.dtype, array.shape, tokens)
