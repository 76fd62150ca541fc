"""Proof that an exported step function is the PyTorch network: logits, then greedy tokens, then what a person reads."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from export.pixelcnn import PixelCNN
from export.steps import Network
from tui_gen.codec import ImageCodec, TextCodec
from tui_gen.errors import TuiGenError
from tui_gen.generate import generate
from tui_gen.model import Model
from tui_gen.sampling import Logits, SamplingParams, Tokens

TOLERANCE = 1e-4
BATCHES = (1, 5)
TEXT_STEPS = 200


@dataclass(frozen=True)
class Parity:
    """What was compared, and how far apart it was at most."""

    max_abs_logit_difference: float
    steps: int
    greedy_tokens: int


def verify(net: Network, model: Model, codec: TextCodec | ImageCodec, *, seed: int = 0) -> Parity:
    """Compares the step function with the network. Raises TuiGenError that names the step at which they part."""
    rng = np.random.default_rng(seed)
    batches = [random_tokens(net, batch, rng) for batch in BATCHES]
    differences = [_compare_logits(net, model, tokens) for tokens in batches]
    greedy = _greedy(net, model)
    _compare_greedy(net, greedy)
    _compare_decoded(codec, greedy)
    return Parity(max(differences), sum(tokens.size for tokens in batches), greedy.shape[1] - 1)


def random_tokens(net: Network, batch: int, rng: np.random.Generator) -> Tokens:
    """Sequences int64[batch, n] such as the network reads: any tokens, or a condition and all pixels but the last."""
    if not isinstance(net, PixelCNN):
        return rng.integers(net.config.vocab_size, size=(batch, TEXT_STEPS))
    config = net.config
    prefix = np.full((batch, 3), config.start)
    if config.conditions:
        prefix[:, 1:] = rng.integers(config.start + 1, config.vocab_size, size=(batch, 2))
    pixels = rng.integers(config.levels, size=(batch, config.height * config.width - 1))
    return np.concatenate([prefix, pixels], axis=1)


def step_logits(model: Model, tokens: Tokens) -> Logits:
    """The step function's logits after every token of int64[batch, n]: float32[batch, n, vocab]."""
    state, rows = model.start(len(tokens)), []
    for column in tokens.T:
        logits, state = model.step(np.ascontiguousarray(column), state)
        rows.append(logits)
    return np.stack(rows, axis=1)


def _oracle(net: Network, tokens: Tokens) -> NDArray[np.float32]:
    logits: NDArray[np.float32] = net.sequence_logits(torch.from_numpy(tokens)).numpy()
    return logits


def _compare_logits(net: Network, model: Model, tokens: Tokens) -> float:
    difference = np.abs(step_logits(model, tokens) - _oracle(net, tokens)).max(axis=(0, 2))
    worst = float(difference.max())
    if not worst <= TOLERANCE:
        step = int(np.argmax(~(difference <= TOLERANCE)))
        raise TuiGenError(
            f"the exported model differs from PyTorch by {worst:.2g} in its logits, first at step {step}; "
            f"{TOLERANCE:g} is allowed, so nothing was written"
        )
    return worst


class _Endless:
    """A model without an end, so that a greedy run that ends early still proves as many tokens."""

    eos = None

    def __init__(self, model: Model) -> None:
        self.start, self.step = model.start, model.step


def _greedy(net: Network, model: Model) -> Tokens:
    """What the player makes at temperature 0, start token included, past an end token too: int64[1, n]."""
    start = np.array([[model.card.bos]])
    length = net.config.height * net.config.width if isinstance(net, PixelCNN) else TEXT_STEPS
    steps = generate(_Endless(model), start, SamplingParams(temperature=0), length=length, seed=0)
    made = [step.tokens for step in islice(steps, length)]
    return np.concatenate([start, np.stack(made, axis=1)], axis=1)


def _compare_greedy(net: Network, greedy: Tokens) -> None:
    """If PyTorch finds each of these tokens likeliest after those before it, its own greedy run is this one."""
    logits = _oracle(net, greedy[:, :-1])[0]
    chosen = logits[np.arange(len(logits)), greedy[0, 1:]]
    wrong = np.flatnonzero(logits.max(axis=1) - chosen > TOLERANCE)
    if len(wrong):
        raise TuiGenError(f"greedy token {wrong[0]} differs from PyTorch's, so nothing was written")


def _compare_decoded(codec: TextCodec | ImageCodec, greedy: Tokens) -> None:
    """Token by token, as the player decodes, must read like all at once."""
    if isinstance(codec, ImageCodec):
        return
    reader, made = codec.reader(), [int(token) for token in greedy[0, 1:]]
    try:
        streamed = "".join(reader.read(token) for token in made)
    except Exception:  # tokenizers raises nothing narrower when a token changes the text before it
        streamed = None
    if streamed != codec.decode(made):
        raise TuiGenError("the tokenizer decodes token by token to another text than at once, so nothing was written")
