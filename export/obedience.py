"""Whether a picture model draws what its prompt asks for: `python -m export.obedience DIR --data FILE`.

A small network learns from the training pictures to tell what they show, and is tried on those held out. Then the model
draws from prompts of the held-out pictures, and the network says what it sees: how often it is what was asked for, and
how often it would be by chance, with each picture held against another one's prompt.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.data import Images, read_npz
from export.folder import update_card
from export.judge import Judge, kinds, trained_judge
from tui_gen.codec import ImageCodec
from tui_gen.errors import TuiGenError
from tui_gen.generate import generate
from tui_gen.library import Playable, open_model
from tui_gen.sampling import SamplingParams

PROMPTS, BATCH, SEED = 500, 100, 7


@dataclass(frozen=True)
class Obedience:
    """What was found for a kind of phrase, as parts of 1."""

    kind: str
    seen: float
    """Of held-out pictures, how many the judging network recognises."""
    drawn: float
    """Of pictures of the model, how many show what was asked for."""
    chance: float
    """The same with another picture's prompt."""
    prompts: int
    """How many were drawn."""


def measured(playable: Playable, images: Images, judge: Judge, *, prompts: int = PROMPTS) -> list[Obedience]:
    """Draws from the captions of held-out pictures that name one of each kind, and looks at what comes out."""
    asked = kinds(images)
    labels = np.stack([kind.labels(images) for kind in asked], axis=1)
    first = len(images.pixels) - images.held_out
    held_out = np.arange(first, len(images.pixels))
    chosen = held_out[labels[held_out].all(axis=1)][:prompts]
    if not len(chosen):
        raise TuiGenError("no held-out picture's caption names both a cloak and a weapon")
    said = judge.says(_drawn(playable, [_caption(images, index) for index in chosen]))
    right, chance = said == labels[chosen], np.roll(said, 1 + len(said) // 13, axis=0) == labels[chosen]
    seen = judge.says(images.pixels[held_out]) == labels[held_out]
    return [
        Obedience(
            kind.name, float(seen[:, at].mean()), float(right[:, at].mean()), float(chance[:, at].mean()), len(chosen)
        )
        for at, kind in enumerate(asked)
    ]


def _caption(images: Images, index: int) -> str:
    return ", ".join(images.phrases[number] for number in np.flatnonzero(images.conditions[index]))


def _drawn(playable: Playable, captions: Sequence[str]) -> NDArray[np.int64]:
    """[captions, height, width]: what the model draws at its card's temperature."""
    codec, params = playable.codec, SamplingParams(playable.card.temperature)
    assert isinstance(codec, ImageCodec)
    pictures = []
    for at in range(0, len(captions), BATCH):
        prompt = codec.prompt(list(captions[at : at + BATCH]))
        area = codec.image.area
        steps = generate(playable.model, prompt, params, length=area, seed=SEED + at)
        tokens = [step.tokens for step in steps][-area:]
        pictures.append(np.stack(tokens, axis=1).reshape(-1, codec.image.height, codec.image.width))
    return np.concatenate(pictures)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m export.obedience", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="a model folder")
    parser.add_argument("--data", type=Path, required=True, help="the pictures and captions that it was trained on")
    args = parser.parse_args(arguments)
    try:
        images, playable = read_npz(args.data), open_model(args.folder, provider="cpu")
        found = measured(playable, images, trained_judge(images, kinds(images)))
        figures = {f"prompts obeyed: {one.kind}": _said(one) for one in found}
        kept = {**playable.card.measured, "figures": {**playable.card.measured.get("figures", {}), **figures}}
        update_card(args.folder, replace(playable.card, measured=kept))
    except (TuiGenError, OSError) as fault:
        print(f"export.obedience: {fault}", file=sys.stderr)
        return 1
    print("\n".join(f"{name}: {value}" for name, value in figures.items()))
    return 0


def _said(found: Obedience) -> str:
    asked = f"{found.drawn:.1%} of {found.prompts} pictures show what was asked for, by chance {found.chance:.1%}"
    return f"{asked}; so says a network that is right for {found.seen:.1%} of real pictures"


if __name__ == "__main__":
    raise SystemExit(main())
