"""The surprise at every token of a text or a picture, a few at a time, in little memory however long it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tui_gen.generate import FREE
from tui_gen.reading import CHUNK
from tui_gen.sampling import Tokens
from tui_gen.scoring import Scorer
from tui_gen.step import non_finite
from tui_gen.stepper import Stepper
from tui_gen.surprise import Surprise, in_bits
from tui_gen.text_tokens import Piece


class Measure:
    """Measures what comes piece by piece."""

    def __init__(self, model: Stepper, context: Tokens) -> None:
        """context: int64[1, n], n >= 1, is read and not scored; of a text, the first token starts a text."""
        self._model, self._start, self._scorer = model, context[:, :1], Scorer(model, context)
        self._index, self._ended = 0, False
        self.restarts = 0
        """How often a text began after an end token."""

    def text(self, piece: Piece) -> Iterator[list[Surprise]]:
        """The tokens of a text that come next.

        An end token is scored like others. What follows it is a new text to the model, which starts again without
        context. Raises TuiGenError where the model fails.
        """
        for ids, texts in _split(piece, self._model.eos):
            if self._ended:
                self._scorer, self._ended = Scorer(self._model, self._start), False
                self.restarts += 1
            yield from self._scored(ids, texts)
            self._ended = ids[-1] == self._model.eos

    def picture(self, levels: Tokens) -> Iterator[list[Surprise]]:
        """The tokens of a picture: int64[height, width], or [height, width, channels]. Raises TuiGenError likewise."""
        assert (levels != FREE).all()
        ids = levels.ravel().tolist()
        yield from self._scored(ids, [""] * len(ids))

    def _scored(self, ids: Sequence[int], texts: Sequence[str]) -> Iterator[list[Surprise]]:
        for first in range(0, len(ids), CHUNK):
            part = slice(first, first + CHUNK)
            [found] = in_bits(self._scorer.feed(np.array([ids[part]], dtype=np.int64))).tolist()
            self._check_finite(found)
            numbers = range(self._index, self._index + len(found))
            self._index += len(found)
            yield list(map(Surprise, numbers, ids[part], texts[part], found))

    def _check_finite(self, found: Sequence[float]) -> None:
        broken = np.flatnonzero(~np.isfinite(found))
        if len(broken):
            raise non_finite(self._index + int(broken[0]))


def _split(piece: Piece, eos: int | None) -> Iterator[Piece]:
    """After every end token."""
    first = 0
    ends = [index + 1 for index, token in enumerate(piece.ids) if token == eos]
    for end in [*ends, len(piece.ids)]:
        if end > first:
            yield Piece(piece.ids[first:end], piece.texts[first:end])
        first = end
