"""What cannot be streamed is computed over whole images, behind the same contract, and says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.compiler.compile import CompiledStep
from export.image_network import ImageNetwork
from export.images.streaming import StreamingNetwork
from export.images.whole_image import whole_image_step
from export.verify import step_logits
from tests.export.compiler.nets import Masked, TwoStacks, image_network, open_step, prompt, raster
from tui_gen.errors import TuiGenError


class Strided(nn.Module):
    """Halves the rows above, comes back to full size, and is shifted down so far that nothing is seen too early."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Masked(1, 4, raster(3, own=False))
        self.down, self.up = nn.Conv2d(4, 4, 2, stride=2), nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = torch.relu(self.first(image))
        coarse = self.up(self.down(features))
        lower = functional.pad(coarse, (0, 0, 2, 0))[:, :, :-2]
        logits: Tensor = self.last(torch.cat([features, lower], 1))
        return logits


class Attending(nn.Module):
    """Every place attends to those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = Masked(1, 4, raster(3, own=False)), nn.Conv2d(4, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        batch, _, height, width = image.shape
        flat = self.first(image).flatten(2).transpose(1, 2)
        scores = flat @ flat.transpose(1, 2)
        visible = torch.ones(height * width, height * width).tril().bool()
        values = torch.softmax(scores.masked_fill(~visible, -1e9), -1) @ flat
        logits: Tensor = self.last(values.transpose(1, 2).reshape(batch, 4, height, width))
        return logits


class Conditional(nn.Module):
    """A class, or phrases, in the first layer."""

    def __init__(self, *, phrases: bool) -> None:
        super().__init__()
        self.first, self.last = Masked(1, 4, raster(3, own=False)), nn.Conv2d(4, 4, 1)
        self.named = nn.Linear(3, 4) if phrases else nn.Embedding(3, 4)

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        logits: Tensor = self.last(torch.relu(self.first(image) + self.named(condition)[:, :, None, None]))
        return logits


class Coloured(nn.Module):
    """Nothing of a pixel's own channels is seen."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = Masked(3, 6, raster(3, own=False)), nn.Conv2d(6, 12, 1)

    def forward(self, image: Tensor) -> Tensor:
        logits = self.last(torch.relu(self.first(image)))
        return logits.view(len(image), 4, 3, *image.shape[2:])


def _compare(network: ImageNetwork, named: np.ndarray, condition: Tensor | None) -> None:
    step = CompiledStep(whole_image_step(network), 0, ())
    pixels = np.random.default_rng(0).integers(network.levels, size=(len(named), network.area))
    tokens = np.concatenate([prompt(network, step, named), pixels[:, :-1]], axis=1)
    logits = step_logits(open_step(network, step), tokens)[:, named.shape[1] :]
    whole = network.whole_logits(torch.from_numpy(pixels), condition).numpy()
    np.testing.assert_allclose(logits, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("module", [Strided, Attending])
def test_strides_and_attention_are_exact(module: type[nn.Module], batch: int) -> None:
    torch.manual_seed(0)
    _compare(image_network(module(), 4, 6), np.zeros((batch, 0), dtype=np.int64), None)


def test_conditions_are_tokens_as_they_are_of_a_streaming_step() -> None:
    torch.manual_seed(1)
    network = image_network(Conditional(phrases=False), 3, 4, condition="class", conditions=3)
    _compare(network, np.array([[2], [0]]), torch.tensor([2, 0]))
    _compare(network, np.zeros((1, 0), dtype=np.int64), torch.tensor([0]))
    network = image_network(Conditional(phrases=True), 3, 4, condition="multi_hot", conditions=3)
    _compare(network, np.array([[2, 0], [1, 1]]), torch.tensor([[1.0, 0, 1], [0, 2, 0]]))


def test_three_channels_are_three_tokens() -> None:
    torch.manual_seed(2)
    encoding = torch.zeros(3, 4, 3)
    for channel in range(3):
        encoding[channel, :, channel] = torch.linspace(0, 1, 4)
    network = image_network(Coloured(), 3, 4, channels=3, encoding=encoding)
    _compare(network, np.zeros((2, 0), dtype=np.int64), None)


@pytest.mark.parametrize(
    ("module", "size", "says"),
    [
        (Strided, (4, 6), "down: a convolution with strides"),
        (lambda: TwoStacks((1, 4)), (4, 6), "it is causal, but looks further sideways than an image 6 wide allows"),
    ],
)
def test_the_reason_for_being_slow_is_said(module: type[nn.Module], size: tuple[int, int], says: str) -> None:
    torch.manual_seed(0)
    assert says in StreamingNetwork(image_network(module(), *size)).slow_because


def test_a_network_that_sees_what_is_not_drawn_is_not_exported_at_all() -> None:
    leaky = nn.Sequential(Masked(1, 4, raster(3, own=False)), nn.Conv2d(4, 4, 3, padding=1))
    with pytest.raises(TuiGenError, match=r"is not causal: the pixel in row 0, column 0 .*\(1 looks 1 down and 1 to"):
        StreamingNetwork(image_network(leaky, 4, 5)).step_graph()


def test_pytorch_keeps_its_reports_to_itself(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    class Unwritable(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            if image.sum() > 5:
                return image.repeat(1, 4, 1, 1)
            return image.repeat(1, 4, 1, 1) * 2

    with pytest.raises(TuiGenError, match="PyTorch cannot write this network as ONNX") as fault:
        whole_image_step(image_network(Unwritable(), 3, 3))
    assert "\n" not in str(fault.value)
    assert capfd.readouterr() == ("", "")
