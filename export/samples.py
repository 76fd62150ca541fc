"""A network's step function that is open, and what it makes after an epoch: samples of the same prompt and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tui_gen.card import ModelCard
from tui_gen.generation.generate import generate
from tui_gen.images.codec import ImageCodec
from tui_gen.library import codec_for
from tui_gen.runtime.model import Model
from tui_gen.sampling.params import SamplingParams
from tui_gen.sampling.step import Step
from tui_gen.text.codec import TextCodec
from tui_gen.text.tokenizer import Encoder

from .reader import Exportable


@dataclass(frozen=True)
class SampleRequest:
    """What the samples of an epoch are drawn with."""

    prompt: str
    seeds: tuple[int, ...]
    temperature: float
    length: int
    """Of texts, in tokens."""


@dataclass(frozen=True)
class OpenStep:
    """The step function of a network, ready to run."""

    graph: bytes
    card: ModelCard
    """With what a player must know of it."""
    codec: TextCodec | ImageCodec
    model: Model

    @classmethod
    def of(cls, exportable: Exportable, encoder: Encoder | None = None) -> OpenStep:
        """Writes down the graph of a network, and opens it. encoder: as of `codec_for`."""
        graph = exportable.network.step_graph().SerializeToString()
        card = exportable.network.completed(exportable.card)
        codec = codec_for(card, exportable.tokenizer or None, encoder)
        return cls(graph, card, codec, Model(graph, card, provider="cpu"))


def draw_samples(step: OpenStep, request: SampleRequest) -> dict[str, Any]:
    """`prompt` and `samples`, with the `seeds` and the `temperature` that they were drawn with."""
    card, codec = step.card, step.codec
    prompt = codec.prompt([request.prompt] * len(request.seeds))
    length, params = card.image.area if card.image else request.length, SamplingParams(request.temperature)
    steps = list(generate(step.model, prompt, params, length=length, seed=request.seeds))
    samples = [_sample(card, codec, steps, number) for number in range(len(request.seeds))]
    settings = {"seeds": list(request.seeds), "temperature": request.temperature}
    return {"prompt": request.prompt, **settings, "samples": samples}


def _sample(card: ModelCard, codec: TextCodec | ImageCodec, steps: Sequence[Step], number: int) -> Any:
    """A picture's levels row by row, or a text with its prompt."""
    live = [step for step in steps if step.live[number]]
    if isinstance(codec, ImageCodec):
        levels = [int(step.tokens[number]) for step in live if not step.given[number]]
        return np.reshape(levels, codec.image.shape).tolist()
    return codec.decode([token for step in live if (token := int(step.tokens[number])) != card.eos])
