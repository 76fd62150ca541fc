"""Lists of tokens as the text of a tokenizer.json, which types and prints them as a person would."""

from __future__ import annotations

import re

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from export.text.found import Tokens
from export.text.specials import is_special, unknown_token
from export.tokenizing import UNKNOWN

_MARKS = ".,;:!?"


def token_name(token: int) -> str:
    """What a token without a text is called."""
    return f"token {token}"


def is_characters(tokens: Tokens) -> bool:
    """Whether every token but the special ones is a single character."""
    texts = [token for token in tokens if token and not is_special(token)]
    return bool(texts) and all(len(token) == 1 for token in texts)


def character_file(tokens: Tokens) -> str:
    """A token for each character; special ones can be typed by their names."""
    tokenizer = _tokenizer(tokens)
    long = sorted((token for token in tokens if token and len(token) > 1), key=len, reverse=True)
    pattern = "|".join([*map(re.escape, long), r"[\s\S]"])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return str(tokenizer.to_str())


def word_file(tokens: Tokens, *, line_end: str | None) -> str:
    """Words between spaces. line_end: a token that is printed as a newline, and typed as one."""
    tokenizer = _tokenizer(tokens)
    ends = [token for token in dict.fromkeys((line_end, "\n")) if token in tokens and token]
    words = pre_tokenizers.Split(Regex(r"\n|\S+" if ends else r"\S+"), behavior="removed", invert=True)
    marks = pre_tokenizers.Split(Regex(rf"(?<=\w)[{_MARKS}]+(?=\s|$)"), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([marks, words] if _marks_stand_alone(tokens) else [words])
    if line_end:
        newline = normalizers.Replace(Regex(r" *\n *"), f" {line_end} ")
        lowercase = [tokenizer.normalizer] if tokenizer.normalizer else []
        tokenizer.normalizer = normalizers.Sequence([*lowercase, newline])
    tokenizer.decoder = _word_decoder(ends)
    return str(tokenizer.to_str())


def _word_decoder(ends: list[str]) -> decoders.Decoder:
    """Spaces between words, none around newlines."""
    spaced = decoders.WordPiece(prefix="\x00", cleanup=False)  # glues only what begins with that
    newlines = [decoders.Replace(f" {end}", "\n") for end in ends] + [decoders.Replace(end, "\n") for end in ends]
    return decoders.Sequence([spaced, *newlines, decoders.Fuse(), *([decoders.Replace("\n ", "\n")] if ends else [])])


def byte_file() -> str:
    """A token for each byte of UTF-8."""
    characters = {character: byte for byte, character in _byte_characters().items()}
    tokenizer = Tokenizer(models.WordLevel(characters, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated"),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return str(tokenizer.to_str())


def _byte_characters() -> dict[int, str]:
    """Radford et al. (2019): printable bytes stand for themselves, the others for characters from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + at) for at, byte in enumerate(others)}


def nameless_file(size: int) -> str:
    """Tokens by their numbers: `17 3` and `token 17 token 3` are the same prompt."""
    tokenizer = Tokenizer(models.WordLevel({token_name(at): at for at in range(size)}, unk_token=UNKNOWN))
    bare = normalizers.Replace(Regex(r"\btoken\s+(?=\d)"), "")
    tokenizer.normalizer = normalizers.Sequence([bare, normalizers.Replace(Regex(r"(?<!\S)(?=\d)"), "token ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"token \d+|\S+"), behavior="removed", invert=True)
    tokenizer.decoder = decoders.WordPiece(prefix="\x00", cleanup=False)
    return str(tokenizer.to_str())


def _tokenizer(tokens: Tokens) -> Tokenizer:
    """A vocabulary that reads any case, if it has small letters only."""
    named = [token if token and _can_stand(token) else token_name(at) for at, token in enumerate(tokens)]
    ids = {token: at for at, token in enumerate(named)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=unknown_token(tokens) or UNKNOWN))
    texts = [token for token in tokens if token and not is_special(token)]
    if any(text != text.upper() for text in texts) and all(text == text.lower() for text in texts):
        tokenizer.normalizer = normalizers.Lowercase()
    return tokenizer


def _can_stand(token: str) -> bool:
    """Whether a token is a text that a file can hold."""
    return not any("\ud800" <= char <= "\udfff" for char in token)


def _marks_stand_alone(tokens: Tokens) -> bool:
    """Whether the training text had spaces before its punctuation."""
    texts = {token for token in tokens if token}
    return "." in texts and "," in texts and not any(token[-1] in ",;" and len(token) > 1 for token in texts)
