"""Vocabularies: files of tokens, values that may be one, special tokens, and the tokenizer.json of each kind."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from tui_gen.errors import TuiGenError

from ..build_tokenizer import UNKNOWN
from .metadata import Setting, walk

CHARACTER_SETS: dict[str, tuple[str, ...]] = {
    "printable": tuple(string.printable),
    "ascii": tuple(map(chr, range(128))),
    "letters": tuple(string.ascii_letters),
    "lowercase": tuple(string.ascii_lowercase),
}
"""Sets of characters in the order of their ids, by the names that --vocab takes; `bytes` is another."""
BYTES = "bytes"
_PICKLES = (".pkl", ".pickle", ".pt", ".pth")
_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\r": "\r", "\\s": " ", "\\\\": "\\"}
_MARKS = ".,;:!?"
Texts = list[str | None]
"""The text of each id; None where none is known."""
_HINTS = (
    *("itos", "idx2word", "int2char", "id2", "ix_to", "i2", "index_to", "idx_to", "vocab", "tokens", "chars"),
    *("letters", "words", "alphabet", "symbols", "stoi", "2idx", "2int", "2id", "2i", "_to_i"),
)
_COUNTS = ("count", "freq", "occurrences")
"""What dicts between tokens and numbers that are no ids are called."""
_GAPS = 4
"""Ids without a text that a vocabulary may have, such as a 0 for padding."""
BEGINNINGS = ("bos", "s", "sos", "start", "go", "stop", "endoftext", "eos", "/s", "end", "\n", " ")
"""What every sample may start from, the likeliest first."""
ENDS = ("stop", "endoftext", "eos", "eop", "end", "/s", "eot")
"""What may end a sample."""
_UNKNOWN = ("unk", "unknown", "oov")
_MARKED = re.compile(r"<\|?(.+?)\|?>|\[([A-Z]+)\]|_{1,2}([A-Za-z]+)_{1,2}|xx(bos|eos|unk|pad)|([A-Z]{3,})")
_BARE = {"BOS", "SOS", "START", "GO", "EOS", "END", "STOP", "EOT", "UNK", "UNKNOWN", "OOV", "PAD"}


@dataclass(frozen=True)
class VocabularyFile:
    """A vocabulary from outside the checkpoint."""

    origin: str
    tokens: Texts = field(default_factory=list)
    tokenizer: str = ""
    """The text of a tokenizer.json, in place of tokens."""


def read_vocabulary_file(name: str, size: int) -> VocabularyFile:
    """What --vocab names, of any size. Raises TuiGenError for a file in no known form.

    size: how many tokens the weights know, to choose by if a file holds several vocabularies.
    """
    path = Path(name)
    if name in CHARACTER_SETS and not path.exists():
        return VocabularyFile(f"the {len(CHARACTER_SETS[name])} characters called {name}", [*CHARACTER_SETS[name]])
    beginning = _beginning(path)
    if beginning.startswith((b"\x80", b"PK")) or path.suffix in _PICKLES:
        from ..checkpoints.load import load_values  # the help would wait for PyTorch

        return _of_values(path, load_values(path), size)
    text = read_text_file(path)
    value = _json(text) if beginning.lstrip()[:1] in (b"{", b"[") else None
    if isinstance(value, dict) and isinstance(value.get("model"), dict) and "vocab" in value["model"]:
        return VocabularyFile(str(path), tokenizer=text)
    return VocabularyFile(str(path), _lines(text, size)) if value is None else _of_values(path, value, size)


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except FileNotFoundError:
        names = ", ".join((*CHARACTER_SETS, BYTES))
        raise TuiGenError(f"--vocab {path}: there is no such file; a name instead of a file is {names}") from None
    except OSError as fault:
        raise TuiGenError(f"--vocab {path} cannot be read: {fault.strerror}") from fault


def _json(text: str) -> object:
    """None for what is no JSON: a list of tokens may begin with a bracket."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _of_values(path: Path, value: object, size: int) -> VocabularyFile:
    best, others = find_vocabularies(walk(value, ("vocab",)), size)
    vocabulary = best or max(others, key=lambda other: len(other.tokens), default=None)
    if vocabulary is None:
        raise TuiGenError(f"--vocab {path} holds no list of tokens, and no dict between tokens and ids")
    return VocabularyFile(str(path), vocabulary.tokens)


