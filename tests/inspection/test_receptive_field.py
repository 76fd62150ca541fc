"""What a pixel can see by the taps of the layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tui_gen.card import ImageSpec, LayerSpec
from tui_gen.errors import TuiGenError
from tui_gen.inspection.audit import audit
from tui_gen.inspection.receptive_field import ReceptiveField, taps_field
from tui_gen.library import open_model

MODELS = Path(__file__).parents[2] / "models"


@pytest.mark.parametrize("name", ["fashion-book", "fashion"])
def test_of_one_stack_and_of_two_the_taps_say_what_is_measured(name: str) -> None:
    loaded_model = open_model(MODELS / name, provider="cpu")
    image = loaded_model.card.image
    assert image
    report = audit(loaded_model.model, loaded_model.card, seconds=1)
    np.testing.assert_array_equal(
        taps_field(image, report.field.row * image.width + report.field.column), report.field.sees
    )


def test_a_card_that_does_not_tell_how_layers_follow_each_other_is_refused() -> None:
    layers = (LayerSpec("one", ((-1, 0),), mask="vertical"), LayerSpec("two", ((0, -1),), mask="A"))
    for given in ((), layers):
        with pytest.raises(TuiGenError, match="does not tell"):
            taps_field(ImageSpec(4, 4, 2, layers=given), 5)


ABOVE = tuple((-1, column) for column in (-1, 0, 1))
VERTICAL = [LayerSpec("a.v", ABOVE, mask="vertical"), LayerSpec("b.v", (*ABOVE, (0, 0), (0, 1)), mask="vertical")]
BESIDE = [LayerSpec("a.h", ((0, -1),), mask="horizontal"), LayerSpec("b.h", ((0, -1), (0, 0)), mask="horizontal")]
STEM = LayerSpec("stem", (*ABOVE, (0, -1)), mask="A")


def drawn(*layers: LayerSpec, layer: int | None = None) -> list[str]:
    """What the pixel in row 4, column 4 of 6x7 sees."""
    image = ImageSpec(6, 7, 2, layers=layers)
    return ["".join(row) for row in ReceptiveField(4, 4, taps_field(image, 4 * 7 + 4, layer)).signs()][1:5]


def test_two_stacks_are_linked_block_by_block_in_whichever_order_a_step_computes_them() -> None:
    whole = ["-------", "--#####", "--#####", "--##@.."]
    head = LayerSpec("head", ((0, 0),))
    for order in ([*VERTICAL, *BESIDE], [BESIDE[0], VERTICAL[0], BESIDE[1], VERTICAL[1]]):
        assert drawn(*order, head) == whole
    assert drawn(*VERTICAL, *BESIDE, layer=0) == ["-------", "-------", "---###-", "---o@.."]
    assert drawn(STEM, *VERTICAL, *BESIDE)[0] == "-######"
