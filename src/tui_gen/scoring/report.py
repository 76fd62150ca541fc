"""Writes scores: a text painted by surprisal with its totals, a picture's totals, or JSON lines."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise, zip_longest
from typing import BinaryIO, NamedTuple, Protocol

from tui_gen.card import Colour, ImageSpec
from tui_gen.images.raster import Cell, ansi
from tui_gen.scoring.given import GivenScore
from tui_gen.scoring.score import BANDS, TAIL, Surprisal, SurprisalInContext, TopSurprisals, Totals, band
from tui_gen.terminal_text import PieceScrubber, brief, scrub_line, shows_colours

_LONGEST = 24
"""Characters of a token that are shown."""
_WIDEST = 200
"""Characters of a text in a table."""
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)


class ScoreWriter(Protocol):
    """Takes tokens as they are scored."""

    def write(self, surprisals: Sequence[Surprisal]) -> None:
        """Writes what can be written of these tokens."""
        ...

    def close(self, totals: Totals) -> None:
        """Writes what all tokens come to."""
        ...

    def break_off(self) -> None:
        """Ends the line that it is in, when there will be no more."""
        ...


class Report:
    """What the tokens come to, for people. Of a text, the text itself stands before it, token by token."""

    def __init__(self, file: BinaryIO, image: ImageSpec | None = None) -> None:
        """image: of a picture. Where the file shows colours, each token is painted by its bits."""
        self._file, self._image, self._colours = file, image, shows_colours(file)
        self._scrubs, self._top, self._at_line_end = file.isatty(), TopSurprisals(), True
        self._scrubber = PieceScrubber()

    def write(self, surprisals: Sequence[Surprisal]) -> None:
        for surprisal in surprisals:
            self._top.add(surprisal)
            text = self._scrubber.scrub(surprisal.text) if self._scrubs else surprisal.text
            self._print(paint_token(text, surprisal.bits) if self._colours else text)
            self._at_line_end = text.endswith("\n") if text else self._at_line_end
        self._file.flush()

    def close(self, totals: Totals) -> None:
        self.break_off()
        report = report_lines(totals, self._top.ranking(), self._image)
        for line in report if self._image else ["", *report]:
            self._print(f"{line}\n")
        self._file.flush()

    def break_off(self) -> None:
        if not self._at_line_end:
            self._print("\n")
            self._file.flush()

    def _print(self, text: str) -> None:
        self._file.write(text.encode("utf-8", "replace"))


class ScoreLines:
    """One JSON object per token, and one for the totals."""

    def __init__(self, file: BinaryIO, image: ImageSpec | None = None) -> None:
        self._file, self._image = file, image

    def write(self, surprisals: Sequence[Surprisal]) -> None:
        for surprisal in surprisals:
            self._print(self._facts(surprisal))
        self._file.flush()

    def close(self, totals: Totals) -> None:
        self._print({"total": _facts(totals)})
        self._file.flush()

    def break_off(self) -> None:
        """No line is left unfinished."""

    def _facts(self, surprisal: Surprisal) -> dict[str, object]:
        where = self._image.named_place(surprisal.index) if self._image else {"text": surprisal.text}
        figures = {"bits": round(surprisal.bits, 6), "logprob": round(surprisal.logprob, 6)}
        return {"index": surprisal.index, "id": surprisal.token, **where, **figures}

    def _print(self, facts: dict[str, object]) -> None:
        self._file.write(json.dumps(facts).encode() + b"\n")


class ScoreTable:
    """A row of each text or picture, and what all come to."""

    def __init__(self, file: BinaryIO, unit: str) -> None:
        self._file, self._titles = file, f"{'BITS':>12}{'TOKENS':>10}{f'PER {unit}'.upper():>15}"

    def write(self, scores: Sequence[GivenScore]) -> None:
        """Writes these rows."""
        if self._titles:
            self._print(self._titles)
            self._titles = ""
        for score in scores:
            each = f"{score.bits / score.units:.3f}" if score.units else "-"
            source = scrub_line(brief(score.given.source, _WIDEST))
            self._print(f"{score.bits:12,.2f}{score.tokens:10,}{each:>15}  {source}".rstrip())
        self._file.flush()

    def close(self, totals: Totals) -> None:
        """Writes what all come to."""
        for line in ("", *_totals(totals)):
            self._print(line)
        self._file.flush()

    def _print(self, line: str) -> None:
        self._file.write(f"{line}\n".encode("utf-8", "replace"))


class ScoreObjects:
    """One JSON object per text or picture, with the keys that a sample has, and one for the totals."""

    def __init__(self, file: BinaryIO, key: str) -> None:
        """key: what the source of each is, `text` or `file`."""
        self._file, self._key = file, key

    def write(self, scores: Sequence[GivenScore]) -> None:
        """Writes these objects."""
        for score in scores:
            self._print(score.row(self._key))
        self._file.flush()

    def close(self, totals: Totals) -> None:
        """Writes what all come to."""
        self._print({"total": _facts(totals)})
        self._file.flush()

    def _print(self, facts: dict[str, object]) -> None:
        self._file.write(json.dumps(facts).encode() + b"\n")


def _facts(totals: Totals) -> dict[str, object]:
    perplexity = round(totals.perplexity, 6) if math.isfinite(totals.perplexity) else None
    facts = {"tokens": totals.tokens, "bits": round(totals.bits, 6), "perplexity": perplexity}
    return {**facts, f"{totals.unit}s": totals.units, f"bits_per_{totals.unit}": round(totals.bits_per_unit, 6)}


def report_lines(totals: Totals, top: Sequence[SurprisalInContext], image: ImageSpec | None) -> list[str]:
    """image: of a picture, whose tokens stand at a row and a column."""
    table = [_picture_row(entry, image) for entry in top] if image else [_text_row(entry) for entry in top]
    titles = _picture_titles(image) if image else ("TOKEN", "BITS", "TEXT", "AFTER")
    return [*_totals(totals), "", "most surprising", *_align([titles, *table])]


def _totals(totals: Totals) -> list[str]:
    facts = {
        "tokens": f"{totals.tokens:,}",
        "bits": f"{totals.bits:,.1f}",
        "perplexity": f"{totals.perplexity:,.2f} per token",
        f"bits per {totals.unit}": f"{totals.bits_per_unit:.3f}",
    }
    return [f"{name:19}{value}" for name, value in facts.items()]


def _text_row(entry: SurprisalInContext) -> tuple[str, ...]:
    surprisal = entry.surprisal
    return f"{surprisal.index + 1}", f"{surprisal.bits:.2f}", _brief(surprisal.text), _last_words(entry.before)


def _brief(text: str) -> str:
    """A token without the white space before it, unless it is white space itself."""
    brief = scrub_line(text.lstrip() or text)
    return f"“{brief if len(brief) <= _LONGEST else brief[: _LONGEST - 1] + '…'}”"


def _last_words(text: str) -> str:
    """Whole words, unless there is but one."""
    words = text.split(maxsplit=1)
    whole = words[1] if len(text) == TAIL and not text[0].isspace() and len(words) > 1 else text
    return scrub_line(whole.strip(" "))


def _picture_titles(image: ImageSpec) -> tuple[str, ...]:
    return *(name.upper() for name in image.named_place(0)), "BITS", "LEVEL"


def _picture_row(entry: SurprisalInContext, image: ImageSpec) -> tuple[str, ...]:
    surprisal = entry.surprisal
    where = image.named_place(surprisal.index)
    return *(f"{number}" for number in where.values()), f"{surprisal.bits:.2f}", f"{surprisal.token}"


def _align(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


class Paint(NamedTuple):
    """How the tokens of a band look; None is the terminal's own colour."""

    name: str
    foreground: Colour | None
    background: Colour | None


