"""Whether a picture model draws what its prompt asks for: `python -m export.obedience DIR --data FILE`.

A small network learns from the training pictures to tell what they show, and is tried on those held out. Then the model
draws from prompts of the held-out pictures, and the network says what it sees: how often it is what was asked for, and
how often it would be by chance, with each picture held against everybody's prompt.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.data import Images
from export.evaluate import check_data
from export.folder import update_card, with_figures
from export.judge import Judge, kinds, trained_judge
from export.presets import PRESETS
from export.tasks import ImageTask
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
    """Of the held-out pictures with these captions, how many the judging network recognises."""
    drawn: float
    """Of pictures of the model, how many show what was asked for."""
    chance: float
    """The same if each caption were held against the picture of any of them."""
    prompts: int
    """How many were drawn."""


def measured(playable: Playable, images: Images, judge: Judge, *, prompts: int = PROMPTS) -> list[Obedience]:
    """Draws from the captions of held-out pictures that name one of each kind, and looks at what comes out."""
    asked = kinds(images)
    labels = np.stack([kind.labels(images) for kind in asked], axis=1)
    held_out = np.arange(len(images.pixels) - images.held_out, len(images.pixels))
    chosen = held_out[labels[held_out].all(axis=1)][:prompts]
    if not len(chosen):
        raise TuiGenError("no held-out picture's caption names both a cloak and a weapon")
    said = judge.says(_drawn(playable, [_caption(images, index) for index in chosen]))
    seen, wanted = judge.says(images.pixels[chosen]), labels[chosen]
    return [
        Obedience(
            kind.name,
            seen=float((seen[:, at] == wanted[:, at]).mean()),
            drawn=float((said[:, at] == wanted[:, at]).mean()),
            chance=float((said[:, at] == wanted[:, None, at]).mean()),
            prompts=len(chosen),
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
        playable, images = _opened(args.folder, args.data)
        found = measured(playable, images, trained_judge(images, kinds(images)))
        figures = {f"prompts obeyed: {one.kind}": _said(one, playable) for one in found}
        update_card(args.folder, with_figures(playable.card, figures))
    except (TuiGenError, OSError) as fault:
        print(f"export.obedience: {fault}", file=sys.stderr)
        return 1
    print("\n".join(f"{name}: {value}" for name, value in figures.items()))
    return 0


def _opened(folder: Path, data: Path) -> tuple[Playable, Images]:
    """The model and what it was trained on. Raises TuiGenError if it was trained on something else."""
    training = PRESETS["adventurers"].prepare(data, BATCH)
    playable = open_model(folder, provider="cpu")
    check_data(playable, training, data)
    assert isinstance(training.task, ImageTask)
    return playable, training.task.images


def _said(found: Obedience, playable: Playable) -> str:
    scale = playable.card.export.get("guidance")
    how = f"at temperature {playable.card.temperature:g}" + (f" and guidance {scale:g}" if scale is not None else "")
    error = 1.96 * math.sqrt(found.drawn * (1 - found.drawn) / found.prompts)
    asked = f"{found.drawn:.1%} (± {error:.1%}) of {found.prompts} pictures {how} show what was asked for"
    return (
        f"{asked}, by chance {found.chance:.1%}; so says a network that is right for {found.seen:.1%} of real pictures"
    )


if __name__ == "__main__":
    raise SystemExit(main())
