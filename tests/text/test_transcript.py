"""Each token knows which part of the text it wrote, however the text came."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tui_gen.library import open_model, shipped_folder
from tui_gen.terminal_text import scrub
from tui_gen.text.codec import TextCodec, TextReader
from tui_gen.text.transcript import BLOCK, Transcript


def reader_of(name: str) -> Callable[[], TextReader]:
    codec = open_model(shipped_folder() / name, provider="cpu", threads=1).codec
    assert isinstance(codec, TextCodec)
    return codec.reader


@pytest.mark.parametrize("name", ["recipes", "shakespeare"])
def test_spans_join_into_the_text_and_belong_to_their_tokens(name: str) -> None:
    reader, chance = reader_of(name), random.Random(1)
    tokens = np.random.default_rng(0).integers(2, 60, 3000).tolist()
    transcript, whole, at = Transcript(reader), "", 0
    while at < len(tokens):
        count = chance.choice([1, 2, 30, 700])
        whole += transcript.append(tokens[at : at + count])
        at += count
    assert transcript.text == whole
    assert len(transcript) == len(tokens)
    spans = [transcript.span(number) for number in range(len(tokens))]
    assert spans[0][0] == 0
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    alone, place = reader(), 0
    for token, (start, end) in zip(tokens, spans, strict=True):
        assert whole[start:end] == scrub(alone.read(token)).replace("\t", "    ")
        place = end
    assert place == transcript.length == len(whole)
    for number in (0, 1, 500, 2999):
        start, end = spans[number]
        assert transcript.token_at(start) == number if end > start else True


def test_a_character_that_several_tokens_spell_belongs_to_the_last_of_them() -> None:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    transcript = Transcript(lambda: TextReader(tokenizer, None))
    assert transcript.append(tokenizer.encode("aé").ids) == "aé"
    assert [transcript.span(number) for number in range(3)] == [(0, 1), (1, 1), (1, 2)]
    assert [transcript.token_at(offset) for offset in (0, 1, 9)] == [0, 2, 2]


def test_one_token_of_a_long_text_is_found_without_reading_all_of_it() -> None:
    read = []

    class Counting(TextReader):
        def read(self, token: int) -> str:
            read.append(token)
            return super().read(token)

    plain = reader_of("shakespeare")()
    transcript = Transcript(lambda: Counting(plain._tokenizer, None))
    transcript.append(np.random.default_rng(0).integers(2, 60, 50_000).tolist())
    read.clear()
    transcript.span(49_000)
    transcript.span(49_001)
    assert len(read) <= BLOCK + 16