PAINTS = (
    Paint("plain", None, None),
    Paint("yellow", _BLACK, (255, 242, 160)),
    Paint("orange", _BLACK, (255, 178, 80)),
    Paint("red", _WHITE, (196, 48, 43)),
    Paint("violet", _WHITE, (92, 20, 110)),
)
"""One per band."""


def paint_token(text: str, bits: float) -> str:
    """A token with the colour of its bits behind it, but not behind white space before it and line ends in it."""
    paint = PAINTS[band(bits)]
    if not paint.background:
        return text
    word = text.lstrip() or text
    lines = (_paint_line(line, paint) for line in word.split("\n"))
    return text[: len(text) - len(word)] + "\n".join(lines)


def legend(*, coloured: bool) -> str:
    """One line that says which colour stands for how many bits."""
    borders = [
        f"below {BANDS[0]:g}",
        *(f"{low:g} to {high:g}" for low, high in pairwise(BANDS)),
        f"{BANDS[-1]:g} and more",
    ]
    names = (f" {paint.name} {border} " for paint, border in zip(PAINTS, borders, strict=True))
    parts = (_paint_line(name, paint) if coloured else name for name, paint in zip(names, PAINTS, strict=True))
    return "bits:" + "".join(parts).rstrip(" ")


def _paint_line(line: str, paint: Paint) -> str:
    return ansi([Cell(char, paint.foreground, paint.background) for char in line]) if line else ""
