"""Where a vocabulary is found or rebuilt, what begins and ends a text, and what a person can type and reads."""

from __future__ import annotations

import io
import json
import pickle
import random
import string
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from export.assumptions import Assumptions
from export.build_tokenizer import character_tokenizer
from export.checkpoints.checkpoint import Checkpoint
from export.reader import Exportable, ReadOptions
from export.text.vocabulary import RULES, STOP, tokens_by_rule
from export.verify import verify
from tests.support import vocabularies
from tests.support.damage import count_refusals, damaged, with_damaged_parts
from tests.support.text_layouts import model_of, read
from tui_gen.errors import TuiGenError
from tui_gen.library import codec_for
from tui_gen.text.codec import TextCodec


def _checkpoint(size: int, **facts: Any) -> Checkpoint:
    torch.manual_seed(0)
    rnn, embedding, linear = nn.GRU(4, 6), nn.Embedding(size, 4), nn.Linear(6, size)
    parts = {"embedding": embedding, "rnn": rnn, "fc": linear}
    return Checkpoint("a test's", dict(nn.ModuleDict(parts).state_dict()), facts=facts)


def _build(size: int, options: ReadOptions | None = None, **facts: Any) -> Exportable:
    return read(_checkpoint(size, **facts), options).build()


def _codec(exportable: Exportable) -> TextCodec:
    codec = codec_for(exportable.card, exportable.tokenizer)
    assert isinstance(codec, TextCodec)
    return codec


def _ids(exportable: Exportable, text: str) -> list[int]:
    """A prompt's tokens, without the first one."""
    ids: list[int] = _codec(exportable).prompt([text])[0, 1:].tolist()
    return ids


ABC = ("b", "a", "\n", "c", " ")


@pytest.mark.parametrize(
    "facts",
    [
        {"tokens": ABC},
        {"checkpoint": {"vocab": {"itos": list(ABC), "freqs": {"a": 9, "b": 9, "c": 2, " ": 1, "\n": 1}}}},
        {"char2int": {char: at for at, char in enumerate(ABC)}},
        {"dictionary": {"__class__": "data.Dictionary", "idx2word": list(ABC), "word2idx": {}}},
        {"int2char": dict(enumerate(ABC))},
        {"meta": {"ix_to_char": {str(at): char for at, char in enumerate(ABC)}}},
        {"args": {"epochs": 5, "names": ["x", "y"]}, "alphabet": "".join(ABC)},
        {"loaded": [{"epoch": 3}, [{"char_to_ix": {char: at for at, char in enumerate(ABC)}}]]},
    ],
    ids=lambda facts: next(iter(facts)),
)
def test_a_vocabulary_in_the_file_is_found_in_any_form(facts: dict[str, Any]) -> None:
    exportable = _build(5, **facts)
    assert _ids(exportable, "ab c\n") == [1, 0, 4, 3, 2]
    assert _codec(exportable).decode([1, 0, 4, 3, 2]) == "ab c\n"
    assert (exportable.card.bos, exportable.card.eos) == (2, None)


def test_a_vocabulary_is_not_confused_with_counts_or_other_lists() -> None:
    exportable = _build(
        3, counts={"a": 5, "b": 2, "c": 1}, optimizers=["adam", "sgd", "lamb"], itos=["x", "y", "z"], losses=[3, 2, 1]
    )
    assert _ids(exportable, "zxy") == [2, 0, 1]


def test_vocabularies_that_contradict_each_other_are_a_question(tmp_path: Path) -> None:
    facts = {"chars": ["c", "b", "a"], "stoi": {"a": 0, "b": 1, "c": 2}, "word_counts": {"a": 2, "b": 1, "c": 0}}
    says = (
        "which vocabulary is right: id 0 is 'a' by stoi and 'c' by chars; tell it with --assume vocabulary=stoi.chars"
    )
    with pytest.raises(TuiGenError, match=says):
        _build(3, **facts)
    assert _ids(_build(3, ReadOptions(assume={"vocabulary": "stoi"}), **facts), "cab") == [2, 0, 1]
    assert _ids(_build(3, ReadOptions(assume={"vocabulary": "chars"}), **facts), "cab") == [0, 2, 1]
    side = _side(tmp_path / "vocab.txt", "b\na\nc\n")
    with pytest.raises(TuiGenError, match=r"id 0 is 'b' by side \(--vocab\) and 'a' by stoi"):
        _build(3, side, stoi=facts["stoi"])
    assert _ids(_build(3, replace(side, assume={"vocabulary": "side"}), stoi=facts["stoi"]), "cab") == [2, 1, 0]


