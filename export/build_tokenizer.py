"""Tokenizers in the Hugging Face format: words, characters, or the comma-separated phrases of a picture's prompt."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from tui_gen.json_fields import parse_json
from tui_gen.text.tokenizer import NOWHERE

END = "<end>"
"""Before the first and after the last token of a document."""
UNKNOWN = "<unk>"

_CLOSE_BEFORE = (".", ",", ";", ":", "!", "?", ")", "]", "'", "-", "/")
_CLOSE_AFTER = ("(", "[", "'", "-", "/")


def word_tokenizer(texts: Iterable[str], *, vocab_size: int, min_count: int = 2) -> Tokenizer:
    """Lower-cased words and single punctuation marks, the commonest first; rarer ones become `<unk>`."""
    splitter = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    counts = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(text.lower()))
    words = [word for word, count in counts.most_common(vocab_size - 2) if count >= min_count]
    tokenizer = Tokenizer(models.WordLevel(_ids([END, UNKNOWN, *words]), unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = splitter
    # joins words with spaces, but sets punctuation close, as it is printed: `(1/2 cup) well-beaten`
    before = [decoders.Replace(f" {mark}", mark) for mark in _CLOSE_BEFORE]
    after = [decoders.Replace(f"{mark} ", mark) for mark in _CLOSE_AFTER]
    tokenizer.decoder = decoders.Sequence(
        [decoders.WordPiece(prefix="##", cleanup=False), *before, decoders.Fuse(), *after]
    )
    return tokenizer


def character_tokenizer(text: str, *, lowercase: bool = False) -> Tokenizer:
    """One token per distinct character, in code point order; a character outside of them cannot be encoded."""
    tokenizer = Tokenizer(models.WordLevel(_ids(sorted(set(text))), unk_token=UNKNOWN))
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def phrase_tokenizer(phrases: Sequence[str], *, first_id: int) -> Tokenizer:
    """Comma-separated phrases, in any case and spacing; ids count up from first_id."""
    vocab = {phrase.lower(): first_id + index for index, phrase in enumerate(phrases)}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"\s*,[\s,]*"), ","),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(",", behavior="removed")
    return tokenizer


def with_unknown(tokenizer: str) -> str:
    """A tokenizer.json that has its unknown token: without it, readers of the format raise on an unknown piece.

    Where no id is the network's own, the token stands at one that no network reads.
    """
    facts = parse_json(tokenizer)
    model = facts.get("model") if isinstance(facts, dict) else None
    token, vocab = (model.get("unk_token"), model.get("vocab")) if isinstance(model, dict) else (None, None)
    if not isinstance(token, str) or not isinstance(vocab, dict) or token in vocab:
        return tokenizer
    vocab[token] = NOWHERE
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":"))


def _ids(tokens: Sequence[str]) -> dict[str, int]:
    return {token: index for index, token in enumerate(tokens)}
