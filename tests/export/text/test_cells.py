"""Hand-written cells, however their weights are named and stored, are exact; what no tensor tells is asked."""

from __future__ import annotations

import pytest

from tests.support.recurrent_cells import CELLS
from tests.support.text_layouts import assert_exact_layout, checkpoint_of, read
from tests.support.text_networks import H


@pytest.mark.parametrize("name", CELLS)
def test_its_step_function_equals_its_own_forward_pass(name: str) -> None:
    identity = H * H if name == "a row added after the product" else 0  # stands for the weights that it has not
    assert_exact_layout(name, more_parameters=identity)


@pytest.mark.parametrize(
    ("name", "option", "default"),
    [
        ("joined LSTM, state first", "--assume joined=xh|hx", ""),
        ("state first by its name", "--assume joined=hx|xh", "hx"),
    ],
)
def test_whether_features_or_state_come_first_is_asked_unless_the_name_says_it(
    name: str, option: str, default: str
) -> None:
    missing = {missing.option: missing.default for missing in read(checkpoint_of(CELLS[name]())).diagnosis.missing}
    assert missing[option] == default
