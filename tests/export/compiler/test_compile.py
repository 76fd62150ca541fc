"""Networks of many designs, one token at a time, say what they say of whole images; others are refused by layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._pytree import tree_leaves

from export.compiler.compile import compile_step
from export.compiler.ir import LooksAheadError, NotStreamableError, constant_operand
from export.compiler.trace import trace
from export.images.input_output import LogisticMixture, plane_per_channel
from tests.support.causal_networks import (
    COLOUR_LEVELS,
    Body,
    Coloured,
    Masked,
    MaskedConv,
    assert_streams,
    by_channel,
    classes,
    colour_network,
    image_network,
    open_step,
    raster,
)
from tests.support.gated_networks import TutorialGated
from tests.support.picture_kinds import chain
from tui_gen.card import LayerSpec


@pytest.mark.parametrize(("height", "width"), [(28, 28), (12, 20), (20, 16), (16, 28), (1, 14), (5, 14)])
def test_two_stacks_with_dilations_stream_exactly(height: int, width: int) -> None:
    torch.manual_seed(0)
    step = assert_streams(image_network(TutorialGated(levels=4), height, width))
    if height > 4:
        vertical = [layer.lead for layer in step.layers if layer.name.endswith(("conv_vstack", "conv_vert"))]
        smallest, roomy = [12, 11, 9, 8, 4, 3, 1, 0], [20, 18, 15, 13, 8, 6, 3, 1]
        ahead = np.subtract(vertical, smallest)  # of what the layers after it need, as far as the width allows it
        assert vertical == roomy if width > 21 else (ahead >= 0).all() and vertical[0] <= width - 2
        assert step.warm_up == vertical[0]


@pytest.mark.parametrize("build", [lambda: TutorialGated(levels=4), lambda: Body(MaskedConv("B", 8, 8, 5))])
def test_tables_that_would_be_large_repeat_with_the_rows(
    build: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = image_network(build(), 40, 20)
    size = compile_step(network).graph.ByteSize()
    monkeypatch.setattr("export.compiler.buffers.LARGEST_TABLE", 1)
    assert assert_streams(network).graph.ByteSize() < size


@pytest.mark.parametrize("module", [TutorialGated(levels=4), Body(MaskedConv("B", 8, 8, 5))], ids=["two stacks", "one"])
def test_samples_of_a_batch_stand_at_places_of_their_own(module: nn.Module) -> None:
    torch.manual_seed(0)
    network = image_network(module, 16, 16)
    step = compile_step(network)
    model = open_step(network, step)
    warm_up = [network.start] + [network.warm_up] * step.warm_up
    tokens = np.array([[*warm_up, *row] for row in np.random.default_rng(0).integers(4, size=(3, 120))])
    begins = (5, 40, 77)  # where each of them stands when they meet
    states, logits = [], []
    for row, begin in zip(tokens, begins, strict=True):
        state = model.start(1)
        for at, token in enumerate(row):
            if at == len(warm_up) + begin:
                states.append(state)
            out, state = model.step(np.array([token]), state)
            logits.append(out[0])
    alone = np.array(logits).reshape(3, len(tokens[0]), -1)
    together = model.state([np.concatenate(parts) for parts in zip(*(s.arrays() for s in states), strict=True)], 3)
    for ahead in range(40):
        places = [len(warm_up) + begin + ahead for begin in begins]
        out, together = model.step(tokens[range(3), places], together)
        np.testing.assert_allclose(out, alone[range(3), places], atol=1e-5, rtol=0)


def test_a_step_says_what_its_layers_look_at() -> None:
    torch.manual_seed(0)
    layers = {layer.name: layer for layer in compile_step(image_network(TutorialGated(levels=4), 28, 28)).layers}
    assert layers["conv_layers.3.conv_vert"] == LayerSpec(
        "conv_layers.3.conv_vert", ((-4, -4), (-4, 0), (-4, 4), (0, -4), (0, 0), (0, 4)), 8, "vertical", 4
    )
    assert layers["conv_layers.3.conv_horiz"] == LayerSpec(
        "conv_layers.3.conv_horiz", ((0, -4), (0, 0)), 0, "horizontal", 4
    )
    one = {layer.name: layer.mask for layer in compile_step(image_network(Body(MaskedConv("B", 8, 8, 3)), 6, 7)).layers}
    assert one == {"first": "A", "own": "B", "last": ""}


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


def _in_groups(features: Tensor) -> Tensor:
    places = features.permute(0, 2, 3, 1)
    groups = functional.layer_norm(places.unflatten(3, (2, 4)), (4,), torch.tensor([1.0, 2, 3, 4]))
    return groups.flatten(3).permute(0, 3, 1, 2)


def _regroup(features: Tensor) -> Tensor:
    batch, _, height, width = features.shape
    groups = features.view(batch, 2, 4, height, width)
    return torch.stack([groups[:, 1], groups[:, 0]], dim=2).reshape(batch, 8, height, width)


def _attention_to_itself(features: Tensor) -> Tensor:
    return torch.softmax(features, dim=1) * features + functional.log_softmax(features, 1)


def _every_activation(features: Tensor) -> Tensor:
    names = "leaky_relu", "silu", "gelu", "softplus", "hardtanh", "selu", "mish", "relu6"
    parts = zip(names, features.chunk(8, dim=1), strict=True)
    return torch.cat([getattr(functional, name)(part) for name, part in parts], dim=1)


def _choices(features: Tensor) -> Tensor:
    below = torch.where(features < 0.1, functional.logsigmoid(features), features)
    between = torch.where(features.ge(-0.2), 0.5, below)
    second = torch.arange(8)[:, None, None] > 3
    return torch.where(second, between, below) * (features <= 1).float() + (features > 1)


def _logarithm_of_sums(features: Tensor) -> Tensor:
    return features.amax(1, keepdim=True) + features - torch.logsumexp(features, 1, keepdim=True)


DESIGNS: dict[str, Callable[[], nn.Module]] = {
    "nothing more": lambda: Body(lambda features: features),
    "normalised": lambda: Body(_with_norm(MaskedConv("B", 8, 8, 3))),
    "normalised after a sum": lambda: Body(_with_norm(nn.Identity())),
    "mask applied in place": lambda: Body(InPlace()),
    "concatenated activations": lambda: Body(lambda f: functional.elu(torch.cat([f, -f], 1)), features=16),
    "shifted down": lambda: Body(_move_down),
    "shifted by joining zeros": lambda: Body(_move_by_joining),
    "channels last": lambda: Body(_channels_last),
    "normalised in groups": lambda: Body(_in_groups),
    "features regrouped": lambda: Body(_regroup),
    "odd and even features": lambda: Body(lambda f: torch.tanh(f[:, ::2]) * torch.sigmoid(f[:, 1::2]), features=4),
    "some of every third feature": lambda: Body(lambda f: functional.pad(f, (0, 0, 0, 0, 0, 1))[:, 4::3], features=2),
    "softmax over features": lambda: Body(_attention_to_itself),
    "every activation": lambda: Body(_every_activation),
    "gelu by tanh": lambda: Body(lambda f: functional.gelu(f * 3, approximate="tanh")),
    "gated linear unit": lambda: Body(lambda f: functional.glu(f, 1), features=4),
    "grouped": lambda: Body(Cropped(nn.Conv2d(8, 8, (1, 3), groups=4, padding=(0, 2)))),
    "weight normalised": lambda: Body(nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1))),
    "a column kernel": lambda: Body(Masked(8, 8, [[1], [1], [1], [0], [0]])),
    "dilated": lambda: Body(Masked(8, 8, raster(3, own=True), dilation=2)),
    "sums of features": lambda: Body(lambda f: f - f.mean(1, keepdim=True)),
    "choices by comparisons": lambda: Body(_choices),
    "logarithms of sums": lambda: Body(_logarithm_of_sums),
    "a feature of ones": lambda: Body(lambda f: functional.pad(f, (0, 0, 0, 0, 1, 0), value=1.0), features=9),
}


class Cropped(nn.Module):
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
        self.picture, self.conv = nn.Parameter(torch.randn(6, 7)), MaskedConv("B", 8, 8, 3)

    def forward(self, features: Tensor) -> Tensor:
        output: Tensor = self.conv(features + self.rows + self.columns) * self.picture
        return output


def test_constants_may_depend_on_the_place() -> None:
    torch.manual_seed(2)
    assert_streams(image_network(Body(Placed()), 6, 7))


@pytest.mark.parametrize(
    ("prompts", "labels"),
    [([[0], [1], [2]], [0, 1, 2]), ([[]] * 3, [0, 0, 0]), ([[1, 2], [2, 0], [0, 1]], [2, 0, 1])],
    ids=["one class", "none, so the first", "two, of which the last counts"],
)
def test_a_class_is_a_token_of_the_prompt(prompts: list[list[int]], labels: list[int]) -> None:
    torch.manual_seed(3)
    conditions = np.array(prompts, dtype=np.int64)
    assert_streams(classes(5, 6, phrases=False), conditions=conditions, condition=torch.tensor(labels))


def test_phrases_of_the_prompt_add_up() -> None:
    torch.manual_seed(4)
    condition = torch.tensor([[1.0, 0, 1], [0, 2, 0], [1, 1, 0]])
    assert_streams(classes(5, 6, phrases=True), conditions=np.array([[0, 2], [1, 1], [1, 0]]), condition=condition)


class Embedded(nn.Module):
    """Reads levels as whole numbers, by an embedding or as one-hot; and has a look at all of the image for a loss."""

    def __init__(self, *, one_hot: bool) -> None:
        super().__init__()
        self.embedding, self.body = None if one_hot else nn.Embedding(4, 4), Body(lambda features: features)
        self.body.first = MaskedConv("A", 4, 8, 5)

    def forward(self, image: Tensor) -> Tensor:
        levels = image[:, 0].long()
        planes = self.embedding(levels) if self.embedding else functional.one_hot(levels, 4).float()
        logits: Tensor = self.body(planes.permute(0, 3, 1, 2))
        self.loss = (logits.flip(3) @ logits.transpose(2, 3)).mean()
        return logits


@pytest.mark.parametrize("one_hot", [False, True])
def test_a_network_may_embed_its_levels_itself(*, one_hot: bool) -> None:
    torch.manual_seed(5)
    assert_streams(image_network(Embedded(one_hot=one_hot), 5, 6, encoding=torch.arange(4.0).view(1, 4, 1)))


class ColouredTwoStacks(nn.Module):
    """A vertical stack that runs ahead, beside a pixel that comes in three parts."""

    def __init__(self) -> None:
        super().__init__()
        self.above, self.more = nn.Conv2d(3, 12, (2, 5)), nn.Conv2d(12, 12, (2, 3))
        self.link, self.own = nn.Conv2d(12, 12, 1), by_channel(3, 12, 1, own=False)
        self.beside, self.last = by_channel(12, 12, 3, own=True), by_channel(12, 3 * COLOUR_LEVELS, 1, own=True)

    def forward(self, image: Tensor) -> Tensor:
        above = torch.tanh(self.above(functional.pad(image, (2, 2, 2, 0))[:, :, :-1]))
        above = torch.relu(self.more(functional.pad(above, (1, 1, 1, 0))))
        features = self.own(image) + self.link(above)
        logits = self.last(features + torch.tanh(self.beside(features)))
        return logits.view(len(image), 3, COLOUR_LEVELS, *image.shape[2:]).transpose(1, 2)


class ColouredBlind(nn.Module):
    """Equal layers that see nothing of their own pixel, and so could be computed before all of the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = MaskedConv("A", 3, 12, 5), nn.Conv2d(12, 3 * COLOUR_LEVELS, 1)
        self.middle = nn.Sequential(*(MaskedConv("B", 12, 12, 3) for _ in range(2)))

    def forward(self, image: Tensor) -> Tensor:
        logits = self.last(torch.relu(self.middle(torch.relu(self.first(image)))))
        return logits.view(len(image), 3, COLOUR_LEVELS, *image.shape[2:]).transpose(1, 2)


