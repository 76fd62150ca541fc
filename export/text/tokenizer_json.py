"""The tokenizer.json of each kind of vocabulary: characters, words, pieces of words, bytes, numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from ..build_tokenizer import UNKNOWN
from .special_tokens import Texts, is_special, token_name, unknown_token

_MARKS = ".,;:!?"
SPACE, BYTE_SPACE, WORD_END, INSIDE, GOES_ON = "▁", "Ġ", "</w>", "##", "@@"
_PIECES = {
    SPACE: re.compile(r"▁.+"),
    BYTE_SPACE: re.compile(r"Ġ.+"),
    WORD_END: re.compile(r".+</w>"),
    INSIDE: re.compile(r"##.+"),
    GOES_ON: re.compile(r".+@@"),
}
"""Marks of pieces of words: of SentencePiece, GPT-2, BPE (Sennrich et al., 2016), WordPiece, and subword-nmt."""
_LEAST = 0.02
"""Of all tokens that have the mark; fewer are words which happen to look so."""
_LONGEST_WORD = 1000


@dataclass(frozen=True)
class TokenizerFile:
    """A tokenizer.json, and what it does."""

    json: str
    text: str
    """How prompts are split, and what is printed, for people."""


def piece_mark(tokens: Texts) -> str | None:
    """What marks the pieces of words in a vocabulary; None for one of whole words or characters."""
    texts = [token for token in tokens if token and not is_special(token)]
    counts = {mark: sum(pattern.fullmatch(text) is not None for text in texts) for mark, pattern in _PIECES.items()}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] > _LEAST * len(texts) else None


def character_tokenizer_file(tokens: Texts) -> TokenizerFile:
    """A token for each character; special ones can be typed by their names."""
    tokenizer = _tokenizer(tokens)
    long = sorted((token for token in tokens if token and len(token) > 1 and _is_utf8(token)), key=len, reverse=True)
    pattern = "|".join([*map(re.escape, long), r"[\s\S]"])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return _file(tokenizer, "printed side by side")


def word_tokenizer_file(tokens: Texts, *, line_end: str | None) -> TokenizerFile:
    """Words between spaces. line_end: a token that is printed as a newline, and typed as one."""
    tokenizer = _tokenizer(tokens)
    ends = [token for token in dict.fromkeys((line_end, "\n")) if token in tokens and token]
    words = pre_tokenizers.Split(Regex(r"\n|\S+" if ends else r"\S+"), behavior="removed", invert=True)
    alone = _marks_stand_alone(tokens)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([_marks_apart(), words] if alone else [words])
    if line_end:
        newline = normalizers.Replace(Regex(r" *\n *"), f" {line_end} ")
        lowercase = [tokenizer.normalizer] if tokenizer.normalizer else []
        tokenizer.normalizer = normalizers.Sequence([*lowercase, newline])
    tokenizer.decoder = _word_decoder(ends)
    apart = ", punctuation is a word in prompts too" if alone else ""
    return _file(tokenizer, f"words with spaces between{apart}")


def _marks_apart() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(rf"(?<=\w)[{_MARKS}]+(?=\s|$)"), behavior="isolated")


def _word_decoder(ends: list[str]) -> decoders.Decoder:
    """Spaces between words, none around newlines."""
    spaces = decoders.WordPiece(prefix="\x00", cleanup=False)  # glues only what begins with that
    newlines = [decoders.Replace(f" {end}", "\n") for end in ends] + [decoders.Replace(end, "\n") for end in ends]
    return decoders.Sequence([spaces, *newlines, decoders.Fuse(), *([decoders.Replace("\n ", "\n")] if ends else [])])


def piece_tokenizer_file(tokens: Texts, mark: str) -> TokenizerFile:
    """Pieces of words, joined when they are printed. mark: one of those that `piece_mark` gives.

    A prompt is split into the longest pieces from the left: in which order a script merged them no vocabulary says.
    """
    if mark == GOES_ON:  # `lo@@ w` is `lo` and `w</w>`: the same as a mark of the end of words
        inner = {token: token.removesuffix(mark) for token in tokens if token and token.endswith(mark)}
        words = [token if is_special(token) else inner.get(token or "", f"{token}{WORD_END}") for token in tokens]
        return _piece_file(words, WORD_END, mark)
    return _piece_file(tokens, mark, mark)


def _piece_file(tokens: Texts, mark: str, name: str) -> TokenizerFile:
    tokenizer = _tokenizer(tokens)
    prefix = INSIDE if mark == INSIDE else ""
    tokenizer.model = models.WordPiece(
        tokenizer.get_vocab(),
        unk_token=unknown_token(tokens) or UNKNOWN,
        continuing_subword_prefix=prefix,
        max_input_chars_per_word=_LONGEST_WORD,
    )
    specials = [token for token in tokens if token and is_special(token)]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in specials])
    spaces = pre_tokenizers.WhitespaceSplit()
    if mark == SPACE:
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    elif mark == BYTE_SPACE:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    elif mark == INSIDE:
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer() if _marks_stand_alone(tokens) else spaces
        tokenizer.decoder = decoders.WordPiece(prefix=INSIDE, cleanup=False)
    else:
        _end_words(tokenizer, tokens, specials)
    return _file(tokenizer, f"pieces of words that {name} marks, printed joined; prompts split into the longest pieces")


def _end_words(tokenizer: Tokenizer, tokens: Texts, specials: list[str]) -> None:
    """Words that end in `</w>`, which is printed as a space."""
    lowercase = [tokenizer.normalizer] if tokenizer.normalizer else []
    marks = normalizers.Replace(Regex(rf"(?<=\w)(?=[{_MARKS}]+(\s|$))"), " ")
    alone = [marks] if f".{WORD_END}" in tokens or f",{WORD_END}" in tokens else []
    ends = normalizers.Replace(Regex(r"(?<=\S)(?=\s|$)"), WORD_END)
    tokenizer.normalizer = normalizers.Sequence([*lowercase, *alone, ends])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    spaces = [decoders.Replace(token, f"{token} ") for token in specials]
    tokenizer.decoder = decoders.Sequence([*spaces, decoders.Replace(WORD_END, " "), decoders.Fuse()])


def byte_tokenizer_file(tokens: Texts) -> TokenizerFile:
    """Of bytes, one or several a token. tokens: in the characters that `byte_text` gives."""
    tokenizer = _tokenizer(tokens)
    tokenizer.normalizer = None
    if all(len(token) == 1 for token in tokens if token and not is_special(token)):
        whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        single = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([whole, single])
        tokenizer.decoder = decoders.ByteLevel()
        return _file(tokenizer, "bytes of UTF-8")
    return _piece_file(tokens, BYTE_SPACE, BYTE_SPACE)


def byte_text(content: bytes) -> str:
    """Bytes in printable characters, as GPT-2's vocabulary has them."""
    return "".join(map(_BYTE_CHARACTERS.__getitem__, content))


