"""A network over whole images, how tokens become its input, and the check that it is causal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from tui_gen.errors import TuiGenError

ConditionKind = Literal["none", "class", "multi_hot"]
SAMPLED = 200
"""Tokens that are changed in a larger image, chosen at random; in one of up to `SMALL` tokens, each is."""
SMALL = 400
BATCH = 50
MAX_LOGITS = 2**24
"""Of all tokens of an image: 256x256 pixels of 256 levels."""
TOLERANCE = 1e-5
"""Of the range of the logits, or of 1 if they keep within less: rounding, which depends on the batch."""


@dataclass(frozen=True)
class ImageNetwork:
    """Predicts every pixel of an image from those before it in raster order; not necessarily our own design.

    Token ids: levels 0 to levels - 1, then `start`, then the conditions, then `warm_up` (which only some step
    functions read). An image is height * width * channels tokens: row by row, pixel by pixel, channel by channel.
    """

    module: nn.Module
    """forward(planes) or forward(planes, condition), in eval mode, any batch.

    planes: float32[batch, planes, height, width]. condition, of the kind `condition`: `class` int64[batch], `multi_hot`
    float32[batch, conditions]. Returns logits float32[batch, levels, height, width], or float32[batch, levels,
    channels, height, width] when there are several channels.
    """
    encoding: Tensor
    """float32[channels, levels, planes]: what the module sees of each level of each channel; channels add up."""
    height: int
    width: int
    levels: int
    channels: int = 1
    """Tokens per pixel: 1, or 3 for red, green, blue."""
    condition: ConditionKind = "none"
    conditions: int = 0
    label: str = "PixelCNN"
    """What the model card calls the architecture."""

    def __post_init__(self) -> None:
        """Raises TuiGenError for pictures whose logits are too many to be held and compared."""
        if self.area * self.levels > MAX_LOGITS:
            raise TuiGenError(
                f"pictures of {self.height}x{self.width} pixels, {self.area:,} numbers of {self.levels:,} levels, are "
                f"too large: at most {MAX_LOGITS:,} logits can be proved"
            )

    @property
    def start(self) -> int:
        """The token before the first pixel; it carries no condition."""
        return self.levels

    @property
    def warm_up(self) -> int:
        """The token that a step function which computes ahead reads before the first pixel, once per position."""
        return self.levels + 1 + self.conditions

    @property
    def area(self) -> int:
        """Tokens of an image."""
        return self.height * self.width * self.channels

    def planes(self, pixels: Tensor) -> Tensor:
        """int64[batch, area] -> float32[batch, planes, height, width]: what the module sees."""
        values = pixels.view(len(pixels), self.height * self.width, self.channels)
        columns = sum(self.encoding[channel][values[:, :, channel]] for channel in range(self.channels))
        assert isinstance(columns, Tensor)
        return columns.transpose(1, 2).reshape(len(pixels), -1, self.height, self.width)

    def no_condition(self, batch: int) -> Tensor | None:
        """What the module reads without a prompt: the first class, no phrase, or None if it takes no condition."""
        if self.condition == "none":
            return None
        return torch.zeros(batch, self.conditions) if self.condition == "multi_hot" else torch.zeros(batch).long()

    @torch.no_grad()
    def whole_logits(self, pixels: Tensor, condition: Tensor | None = None) -> Tensor:
        """Every token's logits by one pass over whole images: int64[batch, area] -> float32[batch, area, levels]."""
        arguments = () if condition is None else (condition,)
        logits = self.module(self.planes(pixels), *arguments)
        if self.channels > 1:
            logits = logits.permute(0, 1, 3, 4, 2)  # pixel by pixel, channel by channel
        return logits.flatten(2).transpose(1, 2)


class Guided(nn.Module):
    """Classifier-free guidance: runs a network with its condition and without, and goes on from one to the other.

    Ho, Salimans: Classifier-Free Diffusion Guidance, 2022, equation 6, over logits.

    offsets: what each of the phrases that follow the network's own adds to the scale.
    """

    offsets: Tensor

    def __init__(self, module: nn.Module, scale: float, offsets: Sequence[float]) -> None:
        super().__init__()
        self.module, self.scale = module, scale
        self.register_buffer("offsets", torch.tensor(offsets))

    def forward(self, planes: Tensor, conditions: Tensor) -> Tensor:
        """Planes as the network takes them; float32[batch, conditions + offsets], 1 for each that the prompt names."""
        own = conditions.shape[1] - len(self.offsets)
        phrases, scales = conditions[:, :own], conditions[:, own:]
        scale = (self.scale + scales @ self.offsets)[:, None, None, None]
        conditional, unconditional = self.module(planes, phrases), self.module(planes, torch.zeros_like(phrases))
        return unconditional + scale * (conditional - unconditional)


def check_causal(network: ImageNetwork, *, seed: int = 0) -> None:
    """Changes tokens; raises TuiGenError that says where, if one moves a logit at or before it."""
    rng = np.random.default_rng(seed)
    area = network.area
    tokens = np.arange(area) if area <= SMALL else np.sort(rng.choice(area, SAMPLED, replace=False))
    image = torch.from_numpy(rng.integers(network.levels, size=area))
    for at in range(0, len(tokens), BATCH):
        _check(network, image, torch.from_numpy(tokens[at : at + BATCH]), int(rng.integers(1, network.levels)))


def _check(network: ImageNetwork, image: Tensor, tokens: Tensor, shift: int) -> None:
    """Changes each of these tokens in an image of its own; the first image of the batch stays as it is."""
    images = image.repeat(len(tokens) + 1, 1)
    rows = torch.arange(1, len(tokens) + 1)
    images[rows, tokens] = (images[rows, tokens] + shift) % network.levels
    logits = network.whole_logits(images, network.no_condition(len(images)))
    tolerance = TOLERANCE * max(1.0, float(logits.max() - logits.min()))
    change = (logits[1:] - logits[0]).abs().amax(2)  # [tokens, area]
    early = torch.arange(network.area) <= tokens[:, None]
    leaks = torch.nonzero((change > tolerance) & early)
    if len(leaks):
        row, target = (int(index) for index in leaks[0])
        raise TuiGenError(
            f"the network is not causal: {_place(network, int(tokens[row]))} has a say in the logits of "
            f"{_place(network, target)}; a mask is missing, or is another than in training, or it draws in another "
            f"order than row by row{_normalisation(network)}{_only_first(leaks)}"
        )


def _only_first(leaks: Tensor) -> str:
    """What it may be where only the first token's logits are wrong."""
    if bool(leaks[:, 1].any()):
        return ""
    return "; only the first pixel is wrong, as of an attention that weighs all pixels alike where it may see none"


def _place(network: ImageNetwork, token: int) -> str:
    pixel, channel = divmod(token, network.channels)
    row, column = divmod(pixel, network.width)
    of_channel = f" ({('red', 'green', 'blue')[channel]})" if network.channels == 3 else ""
    return f"the pixel in row {row}, column {column}{of_channel}"


def _normalisation(network: ImageNetwork) -> str:
    """Names a normalisation whose figures are of a whole image, where there is one."""
    for path, part in network.module.named_modules():
        if isinstance(part, (nn.GroupNorm, nn.InstanceNorm2d)):
            return f"; {path.removeprefix('module.')} is a {type(part).__name__}, which mixes all pixels"
    return ""
