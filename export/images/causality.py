"""Whether a network over whole images looks ahead: no mask is read, every pixel is changed and the logits compared."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from export.images.network import ImageNetwork
from tui_gen.errors import TuiGenError

SAMPLED = 200
"""Tokens that are changed in a larger image, chosen at random; in one of up to `SMALL` tokens, each is."""
SMALL = 400
BATCH = 50
TOLERANCE = 1e-5
"""Of the range of the logits, or of 1 if they keep within less: rounding, which depends on the batch."""


def check_causal(network: ImageNetwork, *, seed: int = 0) -> None:
    """Raises TuiGenError that says where, if changing a token moves a logit at or before it."""
    rng = np.random.default_rng(seed)
    area = network.area
    chosen = np.arange(area) if area <= SMALL else np.sort(rng.choice(area, SAMPLED, replace=False))
    image = torch.from_numpy(rng.integers(network.levels, size=area))
    for at in range(0, len(chosen), BATCH):
        _check(network, image, torch.from_numpy(chosen[at : at + BATCH]), int(rng.integers(1, network.levels)))


def _check(network: ImageNetwork, image: Tensor, tokens: Tensor, shift: int) -> None:
    """Changes each of these tokens in an image of its own; the first image of the batch stays as it is."""
    images = image.repeat(len(tokens) + 1, 1)
    rows = torch.arange(1, len(tokens) + 1)
    images[rows, tokens] = (images[rows, tokens] + shift) % network.levels
    logits = network.whole_logits(images, _first_condition(network, len(images)))
    allowed = TOLERANCE * max(1.0, float(logits.max() - logits.min()))
    moved = (logits[1:] - logits[0]).abs().amax(2)  # [changed, token]
    early = torch.arange(network.area) <= tokens[:, None]
    leaks = torch.nonzero((moved > allowed) & early)
    if len(leaks):
        row, reached = (int(index) for index in leaks[0])
        raise TuiGenError(
            f"the network is not causal: {_place(network, int(tokens[row]))} has a say in the logits of "
            f"{_place(network, reached)}; a mask is missing, or is not the one that it was trained with"
            f"{_mixing(network)}"
        )


def _mixing(network: ImageNetwork) -> str:
    """Names a normalisation whose figures are of a whole image, where there is one."""
    kinds = (nn.GroupNorm, nn.InstanceNorm2d)
    for path, part in network.module.named_modules():
        if isinstance(part, kinds):
            name = path.removeprefix("module.")
            return f"; {name} is a {type(part).__name__}, which mixes all pixels"
    return ""


def _first_condition(network: ImageNetwork, batch: int) -> Tensor | None:
    if network.condition == "none":
        return None
    many = network.condition == "multi_hot"
    return torch.zeros(batch, network.conditions) if many else torch.zeros(batch, dtype=torch.int64)


def _place(network: ImageNetwork, token: int) -> str:
    pixel, channel = divmod(token, network.channels)
    row, column = divmod(pixel, network.width)
    of_channel = f" ({('red', 'green', 'blue')[channel]})" if network.channels == 3 else ""
    return f"the pixel in row {row}, column {column}{of_channel}"