def test_a_dict_without_id_0_is_a_list_of_names_that_0_begins_and_ends() -> None:
    reading = read(_checkpoint(4, stoi={"a": 1, "b": 2, "c": 3}))
    card = reading.build().card
    assert (card.bos, card.eos) == (0, 0)
    assert {"--assume bos=TOKEN", "--assume eos=TOKEN"} <= {missing.option for missing in reading.diagnosis.missing}
    padded = _checkpoint(4, stoi={"a": 1, "b": 2, "c": 3})
    padded.tensors["embedding.weight"][0] = 0
    assert read(padded).build().card.eos is None


@pytest.mark.parametrize(
    ("tokens", "bos", "eos"),
    [
        ([".", "a", "b", "c"], 0, 0),
        ([".", "a", " ", "c"], 2, None),
        (["<pad>", "<eos>", "<sos>", "a", "b"], 2, 1),
        (["a", "b", "<|endoftext|>"], 2, 2),
        (["PAD", "SOS", "EOS", "cat", "dog"], 1, 2),
        (["the", "<unk>", "<eos>", "cat"], 2, None),
        (["the", "<unk>", "</s>", "<s>", "cat"], 3, 2),
        (["s", "o", "p"], 0, None),
        (["床", "</s>", "<EOP>", "<START>", "月"], 3, 2),
        (["xxunk", "xxpad", "xxbos", "xxeos", "the"], 2, 3),
        (["the", "cat", "sat"], 0, None),
        (["<pad>", "<unk>", "the", "cat"], 2, None),
        (["<PAD>", "<UNK>", "今天", "天气", "很"], 2, None),
        (["_PAD", "_UNK", "_BOS", "_EOS", "the"], 2, 3),
        (["UNKNOWN_TOKEN", "SENTENCE_START", "SENTENCE_END", "the"], 1, 2),
        (["PAD_token", "SOS_token", "EOS_token", "the"], 1, 2),
        (["<s>", "<pad>", "</s>", "<unk>", "<mask>", "the"], 0, 2),
        (["<blank>", "<unk>", "the", "<sos/eos>"], 3, 3),
        (["<start_token>", "<end_token>", "the"], 0, 1),
        (["C", "Cl", "EOS", "GO"], 3, 2),
        (["\n", "a", "b", "c"], 0, 0),
        (["\n", " ", "a", "b"], 0, None),
        (["\n", "床", "月", "。"], 0, None),
    ],
)
def test_what_begins_and_ends_a_text(tokens: list[str], bos: int, eos: int | None) -> None:
    card = _build(len(tokens), itos=tokens).card
    assert (card.bos, card.eos) == (bos, eos)


def test_what_begins_and_ends_a_text_can_be_told() -> None:
    def card(**assume: str) -> tuple[int, int | None]:
        exportable = _build(4, ReadOptions(assume=assume), itos=["a", "\n", "<eos>", "b"])
        return exportable.card.bos, exportable.card.eos

    assert card() == (2, 2)
    assert card(bos="\\n", eos="none") == (1, None)
    assert card(bos="b", eos="1") == (3, 1)
    with pytest.raises(TuiGenError, match="--assume bos=z is no token of the vocabulary, and no id below 4"):
        card(bos="z")


def test_an_unknown_character_is_unknown_and_not_the_first_one() -> None:
    plain = _codec(_build(3, chars=["a", "b", "c"]))
    assert plain.unknown("abxc") == [(2, 3)]
    with pytest.raises(TuiGenError, match="has never seen 'x'"):
        plain.prompt(["abxc"])
    with_unknown = _build(4, chars=["a", "<unk>", "c", "b"])
    assert _ids(with_unknown, "abxc") == [0, 3, 1, 2]
    assert _codec(with_unknown).unknown("abxc") == [(2, 3)]


