"""Classifier-free guidance: a step that leans further towards its prompt than the network learned to.

Ho and Salimans, Classifier-Free Diffusion Guidance, 2022, in logits as for any autoregressive network: with the logits
`conditional` on the prompt and those without it, the step says `unconditional + scale * (conditional - unconditional)`.
The scale is that of most software, which is the paper's w + 1.
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

GREATEST_SCALE = 10.0
NAMED = (0.0, 1.0, 1.5, 2.0, 3.0)
"""Scales that a prompt can ask for: 0 does not look at it, 1 is what the network learned."""


class Guided(nn.Module):
    """Runs a network with its condition and without it, and goes on in the direction from one to the other.

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
        asked, named = conditions[:, :own], conditions[:, own:]
        scale = (self.scale + named @ self.offsets)[:, None, None, None]
        conditional, unconditional = self.module(planes, asked), self.module(planes, torch.zeros_like(asked))
        return unconditional + scale * (conditional - unconditional)


def guided_network(network: ImageNetwork, scale: float) -> ImageNetwork:
    """A network whose last conditions are the scales of `scales`; without one of them it has that of the call."""
    offsets = [other - scale for other in scales(scale)]
    module = Guided(network.module, scale, offsets).eval()
    return replace(network, module=module, conditions=network.conditions + len(offsets))


def scales(usual: float) -> list[float]:
    """What a prompt can name, in order."""
    return sorted({usual, *NAMED})


def phrase(scale: float) -> str:
    """How a prompt names it."""
    return f"guidance {scale:g}"


def with_guidance(exportable: Exportable, scale: float) -> Exportable:
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
    guided = guided_network(plain, scale)
    conditions = tuple(range(plain.start + 1, guided.warm_up))
    spec = replace(card.image, conditions=conditions, exclusive=conditions[plain.conditions :])
    facts = {**card.export, "guidance": scale}
    return replace(
        exportable,
        network=StreamingNetwork(guided),
        card=replace(card, image=spec, description=_description(card, scale), export=facts),
        tokenizer=_tokenizer(exportable.tokenizer, scale),
    )


def _description(card: ModelCard, scale: float) -> str:
    named = [phrase(other) for other in scales(scale) if other != scale]
    return (
        f"{card.description} Classifier-free guidance towards the prompt has a scale of {scale:g} (1 is as it learned)"
        f"; a prompt may name another one: {', '.join(named)}."
    ).strip()


def _tokenizer(source: str, scale: float) -> str:
    vocab = Tokenizer.from_str(source).get_vocab()
    phrases = sorted(vocab, key=lambda known: vocab[known])
    added = [phrase(other) for other in scales(scale)]
    return phrase_tokenizer([*phrases, *added], first_id=min(vocab.values())).to_str()


def without_guidance(card: ModelCard, vocab: dict[str, int]) -> tuple[ModelCard, dict[str, int]]:
    """The card and the vocabulary of the network that is guided."""
    scale = card.export.get("guidance")
    if scale is None or not card.image:
        return card, vocab
    added = {phrase(other) for other in scales(scale)}
    spec = replace(card.image, conditions=card.image.conditions[: -len(added)], exclusive=())
    return replace(card, image=spec), {known: token for known, token in vocab.items() if known not in added}