def _lines(text: str, size: int) -> Texts:
    """One token a line, perhaps with its id; newlines and the like as backslash and letter, or an empty line."""
    lines = text.split("\n")
    lines = lines if lines[-1] else lines[:-1]
    by_id = _numbered_lines(lines)
    if by_id:
        return by_id
    tokens = [_ESCAPES.get(line, line) for line in lines]
    if len(tokens) == size + 1 and "\n" not in tokens:  # a newline on a line of its own reads as two empty lines
        tokens = [token for at, token in enumerate(tokens) if token or at == 0 or tokens[at - 1]]
    return ["\n" if not token and "\n" not in tokens else token for token in tokens]


def _numbered_lines(lines: list[str]) -> Texts | None:
    """Lines of a token and its id, or of an id and its token, with a tab or a space between; None for others."""
    for sign in ("\t", " "):
        token_first = [line.rpartition(sign)[::2] for line in lines]
        id_first = [line.partition(sign)[::-2] for line in lines]
        for pairs in (token_first, id_first):
            ids = {int(at): token for token, at in pairs if at.isdecimal() and at.isascii() and len(at) < 10}
            if len(ids) == len(lines) > 1 and ids.keys() == set(range(len(ids))):
                return [_ESCAPES.get(ids[at], ids[at]) for at in range(len(ids))]
    return None


