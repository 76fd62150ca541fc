"""Tokenizers of strangers, which may do anything with a text."""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support import toys
from tui_gen.errors import TuiGenError
from tui_gen.library import open_model
from tui_gen.text.encoder_process import EncoderProcess
from tui_gen.text.tokenizer import PromptTokenizer

TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "A", "type_id": 0}}] * 9000,
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
    "special_tokens": {},
}
"""Repeats a text."""
NO_CHARACTERS = {"type": "Precompiled", "precompiled_charsmap": "AAAA" * 9}
EXPRESSION = {"pattern": {"Regex": "(a+)+$"}, "content": "b"}


def tokenizer_with(**parts: Any) -> str:
    return json.dumps({**json.loads(toys.words()), **parts})


def replacements(old: str, new: str) -> list[dict[str, Any]]:
    return [{"type": "Replace", "pattern": {"String": old}, "content": new}]


@pytest.mark.parametrize(
    "text", ["the cat sat", "", "nowhere the", "na\u00efve \U0001f600 \ud800 the", "the " * 50_000]
)
def test_a_process_encodes_as_the_tokenizer_does(text: str) -> None:
    here, there = (PromptTokenizer(toys.words(), encoder) for encoder in (None, EncoderProcess(toys.words())))
    assert there.encode(text) == here.encode(text)
    assert there.last_word(text) == here.last_word(text)


def test_it_ends_when_nobody_needs_it() -> None:
    encoder = EncoderProcess(toys.words())
    encoder.try_out("the cat")
    process = encoder._process
    del encoder
    gc.collect()
    assert process.returncode is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process is forked there")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork_each_asks_a_process_of_its_own() -> None:
    encoder = EncoderProcess(toys.words())
    encoder.try_out("the cat")
    if child := os.fork():
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        assert encoder.encode("the cat").ids == [2, 3]
    else:
        before = encoder._process.pid
        ids = encoder.encode("the cat sat").ids
        os._exit(len(ids) if encoder._process.pid != before else 0)


def test_one_that_multiplies_what_is_typed_is_ended_and_asked_no_more() -> None:
    encoder = EncoderProcess(toys.multiplying("q"))
    encoder.try_out("the cat")
    for _ in range(2):
        with pytest.raises(TuiGenError, match=r"^takes too (much memory|long) on a text.* so it is not asked any more"):
            encoder.encode("q")
    tokenizer = PromptTokenizer(toys.words(), encoder)
    with pytest.raises(TuiGenError, match=r"^tokenizer\.json takes too"):
        tokenizer.unknown("the cat")


@pytest.mark.skipif(os.name == "nt", reason="what a processor spends is not limited there")
def test_an_expression_without_end_is_ended() -> None:
    normalizer = {"type": "Replace", "pattern": {"Regex": "((((a{1000}){1000}){1000}){1000})"}, "content": "b"}
    encoder = EncoderProcess(tokenizer_with(normalizer=normalizer))
    encoder.try_out("the cat")
    with pytest.raises(TuiGenError, match=r"^takes too long on a text"):
        encoder.encode("a" * 10**5)


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("[" * 900 + "]" * 900, "nests lists and objects deeper than 64"),
        ("null", "is damaged: "),
        (tokenizer_with(normalizer={"type": "Prepend", "prepend": "a" * 2**20}), "has a normalizer, .* than 1,024 KiB"),
        (toys.multiplying("a"), "takes too (much memory|long) on a text"),
        (tokenizer_with(post_processor=TEMPLATE), r"makes [\d,]+ tokens of"),
        (tokenizer_with(normalizer=NO_CHARACTERS), "fails on this text: "),
        (tokenizer_with(decoder={"type": "Sequence", "decoders": replacements("a", "a" * 30) * 2}), "has a decoder of"),
        (tokenizer_with(decoder=EXPRESSION), "has a decoder that replaces an expression"),
        (tokenizer_with(decoder={"type": "Replace", **EXPRESSION}), "has a decoder that replaces an expression"),
        (toys.words().replace('"the"', json.dumps("the" * 10**6)), "has a token of more than 1000 characters"),
    ],
    ids=["deep", "null", "prepend", "multiplies", "template", "charsmap", "decoder", "legacy", "expression", "token"],
)
def test_what_a_trial_shows_is_refused_when_the_model_is_opened(source: str, fault: str, tmp_path: Path) -> None:
    folder = toys.text_folder(tmp_path / "hostile", tokenizer=source)
    with pytest.raises(TuiGenError, match=f"/hostile/tokenizer.json {fault}"):
        open_model(folder)
