"""How far the predictions of two models lie apart: KL divergence token by token, and bits per character of a text."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import fields

import numpy as np

from tui_gen.card import ImageSpec
from tui_gen.errors import TuiGenError
from tui_gen.generation.branch import Branch
from tui_gen.generation.protocol import State, StepModel
from tui_gen.images.codec import ImageCodec
from tui_gen.sampling.params import Floats, Logits, log_softmax
from tui_gen.sampling.step import check_finite
from tui_gen.scoring.branch_scores import BranchScores, Part
from tui_gen.scoring.score import CodedModel, StreamScorer, Surprisal, Totals
from tui_gen.text.codec import TextCodec, TextReader
from tui_gen.text.tokenizer import TextTokens

_WHITE = " \t\n"
_LONGEST = 1024
"""Characters that are read at once, but for a longer word."""


def vocabulary_difference(one: CodedModel, other: CodedModel) -> str:
    """Why two models do not have the same tokens, in a line; empty if a token id means the same to both."""
    names = f"{one.card.name} and {other.card.name}"
    if one.card.kind != other.card.kind:
        kinds = {"text": "writes text", "image": "draws pictures"}
        return " and ".join(f"{model.card.name} {kinds[model.card.kind]}" for model in (one, other))
    if one.card.image and other.card.image and one.card.image != other.card.image:
        facts = (field.name for field in fields(ImageSpec))
        differing = [fact for fact in facts if getattr(one.card.image, fact) != getattr(other.card.image, fact)]
        return f"{names} draw pictures with other {' and '.join(differing)}"
    if one.card.vocab_size != other.card.vocab_size:
        return f"{names} have {one.card.vocab_size:,} and {other.card.vocab_size:,} tokens"
    if (one.card.bos, one.card.eos) != (other.card.bos, other.card.eos):
        return f"{names} begin or end a sample with other tokens"
    if one.codec.vocabulary != other.codec.vocabulary:
        return f"{names} have other tokens under the same ids"
    return ""


def kl_divergence(logits: Logits, others: Logits) -> Floats:
    """D(p || q) = sum over tokens of p log2(p / q), in bits: float64[batch], of two models' logits [batch, vocab].

    p and q are the models' own distributions, at temperature 1 and with nothing cut. Never negative, 0 for equal
    logits. Source: Kullback and Leibler, On Information and Sufficiency, 1951.
    """
    log_p, log_q = log_softmax(logits), log_softmax(others)
    bits: Floats = (np.exp(log_p) * (log_p - log_q)).sum(axis=1) / math.log(2)
    return np.maximum(bits, 0.0)  # rounding may leave a little less than nothing


class Divergence(BranchScores):
    """The KL divergence of another model from a branch's own, at each token, as the other one reads the branch.

    `bits` holds D(p || q) at each position, p and q being what the branch's model and the other one predict there after
    the branch's tokens before it (teacher forcing). By the chain rule the sum over a sample's positions is, in the mean
    over samples of p, the divergence of the whole sequences (Cover and Thomas, Elements of Information Theory, 2006,
    theorem 2.5.3). NaN after the end of a sample and before a picture begins.
    """

    def __init__(self, branch: Branch, codec: TextCodec | ImageCodec, other: StepModel) -> None:
        """codec: of the branch's model. other: a model with the same tokens, see `vocabulary_difference`."""
        super().__init__(branch, codec.image if isinstance(codec, ImageCodec) else None)
        self.other = other
        self._states: tuple[State, State] = branch.model.start(branch.samples), other.start(branch.samples)

    def of(self, sample: int, part: Part = "made") -> Floats:
        """Of a sample's tokens in order, in bits: float64[tokens]."""
        bits = self.bits[:, sample]
        own: Floats = bits[self._mask(sample, part, len(bits))]
        return own

    def total(self, sample: int, part: Part = "made") -> float:
        """The sum over a sample's tokens, in bits."""
        return float(self.of(sample, part).sum())

    def count(self, sample: int, part: Part = "made") -> int:
        """How many tokens of a sample that sum is over."""
        return len(self.of(sample, part))

    def _read(self, first: int, end: int) -> None:
        before = slice(first - 1, end - 1)
        tokens = np.where(self.branch.live[before], self.branch.tokens[before], 0).astype(np.int64)
        models, states = (self.branch.model, self.other), self._states
        rows = np.full((end - first, self.branch.samples), np.nan)
        for row, token in enumerate(tokens):
            (logits, state), (others, other_state) = (
                model.step(token, state) for model, state in zip(models, states, strict=True)
            )
            states = state, other_state
            position = first + row
            if position >= self._first:
                check_finite(logits, position)
                check_finite(others, position)
                rows[row] = np.where(self.branch.live[position], kl_divergence(logits, others), np.nan)
        self._states = states
        self._bits.extend(rows)  # last, for it is what others look at


