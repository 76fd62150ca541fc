"""Vocabularies rebuilt from the training text, as training scripts make them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from export.assumptions import Assumptions
from export.checkpoints.checkpoint import Checkpoint
from export.reader import ReadOptions
from export.text.vocabulary import RULES, STOP, tokens_by_rule
from tests.export.text.checkpoints import read
from tui_gen.errors import TuiGenError

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


def _checkpoint(size: int, text: str = "") -> Checkpoint:
    """A network that has learned, if there is a text, which of its sorted characters are common."""
    torch.manual_seed(0)
    parts = nn.ModuleDict({"emb": nn.Embedding(size, 4), "rnn": nn.LSTM(4, 6), "out": nn.Linear(6, size)})
    if text:
        counts = torch.tensor([float(text.count(char)) for char in sorted(set(text))])
        parts["out"].bias.data = torch.log(counts / counts.sum())  # type: ignore[union-attr]
        nn.init.zeros_(parts["out"].weight)  # type: ignore[arg-type]
    return Checkpoint("a test's", dict(parts.state_dict()))


def test_a_text_that_does_not_give_the_size_of_the_weights_is_told(tmp_path: Path) -> None:
    path = tmp_path / "input.txt"
    path.write_text(TEXT, encoding="utf-8")
    options = ReadOptions(corpus=(path,), vocab_rule="sorted-characters")
    says = (
        "the vocabulary by sorted-characters of input.txt has 12 tokens, but the weights predict 15; --assume specials"
    )
    with pytest.raises(TuiGenError, match=says):
        read(_checkpoint(15), options)


def test_the_corpus_shows_whether_the_network_was_read_rightly(tmp_path: Path) -> None:
    path = tmp_path / "input.txt"
    text = TEXT * 40
    path.write_text(text, encoding="utf-8")
    reading = read(_checkpoint(12, text), ReadOptions(corpus=(path,), vocab_rule="sorted-characters"))
    assert dict(reading.diagnosis.facts)["vocabulary"] == "12 characters, sorted-characters of input.txt"
    assert dict(reading.diagnosis.facts)["on the corpus"].endswith("over 1,000; blind guessing would be 2.48")
    assert not reading.diagnosis.notes
    assert [tokens.shape for tokens in reading.build().real] == [(5, 200)]
    wrong = read(_checkpoint(12, text), ReadOptions(corpus=(path,), vocab_rule="characters-by-frequency"))
    assert "worse than blind guessing" in wrong.diagnosis.doubt
