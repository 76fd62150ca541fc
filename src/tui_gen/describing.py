"""What tells a branch from others: how it began, in a few words."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from tui_gen.branch import Branch
from tui_gen.card import ImageSpec
from tui_gen.codec import ImageCodec, TextCodec
from tui_gen.generate import FREE
from tui_gen.knobs import SHOWN
from tui_gen.picture import first_pixel
from tui_gen.sampling import SamplingParams, Tokens
from tui_gen.sweep import Sweep

Codec = TextCodec | ImageCodec


def describe(branch: Branch, codec: Codec, parent: Branch | None = None) -> str:
    """How a branch began, such as `seed 42: the cat`, `token 31: dog`, `completion` or `sweep temperature`.

    parent: the branch that it left; without it, what was turned there is not known. The text holds what models and
    people wrote, so scrub it before a terminal shows it.
    """
    begun = branch.begun
    if isinstance(begun.params, Sweep):
        return _named(f"sweep {begun.params.knob.replace('_', '-')}", begun.text)
    if isinstance(codec, ImageCodec) and _completes(branch, codec.image, parent):
        return _named("completion", begun.text)
    if not begun.parent:
        return _named(f"seed {begun.seed}", begun.text)
    if begun.override is not None and (begun.override != FREE).any():
        return f"{place(branch, begun.at, codec)}: {_chosen(begun.override, codec)}"
    return _anew(branch, codec, parent)


def _named(what: str, prompt: str) -> str:
    """With the prompt, if there is one."""
    text = " ".join(prompt.split())
    return f"{what}: {text}" if text else what


def place(branch: Branch, position: int, codec: Codec) -> str:
    """A position as people count it: `token 31` from the text's first one, `pixel 412` from 0 on.

    A value of a picture in colour is a `value`, three to a pixel; what stands before a picture is a `token`.
    """
    first = first_pixel(branch.begun.prompt, codec.image) if isinstance(codec, ImageCodec) else 0
    return f"{codec.unit} {position - first}" if position >= first else f"token {position}"


def shown_token(token: int, codec: Codec) -> str:
    """A token by itself; of white space, a sign."""
    text = codec.token_text(token)
    return text.strip() or text.replace(" ", "␣")


def _chosen(override: Tokens, codec: Codec) -> str:
    """What stands in the first sample in which a choice was made."""
    row = override[int((override != FREE).any(axis=1).argmax())]
    tokens = row[row != FREE].tolist()
    if isinstance(codec, ImageCodec) or len(tokens) == 1:
        return " ".join(shown_token(token, codec) for token in tokens)
    return codec.decode(tokens).strip()


def _anew(branch: Branch, codec: Codec, parent: Branch | None) -> str:
    """What is another than in the parent, and from where on."""
    begun = branch.begun
    at = f"at {place(branch, begun.at, codec)}"
    if parent is None:
        return f"anew {at}"
    turned = [f"seed {begun.seed}"] if begun.seed != parent.begun.seed else []
    turned += _turned(begun.params, parent.params_at(begun.at))
    return f"{', '.join(turned) or 'anew'} {at}"


def _turned(params: SamplingParams, before: SamplingParams) -> list[str]:
    """Each knob that is turned elsewhere, with its value."""
    names = [field.name for field in fields(SamplingParams)]
    return [
        f"{name.replace('_', '-')} {SHOWN[name](getattr(params, name))}"
        for name in names
        if getattr(params, name) != getattr(before, name)
    ]


def _completes(branch: Branch, image: ImageSpec, parent: Branch | None) -> bool:
    """Whether pixels were given that no parent had made."""
    begun = branch.begun
    own = max(1, begun.at if begun.parent else 1)
    pixels = _given_pixels(begun.prompt[:, own:], image)
    if begun.override is not None or (pixels == FREE).all():
        return False
    return parent is None or not np.array_equal(pixels, _given_pixels(parent.begun.prompt[:, own:], image))


def _given_pixels(prompt: Tokens, image: ImageSpec) -> Tokens:
    return np.where(prompt < image.levels, prompt, FREE)
