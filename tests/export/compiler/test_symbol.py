"""Constants that are combined with a traced tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from export.compiler.ir import NotStreamableError, constant_operand

DIMENSIONS = [("b",), (3,), ("h",), ("w",)]
LIKE: Any = None  # a constant without places does not look at it


def test_rows_of_a_product_that_are_only_rounded_otherwise_are_the_same() -> None:
    rows = np.array([[0.5, 1.4, -9.0], [0.5000001, 1.4, -9.000001]], dtype=np.float32)[:, :, None, None]
    assert np.array_equal(constant_operand(rows, LIKE, DIMENSIONS), rows[0, :, 0, 0])


def test_a_constant_that_really_differs_between_samples_is_refused() -> None:
    rows = np.array([[0.5, 1.4, -9.0], [0.5, 1.401, -9.0]], dtype=np.float32)[:, :, None, None]
    with pytest.raises(NotStreamableError, match="differs between samples"):
        constant_operand(rows, LIKE, DIMENSIONS)