def test_special_tokens_among_characters_are_read_whole() -> None:
    exportable = _build(5, tokens=["<pad>", "a", "<", "<sos>", "p"])
    assert _ids(exportable, "a<pad>p<") == [1, 0, 4, 2]


def test_small_letters_are_read_in_any_case() -> None:
    assert _ids(_build(3, chars=["a", "b", "c"]), "BaC") == [1, 0, 2]
    assert _codec(_build(3, chars=["a", "B", "c"])).unknown("A") == [(0, 1)]


WORDS = ["the", "<unk>", "cat", ",", "sat", ".", "<eos>", "dog's"]


def test_words_are_read_between_spaces_and_marks_as_the_vocabulary_has_them() -> None:
    exportable = _build(8, idx2word=WORDS)
    assert _ids(exportable, "The cat, sat.\nthe  dog's bone") == [0, 2, 3, 4, 5, 6, 0, 7, 1]
    exportable = _build(3, idx2word=["the", "cat,", "sat."])
    assert _ids(exportable, "the cat, sat.") == [0, 1, 2]


def test_the_end_of_a_line_is_printed_as_a_newline_one_by_one_and_at_once() -> None:
    codec = _codec(_build(8, idx2word=WORDS))
    tokens = [0, 2, 6, 6, 0, 4, 6, 7]
    reader = codec.reader()
    assert codec.decode(tokens) == "the cat\n\nthe sat\ndog's"
    assert "".join(reader.read(token) for token in tokens) == "the cat\n\nthe sat\ndog's"


@pytest.mark.parametrize(
    ("size", "facts", "options"),
    [
        (5, {"tokens": ABC}, {}),
        (8, {"idx2word": WORDS}, {}),
        (9, {"idx2word": ["\n", *WORDS]}, {}),
        (7, {}, {}),
        (100, {}, {"vocab": "printable"}),
        (4, {"stoi": {"a": 1, "b": 2, "c": 3}}, {}),
        (4, {"itos": ["", "\ud800", "a", "b\udcff"]}, {}),
    ],
)
def test_an_export_with_any_vocabulary_is_proved(size: int, facts: dict[str, Any], options: dict[str, Any]) -> None:
    exportable = _build(size, ReadOptions(**options), **facts)
    assert verify(exportable.network, model_of(exportable), _codec(exportable)).greedy_tokens == 200


def test_without_a_vocabulary_tokens_go_by_their_numbers() -> None:
    reading = read(_checkpoint(30))
    missing, *_ = reading.diagnosis.missing
    assert missing.what == "the vocabulary"
    assert missing.option == "--vocab FILE, or --corpus FILE... --vocab-rule RULE"
    exportable = reading.build()
    assert _ids(exportable, "17 3 token 5  29") == [17, 3, 5, 29]
    assert _codec(exportable).decode([17, 3]) == "token 17 token 3"
    assert ["3 30 x"[start:end].strip() for start, end in _codec(exportable).unknown("3 30 x")] == ["30", "x"]


def test_a_known_size_is_a_hint_and_a_list_of_almost_that_size_is_told() -> None:
    missing, *_ = read(_checkpoint(100)).diagnosis.missing
    assert missing.what == "the vocabulary (--vocab printable has 100 too)"
    missing, *_ = read(_checkpoint(5, chars=["a", "b", "c"])).diagnosis.missing
    says = "chars in the file has 3 tokens, the weights 5 (--assume specials=<pad>,<unk> (`...,<unk>` puts it last) "
    assert missing.what.startswith(f"the vocabulary; {says}")
    exportable = _build(5, ReadOptions(assume={"specials": "<pad>,...,<eos>"}), chars=["a", "b", "c"])
    assert _ids(exportable, "ac<eos>") == [1, 3, 4]


