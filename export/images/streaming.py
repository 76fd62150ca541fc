"""An image network as the exporter takes it: its reading, its card, its step function, and guidance by its prompt."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.nn import functional

from tui_gen.card import ImageSpec, ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.sampling.params import Tokens
from tui_gen.text.tokenizer import PromptTokenizer

from ..assumptions import Assumptions
from ..build_tokenizer import phrase_tokenizer
from ..checkpoints.settings import plain_settings
from ..compiler.compile import CompiledStep, compile_step
from ..compiler.ir import LooksAheadError, NotStreamableError
from ..image_network import Guided, ImageNetwork, check_causal
from ..reader import Diagnosis, Exportable, Reading
from .whole_image import whole_image_step

GREATEST_SCALE = 10.0
COPIES = ("prompted", "unprompted")
"""Of a guided network, in their order in a step."""
NAMED_SCALES = (0.0, 1.0, 1.5, 2.0, 3.0)
"""Scales that a prompt can ask for: 0 does not look at it, 1 is what the network learned."""
NAMED_CLASSES = 4
"""Names of classes that a diagnosis lists."""
NAMED_PHRASES = 2
"""Conditions that a random prompt names, where a prompt can name several."""
SLOW_TOKENS = 150
"""Tokens of an image that are compared at most where each takes a pass over the whole image."""
_CLASS_NAMES = ("class_names", "classes", "class_labels", "label_names", "labels", "categories")
"""What scripts call a list of the names of classes."""
FEWEST_TOKENS = 8
"""That are compared however long it takes."""
PROOF_SECONDS = 90.0
"""About as long as a proof may take."""
_PASSES = 17
"""Passes over an image that the proof makes per token: three times five images, and twice one."""


def reading_of(network: ImageNetwork, assumptions: Assumptions, *, notes: Sequence[str] = ()) -> Reading:
    """The reading of a network whose size may still be missing: 0 x 0."""
    names, origin = _class_names(network, assumptions)
    facts = [
        ("image", f"{network.height}x{network.width}" if network.height else "unknown"),
        ("levels", f"{network.levels}" + (f" in each of {network.channels} channels" if network.channels > 1 else "")),
        ("classes", f"{network.conditions}{origin}" if network.conditions else "none"),
        ("parameters", f"{sum(p.numel() for p in network.module.parameters()):,}"),
    ]
    summary = f"{network.label}, draws {'colour' if network.channels > 1 else 'grey'} images pixel by pixel"
    diagnosis = Diagnosis(summary, tuple(facts), tuple(assumptions.missing), (*notes, *assumptions.notes))
    return Reading(diagnosis, lambda: exportable(network, names))


def _class_names(network: ImageNetwork, assumptions: Assumptions) -> tuple[list[str], str]:
    """What a prompt calls each class, and for people where the file says it; `class 0` and so on without names."""
    for setting in plain_settings(assumptions.checkpoint):
        if setting.name not in _CLASS_NAMES or not isinstance(setting.value, tuple):
            continue
        names = [" ".join(name.split()) for name in setting.value if isinstance(name, str)]
        distinct = {name.lower() for name in names if re.fullmatch(r"[^,]+", name)}  # commas stand between phrases
        if len(names) == len(distinct) == len(setting.value) == network.conditions:
            return names, f", {', '.join(names[:NAMED_CLASSES])}{', ...' * (len(names) > NAMED_CLASSES)}"
    return [f"class {index}" for index in range(network.conditions)], ""


def check_runs(network: ImageNetwork) -> None:
    """Raises TuiGenError if the network cannot be run, or gives something else than a logit per level and token."""
    try:
        logits = network.whole_logits(torch.zeros(1, network.area, dtype=torch.int64), network.no_condition(1))
    except (RuntimeError, IndexError, TypeError, ValueError) as error:  # what PyTorch raises for shapes that do not fit
        lines = str(error).strip().splitlines() or [type(error).__name__]
        size = f"{network.height}x{network.width}"
        raise TuiGenError(
            f"the network cannot be run on images of {size}: {lines[0]:.200}; its script joins its layers in another "
            "way than they were read, or takes other images (--size)"
        ) from error
    if logits.shape != (1, network.area, network.levels) or not torch.isfinite(logits).all():
        raise TuiGenError(f"the network gives {list(logits.shape)}, or numbers that are not finite, for its logits")


def exportable(network: ImageNetwork, names: Sequence[str]) -> Exportable:
    """A network with its card; names: of its classes. Raises TuiGenError if its tensors do not fit together."""
    check_runs(network)
    tokenizer = phrase_tokenizer(names, first_id=network.start + 1).to_str() if names else ""
    conditions = tuple(range(network.start + 1, network.warm_up))
    spec = ImageSpec(network.height, network.width, network.levels, conditions=conditions, channels=network.channels)
    without = f" Without a class it draws {names[0]}." if network.condition == "class" else ""
    card = ModelCard(
        name="",
        kind="image",
        architecture=network.label,
        vocab_size=network.levels,
        bos=network.start,
        image=spec,
        prompt_example=names[-1] if names else "",
        description=f"Draws images of {network.height}x{network.width} pixels; converted from a checkpoint.{without}",
    )
    return Exportable(StreamingNetwork(network), card, tokenizer)


class StreamingNetwork:
    """Implements `export.reader.Network` for anything that predicts images."""

    def __init__(self, network: ImageNetwork) -> None:
        self.network = network

    @cached_property
    def _step(self) -> CompiledStep | str:
        """The step over one token, or why there is none."""
        try:
            return compile_step(self.network)
        except NotStreamableError as error:
            return self._sideways(error) if isinstance(error, LooksAheadError) else str(error)

    @cached_property
    def _graph(self) -> onnx.ModelProto:
        return whole_image_step(self.network) if isinstance(self._step, str) else self._step.graph

    @property
    def _warm_up(self) -> int:
        return 0 if isinstance(self._step, str) else self._step.warm_up

    def _sideways(self, ahead: LooksAheadError) -> str:
        """Why a causal network looks ahead. Raises TuiGenError with the layer at fault if it is not causal."""
        try:
            check_causal(self.network)
        except TuiGenError as leak:
            raise TuiGenError(f"{leak} ({ahead})") from None
        return f"{ahead}; it is causal, but looks further sideways than an image {self.network.width} wide allows"

    @property
    def slow_because(self) -> str:
        """Why the whole image is computed for every token; empty if it is not."""
        return self._step if isinstance(self._step, str) else ""

    @property
    def parameters_count(self) -> int:
        """Trained numbers."""
        return sum(parameter.numel() for parameter in self.network.module.parameters())

    def step_graph(self) -> onnx.ModelProto:
        """The step function of the network, with its weights as they were when it was first asked for."""
        return self._graph

    def completed(self, card: ModelCard) -> ModelCard:
        """A card with what a player must know of the step function."""
        assert card.image
        form = f"the whole image for every token: {self.slow_because}" if self.slow_because else "one token at a time"
        layers = () if isinstance(self._step, str) else self._step.layers
        copies = COPIES if layers and isinstance(self.network.module, Guided) else ()
        warm_up = (self.network.warm_up,) * self._warm_up
        image = replace(card.image, warm_up=warm_up, layers=layers, copies=copies)
        return replace(card, image=image, export={**card.export, "computes": form})

    def greedy_length(self) -> int:
        """Tokens of an image; of a slow network, as many of the first as there is time for."""
        return min(self.network.area, self._slow_tokens) if self.slow_because else self.network.area

    @cached_property
    def _slow_tokens(self) -> int:
        """By the time of one pass over one image."""
        token = torch.tensor([[self.network.start]])
        start = time.perf_counter()
        self.sequence_logits(token)
        seconds = (time.perf_counter() - start) * _PASSES
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
        count = {"none": 0, "class": 1, "multi_hot": min(NAMED_PHRASES, network.conditions)}[network.condition]
        first = network.start + 1
        conditions = rng.integers(first, first + max(network.conditions, 1), size=(batch, count))
        start = np.full((batch, 1), network.start)
        warm_up = np.full((batch, self._warm_up), network.warm_up)
        pixels = self.greedy_length() - 1 if pixels is None else pixels
        levels = rng.integers(network.levels, size=(batch, pixels))
        return np.concatenate([start, conditions, warm_up, levels], axis=1)

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
        one_hot = (prompt[:, :, None] - network.start - 1 == torch.arange(network.conditions)).float()
        if network.condition == "multi_hot":
            return one_hot.sum(1)
        when = torch.arange(1, prompt.shape[1] + 1)[:, None]
        return (one_hot * when).amax(1).argmax(1)


def guided_network(network: ImageNetwork, scale: float) -> ImageNetwork:
    """A network whose last conditions are the scales of `scales`; without one of them it has that of the call."""
    offsets = [other - scale for other in scales(scale)]
    module = Guided(network.module, scale, offsets).eval()
    return replace(network, module=module, conditions=network.conditions + len(offsets))


def scales(usual: float) -> list[float]:
    """What a prompt can name, in order."""
    return sorted({usual, *NAMED_SCALES})


def phrase(scale: float) -> str:
    """How a prompt names it."""
    return f"guidance {scale:g}"


def with_guidance(exportable: Exportable, scale: float) -> Exportable:
    """The same network, guided, unless it is so. Raises TuiGenError for one whose prompt could not be left out."""
    network, card = exportable.network, exportable.card
    if not isinstance(network, StreamingNetwork) or network.network.condition != "multi_hot" or not card.image:
        raise TuiGenError(
            "--guidance needs a picture network whose prompts name any number of phrases, none included, such as the "
            "trainer's: it runs with the prompt and without"
        )
    plain = network.network
    if isinstance(plain.module, Guided):
        return exportable
    if not plain.conditions:
        raise TuiGenError("--guidance has nothing to lean towards: this network takes no prompt")
    guided_net = guided_network(plain, scale)
    conditions = tuple(range(plain.start + 1, guided_net.warm_up))
    spec = replace(card.image, conditions=conditions, exclusive=conditions[plain.conditions :])
    facts = {**card.export, "guidance": scale}
    others = ", ".join(phrase(other) for other in scales(scale) if other != scale)
    description = (
        f"{card.description} Classifier-free guidance towards the prompt has a scale of {scale:g} (1 is as it learned)"
        f"; a prompt may name another one: {others}."
    )
    vocab = PromptTokenizer(exportable.tokenizer).vocabulary
    phrases = sorted(vocab, key=lambda text: vocab[text])
    return replace(
        exportable,
        network=StreamingNetwork(guided_net),
        card=replace(card, image=spec, description=description.strip(), export=facts),
        tokenizer=phrase_tokenizer([*phrases, *map(phrase, scales(scale))], first_id=min(vocab.values())).to_str(),
    )


def without_guidance(card: ModelCard, vocab: dict[str, int]) -> tuple[ModelCard, dict[str, int]]:
    """The card and the vocabulary of the network that is guided."""
    scale = card.export.get("guidance")
    if scale is None or not card.image:
        return card, vocab
    phrases = set(map(phrase, scales(scale)))
    spec = replace(card.image, conditions=card.image.conditions[: -len(phrases)], exclusive=())
    return replace(card, image=spec), {text: token for text, token in vocab.items() if text not in phrases}
