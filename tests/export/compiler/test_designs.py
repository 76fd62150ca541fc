"""Networks of many designs, one token at a time, say what they say of whole images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.export.compiler.nets import Masked, TwoStacks, assert_streams, image_network, raster

UVA = (1, 2, 1, 4, 1, 2, 1)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (12, 20), (20, 16), (16, 28), (1, 14), (5, 14)])
def test_two_stacks_with_dilations_stream_exactly(height: int, width: int) -> None:
    torch.manual_seed(0)
    step = assert_streams(image_network(TwoStacks(UVA), height, width))
    if height > 4:
        vertical = [lead for name, lead in step.leads if "vertical" in name]
        assert vertical == [12, 11, 9, 8, 4, 3, 1, 0]
        assert step.warm_up == 12


class Body(nn.Module):
    """A masked 5x5 convolution, something of one's own, and a 1x1 convolution to four levels."""

    def __init__(self, own: Callable[[Tensor], Tensor], *, features: int = 8) -> None:
        super().__init__()
        self.first = Masked(1, 8, raster(5, own=False))
        self.own, self.last = own, nn.Conv2d(features, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.last(self.own(self.first(image)))
        return logits


class InPlace(nn.Module):
    """Applies its mask to its own weights, every time it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        self.conv.weight.data *= raster(3, own=True)
        output: Tensor = self.conv(features)
        return output


def _with_norm(layer: nn.Module, features: int = 8) -> nn.Sequential:
    norm = nn.BatchNorm2d(features)
    nn.init.uniform_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    nn.init.normal_(norm.weight)
    return nn.Sequential(layer, norm, nn.ReLU(inplace=True))


def _move_down(features: Tensor) -> Tensor:
    return functional.pad(features, (0, 0, 1, 0))[:, :, :-1]


def _move_by_joining(features: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(features[:, :, :, :2]), features[:, :, :, :-2]], dim=3)


def _channels_last(features: Tensor) -> Tensor:
    norm = functional.layer_norm(features.permute(0, 2, 3, 1), (8,))
    return functional.linear(norm, torch.ones(8, 8).tril() / 8).permute(0, 3, 1, 2)


def _regroup(features: Tensor) -> Tensor:
    batch, _, height, width = features.shape
    groups = features.view(batch, 2, 4, height, width)
    return torch.stack([groups[:, 1], groups[:, 0]], dim=2).reshape(batch, 8, height, width)


def _attention_to_itself(features: Tensor) -> Tensor:
    return torch.softmax(features, dim=1) * features + functional.log_softmax(features, 1)


def _every_activation(features: Tensor) -> Tensor:
    parts = features.chunk(8, dim=1)
    functions = (
        functional.leaky_relu,
        functional.silu,
        functional.gelu,
        functional.softplus,
        functional.hardtanh,
        functional.selu,
        functional.mish,
        functional.relu6,
    )
    return torch.cat([f(part) for f, part in zip(functions, parts, strict=True)], dim=1)


DESIGNS: dict[str, Callable[[], nn.Module]] = {
    "nothing more": lambda: Body(lambda features: features),
    "normalised": lambda: Body(_with_norm(Masked(8, 8, raster(3, own=True)))),
    "normalised after a sum": lambda: Body(_with_norm(nn.Identity())),
    "mask applied in place": lambda: Body(InPlace()),
    "concatenated activations": lambda: Body(lambda f: functional.elu(torch.cat([f, -f], 1)), features=16),
    "shifted down": lambda: Body(_move_down),
    "shifted by joining zeros": lambda: Body(_move_by_joining),
    "channels last": lambda: Body(_channels_last),
    "features regrouped": lambda: Body(_regroup),
    "softmax over features": lambda: Body(_attention_to_itself),
    "every activation": lambda: Body(_every_activation),
    "gated linear unit": lambda: Body(lambda f: functional.glu(f, 1), features=4),
    "grouped": lambda: Body(nn.Conv2d(8, 8, (1, 3), groups=4, padding=(0, 2))),  # cropped below
    "weight normalised": lambda: Body(nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1))),
    "a column kernel": lambda: Body(Masked(8, 8, [[1], [1], [1], [0], [0]])),
    "dilated": lambda: Body(Masked(8, 8, raster(3, own=True), dilation=2)),
    "sums of features": lambda: Body(lambda f: f - f.mean(1, keepdim=True)),
}
DESIGNS["grouped"] = lambda: Body(_Cropped(nn.Conv2d(8, 8, (1, 3), groups=4, padding=(0, 2))))


class _Cropped(nn.Module):
    """A convolution padded on both sides, of which the right end is cut off."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, features: Tensor) -> Tensor:
        output: Tensor = self.conv(features)[:, :, :, :-2]
        return output


@pytest.mark.parametrize("design", DESIGNS)
def test_designs_stream_exactly(design: str) -> None:
    torch.manual_seed(1)
    step = assert_streams(image_network(DESIGNS[design](), 6, 7))
    assert step.warm_up == 0


class Placed(nn.Module):
    """Adds what depends on the place: rows, columns, and a whole picture."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.columns = nn.Parameter(torch.randn(8, 6, 1)), nn.Parameter(torch.randn(1, 8, 1, 7))
        self.picture, self.conv = nn.Parameter(torch.randn(6, 7)), Masked(8, 8, raster(3, own=True))

    def forward(self, features: Tensor) -> Tensor:
        output: Tensor = self.conv(features + self.rows + self.columns) * self.picture
        return output


def test_constants_may_depend_on_the_place() -> None:
    torch.manual_seed(2)
    assert_streams(image_network(Body(Placed()), 6, 7))


class Classes(nn.Module):
    """A class embedding before the convolutions' sum and, through a layer, in a gate."""

    def __init__(self, *, phrases: bool) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 8) if phrases else nn.Embedding(3, 8)
        self.gate, self.body = nn.Linear(8, 4), Body(lambda features: features)

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        features = self.embed(condition)
        logits: Tensor = self.body.last(torch.tanh(self.body.first(image) + features[:, :, None, None]))
        return logits + self.gate(features)[..., None, None]


