"""What cannot be streamed is computed over whole images, behind the same contract, and says so."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.images.streaming import StreamingNetwork
from export.images.whole_image import whole_image_step
from tests.support.causal_networks import (
    MaskedConv,
    Strided,
    assert_exact,
    image_network,
    slow,
)
from tests.support.gated_networks import TutorialGated
from tui_gen.errors import TuiGenError
from tui_gen.runtime.operators import check_operators


@pytest.mark.parametrize("name", ["strides", "attention", "three channels"])
def test_strides_attention_and_channels_are_exact(name: str) -> None:
    network, step = slow(name)
    for batch in (1, 3):
        assert_exact(network, step, batch=batch)
    check_operators(step.graph.SerializeToString())


def test_conditions_are_tokens_as_they_are_of_a_streaming_step() -> None:
    network, step = slow("class")
    assert_exact(network, step, conditions=np.array([[2], [0]]), condition=torch.tensor([2, 0]), batch=2)
    assert_exact(network, step, condition=torch.tensor([0]), batch=1)
    network, step = slow("phrases, guided")
    condition = torch.zeros(2, network.conditions)
    condition[[0, 0, 1], [2, 0, 1]] = torch.tensor([1.0, 1, 2])
    assert_exact(network, step, conditions=np.array([[2, 0], [1, 1]]), condition=condition, batch=2)


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (Strided(), "down: a convolution with strides"),
        (
            TutorialGated(dilations=(1, 4), levels=4),
            "it is causal, but looks further sideways than an image 6 wide allows",
        ),
    ],
)
def test_the_reason_for_being_slow_is_said(module: nn.Module, says: str) -> None:
    assert says in StreamingNetwork(image_network(module, 4, 6)).slow_because


def test_a_network_that_sees_what_is_not_drawn_is_not_exported_at_all() -> None:
    leaky = nn.Sequential(MaskedConv("A", 1, 4, 3), nn.Conv2d(4, 4, 3, padding=1))
    with pytest.raises(TuiGenError, match=r"is not causal: the pixel in row 0, column 0 .*\(1 looks 1 down and 1 to"):
        StreamingNetwork(image_network(leaky, 4, 5)).step_graph()


def test_pytorch_keeps_its_reports_to_itself(capfd: pytest.CaptureFixture[str]) -> None:
    class Unwritable(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return image.repeat(1, 4, 1, 1) if image.sum() > 5 else image.repeat(1, 4, 1, 1) * 2

    with pytest.raises(TuiGenError, match="PyTorch cannot write this network as ONNX") as fault:
        whole_image_step(image_network(Unwritable(), 3, 3))
    assert "\n" not in str(fault.value)
    assert capfd.readouterr() == ("", "")
