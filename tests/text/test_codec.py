"""Prompts to ids, ids to text, and which part of the text each token wrote."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from export.build_tokenizer import word_tokenizer
from tests.support import toys
from tests.support.toys import CAT, DOG, DOT, END, SAT, THE, UNKNOWN
from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.library import codec_for, open_model, shipped_folder
from tui_gen.sampling.params import FREE
from tui_gen.terminal_text import scrub
from tui_gen.text.codec import TextCodec, TextReader
from tui_gen.text.transcript import BLOCK, Transcript

WORDS = ModelCard("wordy", "text", "toy", len(toys.WORDS), bos=END, eos=END)
LETTERS = ModelCard("letters", "text", "toy", len(toys.CHARACTERS), bos=0, eos=0)
PIECES = ModelCard("pieces", "text", "toy", 300, bos=299)


@pytest.fixture
def words() -> TextCodec:
    return TextCodec(WORDS, toys.words())


@pytest.fixture
def letters() -> TextCodec:
    return TextCodec(LETTERS, toys.characters())


@pytest.fixture
def pieces() -> TextCodec:
    return TextCodec(PIECES, toys.bytes_bpe(("t", "h"), ("th", "e")))


def test_a_prompt_is_typed_as_a_person_types_it(words: TextCodec) -> None:
    ids = words.prompt(["The CAT sat."])
    assert ids.tolist() == [[END, THE, CAT, SAT, DOT]]
    assert ids.dtype == np.int64


def test_an_empty_prompt_is_the_start_token_alone(words: TextCodec) -> None:
    assert words.prompt([""]).tolist() == [[END]]
    assert words.prompt(["  "]).tolist() == [[END]]


def test_prompts_of_different_length_are_filled_up_with_free_positions(words: TextCodec) -> None:
    assert words.prompt(["the", "the cat sat"]).tolist() == [[END, THE, FREE, FREE], [END, THE, CAT, SAT]]


@pytest.mark.parametrize("typed", ["sat", "the cat sat", "THE Cat sat", "  the cat sat"])
def test_the_models_prefix_is_put_before_a_prompt_once_and_not_when_it_was_typed(typed: str) -> None:
    codec = TextCodec(replace(WORDS, prompt_prefix="The Cat "), toys.words())
    assert codec.prompt([typed]).tolist() == [[END, THE, CAT, SAT]]
    assert codec.prompt([""]).tolist() == [[END]]


def test_unknown_words_are_marked_where_they_stand_and_read_as_unknown(words: TextCodec) -> None:
    text = "the Zebra sat, cat"
    assert [text[start:end] for start, end in words.unknown(text)] == ["Zebra", ","]
    assert words.prompt([text]).tolist() == [[END, THE, UNKNOWN, SAT, UNKNOWN, CAT]]
    assert words.unknown("the cat") == []


def test_a_letter_that_no_token_stands_for_is_marked_and_refused_by_name(letters: TextCodec) -> None:
    assert letters.unknown("abxé") == [(2, 3), (3, 4)]
    with pytest.raises(TuiGenError, match="letters has never seen 'x'; leave it out"):
        letters.prompt(["abxé"])
    assert letters.prompt(["A b"]).tolist() == [[0, 2, 1, 3]]


def test_a_prefix_that_the_model_cannot_read_is_told_like_a_prompt() -> None:
    codec = TextCodec(replace(LETTERS, prompt_prefix="x: "), toys.characters())
    with pytest.raises(TuiGenError, match="never seen 'x'"):
        codec.prompt(["ab"])


def test_bytes_that_are_not_text_are_unknown_and_no_crash(words: TextCodec, letters: TextCodec) -> None:
    assert words.prompt(["the \udcff cat"]).tolist() == [[END, THE, UNKNOWN, CAT]]
    with pytest.raises(TuiGenError, match="never seen"):
        letters.prompt(["a\udcff"])


def test_pieces_without_an_unknown_token_are_treated_alike() -> None:
    facts = json.loads(toys.bytes_bpe(("a", "b")))
    facts["pre_tokenizer"] = {"type": "WhitespaceSplit"}
    codec = TextCodec(PIECES, json.dumps(facts))
    assert codec.unknown("ab a漢b 漢") == [(4, 5), (7, 8)]
    with pytest.raises(TuiGenError, match="never seen '漢'"):
        codec.prompt(["ab a漢b"])


def test_a_prompt_is_never_cut_or_padded_whatever_the_file_says() -> None:
    facts = json.loads(toys.words())
    facts["truncation"] = {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0}
    facts["padding"] = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None,
                        "pad_id": 0, "pad_type_id": 0, "pad_token": "x"}  # fmt: skip
    assert TextCodec(WORDS, json.dumps(facts)).prompt(["the cat"]).tolist() == [[END, THE, CAT]]


def test_a_character_of_several_pieces_appears_when_it_is_whole(pieces: TextCodec) -> None:
    ids = [int(token) for token in pieces.prompt(["the é😀!"])[0, 1:]]
    reader = pieces.reader()
    assert [reader.read(token) for token in ids] == ["the", " ", "", "é", "", "", "", "😀", "!"]


@pytest.mark.parametrize("name", ["words", "letters", "pieces"])
def test_text_read_token_by_token_equals_text_decoded_at_once(name: str, request: pytest.FixtureRequest) -> None:
    codec: TextCodec = request.getfixturevalue(name)
    largest = {"words": 8, "letters": 5, "pieces": 200}[name]
    choice = random.Random(0)
    for _ in range(200):
        ids = [choice.randrange(1, largest) for _ in range(20)]
        reader = codec.reader()
        streamed, whole = "".join(map(reader.read, ids)), codec.decode(ids)
        # Bytes that have not completed a character at the end are still waiting for the next token.
        assert streamed == whole[: len(streamed)]
        assert set(whole[len(streamed) :]) <= {"\ufffd"}
        reader, cut = codec.reader(), choice.randrange(20)
        assert reader.read_all(ids[:cut]) + reader.read_all(ids[cut:]) == streamed


def test_the_end_token_reads_as_nothing_and_a_token_without_text_as_its_number(words: TextCodec) -> None:
    reader = words.reader()
    assert [reader.read(token) for token in (CAT, 77, END)] == ["cat", " token 77 ", ""]
    assert words.reader().read_all([CAT, 77, END]) == "cat token 77 "
    assert words.decode([CAT, SAT, END]) == "cat sat"
    assert (words.token_text(CAT), words.token_text(77)) == ("cat", "token 77")


def test_a_token_by_itself_reads_as_it_does_in_text_and_a_part_of_a_character_by_its_piece(pieces: TextCodec) -> None:
    ids = [int(token) for token in pieces.prompt([" é"])[0, 1:]]
    assert [pieces.token_text(token) for token in ids] == [" ", "Ã", "©"]


def test_two_readers_of_one_codec_do_not_mix(words: TextCodec) -> None:
    first, second = words.reader(), words.reader()
    assert [first.read(THE), second.read(DOG), first.read(CAT), second.read(SAT)] == ["the", "dog", " cat", " sat"]


def with_part(name: str, **part: Any) -> str:
    """tokenizer.json with another part, such as its decoder."""
    return json.dumps({**json.loads(toys.words()), name: part})


def with_model(**change: Any) -> str:
    return with_part("model", **{**json.loads(toys.words())["model"], **change})


DAMAGED = {
    "not JSON": "{",
    "no object": "[]",
    "deeply nested": "[" * 100_000,
    "no model": "{}",
    "strange model": with_model(type="Nope"),
    "vocabulary as a list": with_model(vocab=[1, 2]),
    "negative id": with_model(vocab={"cat": -1}),
    "id of text": with_model(vocab={"cat": "3"}),
    "ids past the model": with_model(vocab={"cat": 8}),
    "unknown token without a name": with_model(unk_token=""),
    "strange decoder": with_part("decoder", type="Nope"),
    "broken pattern": with_part(
        "pre_tokenizer", type="Split", pattern={"Regex": "["}, behavior="Isolated", invert=False
    ),
    "panic at opening": with_part("normalizer", type="Precompiled", precompiled_charsmap="AAAA"),
    "panic in merges": with_part("model", type="BPE", vocab={"t": 0, "h": 1}, merges=[["t", "h"]]),
    "panic at the first prompt": with_part("pre_tokenizer", type="FixedLength", length=0),
}


@pytest.mark.parametrize("source", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_tokenizer_is_an_error_that_a_person_is_told(source: str) -> None:
    with pytest.raises(TuiGenError):
        codec_for(WORDS, source).prompt(["the zebra"])


def test_a_tokenizer_that_must_be_there_is_asked_for() -> None:
    with pytest.raises(TuiGenError, match="is missing"):
        codec_for(WORDS, None)


def test_a_length_is_what_is_wanted_and_300_if_nobody_says(words: TextCodec) -> None:
    assert [words.length(wanted) for wanted in (None, 0, 9999)] == [300, 0, 9999]


@pytest.mark.parametrize("name", ["recipes", "shakespeare"])
def test_spans_join_into_the_text_and_belong_to_their_tokens(name: str) -> None:
    codec, chance = open_model(shipped_folder() / name, provider="cpu", threads=1).codec, random.Random(1)
    assert isinstance(codec, TextCodec)
    reader = codec.reader
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
    alone = reader()
    for token, (start, end) in zip(tokens, spans, strict=True):
        assert whole[start:end] == scrub(alone.read(token)).replace("\t", "    ")
    assert spans[-1][1] == transcript.length == len(whole)
    for number in (0, 1, 500, 2999):
        start, end = spans[number]
        assert transcript.token_at(start) == number if end > start else True


def test_a_character_that_several_tokens_spell_belongs_to_the_last_of_them(pieces: TextCodec) -> None:
    transcript = Transcript(pieces.reader)
    assert transcript.append(pieces.prompt(["aé"])[0, 1:].tolist()) == "aé"
    assert [transcript.span(number) for number in range(3)] == [(0, 1), (1, 1), (1, 2)]
    assert [transcript.token_at(offset) for offset in (0, 1, 9)] == [0, 2, 2]


def test_one_token_of_a_long_text_is_found_without_reading_all_of_it(
    letters: TextCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcript, tokens, read = Transcript(letters.reader), list[int](), TextReader.read
    transcript.append(np.random.default_rng(0).integers(1, 5, 50_000).tolist())
    monkeypatch.setattr(TextReader, "read", lambda self, token: tokens.append(token) or read(self, token))
    transcript.span(49_000)
    transcript.span(49_001)
    assert 0 < len(tokens) <= BLOCK + 16


def test_a_word_that_is_begun_is_completed_by_the_most_frequent_words_first() -> None:
    tokenizer = word_tokenizer(["chopped chopped chop chopped chop chocolate the"], vocab_size=8, min_count=1)
    codec = TextCodec(WORDS, tokenizer.to_str())
    assert codec.endings("the CHO") == ["pped", "p", "colate"]
    assert codec.endings("(cho") == ["pped", "p", "colate"]
    assert [codec.endings(text) for text in ("the chop", "the cho ", "c", "", "<e", "xy")] == [[]] * 6


def test_letters_and_pieces_of_words_are_not_completed(letters: TextCodec, pieces: TextCodec) -> None:
    assert letters.endings("ab") == pieces.endings("th") == []