@pytest.mark.parametrize("labels", [[0, 1, 2], [2, 2, 0]])
def test_a_class_is_a_token_of_the_prompt(labels: list[int]) -> None:
    torch.manual_seed(3)
    network = image_network(Classes(phrases=False), 5, 6, condition="class", conditions=3)
    conditions = np.array(labels)[:, None]
    assert_streams(network, conditions=conditions, condition=torch.tensor(labels))


def test_without_a_class_it_draws_the_first_and_of_two_the_last_counts() -> None:
    torch.manual_seed(3)
    network = image_network(Classes(phrases=False), 5, 6, condition="class", conditions=3)
    assert_streams(network, condition=torch.tensor([0, 0, 0]))
    assert_streams(network, conditions=np.array([[1, 2], [2, 0], [0, 1]]), condition=torch.tensor([2, 0, 1]))


def test_phrases_of_the_prompt_add_up() -> None:
    torch.manual_seed(4)
    network = image_network(Classes(phrases=True), 5, 6, condition="multi_hot", conditions=3)
    condition = torch.tensor([[1.0, 0, 1], [0, 2, 0], [1, 1, 0]])
    assert_streams(network, conditions=np.array([[0, 2], [1, 1], [1, 0]]), condition=condition)


class Embedded(nn.Module):
    """Reads levels as whole numbers, by an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.body = nn.Embedding(4, 1), Body(lambda features: features)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.body(self.embedding(image[:, 0].long()).permute(0, 3, 1, 2))
        return logits


def test_a_network_may_embed_its_levels_itself() -> None:
    torch.manual_seed(5)
    assert_streams(image_network(Embedded(), 5, 6, encoding=torch.arange(4.0).view(1, 4, 1)))
