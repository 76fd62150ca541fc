"""Tokenizers changed by structure, and prompts of any characters, through the codec as the screen and `generate` do."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from tests.support import toys
from tests.support.damage import damaged
from tui_gen.errors import TuiGenError
from tui_gen.images.codec import ImageCodec
from tui_gen.images.completion import completion_prompt, erased, parse_part
from tui_gen.library import LoadedModel, open_model, shipped_folder
from tui_gen.text.codec import TextCodec
from tui_gen.text.tokenizer import NOWHERE
from tui_gen.text.transcript import Transcript

from .mutations import changed

Attempt = Callable[[random.Random], object]
Json = dict[str, Any]

_PATTERNS: tuple[Json, ...] = (
    *({"String": text} for text in ("a", "", "▁", " ", "the", "\x1b")),
    *({"Regex": text} for text in (r"\s+", r"(a|aa)+$", r"", r".", r"(?<=a)b", r"[\p{L}]+", r"(", r"\bthe")),
)
_CONTENTS = ("", "a", "aa", "▁", "\x1b[2J", "x" * 1000, "\u202e", "\n")


def _pattern(rng: random.Random) -> Json:
    return rng.choice(_PATTERNS)


def _normalizer(rng: random.Random) -> Json:
    return rng.choice(
        (
            *(
                {"type": name}
                for name in ("Lowercase", "NFC", "NFD", "NFKC", "NFKD", "StripAccents", "Nmt", "ByteLevel")
            ),
            {"type": "Strip", "strip_left": rng.random() < 0.5, "strip_right": True},
            {"type": "Replace", "pattern": _pattern(rng), "content": rng.choice(_CONTENTS)},
            {"type": "Prepend", "prepend": rng.choice(_CONTENTS)},
            {
                "type": "BertNormalizer",
                "clean_text": True,
                "handle_chinese_chars": True,
                "strip_accents": None,
                "lowercase": True,
            },
            {"type": "Precompiled", "precompiled_charsmap": rng.choice(("AAAAAA==", "AAAAAAAA"))},
        )
    )


def _pre_tokenizer(rng: random.Random) -> Json:
    behaviors = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
    return rng.choice(
        (
            *({"type": name} for name in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer", "UnicodeScripts")),
            {"type": "ByteLevel", "add_prefix_space": rng.random() < 0.5, "trim_offsets": True, "use_regex": True},
            {
                "type": "Split",
                "pattern": _pattern(rng),
                "behavior": rng.choice(behaviors),
                "invert": rng.random() < 0.5,
            },
            {"type": "Punctuation", "behavior": rng.choice(behaviors)},
            {"type": "Digits", "individual_digits": True},
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
            {"type": "CharDelimiterSplit", "delimiter": rng.choice("a ,")},
            {"type": "FixedLength", "length": rng.choice((0, 1, 5, 2**31))},
        )
    )


def _decoder(rng: random.Random) -> Json:
    return rng.choice(
        (
            *({"type": name} for name in ("Fuse", "ByteFallback")),
            {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            {"type": "WordPiece", "prefix": rng.choice(_CONTENTS), "cleanup": True},
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
            {"type": "BPEDecoder", "suffix": rng.choice(_CONTENTS)},
            {"type": "CTC", "pad_token": "the", "word_delimiter_token": "|", "cleanup": True},
            {"type": "Strip", "content": rng.choice("a "), "start": rng.choice((0, 1, 2**40)), "stop": 1},
            {"type": "Replace", "pattern": {"String": rng.choice(("a", "the", "▁"))}, "content": rng.choice(_CONTENTS)},
            {"type": "Replace", "pattern": _pattern(rng), "content": "a"},
        )
    )


def _post_processor(rng: random.Random) -> Json:
    template = [{"SpecialToken": {"id": "the", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    specials = {"the": {"id": "the", "ids": [rng.choice((2, 0, 999))], "tokens": ["the"]}}
    return rng.choice(
        (
            {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            {"type": "TemplateProcessing", "single": template, "pair": template, "special_tokens": specials},
            {"type": "BertProcessing", "sep": ["the", 2], "cls": ["cat", rng.choice((3, 2**31))]},
        )
    )


def _added(rng: random.Random) -> list[Json]:
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    contents = ("the", "<s>", "", " ", "a", "\x1b[31m", "word" * 300)
    return [
        {"id": rng.choice((0, 1, 2, 8, 9, 2**31, 2**32 - 1)), "content": rng.choice(contents)}
        | {flag: rng.random() < 0.4 for flag in flags}
        for _ in range(rng.choice((1, 2, 40)))
    ]


def _model(rng: random.Random, known: dict[str, int]) -> Json:
    """known: words and their ids, which are most often kept, for a card names ids."""
    words = [*toys.WORDS, "a", "b", "▁", "▁the", "##s", "<0x41>"][: rng.choice((3, 8, 14))]
    vocab = known if known and rng.random() < 0.8 else {word: number for number, word in enumerate(words)}
    words = sorted(vocab, key=vocab.__getitem__)
    unknown = rng.choice((words[0], None, "absent"))
    return rng.choice(
        (
            {"type": "WordLevel", "vocab": vocab, "unk_token": unknown},
            {"type": "WordPiece", "vocab": vocab, "unk_token": unknown or "", "continuing_subword_prefix": "##"}
            | {"max_input_chars_per_word": rng.choice((0, 5, 100))},
            {"type": "Unigram", "vocab": [[word, -rng.random()] for word in words]}  # whose ids count from 0
            | {"unk_id": rng.choice((0, 0, None, 99)), "byte_fallback": rng.random() < 0.3},
            {"type": "BPE", "vocab": vocab, "merges": rng.choice(([], ["a b"], [["a", "b"]], ["x"]))}
            | {"unk_token": unknown, "fuse_unk": rng.random() < 0.5, "byte_fallback": rng.random() < 0.3}
            | {"dropout": rng.choice((None, 0.5, 1.0)), "ignore_merges": rng.random() < 0.3},
        )
    )


_PARTS: dict[str, Callable[[random.Random], Any]] = {
    "normalizer": _normalizer,
    "pre_tokenizer": _pre_tokenizer,
    "decoder": _decoder,
    "post_processor": _post_processor,
}
_SEQUENCES = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers", "decoder": "decoders"}


def other_tokenizer(facts: Json, rng: random.Random) -> Json:
    """With up to three of its parts exchanged for others, or for sequences of them; now and then with other tokens."""
    result = dict(facts)
    if rng.random() < 0.2:
        vocab = facts["model"]["vocab"]
        result["model"] = _model(rng, vocab if isinstance(vocab, dict) and len(vocab) < 100 else {})
    if rng.random() < 0.1:
        result["added_tokens"] = _added(rng)
    for part in rng.sample(list(_PARTS), rng.randint(1, 3)):
        make = _PARTS[part]
        result[part] = make(rng)
        if part in _SEQUENCES and rng.random() < 0.4:
            several = [make(rng) for _ in range(rng.choice((0, 2, 3, 8, 300)))]
            result[part] = {"type": "Sequence", _SEQUENCES[part]: several}
    return result


def tokenizers(folder: Path) -> Attempt:
    """Model folders whose tokenizer.json is changed by structure, or damaged; what opens encodes and decodes."""
    makers = {
        "text": lambda path: toys.text_folder(path, vocab_size=8),
        "letters": toys.character_folder,
        "image": toys.image_folder,
        "bytes": lambda path: toys.text_folder(
            path,
            graph=toys.text_graph(np.zeros((257, 257), dtype=np.float32)),
            tokenizer=toys.bytes_bpe(("t", "h")),
            vocab_size=257,
        ),
    }
    models = [make(folder / name) for name, make in makers.items()]
    sources = [json.loads((path / "tokenizer.json").read_text(encoding="utf-8")) for path in models]
    multiplying = json.loads(toys.multiplying("a"))
    for path in models:
        open_model(path, provider="cpu")  # which is tried in a process of its own, once

    def attempt(rng: random.Random) -> object:
        at, kind = rng.randrange(len(models)), rng.random()
        facts: Any = sources[at] if kind < 0.95 else multiplying
        if kind > 0.1:
            facts = other_tokenizer(facts, rng)
        if kind < 0.15:
            facts = changed(facts, rng, most=1)
        content = json.dumps(facts).encode()
        (models[at] / "tokenizer.json").write_bytes(damaged(content, rng) if kind < 0.03 else content)
        loaded_model = open_model(models[at], provider="cpu", threads=1)
        with suppress(TuiGenError):  # a text that it does not know
            use_codec(loaded_model, rng)
        return _use_own_words(loaded_model.codec, rng)

    return attempt


def _use_own_words(codec: TextCodec | ImageCodec, rng: random.Random) -> None:
    """Whatever else a tokenizer refuses: words of its own it encodes, and what it encodes it decodes."""
    words = [word for word, token in codec.vocabulary.items() if token < NOWHERE]
    for word in rng.sample(words, min(3, len(words))):
        codec.unknown(word)
        if isinstance(codec, TextCodec):
            tokens = codec.tokenizer.ids(word)
            codec.decode([token for token in tokens if token < NOWHERE])


_CHARACTERS = (
    *"aeth .,;:!?\n\t\r\0\x1b\x7f\x9b\u200d\ufe0f\u202e\u2028\u0301\ufeff\ud800\udfff\U0010ffff",
    *("the ", "cat", "👩\u200d🚀", "🇩🇪", "ﷺ", "한", "क्षि", "\x1b]0;x\x07", "%s", "{}", "[b]", "[/]", "\\", "▁"),
)


def any_text(rng: random.Random) -> str:
    """Of known words, of strange characters, of any of Unicode; some are long."""
    size, kind = rng.choice((0, 1, 3, 12, 60, 400)), rng.random()
    if kind < 0.2:
        return " ".join(rng.choice(toys.WORDS) for _ in range(size))
    if kind < 0.3:
        return rng.choice(_CHARACTERS) * rng.choice((1, 1000, 100_000))
    if kind < 0.65:
        return "".join(rng.choice(_CHARACTERS) for _ in range(size))
    return "".join(chr(rng.randrange(rng.choice((128, 0x3000, 0x110000)))) for _ in range(size))


def any_phrases(codec: ImageCodec, rng: random.Random) -> str:
    """Of a picture, known ones among others."""
    phrases = [rng.choice(codec.phrases) if codec.phrases and rng.random() < 0.8 else any_text(rng)[:50]]
    phrases += [rng.choice(codec.phrases or ("",)) for _ in range(rng.choice((0, 0, 1, 2, 30)))]
    return rng.choice((",", ", ", " , ,")).join(phrases)


def prompts(folder: Path) -> Attempt:
    """Prompts for toys and models that ship, for pictures also with parts of one to complete."""
    paths = [toys.text_folder(folder / "text"), toys.character_folder(folder / "letters")]
    paths += [toys.image_folder(folder / "image"), toys.colour_folder(folder / "colour")]
    paths += [shipped_folder() / name for name in ("names", "recipes", "fashion-book", "adventurers")]
    models = [open_model(path, provider="cpu", threads=1) for path in paths]

    def attempt(rng: random.Random) -> object:
        return use_codec(rng.choice(models), rng)

    return attempt


def use_codec(loaded_model: LoadedModel, rng: random.Random) -> None:
    """What typing a prompt, generating and looking at tokens asks of a codec. Raises the first refusal at the end."""
    codec = loaded_model.codec
    text = any_phrases(codec, rng) if isinstance(codec, ImageCodec) and rng.random() < 0.7 else any_text(rng)
    tokens = [rng.randrange(loaded_model.card.vocab_size) for _ in range(30)]
    uses: list[Callable[[], object]] = [
        lambda: codec.unknown(text),
        lambda: codec.endings(text),
        lambda: codec.prompt([text] * rng.choice((1, 3))),
        lambda: [codec.token_text(token) for token in tokens],
    ]
    if isinstance(codec, TextCodec):
        uses += [
            lambda: codec.split(text),
            lambda: codec.ids(text),
            lambda: codec.decode(tokens),
            lambda: Transcript(codec.reader).append(tokens),
        ]
    else:
        uses.append(lambda: _complete(codec, text, rng))
    use_all(uses)


def use_all(uses: Sequence[Callable[[], object]]) -> None:
    """Makes every use of an input, whatever is refused; raises the first refusal in the end."""
    refusals = list[TuiGenError]()
    for use in uses:
        try:
            use()
        except TuiGenError as refusal:
            refusals.append(refusal)
    if refusals:
        raise refusals[0]


def _complete(codec: ImageCodec, text: str, rng: random.Random) -> object:
    numbers = [rng.choice((0, 1, 3, 5, 27, -1, 10**12, "", "x", " 2 ", "٣")) for _ in range(4)]
    words = (
        f"rows:{numbers[0]}-{numbers[1]}",
        f"rect:{','.join(map(str, numbers))}",
        f"pixel:{numbers[0]},{numbers[1]}",
        any_text(rng),
    )
    levels = np.zeros(codec.image.shape, dtype=np.int64)
    return completion_prompt(codec, text, erased(levels, parse_part(rng.choice(words), codec.image)), 2)
