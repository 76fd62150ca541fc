"""`ImageCodec`: phrases of a prompt to token ids, token ids to levels and colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tui_gen.card import MAX_PROMPT, Colour, ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.images.picture import Picture, check_size
from tui_gen.sampling.params import Tokens
from tui_gen.terminal_text import listed, nearest
from tui_gen.text.tokenizer import Encoder, PromptTokenizer

_HINTS = 12
"""Phrases up to which all are named to somebody who asked for another one."""


class ImageCodec:
    """Pictures. The prompt is a list of phrases between commas, each a condition that the model was trained with."""

    def __init__(self, card: ModelCard, tokenizer: str | None, encoder: Encoder | None = None) -> None:
        assert card.image
        self._card, self.image, self._colours = card, card.image, card.image.colours()
        self.unit = "pixel" if self.image.channels == 1 else "value"
        self._tokens = PromptTokenizer(tokenizer, encoder) if tokenizer else None
        self.phrases = self._known_phrases()
        exclusive = set(self.image.exclusive)
        self._rivals = {phrase for phrase in self.phrases if self._id(phrase) in exclusive}

    @property
    def vocabulary(self) -> dict[str, int]:
        """The id of every phrase."""
        return self._tokens.vocabulary if self._tokens else {}

    def unknown(self, text: str) -> list[tuple[int, int]]:
        if len(text) > MAX_PROMPT:  # white space around commas is found in a time that grows with the square of it
            raise TuiGenError(f"a prompt for a picture has at most {MAX_PROMPT:,} characters, not {len(text):,}")
        if self._tokens:
            return self._tokens.unknown(text)
        return [(0, len(text))] if text.strip() else []

    def endings(self, text: str) -> list[str]:
        """Of the phrase after the last comma; of phrases that the prompt has, or that exclude one of its, none."""
        before, _, start = text.lower().rpartition(",")
        chosen = {" ".join(phrase.split()) for phrase in before.split(",")}
        start = start.lstrip()
        return [
            phrase[len(start) :]
            for phrase in self.phrases
            if phrase.startswith(start) and phrase != start and not self._excludes(phrase, chosen)
        ]

    def prompt(self, texts: Sequence[str]) -> Tokens:
        check_size(self.image, len(texts))
        ids = {text: self._ids(text) for text in dict.fromkeys(texts)}
        rows = [ids[text] for text in texts]
        width = max(len(row) for row in rows)
        start = self._card.bos  # carries no condition, so it may stand any number of times
        end = list(self.image.warm_up)
        return np.array([[start] * (1 + width - len(row)) + row + end for row in rows], dtype=np.int64)

    def hurry(self, patience: float) -> None:
        if self._tokens:
            self._tokens.hurry(patience)

    def length(self, count: int | None) -> int:
        return self.image.area if count is None else min(count, self.image.area)

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
            names = listed([f"{self._tokens.tokenizer.id_to_token(token)!r}" for token in rivals])
            raise TuiGenError(f"{self._card.name} takes one of {names}, not several")
        return ids

    def _excludes(self, phrase: str, others: set[str]) -> bool:
        return phrase in others or (phrase in self._rivals and not others.isdisjoint(self._rivals))

    def _hint(self, phrase: str) -> str:
        if not self.phrases:
            return "it takes no prompt"
        near = nearest(phrase, self.phrases, cutoff=0.5)
        if len(self.phrases) > _HINTS:
            shown = near or self.phrases[:_HINTS]
            return (
                f"it knows {', '.join(shown)} and {len(self.phrases) - len(shown)} others, which tui-gen inspect lists"
            )
        return f"it knows {', '.join(dict.fromkeys([*near, *self.phrases]))}"

    def _id(self, phrase: str) -> int | None:
        return self._tokens.tokenizer.token_to_id(phrase) if self._tokens else None

    def _known_phrases(self) -> tuple[str, ...]:
        vocab = self.vocabulary
        strange = set(vocab.values()) - set(self.image.conditions)
        if strange:
            raise TuiGenError(f"has the id {min(strange)}, which is not one of image.conditions in config.json")
        return tuple(sorted(vocab))
