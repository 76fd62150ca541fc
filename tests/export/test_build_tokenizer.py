"""The tokenizers that the trainer makes: what they split, what they print, token by token and at once."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer

from export.build_tokenizer import END, UNKNOWN, character_tokenizer, phrase_tokenizer, word_tokenizer
from tui_gen.text.codec import TextReader

RECIPE = """recipe for potage (a la reine) | Beat 1/2 cup of "cream", well-beaten; don't stop [see p. 3]: it's done!
Is it? Yes — quite. Crème brûlée, 100 ° — ½ cup – a soufflé, 你好 😀 ## #ing 'tis o' clock"""


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return word_tokenizer([RECIPE], vocab_size=1000, min_count=1)


def _tokens(tokenizer: Tokenizer, text: str) -> list[str]:
    return tokenizer.encode(text).tokens


def _streamed(tokenizer: Tokenizer, ids: list[int], eos: int | None = None) -> str:
    reader = TextReader(tokenizer, eos)
    return "".join(reader.read(token) for token in ids)


def test_words_are_lower_cased_and_marks_stand_alone(words: Tokenizer) -> None:
    assert _tokens(words, "Beat  1/2 CUP\nof cream, well-beaten.") == [
        *("beat", "1", "/", "2", "cup", "of", "cream", ","),
        *("well", "-", "beaten", "."),
    ]


def test_the_commonest_words_are_kept() -> None:
    texts = ["salt salt Salt pepper pepper sage sage thyme", "salt, mint,"]
    assert _vocabulary(word_tokenizer(texts, vocab_size=100)) == [END, UNKNOWN, "salt", "pepper", "sage", ","]
    assert _vocabulary(word_tokenizer(texts, vocab_size=4)) == [END, UNKNOWN, "salt", "pepper"]
    assert "thyme" in _vocabulary(word_tokenizer(texts, vocab_size=100, min_count=1))
    assert _tokens(word_tokenizer(texts, vocab_size=4), "salt thyme") == ["salt", UNKNOWN]


def _vocabulary(tokenizer: Tokenizer) -> list[str]:
    vocab = tokenizer.get_vocab()
    return sorted(vocab, key=vocab.__getitem__)


@pytest.mark.parametrize(
    ("text", "prose"),
    [
        ("(1/2 cup) Well-Beaten .", "(1/2 cup) well-beaten."),
        ("don't stop ; it's done !", "don't stop; it's done!"),
        ("cream [ see p . 3 ] , quite ?", "cream [see p. 3], quite?"),
        ("crème brûlée : 100 ° — ½", "crème brûlée: 100 ° — ½"),
    ],
)
def test_prose_is_printed_as_it_is_set(words: Tokenizer, text: str, prose: str) -> None:
    ids = words.encode(text).ids
    assert words.decode(ids) == prose
    assert _streamed(words, ids) == prose


def test_printed_words_are_read_back_as_the_same_tokens(words: Tokenizer) -> None:
    ids = words.encode(RECIPE).ids
    assert words.encode(words.decode(ids)).ids == ids


@pytest.mark.parametrize("seed", range(3))
def test_any_tokens_read_the_same_one_by_one_as_at_once(words: Tokenizer, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for tokenizer in (words, character_tokenizer(RECIPE)):
        for length in rng.integers(1, 60, size=300):
            ids = rng.integers(tokenizer.get_vocab_size(), size=length).tolist()
            assert _streamed(tokenizer, ids) == tokenizer.decode(ids, skip_special_tokens=False)


def test_the_end_token_is_silent_wherever_it_stands(words: Tokenizer) -> None:
    end, ids = words.token_to_id(END), words.encode("well-beaten. cup").ids
    assert _streamed(words, [end, *ids[:2], end, *ids[2:], end], eos=end) == "well-beaten. cup"


def test_characters_come_back_exactly() -> None:
    text = "ROMEO:\n\tBut  soft… é ½ 你好 😀\r\n\n "
    tokenizer = character_tokenizer(text)
    ids = tokenizer.encode(text).ids
    assert len(ids) == len(text)
    assert tokenizer.decode(ids) == _streamed(tokenizer, ids) == text
    assert sorted(ids) == [token for char in sorted(text) for token in [tokenizer.token_to_id(char)]]
    assert Tokenizer.from_str(tokenizer.to_str()).encode(text).ids == ids


def test_only_a_text_in_small_letters_is_lower_cased() -> None:
    assert _tokens(character_tokenizer("abc", lowercase=True), "CaB") == ["c", "a", "b"]
    assert _tokens(character_tokenizer("aAbB"), "bA") == ["b", "A"]


@pytest.mark.parametrize(
    "text",
    ["elf woman,red cloak", "Elf Woman , RED  cloak", "  elf  woman ,, red cloak , ", ",elf woman,\n red\tcloak"],
)
def test_phrases_are_read_in_any_case_and_spacing(text: str) -> None:
    tokenizer = phrase_tokenizer(["bow", "Elf Woman", "red cloak"], first_id=17)
    assert tokenizer.encode(text).ids == [18, 19]


def test_no_phrase_is_no_token() -> None:
    tokenizer = phrase_tokenizer(["bow"], first_id=5)
    assert tokenizer.encode("").ids == tokenizer.encode(" , ").ids == []
