"""A slow step is proved at places all over an image without drawing it token by token."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from export.compiler.compile import CompiledStep
from export.image_network import ImageNetwork
from export.images.streaming import StreamingNetwork
from export.images.whole_image import whole_image_step
from export.verify import compare_spread
from tests.export.compiler.nets import image_network, open_step
from tests.export.test_whole import Coloured, Conditional, Strided
from tui_gen.errors import TuiGenError


def _colour_network() -> ImageNetwork:
    encoding = torch.zeros(3, 4, 3)
    for channel in range(3):
        encoding[channel, :, channel] = torch.linspace(0, 1, 4)
    return image_network(Coloured(), 3, 4, channels=3, encoding=encoding)


NETWORKS = {
    "grey": lambda: image_network(Strided(), 8, 6),
    "three channels": _colour_network,
    "class": lambda: image_network(Conditional(phrases=False), 3, 4, condition="class", conditions=3),
    "phrases": lambda: image_network(Conditional(phrases=True), 3, 4, condition="multi_hot", conditions=3),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_an_exact_step_is_told_so(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]()
    model = open_step(network, CompiledStep(whole_image_step(network), 0, ()))
    assert float(compare_spread(StreamingNetwork(network), model).rpartition(" ")[2]) < 1e-5


class Fading(nn.Module):
    """Has a say in the lower rows alone."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.gain = inner, nn.Parameter(torch.ones(()))

    def forward(self, image: Tensor) -> Tensor:
        rows = torch.arange(image.shape[2])[:, None] >= image.shape[2] - 2
        logits: Tensor = self.inner(image) * torch.where(rows, self.gain, torch.ones(()))
        return logits


def test_a_step_that_is_wrong_in_the_last_rows_is_found() -> None:
    torch.manual_seed(0)
    module = Fading(Strided())
    network = image_network(module, 8, 6)
    model = open_step(network, CompiledStep(whole_image_step(network), 0, ()))
    module.gain.data += 1
    with pytest.raises(TuiGenError, match=r"differs from PyTorch by .* in the logits of token (3[6-9]|4\d);"):
        compare_spread(StreamingNetwork(network), model)