def _byte_characters() -> dict[int, str]:
    """Radford et al. (2019): printable bytes stand for themselves, the others for characters from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + at) for at, byte in enumerate(others)}


_BYTE_CHARACTERS = _byte_characters()
_BYTES = {character: byte for byte, character in _BYTE_CHARACTERS.items()}


def text_of_bytes(token: str | None) -> str | None:
    """What a token in the characters of `byte_text` stands for; None for a part of a character."""
    if token is None or not {*token} <= _BYTES.keys():
        return token
    try:
        return bytes(map(_BYTES.__getitem__, token)).decode()
    except UnicodeDecodeError:
        return None


def number_tokenizer_json(size: int) -> str:
    """Tokens by their numbers: `17 3` and `token 17 token 3` are the same prompt."""
    tokenizer = Tokenizer(models.WordLevel({token_name(at): at for at in range(size)}, unk_token=UNKNOWN))
    bare = normalizers.Replace(Regex(r"\btoken\s+(?=\d)"), "")
    tokenizer.normalizer = normalizers.Sequence([bare, normalizers.Replace(Regex(r"(?<!\S)(?=\d)"), "token ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"token \d+|\S+"), behavior="removed", invert=True)
    tokenizer.decoder = decoders.WordPiece(prefix="\x00", cleanup=False)
    return str(tokenizer.to_str())


def _tokenizer(tokens: Texts) -> Tokenizer:
    """A vocabulary that reads any case, if it has small letters only. Of equal tokens the last is read."""
    last = {token: at for at, token in enumerate(tokens)}
    named = [token if token and _is_utf8(token) and last[token] == at else None for at, token in enumerate(tokens)]
    ids = {token or token_name(at): at for at, token in enumerate(named)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=unknown_token(tokens) or UNKNOWN))
    texts = [token for token in tokens if token and not is_special(token)]
    if any(text != text.upper() for text in texts) and all(text == text.lower() for text in texts):
        tokenizer.normalizer = normalizers.Lowercase()
    return tokenizer


def _file(tokenizer: Tokenizer, text: str) -> TokenizerFile:
    lower = "; prompts lower-cased, for it has small letters only" if "Lowercase" in repr(tokenizer.normalizer) else ""
    return TokenizerFile(str(tokenizer.to_str()), f"{text}{lower}")


def _is_utf8(token: str) -> bool:
    """Whether a file can hold a text."""
    return not any("\ud800" <= char <= "\udfff" for char in token)


def _marks_stand_alone(tokens: Texts) -> bool:
    """Whether the training text had spaces before its punctuation."""
    texts = {token for token in tokens if token}
    return "." in texts and "," in texts and not any(token[-1] in ",;" and len(token) > 1 for token in texts)
