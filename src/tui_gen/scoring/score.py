"""Surprisal: the bits of each token that a model reads, their bands, their totals, and the largest of them."""

from __future__ import annotations

import contextlib
import heapq
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np

from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError, errors_of
from tui_gen.files import open_regular
from tui_gen.generation.protocol import CHUNK, StepModel, score_steps
from tui_gen.images.codec import ImageCodec
from tui_gen.images.read import read_whole
from tui_gen.sampling.params import FREE, Floats, Tokens
from tui_gen.sampling.step import non_finite
from tui_gen.text.codec import TextCodec
from tui_gen.text.tokenizer import Piece, TextTokens, text_blocks

BANDS = (1.0, 3.0, 6.0, 10.0)
"""Bits at which the next band of surprisal begins: a probability of 1 in 2, in 8, in 64, in 1024."""
_TOGETHER = 32
"""Texts of a batch; more give nothing, the fewer the closer their lengths are."""
TAIL = 40
"""Characters of the text before a token that are kept, at most, to show where it stands."""


@dataclass(frozen=True, slots=True)
class Surprisal:
    """A given token and its surprisal under the model."""

    index: int
    """Position among the tokens that were scored, from 0."""
    token: int
    """Its id."""
    text: str
    """What it stands for in the text, with the white space before it; empty for a token of a picture."""
    bits: float
    """Binary logarithm of 1 / probability, at temperature 1 and with nothing cut."""

    @property
    def logprob(self) -> float:
        """Natural logarithm of its probability."""
        return 0.0 - self.bits * math.log(2)  # subtracted, for a certain token has 0 and not -0


def bits(model: StepModel, tokens: Tokens) -> Floats:
    """Surprisal of each token but the first, given those before it, in bits: float[samples, n - 1].

    tokens: int64[samples, n]; a text begins with the model's start token. Infinite for a token that the model never
    predicts. Raises TuiGenError for token ids that it cannot read.
    """
    return to_bits(score(model, tokens))


def to_bits(logprobs: Floats) -> Floats:
    """Natural logarithms of probabilities to surprisals in bits, of any shape."""
    values: Floats = 0.0 - logprobs.astype(np.float64) / math.log(2)
    return values


def band(bits: float) -> int:
    """0 for a token that the model expected to 4 for one that it found all but impossible; `BANDS` are the borders."""
    return bisect_right(BANDS, bits)


@dataclass
class Totals:
    """Of all tokens so far."""

    unit: str
    """What is counted besides tokens: `character` or `pixel`."""
    units: int = 0
    """How many of them."""
    tokens: int = 0
    bits: float = 0.0

    def add(self, surprisals: Iterable[Surprisal]) -> None:
        """Counts these tokens too."""
        for surprisal in surprisals:
            self.tokens += 1
            self.bits += surprisal.bits

    @property
    def perplexity(self) -> float:
        """Per token: among how many equally likely tokens a choice would be as hard. NaN for none, or infinite."""
        return _power_of_two(self.bits / self.tokens) if self.tokens else math.nan

    @property
    def bits_per_unit(self) -> float:
        """NaN for none."""
        return self.bits / self.units if self.units else math.nan


def _power_of_two(exponent: float) -> float:
    return math.inf if exponent >= 1024 else 2.0**exponent


@dataclass(frozen=True, slots=True)
class SurprisalInContext:
    """A token with a large surprisal, and the text right before it."""

    surprisal: Surprisal
    before: str


class TopSurprisals:
    """Keeps the tokens of the largest surprisals of a stream, with a few words before each."""

    def __init__(self, count: int = 10) -> None:
        self._count, self._heap, self._tail = count, list[tuple[float, int, SurprisalInContext]](), ""

    def add(self, surprisal: Surprisal) -> None:
        """Takes the next token."""
        entry = (surprisal.bits, -surprisal.index, SurprisalInContext(surprisal, self._tail))
        if len(self._heap) < self._count:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)
        self._tail = (self._tail + surprisal.text[-TAIL:])[-TAIL:]

    def ranking(self) -> list[SurprisalInContext]:
        """The most surprising first; of equals, the earlier."""
        return [place for _, _, place in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]


