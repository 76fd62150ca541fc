"""An image network behind the step contract: one token at a time where it can be compiled, else whole images."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cached_property

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.nn import functional

from export.compiler.compile import CompiledStep, compile_step
from export.compiler.faults import LooksAheadError, NotStreamableError
from export.images.causality import check_causal
from export.images.network import ImageNetwork
from export.images.whole import whole_image_step
from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.sampling import Tokens

NAMED = 2
"""Conditions that a random prompt names, where a prompt can name several."""


SLOW_TOKENS = 150
"""Tokens of an image that are compared at most where each takes a pass over the whole image."""
FEWEST_TOKENS = 8
"""That are compared however long it takes."""
PROOF_SECONDS = 90.0
"""About as long as a proof may take."""
_PASSES = 17
"""Passes over an image that the proof makes per token: three times five images, and twice one."""


class StreamingNetwork:
    """Implements `export.reading.Network` for anything that predicts images."""

    def __init__(self, network: ImageNetwork) -> None:
        self.network = network

    @cached_property
    def _step(self) -> CompiledStep:
        try:
            return compile_step(self.network)
        except LooksAheadError as fault:
            return self._slow_step(self._sideways(fault))
        except NotStreamableError as fault:
            return self._slow_step(str(fault))

    def _sideways(self, ahead: LooksAheadError) -> str:
        """Why a causal network looks ahead. Raises TuiGenError with the layer at fault if it is not causal."""
        try:
            check_causal(self.network)
        except TuiGenError as leak:
            raise TuiGenError(f"{leak} ({ahead})") from None
        return f"{ahead}; it is causal, but looks further sideways than an image {self.network.width} wide allows"

    def _slow_step(self, reason: str) -> CompiledStep:
        return CompiledStep(whole_image_step(self.network), 0, (), reason)

    @property
    def slow_because(self) -> str:
        """Why the whole image is computed for every token; empty if it is not."""
        return self._step.slow_because

    @property
    def parameters_count(self) -> int:
        """Trained numbers."""
        return sum(parameter.numel() for parameter in self.network.module.parameters())

    def step_graph(self) -> onnx.ModelProto:
        """The step function of the network, with its weights as they were when it was first asked for."""
        return self._step.graph

    def completed(self, card: ModelCard) -> ModelCard:
        """A card with what a player must know of the step function."""
        assert card.image
        form = f"the whole image for every token: {self.slow_because}" if self.slow_because else "one token at a time"
        warm_up = (self.network.warm_up,) * self._step.warm_up
        return replace(card, image=replace(card.image, warm_up=warm_up), export={**card.export, "computes": form})

    def greedy_length(self) -> int:
        """Tokens of an image; of a slow network, as many of the first as there is time for."""
        return min(self.network.area, self._slow_tokens) if self.slow_because else self.network.area

    @cached_property
    def _slow_tokens(self) -> int:
        """By the time of one pass over one image."""
        start = np.full((1, 1), self.network.start)
        began = time.perf_counter()
        self.sequence_logits(torch.from_numpy(start))
        seconds = (time.perf_counter() - began) * _PASSES
        return max(FEWEST_TOKENS, min(SLOW_TOKENS, int(PROOF_SECONDS / seconds)))

    @property
    def compared(self) -> str:
        """How much of an image a proof compares, for people; empty for all of it."""
        length = self.greedy_length()
        return f"the first {length} of an image's {self.network.area:,} tokens" if length < self.network.area else ""

    def random_tokens(self, batch: int, rng: np.random.Generator, *, pixels: int | None = None) -> Tokens:
        """int64[batch, n]: start token, random conditions, warm-up, pixels.

        pixels: how many; by default as many as are compared but the last.
        """
        network = self.network
        named = {"none": 0, "class": 1, "multi_hot": min(NAMED, network.conditions)}[network.condition]
        conditions = rng.integers(
            network.start + 1, network.start + 1 + max(network.conditions, 1), size=(batch, named)
        )
        start = np.full((batch, 1), network.start)
        warm_up = np.full((batch, self._step.warm_up), network.warm_up)
        count = self.greedy_length() - 1 if pixels is None else pixels
        drawn = rng.integers(network.levels, size=(batch, count))
        return np.concatenate([start, conditions, warm_up, drawn], axis=1)

    def sequence_logits(self, tokens: Tensor) -> Tensor:
        """Logits after the last token of the prompt and after every pixel: float32[batch, 1 + pixels, levels]."""
        network = self.network
        is_pixel = tokens[0] < network.levels
        prompt, pixels = tokens[:, ~is_pixel], tokens[:, is_pixel]
        image = functional.pad(pixels, (0, network.area - pixels.shape[1]))
        return network.whole_logits(image, self._condition(prompt))[:, : pixels.shape[1] + 1]

    def _condition(self, prompt: Tensor) -> Tensor | None:
        """What a prompt names: the last class, the first if there is none; or how often each phrase stands in it."""
        network = self.network
        if network.condition == "none":
            return None
        first = network.start + 1
        indices = torch.arange(network.conditions)
        named = (prompt[:, :, None] - first == indices).float()
        if network.condition == "multi_hot":
            return named.sum(1)
        when = torch.arange(1, prompt.shape[1] + 1)[:, None]
        return (named * when).amax(1).argmax(1)
