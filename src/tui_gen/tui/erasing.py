"""The words that say which parts of a picture are erased, and what comes of them."""

from __future__ import annotations

from tui_gen.card import ImageSpec
from tui_gen.completion import Rectangle, parse_part
from tui_gen.errors import UsageError


def read_words(text: str, image: ImageSpec) -> tuple[list[Rectangle], str]:
    """The parts that the words erase, and what is wrong with the first word that is wrong, if any."""
    parts, faults = list[Rectangle](), list[str]()
    for word in text.split():
        try:
            parts.append(parse_part(word, image))
        except UsageError as fault:
            faults.append(str(fault))
    return parts, next(iter(faults), "")


def word_for(part: Rectangle, image: ImageSpec) -> str:
    """A part as people and the command line write it."""
    left, top, right, bottom = part
    if (left, right) == (0, image.width - 1):
        return f"rows:{top}-{bottom}" if bottom > top else f"rows:{top}"
    return f"pixel:{left},{top}" if (left, top) == (right, bottom) else f"rect:{left},{top},{right},{bottom}"


def counted(free: int, of: int) -> str:
    """How many pixels are free, and what that means."""
    if not free:
        return f"None of {of:,} pixels is free. Erase a part that is to be drawn anew."
    if free == of:
        return f"All {of:,} pixels are free and will be drawn."
    verb = "is" if free == 1 else "are"
    return f"{free:,} of {of:,} pixels {verb} free and will be drawn; the given ones stay as they are."
