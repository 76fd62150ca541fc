"""Checkpoints of image networks, what the exporter makes of them, and the comparison with their own forward passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from export.checkpoints.checkpoint import Checkpoint, ModuleFacts
from export.compiler.compile import CompiledStep
from export.image_network import ImageNetwork
from export.images.streaming import StreamingNetwork
from export.read import read_image
from export.reader import Reading, ReadOptions
from tests.support.causal_networks import logits_by_steps


@dataclass(frozen=True)
class Layout:
    """A network, and what its owner must tell."""

    build: Callable[[], nn.Module]
    sees: Callable[[Tensor], Tensor] | None = None
    """int64[b, c, h, w] -> what the script gives its network; by default, levels from 0 to 1."""
    size: tuple[int, int] = (5, 16)
    answers: Mapping[str, Any] = field(default_factory=dict)


def signed(pixels: Tensor) -> Tensor:
    """256 levels from -1 to 1."""
    return pixels.float() / 127.5 - 1


def as_codes(pixels: Tensor) -> Tensor:
    """What an embedding reads."""
    return pixels[:, 0]


def read(
    state: Mapping[str, Tensor] | nn.Module, modules: Mapping[str, ModuleFacts] | None = None, **answers: Any
) -> Reading:
    """The reading of what must be an image network.

    Its images are 5x16, its levels go from 0 to 1 and its gates begin with tanh where that is asked, if nothing else is
    told.
    """
    tensors = dict(state.state_dict() if isinstance(state, nn.Module) else state)
    options = {"size": (5, 16), **answers}
    reading = read_image(Checkpoint("a test's", tensors, modules or {}), ReadOptions(**options))
    assert reading is not None
    asked = [missing.option for missing in reading.diagnosis.missing if not missing.default]
    if any(option.startswith("--scaling") for option in asked):
        return read(state, modules, **{**options, "scaling": "level/(levels-1)"})
    if any(option.startswith("--assume gate=") for option in asked):
        return read(state, modules, **{**options, "assume": {**answers.get("assume", {}), "gate": "tanh"}})
    return reading


def assumptions(state: Mapping[str, Tensor] | nn.Module, **answers: Any) -> dict[str, str]:
    """What is not in the file, and what is assumed of it."""
    return {missing.what: missing.default for missing in read(state, **answers).diagnosis.missing}


def network_of(reading: Reading) -> ImageNetwork:
    """The network that is exported."""
    network = reading.build().network
    assert isinstance(network, StreamingNetwork)
    return network.network


def script_logits(
    net: nn.Module, network: ImageNetwork, pixels: Tensor, sees: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """The script's own logits, [batch, area, levels]; a class follows another from row to row."""
    values = pixels.view(len(pixels), network.height, network.width, network.channels).permute(0, 3, 1, 2)
    labels = (torch.arange(len(pixels)) % network.conditions,) if network.conditions else ()
    with torch.no_grad():
        image = sees(values) if sees else values.float() / (network.levels - 1)
        logits = _as_logits(net(image, *labels), network.channels)
    logits = logits.permute(0, 1, 3, 4, 2) if logits.ndim == 5 else logits
    return logits.flatten(2).transpose(1, 2)


def _as_logits(numbers: Tensor, channels: int) -> Tensor:
    """What a script's loss makes of its numbers: [b, rows, h, w] -> [b, levels[, channels], h, w]."""
    if numbers.ndim == 5 or (channels == 1 and numbers.shape[1] > 1):
        return numbers
    if numbers.shape[1] == channels:  # a number for each channel
        both = torch.stack([torch.zeros_like(numbers), numbers], 1)
        return both[:, :, 0] if channels == 1 else both
    return numbers.view(len(numbers), -1, channels, *numbers.shape[2:])


def assert_same(reading: Reading, net: nn.Module, sees: Callable[[Tensor], Tensor] | None = None) -> None:
    """What is read says of random images what the script's own forward pass says."""
    network = network_of(reading)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(network.levels, size=(4, network.area)))
    labels = torch.arange(4) % network.conditions if network.conditions else None
    expected = script_logits(net, network, pixels, sees)
    torch.testing.assert_close(network.whole_logits(pixels, labels), expected, atol=1e-5, rtol=0)
    assert float((expected[0, 1:] - expected[1, 1:]).abs().max()) > 1e-3  # it looks at the image


def assert_exact_whole_and_by_steps(layout: Layout) -> None:
    """The same of its step function."""
    torch.manual_seed(0)
    net = layout.build().eval()
    reading = read(net, size=layout.size, **layout.answers)
    assert_same(reading, net, layout.sees)
    exportable = reading.build()
    streaming = exportable.network
    assert isinstance(streaming, StreamingNetwork)
    assert streaming.slow_because == ""
    network, image = streaming.network, streaming.completed(exportable.card).image
    assert (network.height, network.width) == layout.size
    step = CompiledStep(streaming.step_graph(), len(image.warm_up) if image else 0, ())
    pixels = np.random.default_rng(1).integers(network.levels, size=(4, network.area))
    labels = np.arange(4)[:, None] % network.conditions if network.conditions else None
    expected = script_logits(net, network, torch.from_numpy(pixels), layout.sees)
    np.testing.assert_allclose(logits_by_steps(network, step, pixels, labels), expected.numpy(), atol=1e-5, rtol=0)
