"""A unit that is to be held is written in one line, and what is wrong with it is said."""

from __future__ import annotations

import pytest

from tui_gen.errors import TuiGenError
from tui_gen.generation.surgery import Hold
from tui_gen.library import open_model
from tui_gen.tui.dialogs.surgery import read_hold


def test_a_unit_with_a_value_or_with_the_one_that_it_has() -> None:
    model = open_model("recipes", provider="cpu", threads=1).model
    state = model.start(1).arrays()
    state[1][0, 1, 7] = 0.625
    assert read_hold(" c 2 7 -1.5 ", model, state) == Hold("c", 1, 7, -1.5)
    assert read_hold("c 2 7", model, state) == Hold("c", 1, 7, 0.625)
    for text, fault in {
        "": "is no unit and value; write them as in: h 1 4 0.5",
        "x 1 4 0": "is no unit and value",
        "h 1 4 high": "'high' is no value; write a number such as 0.5",
        "h 3 4 0": "h has layers 1, 2, not layer 3",
        "h 0 4 0": "h has layers 1, 2, not layer 0",
        "h 1 192": "units 0 to 191, not 192",
        "h 1 4 nan": "cannot be held at nan",
        "h 1 4 1e99": "cannot be held at 1e\\+99",
    }.items():
        with pytest.raises(TuiGenError, match=fault):
            read_hold(text, model, state)
