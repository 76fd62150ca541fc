"""Layers that run beside one another are not taken for a chain."""

from __future__ import annotations

import pytest
import torch

from export.checkpoints.checkpoint import Checkpoint
from export.read import read_image
from export.reader import ReadOptions
from tui_gen.errors import TuiGenError


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ("conv_tanh", "conv_sigmoid", "conv_tanh and layers.0.conv_sigmoid seem to make a gate"),
        ("conv_filter", "conv_gate", "seem to make a gate together, .* --factory"),
        ("f", "g", "seem to make a gate"),
        ("conv", "skip", "layers.0.skip seems to skip to the head"),
    ],
)
def test_a_gate_or_a_skip_is_no_chain(first: str, second: str, says: str) -> None:
    size = 1 if second == "skip" else 3
    shapes = {"first": (6, 1, 5, 5), f"layers.0.{first}": (6, 6, 3, 3), f"layers.0.{second}": (6, 6, size, size)}
    shapes["out"] = (4, 6, 1, 1)
    tensors = {f"{name}.weight": torch.ones(shape) for name, shape in shapes.items()}
    with pytest.raises(TuiGenError, match=says):
        read_image(Checkpoint("t", tensors), ReadOptions(size=(5, 6)))