def read_text_file(path: Path) -> str:
    """A UTF-8 text with plain newlines. Raises TuiGenError that names the file."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise TuiGenError(f"{path} is not UTF-8 text: {fault.reason} at byte {fault.start}") from fault
    except OSError as fault:
        raise TuiGenError(f"{path} cannot be read: {fault.strerror}") from fault


@dataclass(frozen=True)
class StoredVocabulary:
    """A vocabulary and where it was."""

    tokens: Texts
    key: str
    """The keys that lead to it, such as `dictionary.idx2word`."""
    has_ids: bool = False
    """Says the id of each token; a list may have been put into another order before it was used."""

    @property
    def hint(self) -> int:
        """How little the last key says that it is a vocabulary."""
        return _hint(self.key.rpartition(".")[2])


def find_vocabularies(settings: Iterable[Setting], size: int) -> tuple[StoredVocabulary | None, list[StoredVocabulary]]:
    """The likeliest vocabulary for weights of `size` tokens, and all the values that might be of another size."""
    every = [
        StoredVocabulary(tokens, ".".join(setting.path), isinstance(setting.value, Mapping))
        for setting in settings
        if (tokens := _tokens_of(setting))
    ]
    gaps = max(1, min(_GAPS, size // 8))
    fitting = [other for other in every if len(other.tokens) == size and other.tokens.count(None) <= gaps]
    best = min(fitting, key=_unlikelihood, default=None)
    return best, [other for other in every if other.hint < len(_HINTS)]


def _unlikelihood(vocabulary: StoredVocabulary) -> tuple[int, bool, bool, int]:
    hint = vocabulary.hint
    return vocabulary.tokens.count(None), hint == len(_HINTS), not vocabulary.has_ids, hint


def _hint(key: str) -> int:
    return next((at for at, hint in enumerate(_HINTS) if hint in key.lower()), len(_HINTS))


def _tokens_of(setting: Setting) -> Texts | None:
    """A value as a vocabulary; None if it cannot be one."""
    value = setting.value
    if isinstance(value, str):
        is_vocabulary = _hint(setting.key) < len(_HINTS) and len(value) > 1 and len(set(value)) == len(value)
        return [*value] if is_vocabulary else None
    if isinstance(value, list | tuple):
        texts = [token for token in value if isinstance(token, str)]
        return [*texts] if len(texts) == len(value) == len(set(texts)) > 1 else None
    counts = any(word in setting.key.lower() for word in _COUNTS)
    return _of_mapping(value) if isinstance(value, Mapping) and len(value) > 1 and not counts else None


def _of_mapping(value: Mapping[object, object]) -> Texts | None:
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


def meaning(token: str | None) -> str:
    """`<EOS>`, `[EOS]`, `EOS` and `__eos__` all mean `eos`; empty for a token that is a text."""
    match = _MARKED.fullmatch(token or "")
    if not match or (match[5] and match[5] not in _BARE):
        return token if token in ("\n", " ") else ""
    return next(part for part in match.groups() if part).lower()


def _is_special(token: str | None) -> bool:
    """Whether a token longer than a character stands for no text."""
    return token is None or (len(token) > 1 and bool(meaning(token)))


def _unknown_token(tokens: Texts) -> str | None:
    """The token for what the vocabulary does not have."""
    return next((token for token in tokens if token and meaning(token) in _UNKNOWN), None)


def first_meaning(tokens: Texts, meanings: Sequence[str]) -> int | None:
    """The id of the token whose meaning comes first in a list."""
    places = {name: at for at, token in reversed(list(enumerate(tokens))) if (name := meaning(token))}
    return next((places[name] for name in meanings if name in places), None)


def token_name(token: int) -> str:
    """What a token without a text is called."""
    return f"token {token}"


def is_characters(tokens: Texts) -> bool:
    """Whether every token but the special ones is a single character."""
    texts = [token for token in tokens if token and not _is_special(token)]
    return bool(texts) and all(len(token) == 1 for token in texts)


def character_tokenizer_json(tokens: Texts) -> str:
    """A token for each character; special ones can be typed by their names."""
    tokenizer = _tokenizer(tokens)
    long = sorted((token for token in tokens if token and len(token) > 1), key=len, reverse=True)
    pattern = "|".join([*map(re.escape, long), r"[\s\S]"])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return str(tokenizer.to_str())


def word_tokenizer_json(tokens: Texts, *, line_end: str | None) -> str:
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
    spaces = decoders.WordPiece(prefix="\x00", cleanup=False)  # glues only what begins with that
    newlines = [decoders.Replace(f" {end}", "\n") for end in ends] + [decoders.Replace(end, "\n") for end in ends]
    return decoders.Sequence([spaces, *newlines, decoders.Fuse(), *([decoders.Replace("\n ", "\n")] if ends else [])])


def byte_tokenizer_json() -> str:
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


def number_tokenizer_json(size: int) -> str:
    """Tokens by their numbers: `17 3` and `token 17 token 3` are the same prompt."""
    tokenizer = Tokenizer(models.WordLevel({token_name(at): at for at in range(size)}, unk_token=UNKNOWN))
    bare = normalizers.Replace(Regex(r"\btoken\s+(?=\d)"), "")
    tokenizer.normalizer = normalizers.Sequence([bare, normalizers.Replace(Regex(r"(?<!\S)(?=\d)"), "token ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"token \d+|\S+"), behavior="removed", invert=True)
    tokenizer.decoder = decoders.WordPiece(prefix="\x00", cleanup=False)
    return str(tokenizer.to_str())


def _tokenizer(tokens: Texts) -> Tokenizer:
    """A vocabulary that reads any case, if it has small letters only."""
    ids = {token if token and _is_utf8(token) else token_name(at): at for at, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=_unknown_token(tokens) or UNKNOWN))
    texts = [token for token in tokens if token and not _is_special(token)]
    if any(text != text.upper() for text in texts) and all(text == text.lower() for text in texts):
        tokenizer.normalizer = normalizers.Lowercase()
    return tokenizer


def _is_utf8(token: str) -> bool:
    """Whether a file can hold a text."""
    return not any("\ud800" <= char <= "\udfff" for char in token)


def _marks_stand_alone(tokens: Texts) -> bool:
    """Whether the training text had spaces before its punctuation."""
    texts = {token for token in tokens if token}
    return "." in texts and "," in texts and not any(token[-1] in ",;" and len(token) > 1 for token in texts)
