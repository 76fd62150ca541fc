"""Proof that an exported step function gives what PyTorch's full forward pass of the network gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tui_gen.card import AS_READ
from tui_gen.errors import TuiGenError
from tui_gen.generation.generate import generate
from tui_gen.generation.protocol import Endless, State, state_after
from tui_gen.images.codec import ImageCodec
from tui_gen.runtime.model import Model, RunState
from tui_gen.sampling.params import Logits, SamplingParams, Tokens
from tui_gen.text.codec import TextCodec

from .image_network import ImageNetwork
from .images.streaming import StreamingNetwork
from .reader import Network

TOLERANCE = 1e-4
"""Of the range of the logits, or of 1 if they keep within less."""
_LEAST_STEPS = 16
"""That are compared in any case."""
_DISTURBANCE = 1e-6
"""Of the largest number of a state: some times what the order of a sum changes in float32."""
BATCHES = (1, 5)
PLACES = 12
"""Tokens of an image whose logits are compared where it takes too long to compare all."""
_PLACES_BATCH = 2


@dataclass(frozen=True)
class Parity:
    """What was compared, and how far apart it was at most."""

    max_abs_logit_difference: float
    relative_logit_difference: float
    """The same as a part of the range of the logits."""
    steps: int
    greedy_tokens: int
    against: str = AS_READ
    """What the network is that the step was compared with, or the original that this network was compared with."""
    original_difference: float | None = None
    """Of log-probabilities, between that original and the network as it was read."""
    original_positions: int | None = None


def verify(
    network: Network,
    model: Model,
    codec: TextCodec | ImageCodec,
    *,
    real: Sequence[Tokens] = (),
    is_brief: bool = False,
    seed: int = 0,
) -> Parity:
    """Compares the step function with the network, on random tokens, on what the model itself writes, and on `real`.

    real: int64[batch, n] each, pieces of data that the network knows. is_brief: one row of random tokens. Raises
    TuiGenError that names the step at which they part.
    """
    rng = np.random.default_rng(seed)
    if is_brief:
        tokens = network.random_tokens(1, rng)
        return Parity(*_compare_logits(network, model, tokens), 0)
    sequences = [network.random_tokens(batch, rng) for batch in BATCHES]
    differences = [_compare_logits(network, model, tokens) for tokens in sequences]
    samples = _generate(network, model, codec, BATCHES[-1], temperature=1.0)[:, :-1]
    differences += [_compare_logits(network, model, tokens) for tokens in (samples, *real)]
    greedy = _generate(network, model, codec, 1, temperature=0.0)
    compare_greedy(network, model, greedy)
    length = network.greedy_length()
    _compare_decoded(codec, greedy[0, -length:])
    absolute, relative, steps = zip(*differences, strict=True)
    return Parity(max(absolute), max(relative), sum(steps), length)


def step_logits(model: Model, tokens: Tokens) -> Logits:
    """The step function's logits after every token of int64[batch, n]: float32[batch, n, vocab]."""
    state, rows = model.start(len(tokens)), []
    for column in tokens.T:
        logits, state = model.step(np.ascontiguousarray(column), state)
        rows.append(logits)
    return np.stack(rows, axis=1)


def _expected_logits(network: Network, tokens: Tokens) -> NDArray[np.float32]:
    logits: NDArray[np.float32] = network.sequence_logits(torch.from_numpy(tokens)).numpy()
    return logits


def _compare_logits(network: Network, model: Model, tokens: Tokens) -> tuple[float, float, int]:
    """The largest difference, absolute and as a part of the range, and how many steps of how many rows it is of.

    Where even the roundings of a sum drive a network's answers apart, as in a simple recurrent one with large weights,
    only the steps before are compared.
    """
    expected = _expected_logits(network, tokens)
    first = tokens.shape[1] - expected.shape[1]
    difference = np.abs(step_logits(model, tokens)[:, first:] - expected).max(axis=(0, 2))
    scale = max(1.0, float(np.ptp(expected)))
    wrong = np.flatnonzero(~(difference <= TOLERANCE * scale))
    compared = _steady_steps(model, tokens, TOLERANCE * scale) if len(wrong) else tokens.shape[1]
    if len(wrong) and first + wrong[0] < compared:
        raise TuiGenError(
            f"the exported model differs from PyTorch by {difference.max():.2g} in its logits, first at step "
            f"{first + wrong[0]}; {TOLERANCE * scale:.2g} is allowed, so nothing was written"
        )
    worst = float(difference[: compared - first].max())
    return worst, worst / scale, compared * len(tokens)


def _steady_steps(model: Model, tokens: Tokens, allowed: float) -> int:
    """After how many of int64[batch, n] a state that is a little disturbed at every step still gives the same logits,
    but for what is allowed; at least _LEAST_STEPS.
    """
    rng, state, disturbed = np.random.default_rng(0), model.start(len(tokens)), model.start(len(tokens))
    for step, column in enumerate(np.ascontiguousarray(tokens.T)):
        logits, state = model.step(column, state)
        others, disturbed = model.step(column, _disturbed(model, disturbed, rng))
        if step >= _LEAST_STEPS and not float(np.abs(logits - others).max()) <= allowed:
            return step
    return tokens.shape[1]


