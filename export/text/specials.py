"""Tokens of a vocabulary that stand for no text: beginnings, ends, unknown words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from export.text.found import Tokens

STARTS = ("bos", "s", "sos", "start", "go", "stop", "endoftext", "eos", "/s", "end", "\n", " ")
"""What every sample may start from, the likeliest first."""
ENDS = ("stop", "endoftext", "eos", "eop", "end", "/s", "eot")
"""What may end a sample."""
_UNKNOWN = ("unk", "unknown", "oov")
_MARKED = re.compile(r"<\|?(.+?)\|?>|\[([A-Z]+)\]|_{1,2}([A-Za-z]+)_{1,2}|xx(bos|eos|unk|pad)|([A-Z]{3,})")
_BARE = {"BOS", "SOS", "START", "GO", "EOS", "END", "STOP", "EOT", "UNK", "UNKNOWN", "OOV", "PAD"}


def meaning(token: str | None) -> str:
    """`<EOS>`, `[EOS]`, `EOS` and `__eos__` all mean `eos`; empty for a token that is a text."""
    match = _MARKED.fullmatch(token or "")
    if not match or (match[5] and match[5] not in _BARE):
        return token if token in ("\n", " ") else ""
    return next(part for part in match.groups() if part).lower()


def is_special(token: str | None) -> bool:
    """Whether a token longer than a character stands for no text."""
    return token is None or (len(token) > 1 and bool(meaning(token)))


def unknown_token(tokens: Tokens) -> str | None:
    """The token for what the vocabulary does not have."""
    return next((token for token in tokens if token and meaning(token) in _UNKNOWN), None)


def first_meaning(tokens: Tokens, wanted: Sequence[str]) -> int | None:
    """The id of the token whose meaning comes first among those wanted."""
    places = {name: at for at, token in reversed(list(enumerate(tokens))) if (name := meaning(token))}
    return next((places[name] for name in wanted if name in places), None)
