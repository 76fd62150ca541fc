"""Classifier-free guidance: a step that leans further towards its prompt than the network learned to.

Ho and Salimans, Classifier-Free Diffusion Guidance, 2022, in logits as for any autoregressive network: with the logits
`given` the prompt and those `free` of it, the step says `free + strength * (given - free)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from export.images.network import ImageNetwork
from export.images.streaming import StreamingNetwork
from export.reading import Exportable
from export.tokenizing import phrase_tokenizer
from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError

NAMED = (0.0, 1.0, 1.5, 2.0, 3.0)
"""Strengths that a prompt can ask for: 0 does not look at it, 1 is what the network learned."""


class Guided(nn.Module):
    """Runs a network with its condition and without it, and goes on in the direction from one to the other.

    changes: how much each of the phrases that follow the network's own adds to the strength.
    """

    changes: Tensor

    def __init__(self, module: nn.Module, strength: float, changes: Sequence[float]) -> None:
        super().__init__()
        self.module, self.strength = module, strength
        self.register_buffer("changes", torch.tensor(changes))

    def forward(self, planes: Tensor, conditions: Tensor) -> Tensor:
        """Planes as the network takes them; float32[batch, conditions + changes], 1 for each that the prompt names."""
        own = conditions.shape[1] - len(self.changes)
        asked, named = conditions[:, :own], conditions[:, own:]
        strength = (self.strength + named @ self.changes)[:, None, None, None]
        given, free = self.module(planes, asked), self.module(planes, torch.zeros_like(asked))
        return free + strength * (given - free)


def guided_network(network: ImageNetwork, strength: float) -> ImageNetwork:
    """A network whose last conditions are the strengths of `strengths`; without one of them it has that of the call."""
    changes = [other - strength for other in strengths(strength)]
    module = Guided(network.module, strength, changes).eval()
    return replace(network, module=module, conditions=network.conditions + len(changes))


def strengths(usual: float) -> list[float]:
    """What a prompt can name, in order."""
    return sorted({usual, *NAMED})


def phrase(strength: float) -> str:
    """How a prompt names it."""
    return f"guidance {strength:g}"


def with_guidance(exportable: Exportable, strength: float) -> Exportable:
    """The same network, guided. Raises TuiGenError for one that has no prompt which could be left out."""
    network, card = exportable.network, exportable.card
    if not isinstance(network, StreamingNetwork) or network.network.condition != "multi_hot" or not card.image:
        raise TuiGenError(
            "--guidance needs a picture network whose prompts name any number of phrases, none included, such as the "
            "trainer's: it runs with the prompt and without"
        )
    plain = network.network
    if not plain.conditions:
        raise TuiGenError("--guidance has nothing to lean towards: this network takes no prompt")
    guided = guided_network(plain, strength)
    conditions = tuple(range(plain.start + 1, guided.warm_up))
    spec = replace(card.image, conditions=conditions)
    facts = {**card.export, "guidance": strength}
    return replace(
        exportable,
        network=StreamingNetwork(guided),
        card=replace(card, image=spec, description=_description(card, strength), export=facts),
        tokenizer=_tokenizer(exportable.tokenizer, strength),
    )


def _description(card: ModelCard, strength: float) -> str:
    named = [phrase(other) for other in strengths(strength) if other != strength]
    return (
        f"{card.description} It follows a prompt {strength:g} times as closely as it learned to; a prompt may name "
        f"another strength: {', '.join(named)}."
    ).strip()


def _tokenizer(source: str, strength: float) -> str:
    vocab = Tokenizer.from_str(source).get_vocab()
    phrases = sorted(vocab, key=lambda known: vocab[known])
    added = [phrase(other) for other in strengths(strength)]
    return phrase_tokenizer([*phrases, *added], first_id=min(vocab.values())).to_str()


def without_guidance(card: ModelCard, vocab: dict[str, int]) -> tuple[ModelCard, dict[str, int]]:
    """The card and the vocabulary of the network that is guided."""
    strength = card.export.get("guidance")
    if strength is None or not card.image:
        return card, vocab
    added = {phrase(other) for other in strengths(strength)}
    spec = replace(card.image, conditions=card.image.conditions[: -len(added)])
    return replace(card, image=spec), {known: token for known, token in vocab.items() if known not in added}
