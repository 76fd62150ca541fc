"""The sample that the trainer draws after every epoch: same seed, same prompt, by the loop that the player uses."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from export import checkpoint
from export.presets import Training, sample_prompt
from export.steps import completed, network_of
from tui_gen.card import ModelCard
from tui_gen.generate import generate
from tui_gen.model import Model
from tui_gen.sampling import SamplingParams

SAMPLE_SEED = 1


def draw_sample(training: Training, weights: dict[str, Tensor]) -> dict[str, Any]:
    """`prompt` and `sample`: text, or a picture's levels row by row. weights: a state dict of the network."""
    card = training.card
    net = checkpoint.build_network(checkpoint.describe_network(training.network))
    net.load_state_dict(weights)
    network = network_of(net.eval())
    card = completed(card, network)
    model = Model(network.step_graph().SerializeToString(), card, provider="cpu")
    prompt = sample_prompt(training, card)
    length = card.image.height * card.image.width if card.image else training.sample_length
    steps = generate(model, prompt, SamplingParams(card.temperature), length=length, seed=SAMPLE_SEED)
    tokens = [int(step.tokens[0]) for step in steps if not step.given[0]]
    return {"prompt": card.prompt_example, "sample": _shown(training, card, prompt[0, 1:].tolist(), tokens)}


def _shown(training: Training, card: ModelCard, given: list[int], tokens: list[int]) -> str | list[list[int]]:
    if card.image:
        width = card.image.width
        return [tokens[at : at + width] for at in range(0, len(tokens), width)]
    assert training.tokenizer
    return str(training.tokenizer.decode([token for token in given + tokens if token != card.eos]))
