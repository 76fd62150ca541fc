"""Small causal networks of many designs, with random weights, and the comparison of their steps with whole images."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from export.compiler.compile import CompiledStep, compile_step
from export.image_network import ImageNetwork
from export.images.streaming import guided_network
from export.images.whole_image import whole_image_step
from export.verify import step_logits
from tui_gen.card import ImageSpec, ModelCard
from tui_gen.runtime.model import Model

COLOUR_LEVELS = 5


class Masked(nn.Conv2d):
    """A convolution whose weights are limited by a mask [rows, columns] or [outputs, inputs, rows, columns]."""

    def __init__(self, inputs: int, outputs: int, mask: Any, *, dilation: int = 1, bias: bool = True) -> None:
        taps = torch.as_tensor(mask, dtype=torch.float32)
        kernel = tuple(taps.shape[-2:])
        padding = tuple(size // 2 * dilation for size in kernel)
        super().__init__(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=bias)
        self.register_buffer("mask", taps.expand_as(self.weight).clone())

    def forward(self, image: Tensor) -> Tensor:
        weight = self.weight * self.mask
        return functional.conv2d(image, weight, self.bias, padding=self.padding, dilation=self.dilation)


def raster(size: int, *, own: bool) -> Tensor:
    """The mask of a single stack: what comes before in raster order, and the place itself if `own`."""
    mask = torch.zeros(size, size)
    mask[: size // 2] = 1
    mask[size // 2, : size // 2 + own] = 1
    return mask


class MaskedConv(Masked):
    """Masks A and B of a single stack."""

    def __init__(self, kind: str, inputs: int, outputs: int, kernel: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, raster(kernel, own=kind == "B"), bias=bias)


def gate(features: Tensor) -> Tensor:
    """tanh of one half times sigmoid of the other."""
    first, second = features.chunk(2, dim=1)
    return torch.tanh(first) * torch.sigmoid(second)


class Body(nn.Module):
    """A masked 5x5 convolution, something of one's own, and a 1x1 convolution to four levels."""

    def __init__(self, own: Callable[[Tensor], Tensor], *, features: int = 8) -> None:
        super().__init__()
        self.first = MaskedConv("A", 1, 8, 5)
        self.own, self.last = own, nn.Conv2d(features, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.last(self.own(self.first(image)))
        return logits


class Classes(nn.Module):
    """A class embedding before the convolutions' sum and, through a layer, in a gate; or phrases."""

    def __init__(self, *, phrases: bool) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 8) if phrases else nn.Embedding(3, 8)
        self.gate, self.body = nn.Linear(8, 4), Body(lambda features: features)

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        features = self.embed(condition)
        logits: Tensor = self.body.last(torch.tanh(self.body.first(image) + features[:, :, None, None]))
        return logits + self.gate(features)[..., None, None]


def classes(height: int, width: int, *, phrases: bool) -> ImageNetwork:
    """Draws one of three classes, or what any of three phrases say."""
    kind = "multi_hot" if phrases else "class"
    return image_network(Classes(phrases=phrases), height, width, condition=kind, conditions=3)