class TextReading:
    """A branch's text as a model reads it, whatever its vocabulary: bits per character after the prompt.

    `update` is for a worker thread. The text is read word by word while the branch grows; a word counts once white
    space follows it or its sample has ended.
    """

    def __init__(self, branch: Branch, codec: TextCodec, reader: CodedModel) -> None:
        """codec: of the branch's model. reader: any model of text, the branch's own too."""
        assert isinstance(reader.codec, TextCodec)
        self.branch = branch
        self._position = 1
        self._samples = [_SampleReading(codec.reader(), reader, reader.codec) for _ in range(branch.samples)]
        self._reading = threading.Lock()

    def update(self, stopped: Callable[[], bool] = lambda: False, *, final: bool = False) -> bool:
        """Reads what the branch has now; returns whether all of that was read. stopped: asked every 1,000
        characters or so.

        final: the last word counts as it stands, for nothing will follow. Raises TuiGenError where the model fails.
        """
        with self._reading:
            # Asked first: what has ended now has all its tokens before `end`, however the branch grows meanwhile.
            ended = [final or self.branch.has_ended(sample) for sample in range(self.branch.samples)]
            end = len(self.branch)
            if self._position < end:
                for sample, reading in enumerate(self._samples):
                    self._take(sample, reading, end)
                self._position = end
            for is_final, reading in zip(ended, self._samples, strict=True):
                while block := reading.next_block(final=is_final):
                    if stopped():
                        return False
                    reading.read(block)
            return True

    def totals(self, sample: int) -> Totals:
        """Tokens, bits and characters after the prompt; `bits_per_unit` is what models can be compared by."""
        return self._samples[sample].totals

    def fault(self, sample: int) -> str:
        """What the model cannot read, before which its totals end; empty while it can read everything."""
        return self._samples[sample].fault

    @property
    def unknown(self) -> int:
        """Words of all samples that the model reads as unknown, prompts included: their bits say little."""
        return sum(reading.tokens.unknown for reading in self._samples)

    def _take(self, sample: int, reading: _SampleReading, end: int) -> None:
        """The prompt of a sample and what follows it, from where it was left."""
        head = max(self._position, min(end, self.branch.head))
        for part, is_prompt in ((slice(self._position, head), True), (slice(head, end), False)):
            live = self.branch.live[part, sample]
            reading.take(self.branch.tokens[part, sample][live].tolist(), is_prompt=is_prompt)


class _SampleReading:
    """One sample's text, from the tokens of one model to the bits of another."""

    def __init__(self, decoder: TextReader, reader: CodedModel, codec: TextCodec) -> None:
        self.tokens = TextTokens(codec.tokenizer, reader.card.name, "the text")
        self.totals = Totals("character")
        self.fault = ""
        self._codec, self._name = codec, reader.card.name
        self._decoder, self._scorer = decoder, StreamScorer(reader.model, np.array([[reader.card.bos]], dtype=np.int64))
        self._pending = ""
        self._prompt = 0
        """Characters of the prompt that are still to be read."""

    def take(self, tokens: list[int], *, is_prompt: bool) -> None:
        """Decodes tokens that follow."""
        text = self._decoder.read_all(tokens)
        self._pending += text
        self._prompt += len(text) if is_prompt else 0

    def next_block(self, *, final: bool) -> str:
        """The next words to be read; empty while there are none that are whole. final: the last one is."""
        if self.fault or (final and len(self._pending) <= _LONGEST):
            return "" if self.fault else self._pending
        end = max(self._pending.rfind(white, 1, _LONGEST) for white in _WHITE)
        if end < 0:
            later = [at for white in _WHITE if (at := self._pending.find(white, _LONGEST)) > 0]
            end = min(later, default=len(self._pending) if final else 0)
        return self._pending[:end]

    def read(self, block: str) -> None:
        """Scores the block that `next_block` gave."""
        self._pending = self._pending[len(block) :]
        try:
            piece = self.tokens.read(block)
        except TuiGenError as fault:
            start, end = next(iter(self._codec.unknown(block)), (0, 0))
            self.fault = f"{self._name} has never seen {block[start:end]!r}" if end else str(fault)
            piece = self.tokens.read(block[:start])
        for surprisals in self._scorer.text(piece):
            for surprisal in surprisals:
                self._count(surprisal)

    def _count(self, surprisal: Surprisal) -> None:
        """A token that the prompt ends in counts with those of its characters that follow the prompt."""
        length = len(surprisal.text)
        own = max(0, length - self._prompt)
        self._prompt -= length - own
        if own:
            self.totals.units += own
            self.totals.add([surprisal])
