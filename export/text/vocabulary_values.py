"""Vocabularies among plain values: lists of tokens, dicts between tokens and ids, tokenizers saved as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tui_gen.errors import TuiGenError
from tui_gen.json_fields import parse_json

from .metadata import Setting, walk
from .special_tokens import Texts, token_name
from .tokenizer_json import byte_text

_HINTS = (
    *("itos", "idx2word", "int2char", "id2", "x2", "i2", "ix_to", "index_to", "idx_to", "id_to", "ids_to", "vocab"),
    *("tokens", "chars", "characters", "letters", "words", "alphabet", "symbols", "lexicon", "stoi", "2idx", "2int"),
    *("2id", "2i", "_to_i", "dictionary", "word_index", "index_word", "encoder", "decoder", "tokenizer"),
    *("indices", "voc", "_to_", "2"),
)
"""Parts of the names of vocabularies, the likeliest first."""
_COUNTS = ("count", "freq", "occurrences", "docs", "ranks", "merges")
"""What dicts between tokens and numbers that are no ids are called."""
_KERAS = ("word_index", "index_word")
"""Vocabularies of which a network uses the first ids only."""
_ADDED = "added_tokens_encoder"
GAPS = 4
"""Ids without a text that a vocabulary may have, such as a 0 for padding."""
_CLASS = "__class__"
_CONTAINERS = ("data", "items", "values")
"""Names that say nothing of what is inside."""
_CODE_POINTS = 0x110000


@dataclass(frozen=True)
class StoredVocabulary:
    """A vocabulary and where it was."""

    tokens: Texts
    key: str
    """The keys that lead to it, such as `dictionary.idx2word`."""
    has_ids: bool = False
    """Says the id of each token; a list may have been put into another order before it was used."""
    is_bytes: bool = False
    """Whether the tokens are bytes that are no UTF-8, in the characters that `byte_text` gives."""
    tokenizer: str = ""
    """The text of a tokenizer.json with these tokens."""

    whole: int = 0
    """How many tokens it had, where a network uses the first ones only."""

    @property
    def origin(self) -> str:
        """For people."""
        return f"in the file under {self.key}" + (f", the first of its {self.whole:,}" if self.whole else "")

    @property
    def hint(self) -> int:
        """How little the keys say that it is a vocabulary."""
        return _hint(self.key.split("."))

    @property
    def is_hinted(self) -> bool:
        """Whether it is called like a vocabulary."""
        return self.hint < len(_HINTS)


def find_vocabularies(settings: Iterable[Setting], size: int) -> tuple[list[StoredVocabulary], list[StoredVocabulary]]:
    """All that fit weights of `size` tokens, the likeliest first; and those of another size that are called so."""
    unfolded = list(_unfold(settings))
    added = [setting.value for setting in unfolded if setting.key.endswith(_ADDED) and isinstance(setting.value, dict)]
    is_stated = any(isinstance(one.value, Mapping) and one.value.get("num_words") == size for one in unfolded)
    every = [_with_added(vocabulary, added) for setting in unfolded for vocabulary in _vocabularies(setting)]
    every = [_first_words(vocabulary, size) if is_stated else vocabulary for vocabulary in every]
    fitting = [fitted for vocabulary in every if (fitted := _fit(vocabulary, size))]
    others = [vocabulary for vocabulary in every if vocabulary.is_hinted and not _fit(vocabulary, size)]
    return sorted(fitting, key=_unlikelihood), others


def _with_added(vocabulary: StoredVocabulary, added: list[dict[object, object]]) -> StoredVocabulary:
    """With the tokens that transformers keep beside a vocabulary, whose ids follow those that it has."""
    ids = {at: token for beside in added for token, at in beside.items() if isinstance(token, str) and type(at) is int}
    tokens = [*vocabulary.tokens]
    while vocabulary.has_ids and len(tokens) in ids:
        tokens.append(ids[len(tokens)])
    return replace(vocabulary, tokens=tokens)


def _first_words(vocabulary: StoredVocabulary, size: int) -> StoredVocabulary:
    """What Keras' tokenizer uses of its words, all of which it keeps."""
    if vocabulary.key.rpartition(".")[2] not in _KERAS or len(vocabulary.tokens) <= size:
        return vocabulary
    return replace(vocabulary, tokens=vocabulary.tokens[:size], whole=len(vocabulary.tokens))


