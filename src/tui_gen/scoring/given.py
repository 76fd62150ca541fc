"""Many texts, lines or pictures that are scored: read out of files, as tokens, and a row of figures of each."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

from tui_gen.card import ImageSpec
from tui_gen.errors import errors_of
from tui_gen.images.codec import ImageCodec
from tui_gen.images.read import read_whole
from tui_gen.sampling.params import Tokens
from tui_gen.scoring.score import CodedModel, check_scores, given_ids, score_ids
from tui_gen.text.tokenizer import TextTokens, text_blocks, text_lines

OpenFile = Callable[[str], AbstractContextManager[io.BufferedIOBase]]
"""Opens a file for reading; raises TuiGenError for one that cannot be read."""


class Given(NamedTuple):
    """A text or a picture that is scored."""

    source: str
    """A line itself, else the name of the file."""
    content: str | Tokens
    """The text; or the levels of a picture, int64[height, width] or [height, width, 3]."""
    name: str
    """What errors call the file."""
    line: int = 0
    """Where a line stands in it, from 1; 0 of a whole file."""
    prompt: str = ""
    """What comes before, or what the picture shows."""
    rows: int = 1
    """Always one."""

    @property
    def place(self) -> str:
        """What errors call it."""
        return f"line {self.line} of {self.name}" if self.line else self.name


def read_given(
    path: str, open_file: OpenFile, *, by_line: bool, prompt: str = "", image: ImageSpec | None = None
) -> Iterator[Given]:
    """What a file holds. image: of the model; None for one of text. Raises TuiGenError for what cannot be read."""
    if image:
        yield Given(path, read_whole(path, image), path, prompt=prompt)
        return
    name = "stdin" if path == "-" else path
    with open_file(path) as file:
        if by_line:
            for number, line in enumerate(text_lines(file, name), 1):
                yield Given(line, line, name, number, prompt)
        else:
            yield Given(path, "".join(text_blocks(file, name)), name, prompt=prompt)


@dataclass(frozen=True, slots=True)
class GivenScore:
    """How likely a model finds a text or a picture."""

    number: int
    """Among all that are scored, from 0."""
    given: Given
    units: int
    """Characters or pixels."""
    tokens: int
    logprob: float
    ended: bool
    """Whether its last token is the model's end token."""

    @property
    def bits(self) -> float:
        """Surprisal of all tokens together."""
        return 0.0 - self.logprob / math.log(2)

    def row(self, key: str) -> dict[str, Any]:
        """With the keys that a sample has. key: what the source is, `text` or `file`."""
        figures = {"tokens": self.tokens, "logprob": round(self.logprob, 6), "ended": self.ended}
        return {"sample": self.number, "prompt": self.given.prompt, key: self.given.source, **figures}


class GivenReader:
    """Reads prompts, texts and pictures as a model does, and notes the words that it does not know."""

    def __init__(self, loaded_model: CodedModel) -> None:
        self._loaded_model, codec = loaded_model, loaded_model.codec
        self.words = None if isinstance(codec, ImageCodec) else TextTokens(codec.tokenizer, loaded_model.card.name, "")
        """Counts them; None for a model of pictures."""

    def prompt(self, text: str) -> None:
        """Raises TuiGenError for what the model cannot read."""
        self._loaded_model.codec.prompt([text])
        if self.words:
            for start, end in self._loaded_model.codec.unknown(text):
                self.words.note(text[start:end])

    def ids(self, given: Given) -> list[int]:
        """The tokens. Raises TuiGenError likewise, with the place."""
        if self.words is None or not isinstance(given.content, str):
            return given_ids(self._loaded_model, given.content)
        return self.words.ids(given.content, given.name, given.line or 1)

    def scores(self, batch: Sequence[Given], first: int) -> Iterator[GivenScore]:
        """Of all of them, read together. first: the number of the first one. Raises TuiGenError with the place."""
        texts, eos = [self.ids(given) for given in batch], self._loaded_model.card.eos
        logprobs = score_ids(self._loaded_model, texts, [given.prompt for given in batch])
        for number, (given, ids, each) in enumerate(zip(batch, texts, logprobs, strict=True), first):
            with errors_of(f"{given.place}:"):
                check_scores(each)
            image = self._loaded_model.card.image
            units = image.height * image.width if image else len(given.content)
            ended = eos is not None and ids[-1:] == [eos]
            yield GivenScore(number, given, units, len(ids), float(each.sum()), ended)
