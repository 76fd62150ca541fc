"""How a score is written: the text with its totals, a picture's totals, or JSON lines."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import BinaryIO, Protocol

from tui_gen.card import ImageSpec
from tui_gen.score_colours import painted
from tui_gen.score_report import report_lines
from tui_gen.scrub import scrub
from tui_gen.surprise import Greatest, Surprise, Totals


class ScoreWriter(Protocol):
    """Takes tokens as they are scored."""

    def write(self, surprises: Sequence[Surprise]) -> None:
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

    def __init__(self, file: BinaryIO, image: ImageSpec | None = None, *, coloured: bool = False) -> None:
        """image: of a picture. coloured: each token is painted by its bits."""
        self._file, self._image, self._coloured = file, image, coloured
        self._shielded, self._greatest, self._ended = file.isatty(), Greatest(), True

    def write(self, surprises: Sequence[Surprise]) -> None:
        for surprise in surprises:
            self._greatest.add(surprise)
            text = scrub(surprise.text) if self._shielded else surprise.text
            self._put(painted(text, surprise.bits) if self._coloured else text)
            self._ended = text.endswith("\n") if text else self._ended
        self._file.flush()

    def close(self, totals: Totals) -> None:
        self.break_off()
        report = report_lines(totals, self._greatest.ranked(), self._image)
        for line in report if self._image else ["", *report]:
            self._put(f"{line}\n")
        self._file.flush()

    def break_off(self) -> None:
        if not self._ended:
            self._put("\n")
            self._file.flush()

    def _put(self, text: str) -> None:
        self._file.write(text.encode("utf-8", "replace"))


class ScoreLines:
    """One JSON object per token, and one for the totals."""

    def __init__(self, file: BinaryIO, image: ImageSpec | None = None) -> None:
        self._file, self._image = file, image

    def write(self, surprises: Sequence[Surprise]) -> None:
        for surprise in surprises:
            self._put(self._facts(surprise))
        self._file.flush()

    def close(self, totals: Totals) -> None:
        self._put({"total": _facts(totals)})
        self._file.flush()

    def break_off(self) -> None:
        """No line is left unfinished."""

    def _facts(self, surprise: Surprise) -> dict[str, object]:
        where = self._image.named_place(surprise.index) if self._image else {"text": surprise.text}
        measured = {"bits": round(surprise.bits, 6), "logprob": round(surprise.logprob, 6)}
        return {"index": surprise.index, "id": surprise.token, **where, **measured}

    def _put(self, facts: dict[str, object]) -> None:
        self._file.write(json.dumps(facts).encode() + b"\n")


def _facts(totals: Totals) -> dict[str, object]:
    perplexity = round(totals.perplexity, 6) if math.isfinite(totals.perplexity) else None
    known = {"tokens": totals.tokens, "bits": round(totals.bits, 6), "perplexity": perplexity}
    return {**known, f"{totals.unit}s": totals.units, f"bits_per_{totals.unit}": round(totals.bits_per_unit, 6)}