def _side(path: Path, contents: str | bytes) -> ReadOptions:
    path.write_bytes(contents.encode() if isinstance(contents, str) else contents)
    return ReadOptions(vocab=str(path))


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("vocab.txt", "b\na\n\\n\nc\n\\s\n"),
        ("tabs.txt", "a\t1\nb\t0\n\\n\t2\nc\t3\n\\s\t4\n"),
        ("ids_first.txt", "1 a\n0 b\n2 \\n\n3 c\n4 \\s\n"),
        ("ids_last.txt", "a 1\nb 0\n\\n 2\nc 3\n\\s 4"),
        ("escaped.txt", "b\na\n\nc\n \n"),
        ("newline_written.txt", "b\na\n\n\nc\n \n"),
        ("list.json", json.dumps(ABC)),
        ("ids.json", json.dumps({char: at for at, char in enumerate(ABC)})),
        ("texts.json", json.dumps(dict(enumerate(ABC)))),
        ("nested.json", json.dumps({"version": 1, "data": {"stoi": {char: at for at, char in enumerate(ABC)}}})),
        ("meta.pkl", pickle.dumps({"vocab_size": 5, "itos": dict(enumerate(ABC)), "stoi": {}})),
    ],
)
def test_a_side_file_is_read_in_any_form(tmp_path: Path, name: str, contents: str | bytes) -> None:
    exportable = _build(5, _side(tmp_path / name, contents))
    assert _ids(exportable, "ab c\n") == [1, 0, 4, 3, 2]


def test_a_tokenizer_file_passes_through(tmp_path: Path) -> None:
    text = character_tokenizer("abc\n").to_str()
    exportable = _build(4, _side(tmp_path / "tokenizer.json", text))
    assert exportable.tokenizer == text
    assert exportable.card.bos == 0  # the newline


def test_sets_of_characters_go_by_their_names() -> None:
    exportable = _build(100, ReadOptions(vocab="printable"))
    assert _ids(exportable, "0aZ\n") == [string.printable.index(char) for char in "0aZ\n"]
    exportable = _build(256, ReadOptions(vocab="bytes"))
    assert _ids(exportable, "aé\n") == [*"aé\n".encode()]
    assert _codec(exportable).decode([*"naïve\n".encode()]) == "naïve\n"
    assert exportable.card.bos == ord("\n")


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        ("a\nb\n", r"--vocab .*vocab\.txt has 2 tokens, but the weights predict 5"),
        (json.dumps([1, 2, 3]), "holds no list of tokens, and no dict between tokens and ids"),
        (b"\xff\xfea\x00", r"vocab\.txt is not UTF-8 text"),
        (character_tokenizer("ab").to_str(), r"has 2 tokens, but the weights predict 5"),
    ],
)
def test_a_side_file_that_does_not_fit_is_told(tmp_path: Path, contents: str | bytes, says: str) -> None:
    with pytest.raises(TuiGenError, match=says):
        _build(5, _side(tmp_path / "vocab.txt", contents))


def test_a_side_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(TuiGenError, match="--vocab printible: there is no such file; a name instead of a file is p"):
        _build(5, ReadOptions(vocab="printible"))
    (tmp_path / "vocab.json").write_text("{}", encoding="utf-8")
    with pytest.raises(
        TuiGenError, match=r"is a folder; name the file in it that lists the tokens, such as .*vocab\.json"
    ):
        _build(5, ReadOptions(vocab=str(tmp_path)))
    with pytest.raises(TuiGenError, match="--vocab printable has 100 tokens, but the weights predict 5"):
        _build(5, ReadOptions(vocab="printable"))


TEXT = "to be or\nnot to be\nthat is it\n"


def _assumptions(**assume: str) -> Assumptions:
    return Assumptions(ReadOptions(assume=assume), Checkpoint("a test's", {}))


