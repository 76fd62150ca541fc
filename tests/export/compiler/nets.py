"""Small causal networks of many designs, with random weights, and the comparison of their steps with whole images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from export.compiler.compile import CompiledStep, compile_step
from export.image_network import ImageNetwork
from export.verify import step_logits
from tui_gen.card import ImageSpec, ModelCard
from tui_gen.runtime.model import Model


class Masked(nn.Conv2d):
    """A convolution whose taps are limited by a mask [rows, columns] or [outputs, inputs, rows, columns]."""

    def __init__(self, inputs: int, outputs: int, mask: Sequence[object] | Tensor, *, dilation: int = 1) -> None:
        taps = torch.as_tensor(mask, dtype=torch.float32)
        rows, columns = taps.shape[-2:]
        padding = (rows // 2 * dilation, columns // 2 * dilation)
        super().__init__(inputs, outputs, (rows, columns), padding=padding, dilation=dilation)
        self.register_buffer("taps", taps)

    def forward(self, image: Tensor) -> Tensor:
        weight = self.weight * self.taps
        return functional.conv2d(image, weight, self.bias, padding=self.padding, dilation=self.dilation)


def raster(size: int, *, own: bool) -> Tensor:
    """The mask of a single stack: what comes before in raster order, and the place itself if `own`."""
    mask = torch.zeros(size, size)
    mask[: size // 2] = 1
    mask[size // 2, : size // 2 + own] = 1
    return mask


class TwoStacks(nn.Module):
    """Vertical and horizontal stack with masked square kernels and dilations."""

    def __init__(self, dilations: Sequence[int], *, levels: int = 4, channels: int = 6) -> None:
        super().__init__()
        above, rows = [[1] * 3, [0] * 3, [0] * 3], [[1] * 3, [1] * 3, [0] * 3]
        self.first_vertical = Masked(1, channels, above)
        self.first_horizontal = Masked(1, channels, [[1, 0, 0]])
        self.vertical = nn.ModuleList(Masked(channels, 2 * channels, rows, dilation=d) for d in dilations)
        self.horizontal = nn.ModuleList(Masked(channels, 2 * channels, [[1, 1, 0]], dilation=d) for d in dilations)
        self.link = nn.ModuleList(nn.Conv2d(2 * channels, 2 * channels, 1) for _ in dilations)
        self.residual = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in dilations)
        self.output = nn.Conv2d(channels, levels, 1)

    def forward(self, image: Tensor) -> Tensor:
        vertical, horizontal = self.first_vertical(image), self.first_horizontal(image)
        layers = zip(self.vertical, self.horizontal, self.link, self.residual, strict=True)
        for above, beside, link, residual in layers:
            below = above(vertical)
            vertical = gate_halves(below)
            horizontal = horizontal + residual(gate_halves(beside(horizontal) + link(below)))
        logits: Tensor = self.output(functional.elu(horizontal))
        return logits


def gate_halves(features: Tensor) -> Tensor:
    """tanh of one half times sigmoid of the other."""
    signal, gate = features.chunk(2, dim=1)
    return torch.tanh(signal) * torch.sigmoid(gate)


def image_network(module: nn.Module, height: int, width: int, **facts: object) -> ImageNetwork:
    """Four levels from -1 to 1 in one plane, if nothing else is said."""
    levels = int(facts.pop("levels", 4))  # type: ignore[call-overload]
    encoding = facts.pop("encoding", torch.linspace(-1, 1, levels).view(1, levels, 1))
    return ImageNetwork(module.eval(), encoding, height, width, levels, **facts)  # type: ignore[arg-type]


def open_step(network: ImageNetwork, step: CompiledStep) -> Model:
    """A step function, as the player opens it."""
    spec = ImageSpec(network.height, network.width, network.levels)
    card = ModelCard("tiny", "image", "", network.levels, bos=network.start, image=spec)
    return Model(step.graph.SerializeToString(), card, provider="cpu")


def prompt(network: ImageNetwork, step: CompiledStep, conditions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Prefix tokens [batch, n] for conditions [batch, m], given by their number."""
    batch = len(conditions)
    start, warm_up = np.full((batch, 1), network.start), np.full((batch, step.warm_up), network.warm_up)
    return np.concatenate([start, network.start + 1 + conditions, warm_up], axis=1)


def assert_streams(
    network: ImageNetwork, *, conditions: NDArray[np.int64] | None = None, condition: Tensor | None = None
) -> CompiledStep:
    """Every logit of three random images, step by step, equals the pass over whole images to 1e-5."""
    step = compile_step(network)
    pixels = np.random.default_rng(0).integers(network.levels, size=(3, network.area))
    before = prompt(network, step, np.zeros((3, 0), dtype=np.int64) if conditions is None else conditions)
    logits = step_logits(open_step(network, step), np.concatenate([before, pixels[:, :-1]], axis=1))
    whole = network.whole_logits(torch.from_numpy(pixels), condition).numpy()
    np.testing.assert_allclose(logits[:, before.shape[1] - 1 :], whole, atol=1e-5, rtol=0)
    assert np.ptp(whole) > 0.01, "logits that are all alike prove nothing"
    return step
