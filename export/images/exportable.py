"""From a network over images that was read to everything that its folder needs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from export.images.network import ImageNetwork
from export.images.streaming import StreamingNetwork
from export.images.telling import Answers
from export.reading import Diagnosis, Exportable, Reading
from export.tokenizing import phrase_tokenizer
from tui_gen.card import ImageSpec, ModelCard
from tui_gen.errors import TuiGenError


def reading_of(network: ImageNetwork, answers: Answers, *, notes: Sequence[str] = ()) -> Reading:
    """The reading of a network whose size may still be missing: 0 x 0."""
    facts = [
        ("image", f"{network.height}x{network.width}" if network.height else "unknown"),
        ("levels", f"{network.levels}" + (f" in each of {network.channels} channels" if network.channels > 1 else "")),
        ("classes", str(network.conditions) if network.conditions else "none"),
        ("parameters", f"{sum(p.numel() for p in network.module.parameters()):,}"),
    ]
    summary = f"{network.label}, draws {'colour' if network.channels > 1 else 'grey'} images pixel by pixel"
    diagnosis = Diagnosis(summary, tuple(facts), tuple(answers.missing), tuple(notes))

    def build() -> Exportable:
        needed = [missing for missing in answers.missing if not missing.assumed]
        for missing in needed:
            raise TuiGenError(f"the file does not say {missing.what}; tell it with {missing.option}")
        return exportable(network)

    return Reading(diagnosis, build)


def check_runs(network: ImageNetwork) -> None:
    """Raises TuiGenError if the network cannot be run, or gives something else than a logit per level and token."""
    condition = torch.zeros(1, dtype=torch.int64) if network.condition == "class" else None
    try:
        logits = network.whole_logits(torch.zeros(1, network.area, dtype=torch.int64), condition)
    except (RuntimeError, IndexError, TypeError, ValueError) as fault:  # what PyTorch raises for shapes that do not fit
        lines = str(fault).strip().splitlines() or [type(fault).__name__]
        size = f"{network.height}x{network.width}"
        raise TuiGenError(f"the network cannot be run on images of {size}: {lines[0]:.200}") from fault
    if logits.shape != (1, network.area, network.levels) or not torch.isfinite(logits).all():
        raise TuiGenError(f"the network gives {list(logits.shape)}, or numbers that are not finite, for its logits")


def exportable(network: ImageNetwork) -> Exportable:
    """A network with its card. Classes go by their numbers. Raises TuiGenError if its tensors do not fit together."""
    check_runs(network)
    names = [f"class {index}" for index in range(network.conditions)]
    tokenizer = phrase_tokenizer(names, first_id=network.start + 1).to_str() if names else ""
    conditions = tuple(range(network.start + 1, network.warm_up))
    spec = ImageSpec(network.height, network.width, network.levels, conditions=conditions, channels=network.channels)
    without = " Without a class it draws class 0." if network.condition == "class" else ""
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