class Scorer:
    """Scores tokens in chunks. Keeps the model's state and one token of each sample, whatever the length."""

    def __init__(self, model: StepModel, context: Tokens) -> None:
        """context: int64[samples, n], n >= 1, is read and not scored; that of a text begins with its start token."""
        self._model, self._last, self._state = model, context[:, :1], model.start(len(context))
        self.feed(context[:, 1:])

    def feed(self, tokens: Tokens) -> Floats:
        """Natural logarithms of the probability of each token, given all those before it: float[samples, n].

        tokens: int64[samples, n], n >= 0. Temperature and filters do not count. Takes memory for the result and for
        some 128 tokens. Raises TuiGenError for token ids that the model cannot read; a token that it never predicts
        has the logarithm -inf.
        """
        size = max(1, CHUNK // len(tokens))
        values = [self._feed(tokens[:, first : first + size]) for first in range(0, tokens.shape[1], size)]
        return np.concatenate(values, axis=1) if values else np.empty((len(tokens), 0))

    def keep(self, count: int) -> None:
        """Goes on with the first so many samples."""
        if count < len(self._last):
            self._last, self._state = self._last[:count], self._state.rows(range(count))

    def _feed(self, tokens: Tokens) -> Floats:
        before = np.concatenate([self._last, tokens[:, :-1]], axis=1)
        scores, self._state = _score_chunk(self._model, before, tokens, self._state)
        self._last = tokens[:, -1:]
        return scores


def score(model: StepModel, tokens: Tokens) -> Floats:
    """Natural logarithms of the probability of each token but the first, given those before it: float[samples, n - 1].

    tokens: int64[samples, n]; a text begins with the model's start token. The rest is as of `Scorer.feed`.
    """
    return Scorer(model, tokens[:, :1]).feed(tokens[:, 1:])


def score_texts(model: StepModel, texts: Sequence[Tokens]) -> list[Floats]:
    """The same of texts int64[n], n >= 1, that may differ in length: float64[n - 1] of each.

    They are read in batches; a text's scores are the same, to the last bit on one type of processor, whichever others
    it is read with. A model that mixes rows reads one by one.
    """
    scores, order = [np.empty(0)] * len(texts), sorted(range(len(texts)), key=lambda at: -len(texts[at]))
    size = 1 if model.mixes_rows else _TOGETHER
    for first in range(0, len(texts), size):
        part = order[first : first + size]
        for at, values in zip(part, _score_batch(model, [texts[at] for at in part]), strict=True):
            scores[at] = values
    return scores


def _score_batch(model: StepModel, texts: Sequence[Tokens]) -> list[Floats]:
    """Of texts that follow each other by length, the longest first. What has come to its end leaves; of the last two
    none does, for a row alone is rounded otherwise, and for the same reason a single text is read twice.
    """
    least = 1 if model.mixes_rows else 2
    rows = [*texts, *texts[: least - len(texts)]] if len(texts) < least else texts
    scorer, parts, column = Scorer(model, np.array([row[:1] for row in rows])), [list[Floats]() for _ in rows], 1
    while column < len(rows[0]):
        count = max(least, sum(len(row) > column for row in rows))
        scorer.keep(count)
        slices = [row[column : column + max(1, CHUNK // count)] for row in rows[:count]]
        tokens = np.zeros((count, len(slices[0])), dtype=np.int64)
        for row, own in zip(tokens, slices, strict=True):
            row[: len(own)] = own
        for values, own, part in zip(scorer.feed(tokens), slices, parts, strict=False):
            part.append(values[: len(own)])
        column += tokens.shape[1]
    return [np.concatenate(part or [np.empty(0)]).astype(np.float64) for part, _ in zip(parts, texts, strict=False)]


def _score_chunk(model: StepModel, tokens: Tokens, following: Tokens, state: Any) -> tuple[Floats, Any]:
    """Scores of what follows each of the tokens [samples, n], and the state after them."""
    with contextlib.suppress(TuiGenError):  # raised below, by the token that it is of
        if model.score and (scores := model.score(tokens, following, state)):
            return scores
    return score_steps(model, tokens, following, state)


class StreamScorer:
    """Scores a text or a picture piece by piece, token by token with its text."""

    def __init__(self, model: StepModel, context: Tokens) -> None:
        """context: int64[1, n], n >= 1, is read and not scored; of a text, the first token starts a text."""
        self._model, self._start, self._scorer = model, context[:, :1], Scorer(model, context)
        self._index, self._restart_next = 0, False
        self.restarts = 0
        """How often a text began after an end token."""

    def text(self, piece: Piece) -> Iterator[list[Surprisal]]:
        """The tokens of a text that come next.

        An end token is scored like others. What follows it is a new text to the model, which starts again without
        context. Raises TuiGenError where the model fails.
        """
        for ids, texts in _split(piece, self._model.eos):
            if self._restart_next:
                self._scorer, self._restart_next = Scorer(self._model, self._start), False
                self.restarts += 1
            yield from self._score_ids(ids, texts)
            self._restart_next = ids[-1] == self._model.eos

    def picture(self, levels: Tokens) -> Iterator[list[Surprisal]]:
        """The tokens of a picture: int64[height, width], or [height, width, channels]. Raises TuiGenError likewise."""
        assert (levels != FREE).all()
        ids = levels.ravel().tolist()
        yield from self._score_ids(ids, [""] * len(ids))

    def _score_ids(self, ids: Sequence[int], texts: Sequence[str]) -> Iterator[list[Surprisal]]:
        for first in range(0, len(ids), CHUNK):
            part = slice(first, first + CHUNK)
            [values] = to_bits(self._scorer.feed(np.array([ids[part]], dtype=np.int64))).tolist()
            self._check_finite(values)
            numbers = range(self._index, self._index + len(values))
            self._index += len(values)
            yield list(map(Surprisal, numbers, ids[part], texts[part], values))

    def _check_finite(self, values: Sequence[float]) -> None:
        faults = np.flatnonzero(~np.isfinite(values))
        if len(faults):
            raise non_finite(self._index + int(faults[0]))


def _split(piece: Piece, eos: int | None) -> Iterator[Piece]:
    """After every end token."""
    first = 0
    ends = [index + 1 for index, token in enumerate(piece.ids) if token == eos]
    for end in [*ends, len(piece.ids)]:
        if end > first:
            yield Piece(piece.ids[first:end], piece.texts[first:end])
        first = end


class CodedModel(Protocol):
    """A model and how people talk to it, as `tui_gen.library.LoadedModel` has them."""

    @property
    def card(self) -> ModelCard:
        """What the model says of itself."""
        ...

    @property
    def codec(self) -> TextCodec | ImageCodec:
        """Between text or pictures and tokens."""
        ...

    @property
    def model(self) -> StepModel:
        """The network."""
        ...


@overload
def score_given(loaded_model: CodedModel, given: str | Tokens, *, prompt: str = "") -> Floats: ...


@overload
def score_given(
    loaded_model: CodedModel, given: list[str] | list[Tokens], *, prompt: str | Sequence[str] = ""
) -> list[Floats]: ...


def score_given(
    loaded_model: CodedModel,
    given: str | Tokens | list[str] | list[Tokens],
    *,
    prompt: str | Sequence[str] = "",
) -> Floats | list[Floats]:
    """Natural logarithms of the probability of each token of a text or a picture, given all before it and the prompt.

    given: a text, or levels int64[height, width] or [height, width, 3] of a picture; see `tui_gen.images.read`. Or a
    list of them, which are read many at once. prompt: what comes before, or what the picture shows; it is read and not
    scored. Of a list, each may have its own.

    Returns float64[tokens] of a text, float64 in the shape of the levels of a picture, at temperature 1 and with
    nothing cut, or a list of these. What follows an end token in a text is scored as a new text. Raises TuiGenError for
    what the model cannot read and for a token that it never predicts.
    """
    if isinstance(given, np.ndarray | str):
        assert isinstance(prompt, str)
        ids = given_ids(loaded_model, given)
        scorer = StreamScorer(loaded_model.model, loaded_model.codec.prompt([prompt]))
        return _shaped(_logprobs(scorer.text(Piece(ids, [""] * len(ids)))), given)
    prompts = [prompt] * len(given) if isinstance(prompt, str) else prompt
    if len(prompts) != len(given):
        raise TuiGenError(f"{len(given)} texts or pictures go with one prompt or as many, not with {len(prompts)}")
    scores = score_ids(loaded_model, [given_ids(loaded_model, one) for one in given], prompts)
    for number, logprobs in enumerate(scores, 1):
        with errors_of(f"number {number} of {len(scores)}:"):
            check_scores(logprobs)
    return list(map(_shaped, scores, given))


def _shaped(values: Floats, given: str | Tokens) -> Floats:
    return values if isinstance(given, str) else values.reshape(given.shape)


def score_ids(loaded_model: CodedModel, texts: Sequence[Sequence[int]], prompts: Sequence[str]) -> list[Floats]:
    """As `score_given` of a list: of the tokens of texts or pictures, float64[tokens] each, unchecked."""
    contexts = {prompt: loaded_model.codec.prompt([prompt])[0] for prompt in set(prompts)}
    model = loaded_model.model
    parts = [_split(Piece(list(ids), [""] * len(ids)), model.eos) for ids in texts]
    pieces = [
        (at, contexts[prompts[at]][: None if number == 0 else 1], piece.ids)
        for at, part in enumerate(parts)
        for number, piece in enumerate(part)
    ]
    sequences = [np.array([*context, *ids], dtype=np.int64) for _, context, ids in pieces]
    scores = [[np.empty(0)] for _ in texts]
    for (at, context, _), values in zip(pieces, score_texts(model, sequences), strict=True):
        scores[at].append(values[len(context) - 1 :])
    return [np.concatenate(values) for values in scores]


def check_scores(logprobs: Floats) -> None:
    """Raises TuiGenError for a token [tokens] that the model never predicts, and for what it gave that is no number."""
    faults = np.flatnonzero(~np.isfinite(logprobs))
    if len(faults):
        raise non_finite(int(faults[0]))


def given_ids(loaded_model: CodedModel, given: str | Tokens) -> list[int]:
    """The tokens of a text or a picture. Raises TuiGenError for what the model cannot read."""
    codec, name = loaded_model.codec, loaded_model.card.name
    if isinstance(codec, ImageCodec) and not isinstance(given, str):
        shape = (codec.image.height, codec.image.width, codec.image.channels)[: 3 if codec.image.channels > 1 else 2]
        if given.shape != shape or (given < 0).any():
            raise TuiGenError(f"{name} scores levels of 0 or more of shape {list(shape)}")
        return given.ravel().tolist()
    if isinstance(codec, TextCodec) and isinstance(given, str):
        return TextTokens(codec.tokenizer, name, "the text").ids(given, "the text")
    raise TuiGenError(f"{name} scores {'text' if isinstance(codec, TextCodec) else 'levels of pixels'}")


def score_file(loaded_model: CodedModel, path: Path) -> Totals:
    """What the tokens of a text file of any length, or those of an image file, come to, as of `score_given`.

    Raises TuiGenError also for a file that cannot be read, and for one in which there is nothing to score.
    """
    codec = loaded_model.codec
    scorer = StreamScorer(loaded_model.model, codec.prompt([""]))
    if isinstance(codec, ImageCodec):
        levels, totals = read_whole(path, codec.image), Totals("pixel", units=codec.image.height * codec.image.width)
        for surprisals in scorer.picture(levels):
            totals.add(surprisals)
        return totals
    tokens, totals = TextTokens(codec.tokenizer, loaded_model.card.name, str(path)), Totals("character")
    try:
        with open(open_regular(path), "rb") as file:
            for block in text_blocks(file, str(path)):
                for surprisals in scorer.text(tokens.read(block)):
                    totals.add(surprisals)
    except OSError as fault:
        raise TuiGenError(f"{path} cannot be read: {fault.strerror}") from fault
    totals.units = tokens.characters
    if not totals.tokens:
        raise TuiGenError(f"{path} has no text: nothing can be scored")
    return totals


def _logprobs(parts: Iterable[Sequence[Surprisal]]) -> Floats:
    return np.array([surprisal.logprob for surprisals in parts for surprisal in surprisals], dtype=np.float64)
