"""What a score comes to, as lines for people: the totals, and a table of the most surprising tokens."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from tui_gen.card import ImageSpec
from tui_gen.scrub import scrub_line
from tui_gen.surprise import TAIL, Place, Totals

_LONGEST = 24
"""Characters of a token that are shown."""


def report_lines(totals: Totals, greatest: Sequence[Place], image: ImageSpec | None) -> list[str]:
    """image: of a picture, whose tokens stand at a row and a column."""
    table = [_picture_row(place, image) for place in greatest] if image else [_text_row(place) for place in greatest]
    titles = _picture_titles(image) if image else ("TOKEN", "BITS", "TEXT", "AFTER")
    return [*_totals(totals), "", "most surprising", *_aligned([titles, *table])]


def _totals(totals: Totals) -> list[str]:
    facts = {
        "tokens": f"{totals.tokens:,}",
        "bits": f"{totals.bits:,.1f}",
        "perplexity": f"{totals.perplexity:,.2f} per token",
        f"bits per {totals.unit}": f"{totals.bits_per_unit:.3f}",
    }
    return [f"{name:19}{value}" for name, value in facts.items()]


def _text_row(place: Place) -> tuple[str, ...]:
    surprise = place.surprise
    return f"{surprise.index}", f"{surprise.bits:.2f}", _brief(surprise.text), _last_words(place.before)


def _brief(text: str) -> str:
    """A token without the white space before it, unless it is white space itself."""
    shown = scrub_line(text.lstrip() or text)
    return f"“{shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + '…'}”"


def _last_words(text: str) -> str:
    """Whole words, unless there is but one."""
    words = text.split(maxsplit=1)
    whole = words[1] if len(text) == TAIL and not text[0].isspace() and len(words) > 1 else text
    return scrub_line(whole.strip(" "))


def _picture_titles(image: ImageSpec) -> tuple[str, ...]:
    return *(name.upper() for name in image.named_place(0)), "BITS", "LEVEL"


def _picture_row(place: Place, image: ImageSpec) -> tuple[str, ...]:
    surprise = place.surprise
    where = image.named_place(surprise.index)
    return *(f"{number}" for number in where.values()), f"{surprise.bits:.2f}", f"{surprise.token}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