def _disturbed(model: Model, state: RunState, rng: np.random.Generator) -> RunState:
    parts = [
        part + (_DISTURBANCE * np.abs(part).max() * rng.uniform(-1, 1, part.shape)).astype(part.dtype)
        if part.dtype.kind == "f"
        else part
        for part in state.arrays()
    ]
    return model.state(parts, len(state))


def _generate(
    network: Network, model: Model, codec: TextCodec | ImageCodec, samples: int, *, temperature: float
) -> Tokens:
    """What the player makes without a prompt, its prefix tokens included, past an end token too: int64[samples, n]."""
    start, length = codec.prompt([""] * samples), network.greedy_length()
    steps = generate(Endless(model), start, SamplingParams(temperature=temperature), length=length, seed=0)
    tokens = [step.tokens for step in islice(steps, start.shape[1] - 1 + length)]
    return np.concatenate([start[:, :1], np.stack(tokens, axis=1)], axis=1)


def compare_greedy(network: Network, model: Model, greedy: Tokens) -> None:
    """If PyTorch finds each token of int64[1, n] likeliest after those before it, its own greedy run is this one.

    Raises TuiGenError that names the first token that PyTorch would not have taken.
    """
    logits = _expected_logits(network, greedy[:, :-1])[0]
    of_greedy = logits[np.arange(len(logits)), greedy[0, -len(logits) :]]
    allowed = TOLERANCE * max(1.0, float(np.ptp(logits)))
    wrong = np.flatnonzero(logits.max(axis=1) - of_greedy > allowed) + greedy.shape[1] - 1 - len(logits)
    if len(wrong) and wrong[0] < _steady_steps(model, greedy[:, :-1], allowed):
        raise TuiGenError(f"greedy token {wrong[0] + 1} differs from PyTorch's, so nothing was written")


def _compare_decoded(codec: TextCodec | ImageCodec, greedy: Tokens) -> None:
    """Token by token, as the player decodes, must read like all at once."""
    if isinstance(codec, ImageCodec):
        return
    reader, tokens = codec.reader(), [int(token) for token in greedy]
    try:
        text = "".join(reader.read(token) for token in tokens)
    except Exception:  # tokenizers raises nothing narrower when a token changes the text before it
        text = None
    if text is None or _without_replacements(text) != _without_replacements(codec.decode(tokens)):
        raise TuiGenError("the tokenizer decodes token by token to another text than at once, so nothing was written")


def _without_replacements(text: str) -> str:
    """Without the sign for bytes that are no text; token by token, they are held back until they would be some."""
    return text.replace("\ufffd", "")


def compare_spread(network: StreamingNetwork, model: Model, *, seed: int = 0) -> str:
    """Compares a slow step with PyTorch at places from the first token to the last; returns a line to print.

    The step computes whole images: each place starts from the state of an image that is known up to there. Raises
    TuiGenError that names the place at which they part.
    """
    area = network.network.area
    tokens = network.random_tokens(_PLACES_BATCH, np.random.default_rng(seed), pixels=area - 1)
    prompt, pixels = tokens[:, : tokens.shape[1] - area + 1], tokens[:, -area + 1 :]
    expected = network.sequence_logits(torch.from_numpy(tokens)).numpy()
    allowed = TOLERANCE * max(1.0, float(np.ptp(expected)))
    before, worst = state_after(model, prompt, model.start(len(prompt))), 0.0
    for place in np.unique(np.linspace(1, area - 1, PLACES).astype(int)):
        state = _state_at(network.network, model, before, torch.from_numpy(pixels), int(place) - 1)
        logits, _ = model.step(np.ascontiguousarray(pixels[:, place - 1]), state)
        difference = float(np.abs(logits - expected[:, place]).max())
        if not difference <= allowed:
            raise TuiGenError(
                f"the exported model differs from PyTorch by {difference:.2g} in the logits of token {place + 1}; "
                f"{allowed:.2g} is allowed, so nothing was written"
            )
        worst = max(worst, difference)
    return f"{PLACES} places all over an image: max abs difference {worst:.2g}"


def _state_at(network: ImageNetwork, model: Model, state: State, pixels: Tensor, known: int) -> RunState:
    """The state after the first `known` pixels of int64[batch, area - 1], as `WholeImageStep` would have it."""
    arrays = {port.name: part for port, part in zip(model.inputs[1:], state.arrays(), strict=True)}
    arrays["state.position"] = np.full_like(arrays["state.position"], known)
    arrays["state.image"] = _image(network, pixels, known).numpy().reshape(arrays["state.image"].shape)
    return model.state(list(arrays.values()), len(state))


def _image(network: ImageNetwork, pixels: Tensor, known: int) -> Tensor:
    """float32[batch, planes, height * width] of the first `known` tokens, zeros elsewhere."""
    at = torch.arange(network.area - 1)
    planes = network.encoding[at % network.channels, pixels] * (at < known)[None, :, None]
    planes = torch.nn.functional.pad(planes, (0, 0, 0, 1))
    places = planes.view(len(pixels), -1, network.channels, planes.shape[-1]).sum(2)
    return places.transpose(1, 2).contiguous()
