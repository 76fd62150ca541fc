"""A network that looks ahead is found by changing pixels, whatever its masks say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from export.checkpoints.checkpoint import Checkpoint
from export.image_network import ImageNetwork, check_causal
from export.images.input_output import plane_per_channel
from export.images.streaming import StreamingNetwork
from export.read import read_image
from export.reader import ReadOptions
from tests.export.images.scripts import ColourGated, PriorGated, TutorialGated, sequential
from tui_gen.errors import TuiGenError


def _network(net: nn.Module, size: tuple[int, int] = (5, 9), **answers: str) -> ImageNetwork:
    reading = read_image(Checkpoint("t", net.state_dict()), ReadOptions(size=size, assume=answers))
    assert reading is not None
    network = reading.build().network
    assert isinstance(network, StreamingNetwork)
    return network.network


@pytest.mark.parametrize("build", [sequential, TutorialGated, ColourGated, PriorGated])
def test_networks_with_their_masks_are_causal(build: type[nn.Module]) -> None:
    torch.manual_seed(0)
    check_causal(_network(build()))


def test_a_first_layer_that_sees_its_own_pixel_is_found() -> None:
    torch.manual_seed(0)
    net = sequential()
    net[0].mask[:, :, 2, 2] = 1
    pixel = r"the pixel in row (\d+), column (\d+)"
    with pytest.raises(
        TuiGenError, match=rf"not causal: {pixel} has a say in the logits of the pixel in row \1, column \2;"
    ):
        check_causal(_network(net))


def test_a_later_layer_that_sees_below_is_found() -> None:
    torch.manual_seed(0)
    net = sequential(depth=2, kernel=3)
    net[3].mask[:, :, 2, 0] = 1
    # Below and to the left of row 0, column 1, the first layer has seen row 0, column 1.
    with pytest.raises(TuiGenError, match=r"row 0, column 1 has a say in the logits of .* row 0, column 1; a mask is"):
        check_causal(_network(net, (2, 3)))


def test_channels_that_see_later_channels_are_named() -> None:
    torch.manual_seed(0)
    net = ColourGated()
    nn.init.ones_(net.causal_conv.h_conv.mask[:, :, :, 2])
    with pytest.raises(TuiGenError, match=r"\((red|green|blue)\) has a say in the logits of .*\((red|green|blue)\)"):
        check_causal(_network(net))


def test_masks_that_are_said_to_be_missing_are_missed() -> None:
    torch.manual_seed(0)
    net = sequential()
    state = {name: tensor for name, tensor in net.state_dict().items() if not name.endswith("mask")}
    reading = read_image(Checkpoint("t", state), ReadOptions(size=(4, 5), assume={"masks": "none"}))
    assert reading is not None
    with pytest.raises(TuiGenError, match="a mask is missing"):
        reading.build().network.step_graph()


class _Whisper(nn.Module):
    """Causal but for a leak that is small beside its logits."""

    def __init__(self, loudness: float) -> None:
        super().__init__()
        self.loudness = loudness

    def forward(self, planes: Tensor) -> Tensor:
        base = torch.arange(4.0)[None, :, None, None] * 25
        return base + self.loudness * planes.sum((2, 3), keepdim=True) + torch.zeros_like(planes)


@pytest.mark.parametrize(("loudness", "leaks"), [(0.1, True), (1e-6, False)])
def test_a_leak_counts_by_the_range_of_the_logits(loudness: float, leaks: bool) -> None:
    values = plane_per_channel(torch.arange(4.0), 1)
    network = ImageNetwork(_Whisper(loudness), values, 30, 30, 4)  # larger: 200 of its pixels are tried
    if leaks:
        with pytest.raises(TuiGenError, match="not causal"):
            check_causal(network)
    else:
        check_causal(network)
