"""Proof of a slow step at places all over an image: each starts from a picture that is partly drawn."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from export.images.network import ImageNetwork
from export.images.streaming import StreamingNetwork
from export.verify import TOLERANCE
from tui_gen.errors import TuiGenError
from tui_gen.model import Model, RunState

PLACES = 12
_BATCH = 2


def compare_spread(network: StreamingNetwork, model: Model, *, seed: int = 0) -> str:
    """Compares the whole-image form with PyTorch at places from the first token to the last; returns a line to print.

    Raises TuiGenError that names the place at which they part.
    """
    area = network.network.area
    tokens = network.random_tokens(_BATCH, np.random.default_rng(seed), pixels=area - 1)
    prompt, pixels = tokens[:, : tokens.shape[1] - area + 1], tokens[:, -area + 1 :]
    expected = network.sequence_logits(torch.from_numpy(tokens)).numpy()
    allowed = TOLERANCE * max(1.0, float(np.ptp(expected)))
    before, worst = _after(model, prompt), 0.0
    for place in np.unique(np.linspace(1, area - 1, PLACES).astype(int)):
        state = _drawn(network.network, model, before, torch.from_numpy(pixels), int(place) - 1)
        logits, _ = model.step(np.ascontiguousarray(pixels[:, place - 1]), state)
        difference = float(np.abs(logits - expected[:, place]).max())
        if not difference <= allowed:
            raise TuiGenError(
                f"the exported model differs from PyTorch by {difference:.2g} in the logits of token {place}; "
                f"{allowed:.2g} is allowed, so nothing was written"
            )
        worst = max(worst, difference)
    return f"{PLACES} places all over an image: max abs difference {worst:.2g}"


def _after(model: Model, prompt: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> RunState:
    state = model.start(len(prompt))
    for column in prompt.T:
        _, state = model.step(np.ascontiguousarray(column), state)
    return state


def _drawn(network: ImageNetwork, model: Model, state: RunState, pixels: Tensor, known: int) -> RunState:
    """The state after so many pixels of int64[batch, area - 1], as `WholeImageStep` would have it."""
    made = {port.name: part for port, part in zip(model.inputs[1:], state.arrays(), strict=True)}
    made["state.position"] = np.full_like(made["state.position"], known)
    made["state.image"] = _image(network, pixels, known).numpy().reshape(made["state.image"].shape)
    return model.state(list(made.values()), len(state))


def _image(network: ImageNetwork, pixels: Tensor, known: int) -> Tensor:
    """float32[batch, planes, height * width] of the first `known` tokens, zeros elsewhere."""
    at = torch.arange(network.area - 1)
    seen = network.encoding[at % network.channels, pixels] * (at < known)[None, :, None]
    seen = torch.nn.functional.pad(seen, (0, 0, 0, 1))
    places = seen.view(len(pixels), -1, network.channels, seen.shape[-1]).sum(2)
    return places.transpose(1, 2).contiguous()
