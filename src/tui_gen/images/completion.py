"""Completing pictures: which pixels are given and which are free, as a prompt."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from tui_gen.card import ImageSpec
from tui_gen.errors import TuiGenError, UsageError
from tui_gen.images.codec import ImageCodec
from tui_gen.sampling.params import FREE, Tokens

MAX_COMPLETIONS = 16
"""Of one picture, that a screen shows at once."""


class Rectangle(NamedTuple):
    """Pixels of a picture, counted from 0 at the left and at the top; the last column and row belong to it."""

    left: int
    top: int
    right: int
    bottom: int


def completion_prompt(codec: ImageCodec, text: str, levels: Tokens, samples: int) -> Tokens:
    """A prompt int64[samples, n] that is a whole picture: generate with it, and with the length 0.

    levels: int64[height, width], or [height, width, 3] for three channels; `FREE` is sampled, all else kept.
    Raises TuiGenError for a text that the model does not know, and for levels that are not of its pictures.
    """
    _check(codec.image, levels)
    prefix = codec.prompt([text] * samples)
    return np.concatenate([prefix, np.tile(levels.reshape(1, -1), (samples, 1))], axis=1)


def shortened(prompt: Tokens, length: int) -> Tokens:
    """The prompt int64[samples, n], cut so that at most `length` of its positions are sampled."""
    past = np.flatnonzero((prompt == FREE).any(axis=0))[length:]
    return prompt[:, : past[0]] if len(past) else prompt


def erased(levels: Tokens, *parts: Rectangle) -> Tokens:
    """The levels with these parts free."""
    levels = levels.copy()
    for left, top, right, bottom in parts:
        levels[top : bottom + 1, left : right + 1] = FREE
    return levels


def free_pixels(levels: Tokens) -> int:
    """How many pixels of the levels [height, width] or [height, width, 3] are to be drawn."""
    return int((levels.reshape(*levels.shape[:2], -1) == FREE).any(axis=2).sum())


def parse_part(text: str, image: ImageSpec) -> Rectangle:
    """What to erase, as in `rows:14-27`, `rect:4,4,20,20` or `pixel:3,5`. Raises UsageError for anything else."""
    kind, colon, numbers = text.partition(":")
    parsers = {"rows": parse_rows, "rect": parse_rectangle, "pixel": parse_pixel}
    if not colon or kind not in parsers:
        raise UsageError(f"what to erase is rows:14-27, rect:4,4,20,20 or pixel:3,5, not {text!r:.60}")
    return parsers[kind](numbers, image)


def parse_rows(text: str, image: ImageSpec) -> Rectangle:
    """Rows from the first to the last, both included, as in `14-27`, or one, as in `14`."""
    numbers = _numbers(text, "-")
    if len(numbers) not in (1, 2):
        raise UsageError(f"rows are the first and the last one, as in 14-27, not {text!r:.60}")
    return _inside(Rectangle(0, numbers[0], image.width - 1, numbers[-1]), text, image)


def parse_rectangle(text: str, image: ImageSpec) -> Rectangle:
    """The corners left,top,right,bottom as in `4,4,20,20`; all of them belong to it."""
    numbers = _numbers(text, ",")
    if len(numbers) != 4:
        raise UsageError(f"a rectangle is left,top,right,bottom, as in 4,4,20,20, not {text!r:.60}")
    return _inside(Rectangle(*numbers), text, image)


def parse_pixel(text: str, image: ImageSpec) -> Rectangle:
    """One pixel by column,row as in `3,5`."""
    numbers = _numbers(text, ",")
    if len(numbers) != 2:
        raise UsageError(f"a pixel is column,row, as in 3,5, not {text!r:.60}")
    return _inside(Rectangle(*numbers, *numbers), text, image)


def _numbers(text: str, separator: str) -> list[int]:
    """The whole numbers between separators; none at all where anything else, or an endless number, stands there."""
    parts = text.split(separator)
    return [int(part) for part in parts] if all(re.fullmatch(r" *[0-9]{1,9} *", part) for part in parts) else []


def _inside(part: Rectangle, text: str, image: ImageSpec) -> Rectangle:
    if part.left > part.right or part.top > part.bottom:
        raise UsageError(f"{text} ends before it begins; the smaller number comes first")
    if part.right >= image.width or part.bottom >= image.height:
        raise UsageError(f"{text} is not inside the picture: columns 0-{image.width - 1}, rows 0-{image.height - 1}")
    return part


def _check(image: ImageSpec, levels: Tokens) -> None:
    if levels.shape != image.shape:
        raise TuiGenError(f"a picture to complete must be {' x '.join(map(str, image.shape))}, not {levels.shape}")
    if levels.min() < FREE or levels.max() >= image.levels:
        raise TuiGenError(f"a picture to complete has levels from 0 to {image.levels - 1}, and {FREE} where it is free")