def _tokens(rule: str, *texts: str, folder: Path, **assume: str) -> list[str]:
    paths = [folder / f"{at}.txt" for at in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    return tokens_by_rule(rule, paths, _assumptions(**assume))


@pytest.mark.parametrize(
    ("rule", "tokens"),
    [
        ("sorted-characters", [*"\n abehinorst"]),
        ("sorted-characters-after-stop", [STOP, *" abehinorst"]),
        ("first-appearance-characters", [*"to ber\nnhais"]),
        ("characters-by-frequency", [*"t o\nbeirnhas"]),
        ("words-first-appearance", ["to", "be", "or", "not", "that", "is", "it"]),
        ("words-first-appearance-eos", ["to", "be", "or", "<eos>", "not", "that", "is", "it"]),
        ("words-by-frequency", ["to", "be", "or", "not", "that", "is", "it"]),
        ("words-by-frequency-sorted", ["be", "to", "is", "it", "not", "or", "that"]),
        ("words-by-frequency-sorted-eos", ["<eos>", "be", "to", "is", "it", "not", "or", "that"]),
        ("sorted-words", ["be", "is", "it", "not", "or", "that", "to"]),
    ],
)
def test_each_rule_orders_tokens_as_its_scripts_do(tmp_path: Path, rule: str, tokens: list[str]) -> None:
    assert _tokens(rule, TEXT, folder=tmp_path) == tokens


def test_every_rule_is_tested_and_says_what_it_does() -> None:
    tested = test_each_rule_orders_tokens_as_its_scripts_do.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {rule for rule, _ in tested} == RULES.keys()
    assert all(rule.summary for rule in RULES.values())


def test_files_are_read_in_the_order_given(tmp_path: Path) -> None:
    assert _tokens("words-first-appearance-eos", "b a\n", "c a", folder=tmp_path) == ["b", "a", "<eos>", "c"]


def test_what_varies_between_scripts_can_be_told(tmp_path: Path) -> None:
    specials = "<pad>,<unk>"
    assert _tokens("sorted-words", "B a", folder=tmp_path, specials=specials) == ["<pad>", "<unk>", "B", "a"]
    assert _tokens("sorted-words", "B a b", folder=tmp_path, lowercase="yes") == ["a", "b"]
    assert _tokens("words-by-frequency", "a b a c c", folder=tmp_path, min_count="2") == ["a", "c"]


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    with pytest.raises(TuiGenError, match="--assume min_count=few is not a whole number"):
        _tokens("sorted-words", "a", folder=tmp_path, min_count="few")
    with pytest.raises(TuiGenError, match="needs the text that the network was trained on: --corpus FILE"):
        tokens_by_rule("sorted-words", [], _assumptions())
    with pytest.raises(TuiGenError, match=r"missing\.txt cannot be read: No such file"):
        tokens_by_rule("sorted-words", [tmp_path / "missing.txt"], _assumptions())
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(TuiGenError, match=r"latin\.txt is not UTF-8 text: .* at byte 3"):
        tokens_by_rule("sorted-words", [tmp_path / "latin.txt"], _assumptions())


def _learned(text: str) -> Checkpoint:
    """A network that has learned which of a text's sorted characters are common."""
    counts = torch.tensor([float(text.count(char)) for char in sorted(set(text))])
    tensors = _checkpoint(len(counts)).tensors
    learned = {"fc.weight": torch.zeros(len(counts), 6), "fc.bias": torch.log(counts / counts.sum())}
    return Checkpoint("a test's", {**tensors, **learned})


def test_a_text_that_does_not_give_the_size_of_the_weights_is_told(tmp_path: Path) -> None:
    path = tmp_path / "input.txt"
    path.write_text(TEXT, encoding="utf-8")
    says = "by sorted-characters of input.txt has 12 tokens, but the weights predict 15; exactly so many with --assume "
    with pytest.raises(TuiGenError, match=f"the vocabulary {says}"):
        read(_checkpoint(15), ReadOptions(corpus=(path,), vocab_rule="sorted-characters"))


def test_the_corpus_shows_whether_the_network_was_read_rightly(tmp_path: Path) -> None:
    path = tmp_path / "input.txt"
    text = TEXT * 40
    path.write_text(text, encoding="utf-8")
    reading = read(_learned(text), ReadOptions(corpus=(path,), vocab_rule="sorted-characters"))
    assert dict(reading.diagnosis.facts)["vocabulary"] == "12 characters, sorted-characters of input.txt"
    assert dict(reading.diagnosis.facts)["on the corpus"].endswith("over 1,000; blind guessing would be 2.48")
    assert not reading.diagnosis.notes
    assert [tokens.shape for tokens in reading.build().real] == [(5, 200)]
    wrong = read(_learned(text), ReadOptions(corpus=(path,), vocab_rule="characters-by-frequency"))
    assert "worse than blind guessing" in wrong.diagnosis.doubt


def test_what_would_give_a_text_the_size_of_the_weights_is_named(tmp_path: Path) -> None:
    path = tmp_path / "input.txt"
    path.write_text("The cat and the dog\nand the rat\n", encoding="utf-8")

    def message(size: int) -> str:
        with pytest.raises(TuiGenError) as fault:
            read(_checkpoint(size), ReadOptions(corpus=(path,), vocab_rule="sorted-words"))
        return str(fault.value)

    assert message(7).endswith(
        "exactly so many with --vocab-rule words-first-appearance-eos or --vocab-rule words-by-frequency-sorted-eos or "
        "--assume specials=<unk> (`...,<unk>` puts it last)"
    )
    assert message(5).endswith("exactly so many with --assume lowercase=yes")
    assert message(2).endswith("exactly so many with --assume min_count=2")
    assert message(40).endswith("it is another model's, or incomplete")


def test_the_rules_that_fit_a_corpus_are_named_where_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "input.txt"
    path.write_text("abba cab\n", encoding="utf-8")
    diagnosis = read(_checkpoint(5), ReadOptions(corpus=(path,))).diagnosis
    assert "5 tokens come of the corpus by --vocab-rule sorted-characters" in diagnosis.missing[0].what
    assert "how well the corpus is predicted is not known: nothing names the tokens" in diagnosis.notes
    short = read(_checkpoint(5), ReadOptions(corpus=(path,), vocab_rule="sorted-characters")).diagnosis
    assert "how well the corpus is predicted is not known: it is too short" in short.notes


def test_no_coincidence_is_taken_for_a_cure(tmp_path: Path) -> None:
    """One token too many, and a capital and a small letter: small letters and <unk> would be as many."""
    with pytest.raises(TuiGenError, match="has 6 tokens, but the weights predict 5") as fault:
        _build(5, _side(tmp_path / "vocab.json", '["a", "A", "b", "B", "c", "@"]'))
    assert "specials" not in str(fault.value)
    with pytest.raises(TuiGenError, match="has 4 tokens, but the weights predict 3") as fault:
        _build(3, _side(tmp_path / "vocab.txt", "a\nb\nb\nc\n"))
    assert "lowercase" not in str(fault.value)
    stored = read(_checkpoint(3, itos=["cat", "sat", "on", "mat"])).diagnosis.missing[0]
    assert "header" not in stored.what


def test_how_tokens_are_split_and_printed_is_said_and_can_be_told() -> None:
    reading = read(_checkpoint(5, vocab=["C", "c", "Cl", "(", "="]))
    assert "--assume join=nothing|spaces" in [missing.option for missing in reading.diagnosis.missing]
    assert _codec(reading.build()).decode([0, 2, 1]) == "CClc"
    spaced = read(_checkpoint(5, vocab=["C", "c", "Cl", "(", "="]), ReadOptions(assume={"join": "spaces"}))
    assert _codec(spaced.build()).decode([0, 2, 1]) == "C Cl c"
    facts = dict(read(_checkpoint(4, vocab=["the", "cat", ",", "."])).diagnosis.facts)
    assert facts["text"] == (
        "words with spaces between, punctuation is a word in prompts too; "
        "prompts lower-cased, for it has small letters only"
    )


def test_a_numpy_file_is_read_and_a_sentencepiece_model_told(tmp_path: Path) -> None:
    np.save(tmp_path / "vocab.npy", np.array(ABC))
    assert _ids(_build(5, ReadOptions(vocab=str(tmp_path / "vocab.npy"))), "ab c\n") == [1, 0, 4, 3, 2]
    with pytest.raises(TuiGenError, match=r"is a SentencePiece model; name the \.vocab file"):
        _build(5, _side(tmp_path / "sp.model", b"\n\x0e\n\x05<unk>"))
    np.save(tmp_path / "ids.npy", {char: at for at, char in enumerate(ABC)})  # type: ignore[arg-type]
    assert _ids(_build(5, ReadOptions(vocab=str(tmp_path / "ids.npy"))), "ab c\n") == [1, 0, 4, 3, 2]
    np.savez_compressed(tmp_path / "all.npz", data=np.zeros((9, 4)), ix2word=dict(enumerate(ABC)))  # type: ignore[arg-type]
    assert _ids(_build(5, ReadOptions(vocab=str(tmp_path / "all.npz"))), "ab c\n") == [1, 0, 4, 3, 2]
    _side(tmp_path / "cut.npy", (tmp_path / "ids.npy").read_bytes()[:-20])
    with pytest.raises(TuiGenError, match=r"--vocab .*cut\.npy cannot be read"):
        _build(5, ReadOptions(vocab=str(tmp_path / "cut.npy")))


def test_long_lines_and_cells_take_no_time(tmp_path: Path) -> None:
    with pytest.raises(TuiGenError, match="has 3 tokens, but the weights predict 5"):
        _build(5, _side(tmp_path / "vocab.txt", f"{'x' + ' ' * 200_000}\n" * 2 + '"' + "," * 200_000 + '"'))


def test_tokens_that_stand_there_twice_are_told(tmp_path: Path) -> None:
    reading = read(_checkpoint(4), _side(tmp_path / "vocab.txt", "the\ncat\nthe\ndog\n"))
    assert "'the' and such stand there more than once" in " ".join(reading.diagnosis.notes)
    assert _codec(reading.build()).decode([0, 1, 2]) == "token 0 cat the"


def test_a_vocabulary_in_the_file_is_cut_and_made_small_as_told() -> None:
    facts = {"itos": ["the", "The", "cat", "sat", "mat"]}
    (missing, *_) = read(_checkpoint(4), ReadOptions()).diagnosis.missing
    assert missing.what == "the vocabulary"
    (missing, *_) = read(_checkpoint(4, **facts)).diagnosis.missing
    assert "itos in the file has 5 tokens, the weights 4 (--assume lowercase=yes gives them all)" in missing.what
    exportable = _build(4, ReadOptions(assume={"lowercase": "yes"}), **facts)
    assert _ids(exportable, "The cat") == [0, 1]


def _columns() -> dict[str, bytes]:
    """Vocabulary files of eleven tokens, by their names."""
    numbered = [(word, number) for number, word in enumerate(vocabularies.WORDS)]
    arrays = io.BytesIO()
    np.savez(arrays, words=np.array(vocabularies.WORDS))
    texts = {
        "lines.txt": "\n".join(vocabularies.WORDS),
        "counts.txt": "".join(f"{word} {999 - number}\n" for word, number in numbered),
        "ids.tsv": "".join(f"{word}\t{number}\n" for word, number in numbered),
        "ids-first.csv": "id,token,count\n" + "".join(f"{number},{word},{9 * number}\n" for word, number in numbered),
        "vectors.vec": "11 2\n" + "".join(f"{word} 0.5 -{number}e-2\n" for word, number in numbered),
        "objects.json": json.dumps([{"word": word, "index": number} for word, number in numbered]),
        "words.json": json.dumps(dict(numbered)),
        "literal.txt": str(dict(numbered)),
    }
    binary = {"words.pkl": pickle.dumps(dict(numbered)), "words.npz": arrays.getvalue()}
    return {**{name: text.encode() for name, text in texts.items()}, **binary}


@pytest.mark.parametrize("name", _columns())
def test_damaged_vocabulary_files_are_told_cleanly(name: str, tmp_path: Path) -> None:
    rng, path, checkpoint = random.Random(0), tmp_path / name, _checkpoint(11)
    original = _columns()[name]
    mutants = [original, *(damaged(original, rng) for _ in range(60))]
    mutants += [with_damaged_parts(original, rng, ".npy") for _ in range(60) if name.endswith(".npz")]
    refusals = count_refusals(path, mutants, lambda: read(checkpoint, ReadOptions(vocab=str(path))).build())
    assert refusals < len(mutants)
