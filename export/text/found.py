"""Vocabularies among plain values: lists of tokens, and dicts between tokens and ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from export.text.evidence import Said

Tokens = list[str | None]
"""The text of each id; None where none is known."""

_HINTS = (
    *("itos", "idx2word", "int2char", "id2", "ix_to", "i2", "index_to", "idx_to", "vocab", "tokens", "chars"),
    *("letters", "words", "alphabet", "symbols", "stoi", "2idx", "2int", "2id", "2i", "_to_i"),
)
_COUNTS = ("count", "freq", "occurrences")
"""What dicts between tokens and numbers that are no ids are called."""
_GAPS = 4
"""Ids without a text that a vocabulary may have, such as a 0 for padding."""


@dataclass(frozen=True)
class Found:
    """A vocabulary and where it was."""

    tokens: Tokens
    place: str
    """The keys that lead to it, such as `dictionary.idx2word`."""
    numbered: bool = False
    """Says the id of each token; a list may have been put into another order before it was used."""


def find_tokens(values: Iterable[Said], size: int) -> tuple[Found | None, list[Found]]:
    """The likeliest vocabulary for weights of `size` tokens, and all the values that might be of another size."""
    every = [
        Found(tokens, ".".join(said.path), isinstance(said.value, Mapping))
        for said in values
        if (tokens := tokens_of(said))
    ]
    fitting = [found for found in every if len(found.tokens) == size and found.tokens.count(None) <= _gaps(size)]
    best = min(fitting, key=_unlikely, default=None)
    return best, [found for found in every if _hint(found.place) < len(_HINTS)]


def _unlikely(found: Found) -> tuple[int, bool, bool, int]:
    hint = _hint(found.place)
    return found.tokens.count(None), hint == len(_HINTS), not found.numbered, hint


def _gaps(size: int) -> int:
    return max(1, min(_GAPS, size // 8))


def _hint(place: str) -> int:
    """How little the name of a value says that it is a vocabulary."""
    key = place.rpartition(".")[2].lower()
    return next((at for at, hint in enumerate(_HINTS) if hint in key), len(_HINTS))


def tokens_of(said: Said) -> Tokens | None:
    """A value as a vocabulary; None if it cannot be one."""
    value = said.value
    if isinstance(value, str):
        named = _hint(said.key) < len(_HINTS)
        return [*value] if named and len(value) > 1 and len(set(value)) == len(value) else None
    if isinstance(value, list | tuple):
        texts = [token for token in value if isinstance(token, str)]
        return [*texts] if len(texts) == len(value) == len(set(texts)) > 1 else None
    counted = any(word in said.key.lower() for word in _COUNTS)
    return _of_mapping(value) if isinstance(value, Mapping) and len(value) > 1 and not counted else None


def _of_mapping(value: Mapping[object, object]) -> Tokens | None:
    """Token to id, or id to token; in JSON, ids are texts too."""
    ids: dict[int, str] = {}
    for key, inner in value.items():
        if isinstance(inner, int) and isinstance(key, str) and not isinstance(inner, bool):
            at, token = inner, key
        elif isinstance(inner, str) and (number := _number(key)) is not None:
            at, token = number, inner
        else:
            return None
        if at in ids or not 0 <= at < len(value) + _GAPS:
            return None
        ids[at] = token
    return [ids.get(at) for at in range(max(ids) + 1)] if len(set(ids.values())) == len(ids) else None


def _number(key: object) -> int | None:
    if isinstance(key, int) and not isinstance(key, bool):
        return key
    return int(key) if isinstance(key, str) and key.isdecimal() and key.isascii() else None