def contradicts(one: Sequence[str | None], other: Sequence[str | None]) -> bool:
    """Whether an id has two texts."""
    return any(a is not None and b is not None and a != b for a, b in zip(one, other, strict=False))


def _fit(vocabulary: StoredVocabulary, size: int) -> StoredVocabulary | None:
    """The vocabulary with a text or None for every id; None if it is not one of `size` tokens."""
    tokens, missing = vocabulary.tokens, size - len(vocabulary.tokens)
    if vocabulary.has_ids and vocabulary.is_hinted and missing > 0:
        tokens = [*tokens, *[None] * min(missing, GAPS + 1)]
    gaps = max(1, min(GAPS, size // 8))
    return replace(vocabulary, tokens=tokens) if len(tokens) == size and tokens.count(None) <= gaps else None


def _unlikelihood(vocabulary: StoredVocabulary) -> tuple[bool, int, bool, bool, int]:
    hint, is_hinted = vocabulary.hint, vocabulary.is_hinted
    return not vocabulary.tokenizer, vocabulary.tokens.count(None), not is_hinted, not vocabulary.has_ids, hint


def _hint(keys: Sequence[str]) -> int:
    """By the last key that is no number and no name of a mere container."""
    names = [key.lower() for key in keys if not (key.isdecimal() or key.startswith("__") or key in _CONTAINERS)]
    return next((at for at, hint in enumerate(_HINTS) if names and hint in names[-1]), len(_HINTS))


def _unfold(settings: Iterable[Setting]) -> Iterator[Setting]:
    """Settings, and what those hold that are JSON in a text."""
    for setting in settings:
        yield setting
        if isinstance(setting.value, str | bytes) and len(setting.value) > 2 and setting.value[:1] in ("{", b"{"):
            value = read_json(setting.value)
            yield from () if tokenizer_tokens(value) else _unfold(walk(value, setting.path))


def read_json(text: str | bytes) -> object:
    """None for what is no JSON: a list of tokens may begin with a bracket."""
    try:
        value: object = parse_json(text)
    except TuiGenError:
        return None
    return value


def tokenizer_tokens(value: object) -> Texts:
    """The tokens of a tokenizer.json by their ids; none of anything else."""
    model = value.get("model") if isinstance(value, dict) else None
    vocab = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(value, dict) or not isinstance(vocab, dict | list):
        return []
    # of a unigram model: [token, score] each
    pairs = list(vocab.items()) if isinstance(vocab, dict) else [(row[0], at) for at, row in enumerate(vocab) if row]
    added = value.get("added_tokens")
    pairs += [(row.get("content"), row.get("id")) for row in added or () if isinstance(row, dict)]
    ids = {at: token for token, at in pairs if type(at) is int and isinstance(token, str)}
    if not ids or max(ids) > 2 * len(ids) + GAPS:
        return []
    tokens: Texts = [token_name(at) for at in range(max(ids) + 1)]
    for at, token in ids.items():
        tokens[at] = "\n" if token == "Ċ" else token
    return tokens


def _vocabularies(setting: Setting) -> list[StoredVocabulary]:
    """A value as vocabularies: none, one, or two of a dict whose directions contradict each other."""
    value, key = setting.value, ".".join(setting.path)
    if isinstance(value, str | bytes):
        if tokens := tokenizer_tokens(read_json(value)) if value[:1] in ("{", b"{") else []:
            text = value if isinstance(value, str) else value.decode()
            return [StoredVocabulary(tokens, key, has_ids=True, tokenizer=text)]
        is_set = isinstance(value, str) and len(value) > 1 and len(set(value)) == len(value)
        return [StoredVocabulary([*str(value)], key)] if is_set and _hint(setting.path) < len(_HINTS) else []
    if any(word in setting.key.lower() for word in _COUNTS):
        return []
    if isinstance(value, list | tuple):
        return _of_list(value, key)
    return _of_mapping(value, key) if isinstance(value, Mapping) and len(value) > 1 else []


def _of_list(value: Sequence[Any], key: str) -> list[StoredVocabulary]:
    is_bytes = any(isinstance(token, bytes) for token in value)
    if len(value) < 2:
        return []
    if all(isinstance(token, str | bytes) for token in value):
        texts, is_coded = _texts(value) if is_bytes else ([*value], False)
        return [StoredVocabulary([*texts], key, is_bytes=is_coded)] if len({*texts}) == len(texts) else []
    pairs = {row[0]: row[1] for row in value if isinstance(row, list | tuple) and len(row) == 2 and _is_simple(row[0])}
    return _of_mapping(pairs, key) if len(pairs) == len(value) else []


def _is_simple(value: object) -> bool:
    return isinstance(value, str | bytes | int)


def _of_mapping(value: Mapping[Any, Any], key: str) -> list[StoredVocabulary]:
    """Token to id, id to token, or both in one dict; in JSON, ids are texts too."""
    forward: dict[Any, Any] = {}
    backward: dict[Any, Any] = {}
    for left, right in value.items():
        if left == _CLASS:
            continue
        if isinstance(left, str | bytes) and type(right) is int:
            forward[left] = right
        elif isinstance(right, str | bytes) and (number := _number(left)) is not None:
            backward[number] = right
        elif not (type(left) is int and type(right) is int):
            return []
        else:
            forward[left] = right
    if any(type(left) is int for left in forward):
        return _of_numbers(forward, key) if not backward and all(type(left) is int for left in forward) else []
    halves = [
        ids for ids in (_inverse(forward), backward) if len(ids) > 1 and min(ids) >= 0 and max(ids) < len(ids) + GAPS
    ]
    if bool(forward) + bool(backward) != len(halves):
        return []
    both = [vocabulary for ids in halves if (vocabulary := _of_ids(ids, key))]
    if len(both) == 2 and contradicts(both[0].tokens, both[1].tokens):
        return [replace(both[0], key=f"{key}:token-to-id"), replace(both[1], key=f"{key}:id-to-token")]
    return both[:1]


def _inverse(ids: Mapping[Any, int]) -> dict[int, Any]:
    inverse = {at: token for token, at in ids.items()}
    return inverse if len(inverse) == len(ids) else {}


def _of_ids(ids: Mapping[int, str | bytes], key: str) -> StoredVocabulary | None:
    """None if two ids have the same token."""
    texts, is_bytes = _texts(list(ids.values()))
    by_id = dict(zip(ids, texts, strict=True))
    tokens = [by_id.get(at) for at in range(max(ids) + 1)]
    return StoredVocabulary(tokens, key, has_ids=True, is_bytes=is_bytes) if len({*texts}) == len(texts) else None


def _of_numbers(value: Mapping[int, int], key: str) -> list[StoredVocabulary]:
    """Of a script that iterates over bytes, or over code points, which are numbers: to ids, or from ids."""
    places = set(range(len(value)))
    inverse = _inverse(value)
    directions = [ids for ids in (inverse, dict(value)) if ids and ids.keys() == places]
    if not directions or not all(map(_is_text, directions[0].values())):
        return []
    if len(directions) == 2 and directions[0] != directions[1]:
        return []  # nothing tells which numbers are the ids
    codes = list(directions[0].values())
    tokens: list[Any] = [bytes([code]) for code in codes] if max(codes) < 256 else list(map(chr, codes))
    vocabulary = _of_ids(dict(zip(directions[0], tokens, strict=True)), key)
    return [vocabulary] if vocabulary and vocabulary.is_hinted else []


def _is_text(code: int) -> bool:
    """Whether a number is the code point of what stands in texts."""
    return code in (9, 10, 13) or 32 <= code < _CODE_POINTS


def _texts(tokens: Sequence[str | bytes]) -> tuple[list[str], bool]:
    """Tokens as texts; all as bytes, in the characters of `byte_text`, if one of them is no UTF-8."""
    try:
        return [token.decode() if isinstance(token, bytes) else token for token in tokens], False
    except UnicodeDecodeError:
        raw = [token if isinstance(token, bytes) else token.encode(errors="replace") for token in tokens]
        return [byte_text(token) for token in raw], True


def _number(key: object) -> int | None:
    if type(key) is int:
        return key
    return int(key) if isinstance(key, str) and key.isdecimal() and key.isascii() else None
