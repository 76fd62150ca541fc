"""`Codec`, what text and image models share, and `TextCodec`: prompts to token ids, token ids to text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream
from tokenizers.models import WordLevel

from tui_gen.card import Colour, ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.sampling.params import FREE, TEXT_LENGTH, Tokens
from tui_gen.text.tokenizer import NOWHERE, Encoder, Piece, PromptTokenizer, TextTokens, errors_as

_LEAST_BEGINNING = 2
"""Letters of a word before it is completed: too many words begin with any one letter."""


class Codec(Protocol):
    """Between a person and a model, whatever it generates: prompts to token ids, token ids to what a person reads."""

    @property
    def unit(self) -> str:
        """What one step makes: `token`, `pixel` or `value`."""
        ...

    @property
    def phrases(self) -> tuple[str, ...]:
        """What a prompt can be completed with."""
        ...

    @property
    def vocabulary(self) -> dict[str, int]:
        """The id of every token that has a name."""
        ...

    def unknown(self, text: str) -> list[tuple[int, int]]:
        """The parts of a prompt, as (start, end), that the model does not know."""
        ...

    def endings(self, text: str) -> list[str]:
        """What can follow a prompt to end the word or phrase that it breaks off in, the most frequent one first."""
        ...

    def prompt(self, texts: Sequence[str]) -> Tokens:
        """Token ids int64[samples, n] of one prompt per sample. Raises TuiGenError that names what is not known."""
        ...

    def hurry(self, patience: float) -> None:
        """Lets a thread with an event loop wait so many seconds at most, then raises WaitingError for it."""
        ...

    def length(self, count: int | None) -> int:
        """How many tokens to sample: so many, within what the model can make."""
        ...

    def token_text(self, token: int) -> str:
        """One token by itself, as a list of tokens shows it."""
        ...

    def token_colour(self, token: int, place: int) -> Colour | None:
        """RGB of the place-th token of a picture; None where the token has no colour."""
        ...


class TextCodec:
    """Words or characters. An unknown word becomes the model's unknown token, if it has one."""

    unit = "token"
    phrases: tuple[str, ...] = ()

    def __init__(self, card: ModelCard, tokenizer: str, encoder: Encoder | None = None) -> None:
        self._card = card
        self.tokenizer = PromptTokenizer(tokenizer, encoder)
        """Text to ids as the model reads it, without what a prompt begins with."""
        largest = max(self.vocabulary.values(), default=-1)
        if largest >= card.vocab_size:
            raise TuiGenError(f"has token ids up to {largest}, but the model predicts only {card.vocab_size} tokens")

    @property
    def vocabulary(self) -> dict[str, int]:
        """The id of every token."""
        return self.tokenizer.vocabulary

    def complete(self, text: str) -> str:
        """The prompt as the model sees it: with the prefix that the model's texts begin with."""
        prefix = self._card.prompt_prefix
        prompt_start = text.lstrip().lower()
        return text if not prompt_start or prompt_start.startswith(prefix.strip().lower()) else prefix + text

    def ids(self, text: str) -> list[int]:
        """The tokens of a text in the middle of others. Raises TuiGenError for what is not known: nobody chooses it."""
        for start, end in self.tokenizer.unknown(text):
            raise TuiGenError(f"{self._card.name} does not know {text[start:end]!r}")
        return self.tokenizer.ids(text)

    def unknown(self, text: str) -> list[tuple[int, int]]:
        """The parts of a prompt, as (start, end), that the model does not know."""
        return self.tokenizer.unknown(text)

    def endings(self, text: str) -> list[str]:
        """Of words that the model knows as one token; none for a word that is whole, or hardly begun."""
        start = self.tokenizer.last_word(text) if self._words else ""
        if len(start) < _LEAST_BEGINNING or start in self._words:
            return []
        return [word[len(start) :] for word in self._words if word.startswith(start)]

    def prompt(self, texts: Sequence[str]) -> Tokens:
        """Token ids int64[samples, n] of one prompt per sample. Raises TuiGenError that names what is not known."""
        ids = {text: [self._card.bos, *self._ids(text)] for text in dict.fromkeys(texts)}
        rows = [ids[text] for text in texts]
        width = max(len(row) for row in rows)
        return np.array([row + [FREE] * (width - len(row)) for row in rows], dtype=np.int64)

    def hurry(self, patience: float) -> None:
        """Lets a thread with an event loop wait so many seconds at most, then raises WaitingError for it."""
        self.tokenizer.hurry(patience)

    def split(self, text: str) -> Piece:
        """The tokens of a prompt after what it begins with, and what was typed for each. Raises TuiGenError."""
        return TextTokens(self.tokenizer, self._card.name, "the prompt").read(self.complete(text))

    def length(self, count: int | None) -> int:
        """How many tokens to sample: so many, within what the model can make."""
        return TEXT_LENGTH if count is None else count

    def reader(self) -> TextReader:
        """Turns one sample's tokens into text as they come."""
        return TextReader(self.tokenizer.tokenizer, self._card.eos)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of a whole sample at once; end tokens are left out."""
        ids_without_end = [token for token in tokens if token != self._card.eos]
        return self.tokenizer.decode(ids_without_end)

    def token_text(self, token: int) -> str:
        """One token by itself, as a list of tokens shows it."""
        alone = self.tokenizer.decode([token])
        if alone and "\ufffd" not in alone:
            return alone
        return self.tokenizer.tokenizer.id_to_token(token) or f"token {token}"  # such as a part of a character

    def token_colour(self, token: int, place: int) -> None:
        """Text has no colours."""

    @cached_property
    def _words(self) -> dict[str, int]:
        """Those of a vocabulary of whole words, by their ids: the exporter numbers them by their frequency."""
        signs = (self._card.bos, self._card.eos, self.tokenizer.unknown_id)
        return {word: token for word, token in self.tokenizer.whole_words() if token not in signs}

    def _ids(self, text: str) -> list[int]:
        text = self.complete(text)
        ids = self.tokenizer.ids(text)
        if any(token >= NOWHERE for token in ids):
            start, end = self.unknown(text)[0]
            raise TuiGenError(f"{self._card.name} has never seen {text[start:end]!r}; leave it out of the prompt")
        return ids


class TextReader:
    """Decodes tokens one by one; a character that several tokens spell appears when it is whole."""

    def __init__(self, tokenizer: Tokenizer, eos: int | None) -> None:
        self._tokenizer, self._eos = tokenizer, eos
        self._stream = DecodeStream(skip_special_tokens=False)
        self._whole = isinstance(tokenizer.model, WordLevel)  # no token is a part of a character

    def read(self, token: int) -> str:
        """The text that this token adds; nothing for the end token."""
        if token == self._eos:
            return ""
        if not self._knows(token):
            return f" token {token} "
        try:
            return self._stream_text(token)
        except TuiGenError:  # cannot be streamed; the plain pieces still can be read
            self._stream = DecodeStream(skip_special_tokens=False)
            return self._tokenizer.id_to_token(token) or ""

    def read_all(self, tokens: Sequence[int]) -> str:
        """The text that some tokens add; all at once, which is faster, where they are words that the model knows."""
        if self._whole and self._eos not in tokens and all(map(self._knows, tokens)):
            try:
                return self._stream_text(list(tokens))
            except TuiGenError:  # and so will be what is read from here on
                self._whole, self._stream = False, DecodeStream(skip_special_tokens=False)
        return "".join(map(self.read, tokens))

    def _knows(self, token: int) -> bool:
        return self._tokenizer.id_to_token(token) is not None

    def _stream_text(self, tokens: int | list[int]) -> str:
        try:
            return self._stream.step(self._tokenizer, tokens) or ""
        except BaseException:
            with errors_as(
                "a decoder that rewrites what it said"
            ):  # entered here alone, for it takes as long as a step
                raise
