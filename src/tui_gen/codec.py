"""Between a person and token ids: prompts to ids, ids to text, ids to pixels."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream
from tokenizers.models import WordLevel

from tui_gen.card import Colour, ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.generate import FREE
from tui_gen.picture import Picture
from tui_gen.prompt_tokenizer import NOWHERE, PromptTokenizer, told
from tui_gen.sampling import Tokens
from tui_gen.wording import listed

TEXT_LENGTH = 300
"""Tokens that are generated when nobody says how many."""


class TextCodec:
    """Words or characters. An unknown word becomes the model's unknown token, if it has one."""

    unit = "token"
    """What one step makes."""
    phrases: tuple[str, ...] = ()
    """What a prompt can be completed with."""

    def __init__(self, card: ModelCard, tokenizer: str) -> None:
        self._card = card
        self.tokenizer = PromptTokenizer(tokenizer)
        """Text to ids as the model reads it, without what a prompt begins with."""
        ids = self.tokenizer.tokenizer.get_vocab(with_added_tokens=True).values()
        largest = max((token for token in ids if token < NOWHERE), default=-1)
        if largest >= card.vocab_size:
            raise TuiGenError(f"has token ids up to {largest}, but the model predicts only {card.vocab_size} tokens")

    def complete(self, text: str) -> str:
        """The prompt as the model sees it: with the prefix that the model's texts begin with."""
        prefix = self._card.prompt_prefix
        typed = text.lstrip().lower()
        return text if not typed or typed.startswith(prefix.strip().lower()) else prefix + text

    def ids(self, text: str) -> list[int]:
        """The tokens of a text in the middle of others. Raises TuiGenError for what is not known: nobody chooses it."""
        for start, end in self.tokenizer.unknown(text):
            raise TuiGenError(f"{self._card.name} does not know {text[start:end]!r}")
        return self.tokenizer.ids(text)

    def unknown(self, text: str) -> list[tuple[int, int]]:
        """The parts of a prompt, as (start, end), that the model does not know."""
        return self.tokenizer.unknown(text)

    def prompt(self, texts: Sequence[str]) -> Tokens:
        """Token ids int64[samples, n] of one prompt per sample. Raises TuiGenError that names what is not known."""
        rows = [[self._card.bos, *self._ids(text)] for text in texts]
        width = max(len(row) for row in rows)
        return np.array([row + [FREE] * (width - len(row)) for row in rows], dtype=np.int64)

    def length(self, wanted: int | None) -> int:
        """How many tokens to sample: what is wanted, within what the model can make."""
        return TEXT_LENGTH if wanted is None else wanted

    def reader(self) -> TextReader:
        """Turns one sample's tokens into text as they come."""
        return TextReader(self.tokenizer.tokenizer, self._card.eos)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of a whole sample at once; end tokens are left out."""
        kept = [token for token in tokens if token != self._card.eos]
        return self.tokenizer.decode(kept)

    def token_text(self, token: int) -> str:
        """One token by itself, as a list of tokens shows it."""
        alone = self.tokenizer.decode([token])
        if alone and "\ufffd" not in alone:
            return alone
        return self.tokenizer.tokenizer.id_to_token(token) or f"token {token}"  # such as a part of a character

    def token_colour(self, token: int, place: int) -> None:
        """Text has no colours."""

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
            return self._streamed(token)
        except TuiGenError:  # cannot be streamed; the plain pieces still can be read
            self._stream = DecodeStream(skip_special_tokens=False)
            return self._tokenizer.id_to_token(token) or ""

    def read_all(self, tokens: Sequence[int]) -> str:
        """The text that some tokens add; all at once, which is faster, where they are words that the model knows."""
        if self._whole and self._eos not in tokens and all(map(self._knows, tokens)):
            try:
                return self._streamed(list(tokens))
            except TuiGenError:  # and so will be what is read from here on
                self._whole, self._stream = False, DecodeStream(skip_special_tokens=False)
        return "".join(map(self.read, tokens))

    def _knows(self, token: int) -> bool:
        return self._tokenizer.id_to_token(token) is not None

    def _streamed(self, tokens: int | list[int]) -> str:
        with told("a decoder that rewrites what it said"):
            return self._stream.step(self._tokenizer, tokens) or ""


class ImageCodec:
    """Pictures. The prompt is a list of phrases between commas, each a condition that the model was trained with.

    Has what `TextCodec` has, so that a front end need not ask which of them it talks to.
    """

    def __init__(self, card: ModelCard, tokenizer: str | None) -> None:
        assert card.image
        self._card, self.image, self._colours = card, card.image, card.image.colours()
        self.unit = "pixel" if self.image.channels == 1 else "value"
        self._tokens = PromptTokenizer(tokenizer) if tokenizer else None
        self.phrases = self._known_phrases()

    def unknown(self, text: str) -> list[tuple[int, int]]:
        if self._tokens:
            return self._tokens.unknown(text)
        return [(0, len(text))] if text.strip() else []

    def prompt(self, texts: Sequence[str]) -> Tokens:
        rows = [self._ids(text) for text in texts]
        width = max(len(row) for row in rows)
        start = self._card.bos  # carries no condition, so it may stand any number of times
        end = list(self.image.warm_up)
        return np.array([[start] * (1 + width - len(row)) + row + end for row in rows], dtype=np.int64)

    def length(self, wanted: int | None) -> int:
        return self.image.area if wanted is None else min(wanted, self.image.area)

    def picture(self, samples: int) -> Picture:
        """Empty pictures, one per sample."""
        return Picture(self.image, samples)

    def token_text(self, token: int) -> str:
        """One pixel value by itself, as a list of tokens shows it."""
        return f"{token}"

    def token_colour(self, token: int, place: int) -> Colour | None:
        """RGB of a pixel value, the place-th token of a picture; one channel alone is so much red, green or blue."""
        if token >= self.image.levels:
            return None
        colour = self._colours[token]
        if self.image.channels == 1:
            return colour
        red, green, blue = (part if channel == place % 3 else 0 for channel, part in enumerate(colour))
        return (red, green, blue)

    def _ids(self, text: str) -> list[int]:
        for start, end in self.unknown(text):
            raise TuiGenError(f"{self._card.name} cannot draw {text[start:end]!r}; {self._hint(text[start:end])}")
        if not self._tokens:
            return []
        ids = list(dict.fromkeys(self._tokens.ids(text)))
        rivals = [token for token in ids if token in self.image.exclusive]
        if len(rivals) > 1:
            named = listed([f"{self._tokens.tokenizer.id_to_token(token)!r}" for token in rivals])
            raise TuiGenError(f"{self._card.name} takes one of {named}, not several")
        return ids

    def _hint(self, phrase: str) -> str:
        if not self.phrases:
            return "it takes no prompt"
        close = difflib.get_close_matches(phrase.lower(), self.phrases, n=4, cutoff=0.5) or self.phrases[:8]
        return f"it knows {', '.join(close)}" + (", ..." if len(close) < len(self.phrases) else "")

    def _known_phrases(self) -> tuple[str, ...]:
        if not self._tokens:
            return ()
        vocab = self._tokens.tokenizer.get_vocab(with_added_tokens=True)
        strange = set(vocab.values()) - set(self.image.conditions) - {NOWHERE}
        if strange:
            raise TuiGenError(f"has the id {min(strange)}, which is not one of image.conditions in config.json")
        return tuple(sorted(phrase for phrase, token in vocab.items() if token != NOWHERE))


def codec_for(card: ModelCard, tokenizer: str | None) -> TextCodec | ImageCodec:
    """The codec of a model; tokenizer is the text of its tokenizer.json. Raises TuiGenError that says what is wrong."""
    if card.image:
        if card.image.conditions and not tokenizer:
            raise TuiGenError("is missing; the model's prompts need it")
        return ImageCodec(card, tokenizer)
    if not tokenizer:
        raise TuiGenError("is missing")
    return TextCodec(card, tokenizer)
