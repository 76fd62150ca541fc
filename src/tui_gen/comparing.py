"""How two branches differ, as people see it: texts with what differs marked, pictures with the pixels that do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tui_gen.branch import Branch
from tui_gen.card import ImageSpec
from tui_gen.codec import TextCodec
from tui_gen.describing import shown_token
from tui_gen.generate import FREE
from tui_gen.picture import UNDRAWN, Picture, Pixels, first_pixel
from tui_gen.sampling import Mask, Tokens
from tui_gen.transcript import Transcript
from tui_gen.tree import differences

_DIMMED = 5
"""How many times darker pixels are that both have: dark enough for any rendering to set those apart that differ."""
_LINE_END = "↵"


@dataclass(frozen=True)
class Marked:
    """A text, and which of its characters belong to tokens that differ."""

    text: str
    """Harmless to a terminal. A line end that differs is shown by a sign before it."""
    marks: Mask
    """bool[characters]; of words without the space before them."""


def marked(branch: Branch, codec: TextCodec, differ: Mask, sample: int = 0) -> Marked:
    """The text of one sample, where tokens at the positions `differ` are marked."""
    tokens = branch.tokens[1:][branch.live[1:, sample], sample].tolist()
    script, text, marks = Transcript(codec.reader), "", list[bool]()
    script.append(tokens)
    for number, differs in enumerate(differ[1 : len(tokens) + 1]):
        written = script.written(number)
        if differs:
            written = written.replace("\n", f"{_LINE_END}\n")
        blank = not written.strip()
        text += written
        marks += [bool(differs) and (blank or not character.isspace()) for character in written]
    return Marked(text, np.array(marks, dtype=bool))


def text_summary(one: Branch, other: Branch, codec: TextCodec, sample: int = 0) -> str:
    """How many of how many tokens differ, and which is the first."""
    differ = differences(one, other, sample)[1:]
    total = max(int(branch.live[1:, sample].sum()) for branch in (one, other))
    if not differ.any():
        return f"all {total:,} tokens are the same"
    first = int(differ.argmax()) + 1
    pair = " | ".join(_token(branch, first, sample, codec) for branch in (one, other))
    return f"{int(differ.sum()):,} of {total:,} tokens differ; the first is token {first}: {pair}"


def compared_pictures(one: Branch, other: Branch, image: ImageSpec, sample: int = 0) -> Picture:
    """Three pictures: one, the other, and the pixels that differ in white on a dark copy of those that do not."""
    both = np.concatenate([_drawn(branch, image, sample) for branch in (one, other)])
    differ = pixel_differences(both)
    third = np.where(both[0] == UNDRAWN, UNDRAWN, both[0] // _DIMMED)
    third[differ] = 255
    picture = Picture(image, 3)
    picture.rgb[:] = np.concatenate([both, third[None]])
    return picture


def pixel_differences(rgb: Pixels) -> Mask:
    """bool[height, width]: where the first two of some pictures [n, height, width, 3] differ, or one has no pixel."""
    differ: Mask = (rgb[0] != rgb[1]).any(axis=2)
    return differ


def picture_summary(rgb: Pixels) -> str:
    """How many of how many pixels of the first two pictures differ, and which is the first, counted from 0."""
    differ, drawn = pixel_differences(rgb), (rgb[:2, :, :, 0] != UNDRAWN).any(axis=0)
    total = int(drawn.sum())
    if not differ.any():
        return f"all {total:,} pixels are the same"
    first = int(differ.argmax())
    row, column = divmod(first, differ.shape[1])
    count = f"{int(differ.sum()):,} of {total:,} pixels differ"
    return f"{count}; the first is pixel {first}: row {row}, column {column}"


def _token(branch: Branch, position: int, sample: int, codec: TextCodec) -> str:
    if position >= len(branch) or not branch.live[position, sample]:
        return "no more"
    return shown_token(int(branch.tokens[position, sample]), codec)


def _drawn(branch: Branch, image: ImageSpec, sample: int) -> Pixels:
    """[1, height, width, 3]: what a branch has drawn."""
    picture, levels = Picture(image, 1), np.full(image.area, FREE, dtype=np.int64)
    made: Tokens = branch.tokens[first_pixel(branch.begun.prompt, image) :, sample][: image.area]
    levels[: len(made)] = made
    picture.preset(levels)
    return picture.rgb
