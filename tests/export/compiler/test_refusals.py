"""What cannot be computed one token at a time is said, with the layer that stands in the way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from export.compiler.compile import compile_step
from export.compiler.ir import LooksAheadError, NotStreamableError
from tests.export.compiler.nets import Masked, TwoStacks, image_network, raster


class Named(nn.Module):
    """A causal first layer, and a second one called `culprit`."""

    def __init__(self, culprit: nn.Module | Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first = Masked(1, 4, raster(3, own=False))
        self.culprit = culprit

    def forward(self, image: Tensor) -> Tensor:
        output: Tensor = self.culprit(self.first(image))
        return output


def _half_copy(features: Tensor) -> Tensor:
    output = torch.zeros_like(features)
    output[:, :2] = features[:, :2]
    return output


def _attention(features: Tensor) -> Tensor:
    flat = features.flatten(2)
    return (torch.softmax(flat.transpose(1, 2) @ flat, -1) @ flat.transpose(1, 2)).transpose(1, 2).view_as(features)


CULPRITS: dict[str, tuple[Callable[[], nn.Module | Callable[[Tensor], Tensor]], str]] = {
    "has no mask": (lambda: nn.Conv2d(4, 4, 3, padding=1), "culprit looks"),
    "strides": (lambda: nn.Conv2d(4, 4, 2, stride=2), "culprit: a convolution with strides"),
    "transposed": (lambda: nn.ConvTranspose2d(4, 4, 2), "culprit: a convolution with strides"),
    "pools": (lambda: nn.AvgPool2d(3, 1, 1), "culprit uses avg_pool2d"),
    "attends": (lambda: _attention, "uses"),
    "normalises over places": (lambda: nn.GroupNorm(2, 4), "culprit uses native_group_norm"),
    "in training": (lambda: nn.BatchNorm2d(4).train(), "in training mode"),
    "pads with what is inside": (lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), "culprit"),
    "writes into parts": (lambda: _half_copy, "writes into a part"),
    "turns around": (lambda: lambda features: features.flip(3), "uses flip"),
    "rolls": (lambda: lambda features: torch.roll(features, 1, 2), "roll"),
    "another size": (lambda: nn.Conv2d(4, 4, (1, 3)), "another size"),
    "another output": (lambda: nn.Conv2d(4, 7, 1), "is not \\[batch, levels"),
    "forgets the image": (lambda: torch.zeros_like, "does not depend on its image"),
}


@pytest.mark.parametrize("name", CULPRITS)
def test_the_layer_in_the_way_is_named(name: str) -> None:
    torch.manual_seed(0)
    build, says = CULPRITS[name]
    module = Named(build())
    network = image_network(module, 6, 6)
    if name == "in training":
        module.culprit.train()  # type: ignore[union-attr]
    with pytest.raises(NotStreamableError, match=says):
        compile_step(network)


def test_a_tap_that_sees_what_is_not_drawn_is_named() -> None:
    module = Named(nn.Conv2d(4, 4, 3, padding=1))
    with pytest.raises(LooksAheadError, match=r"culprit looks 1 down and 1 to the right, and .* the pixel 6 pos"):
        compile_step(image_network(module, 6, 6))


def test_a_first_layer_that_sees_the_pixel_itself_is_named() -> None:
    module = nn.Sequential(Masked(1, 4, raster(3, own=True)))
    with pytest.raises(LooksAheadError, match=r"0 looks at its own place, and .* the pixel that is drawn itself"):
        compile_step(image_network(module, 6, 6))


def test_a_stack_that_looks_further_sideways_than_the_image_is_wide_is_named() -> None:
    with pytest.raises(LooksAheadError, match=r"vertical\.\d looks 4 to the right"):
        compile_step(image_network(TwoStacks((1, 2, 1, 4, 1, 2, 1)), 12, 13))


def test_phrases_that_do_more_than_add_up_are_refused() -> None:
    class Multiplied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.named = Masked(1, 4, raster(3, own=False)), nn.Linear(3, 4)

        def forward(self, image: Tensor, condition: Tensor) -> Tensor:
            output: Tensor = self.first(image) + self.named(condition).square()[:, :, None, None]
            return output

    with pytest.raises(NotStreamableError, match="more than add up"):
        compile_step(image_network(Multiplied(), 4, 4, condition="multi_hot", conditions=3))
