"""What a pixel can see by the taps of the layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tui_gen.card import ImageSpec, LayerSpec
from tui_gen.errors import TuiGenError
from tui_gen.inspection.audit import audit
from tui_gen.inspection.receptive_field import taps_field
from tui_gen.library import open_model

MODELS = Path(__file__).parents[2] / "models"


@pytest.mark.parametrize("name", ["fashion-book", "fashion"])
def test_of_one_stack_and_of_two_the_taps_say_what_is_measured(name: str) -> None:
    loaded_model = open_model(MODELS / name, provider="cpu")
    image = loaded_model.card.image
    assert image
    report = audit(loaded_model.model, loaded_model.card, seconds=1)
    np.testing.assert_array_equal(taps_field(image, report.row * image.width + report.column), report.sees)


def test_a_card_that_does_not_tell_how_layers_follow_each_other_is_refused() -> None:
    layers = (LayerSpec("one", ((-1, 0),), mask="vertical"), LayerSpec("two", ((0, -1),), mask="A"))
    for given in ((), layers):
        with pytest.raises(TuiGenError, match="does not tell"):
            taps_field(ImageSpec(4, 4, 2, layers=given), 5)
