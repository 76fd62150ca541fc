"""From a network over images that was read to everything that its folder needs."""

from __future__ import annotations

from collections.abc import Sequence

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


def exportable(network: ImageNetwork) -> Exportable:
    """A network with its card. Classes go by their numbers."""
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