def by_channel(inputs: int, outputs: int, size: int, *, own: bool) -> Masked:
    """Features belong to red, green or blue by thirds; in its own pixel each sees those before it, or also its own."""
    mask = raster(size, own=False).expand(outputs, inputs, size, size).clone()
    source, target = torch.arange(inputs) * 3 // inputs, torch.arange(outputs)[:, None] * 3 // outputs
    mask[:, :, size // 2, size // 2] = ((source <= target) if own else (source < target)).float()
    return Masked(inputs, outputs, mask)


class Coloured(nn.Module):
    """One stack with masks by channel."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = by_channel(3, 12, 5, own=False), by_channel(12, 12, 3, own=True)
        self.last = by_channel(12, 3 * COLOUR_LEVELS, 1, own=True)

    def forward(self, image: Tensor) -> Tensor:
        features = torch.relu(self.first(image))
        logits = self.last(features + torch.tanh(self.second(features)))
        return logits.view(len(image), 3, COLOUR_LEVELS, *image.shape[2:]).transpose(1, 2)


def colour_network(module: nn.Module, height: int, width: int) -> ImageNetwork:
    """Each channel in its own plane."""
    encoding = torch.eye(3)[:, None] * torch.linspace(-1, 1, COLOUR_LEVELS)[:, None]
    return image_network(module, height, width, levels=COLOUR_LEVELS, channels=3, encoding=encoding)


class Strided(nn.Module):
    """Halves the rows above, comes back to full size, and is shifted down so far that nothing is seen too early."""

    def __init__(self) -> None:
        super().__init__()
        self.first = MaskedConv("A", 1, 4, 3)
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
        self.first, self.last = MaskedConv("A", 1, 4, 3), nn.Conv2d(4, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        batch, _, height, width = image.shape
        flat = self.first(image).flatten(2).transpose(1, 2)
        visible = torch.ones(height * width, height * width).tril().bool()
        scores = (flat @ flat.transpose(1, 2)).masked_fill(~visible, -1e9)
        values = torch.softmax(scores, -1) @ flat
        logits: Tensor = self.last(values.transpose(1, 2).reshape(batch, 4, height, width))
        return logits


def image_network(module: nn.Module, height: int, width: int, **facts: Any) -> ImageNetwork:
    """Four levels from -1 to 1 in one plane, if nothing else is said."""
    levels = facts.pop("levels", 4)
    encoding = facts.pop("encoding", torch.linspace(-1, 1, levels).view(1, levels, 1))
    return ImageNetwork(module.eval(), encoding, height, width, levels, **facts)


def whole_step(network: ImageNetwork) -> CompiledStep:
    """The step that computes the whole image for every token."""
    return CompiledStep(whole_image_step(network), 0, ())


SLOW: dict[str, Callable[[], ImageNetwork]] = {
    "strides": lambda: image_network(Strided(), 8, 6),
    "attention": lambda: image_network(Attending(), 4, 6),
    "three channels": lambda: colour_network(Coloured(), 3, 4),
    "class": lambda: classes(3, 4, phrases=False),
    "phrases, guided": lambda: guided_network(classes(3, 4, phrases=True), 1.5),
}
"""Networks that are not streamed, or here are computed as if they could not be."""


@cache
def slow(name: str) -> tuple[ImageNetwork, CompiledStep]:
    """One of SLOW with its step, which takes seconds to write."""
    torch.manual_seed(0)
    network = SLOW[name]()
    return network, whole_step(network)


def open_step(network: ImageNetwork, step: CompiledStep) -> Model:
    """A step function, as the player opens it."""
    spec = ImageSpec(network.height, network.width, network.levels)
    card = ModelCard("tiny", "image", "", network.levels, bos=network.start, image=spec)
    return Model(step.graph.SerializeToString(), card, provider="cpu")


def logits_by_steps(
    network: ImageNetwork, step: CompiledStep, pixels: NDArray[np.int64], conditions: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """[batch, area, levels] after a prompt of conditions [batch, n], given by their number."""
    batch = len(pixels)
    start, warm_up = np.full((batch, 1), network.start), np.full((batch, step.warm_up), network.warm_up)
    named = [] if conditions is None else [network.start + 1 + conditions]
    tokens = np.concatenate([start, *named, warm_up, pixels[:, :-1]], axis=1)
    return step_logits(open_step(network, step), tokens)[:, -network.area :]


def assert_exact(
    network: ImageNetwork,
    step: CompiledStep,
    *,
    conditions: NDArray[np.int64] | None = None,
    condition: Tensor | None = None,
    batch: int = 3,
) -> None:
    """Every logit of random images, step by step, equals the pass over whole images to 1e-5."""
    pixels = np.random.default_rng(0).integers(network.levels, size=(batch, network.area))
    whole = network.whole_logits(torch.from_numpy(pixels), condition).numpy()
    np.testing.assert_allclose(logits_by_steps(network, step, pixels, conditions), whole, atol=1e-5, rtol=0)
    assert np.ptp(whole) > 0.01, "logits that are all alike prove nothing"


def assert_streams(network: ImageNetwork, **conditions: Any) -> CompiledStep:
    """Compiles the network and compares; returns the step."""
    step = compile_step(network)
    assert_exact(network, step, **conditions)
    return step


def values_inside(model: onnx.ModelProto, tokens: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    """Every value `inside.*` after each of the tokens [n] of one sample: [n, rows, width]."""
    infos = [info for info in model.graph.value_info if info.name.startswith("inside.")]
    looked_at = onnx.ModelProto.FromString(model.SerializeToString())
    looked_at.graph.output.extend(infos)
    run, state = onnxruntime.InferenceSession(looked_at.SerializeToString()), dict[str, NDArray[np.float32]]()
    for port in run.get_inputs()[1:]:
        state[port.name] = np.zeros([1, *port.shape[1:]], np.int64 if "int64" in port.type else np.float32)
    rows: dict[str, list[NDArray[np.float32]]] = {info.name: [] for info in infos}
    names = [port.name for port in run.get_outputs()]
    for token in tokens:
        values = dict(zip(names, run.run(None, {"token": token[None], **state}), strict=True))
        state = {name: values[name.replace("state.", "next.")] for name in state}
        for name, steps in rows.items():
            steps.append(values[name])
    return {name: np.array(steps) for name, steps in rows.items()}