@pytest.mark.parametrize(("module", "warm_up"), [(Coloured, 0), (ColouredTwoStacks, 1), (ColouredBlind, 0)])
def test_three_tokens_make_a_pixel_which_a_stack_may_run_ahead_of(module: type[nn.Module], warm_up: int) -> None:
    torch.manual_seed(1)
    assert assert_streams(colour_network(module(), 5, 6)).warm_up == warm_up


class Mixed(nn.Module):
    """A stack whose numbers are a mixture of two logistics over 256 levels of each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        rows = 2 * (3 if channels == 1 else 1 + 3 * channels)
        self.body, self.mixture = chain(channels, rows), LogisticMixture(2, channels)
        nn.init.normal_(self.body[-1].bias, std=2)

    def forward(self, picture: Tensor) -> Tensor:
        logits: Tensor = self.mixture(self.body(picture), picture)
        return logits


@pytest.mark.parametrize("channels", [1, 3])
def test_a_mixture_of_logistics_on_one_stack_streams_exactly(channels: int) -> None:
    torch.manual_seed(6)
    encoding = plane_per_channel(torch.linspace(-1, 1, 256), channels)
    assert_streams(image_network(Mixed(channels), 4, 5, levels=256, channels=channels, encoding=encoding))


class Named(nn.Module):
    """A causal first layer, and a second one called `culprit`."""

    def __init__(self, culprit: nn.Module | Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first = MaskedConv("A", 1, 4, 3)
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
    "every other column": (lambda: lambda features: features[..., ::2], "a slice with a step"),
    "another size": (lambda: nn.Conv2d(4, 4, (1, 3)), "another size"),
    "another output": (lambda: nn.Conv2d(4, 7, 1), "is not \\[batch, levels"),
    "multiplies by nothing": (lambda: MaskedConv("A", 4, 4, 1), "culprit sees nothing of what it reads"),
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


AHEAD: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "what is not drawn": (
        lambda: Named(nn.Conv2d(4, 4, 3, padding=1)),
        r"culprit looks 1 down and 1 to the right, and .* the pixel 13 pos",
    ),
    "the pixel itself": (
        lambda: nn.Sequential(MaskedConv("B", 1, 4, 3)),
        r"0 looks at its own place, and .* the pixel that is drawn itself",
    ),
    "too far sideways": (lambda: TutorialGated(levels=4), r"conv_layers\.\d\.conv_vert looks 4 to the right"),
}


@pytest.mark.parametrize("name", AHEAD)
def test_a_layer_that_sees_what_it_must_not_is_named(name: str) -> None:
    build, says = AHEAD[name]
    with pytest.raises(LooksAheadError, match=says):
        compile_step(image_network(build(), 6, 13))


def test_phrases_that_do_more_than_add_up_are_refused() -> None:
    class Multiplied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.named = MaskedConv("A", 1, 4, 3), nn.Linear(3, 4)

        def forward(self, image: Tensor, condition: Tensor) -> Tensor:
            output: Tensor = self.first(image) + self.named(condition).square()[:, :, None, None]
            return output

    with pytest.raises(NotStreamableError, match="more than add up"):
        compile_step(image_network(Multiplied(), 4, 4, condition="multi_hot", conditions=3))


DIMENSIONS = [("b",), (3,), ("h",), ("w",)]
LIKE: Any = None  # a constant without places does not look at it


@pytest.mark.parametrize("first", [nn.Tanh(), nn.Conv2d(3, 3, 1, groups=3)])
def test_a_picture_that_is_changed_before_its_channels_have_come_is_not_streamed(first: nn.Module) -> None:
    module = nn.Sequential(nn.Identity(), Coloured())
    compile_step(colour_network(module, 4, 5))
    module[0] = first
    with pytest.raises(NotStreamableError, match="0 changes the picture before its first masked layer, and a pixel"):
        compile_step(colour_network(module, 4, 5))


def test_rows_of_a_product_that_are_only_rounded_otherwise_are_the_same() -> None:
    rows = np.array([[0.5, 1.4, -9.0], [0.5000001, 1.4, -9.000001]], dtype=np.float32)[:, :, None, None]
    assert np.array_equal(constant_operand(rows, LIKE, DIMENSIONS), rows[0, :, 0, 0])


def test_a_constant_that_really_differs_between_samples_is_refused() -> None:
    rows = np.array([[0.5, 1.4, -9.0], [0.5, 1.401, -9.0]], dtype=np.float32)[:, :, None, None]
    with pytest.raises(NotStreamableError, match="differs between samples"):
        constant_operand(rows, LIKE, DIMENSIONS)


class _MasksInPlace(MaskedConv):
    """As most masked convolutions are written: the weights themselves are masked, again in every pass."""

    def forward(self, image: Tensor) -> Tensor:
        self.weight.data *= self.mask
        return functional.conv2d(image, self.weight, self.bias, padding=1)


def test_no_name_of_a_parameter_is_kept_for_a_tensor_that_is_gone() -> None:
    """A later one may get its id, and was then called like a weight that the graph has already."""
    record = trace(image_network(nn.Sequential(_MasksInPlace("A", 1, 4, 3)), 4, 5))
    constants = [value for call in record.calls for value in tree_leaves((call.arguments, call.options))]
    names = {id(value): value for value in constants if isinstance(value, Tensor)}
    assert {name: names[number].shape for number, name in record.names.items()} == {
        "0.weight": (4, 1, 3, 3),
        "0.bias": (4,),
    }
