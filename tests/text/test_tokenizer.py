"""A text that is tokenized block by block gives what it gives whole, and never lies in memory whole."""

from __future__ import annotations

import asyncio
import io
import itertools
import random
from collections.abc import Iterator

import pytest

from tests.support import toys
from tui_gen.errors import TuiGenError, WaitingError
from tui_gen.library import shipped_folder
from tui_gen.text.tokenizer import BLOCK, PromptTokenizer, TextTokens, text_blocks

KINDS = {"words": toys.words(), "characters": toys.characters(), "bytes": toys.bytes_bpe(("t", "h"))} | {
    name: (shipped_folder() / name / "tokenizer.json").read_text("utf-8")
    for name in ("recipes", "shakespeare", "names")
}


class Dribble(io.BytesIO):
    """Gives few bytes at once, as a pipe may."""

    def read1(self, size: int | None = -1) -> bytes:
        return super().read1(3)


class EndlessFile(io.BufferedIOBase):
    """Repeats a text for ever."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def read1(self, size: int = -1) -> bytes:
        return (self._text * (size // len(self._text) + 1))[:size]


def read(text: str | bytes, tokenizer: str, file: type[io.BytesIO] = io.BytesIO) -> tuple[list[int], str, TextTokens]:
    """Ids and the texts that go with them, joined."""
    tokens, ids, texts = TextTokens(PromptTokenizer(tokenizer), "toy", "a.txt"), list[int](), list[str]()
    for block in text_blocks(file(text.encode() if isinstance(text, str) else text), "a.txt"):
        piece = tokens.read(block)
        assert len(piece.ids) == len(piece.texts)
        ids += piece.ids
        texts += piece.texts
    return ids, "".join(texts), tokens


def prose(length: int, *, seed: int, spaces: tuple[str, ...] = (" ", "  ", "\n", "\n\n \t")) -> str:
    rng = random.Random(seed)
    words = ("the", "Cat", "sat", "zebra,", "(ran)", "it's", ".", "abc" * 50, "half-made", "é")
    return "".join(rng.choice(words) + rng.choice(spaces) for _ in range(length))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spaces", [(" ", "  ", "\n", "\n\n \t"), (" ",), (" " * 700,)])
def test_blocks_give_the_tokens_of_the_whole(kind: str, spaces: tuple[str, ...]) -> None:
    text = "".join(known(kind, prose(6000 if len(spaces[0]) == 1 else 250, seed=len(spaces), spaces=spaces)))
    text *= 1 + 3 * BLOCK // 2 // len(text)
    ids, texts, tokens = read(text, KINDS[kind])
    assert ids == PromptTokenizer(KINDS[kind]).ids(text)
    assert texts == text[: len(texts)]
    assert text[len(texts) :].strip() == ""
    assert tokens.characters == len(text)


def known(kind: str, text: str) -> Iterator[str]:
    """Without the characters that the tokenizer has never seen."""
    vocabulary = PromptTokenizer(KINDS[kind]).tokenizer.get_vocab()
    characters = kind in ("characters", "names", "shakespeare")
    lower = kind != "shakespeare"
    return (char for char in text if not characters or (char.lower() if lower else char) in vocabulary)


@pytest.mark.parametrize("kind", ["characters", "names"])
def test_characters_need_no_white_space_at_all(kind: str) -> None:
    text = "abcacb" * BLOCK
    assert read(text, KINDS[kind])[0] == PromptTokenizer(KINDS[kind]).ids(text)


@pytest.mark.parametrize("kind", ["words", "characters"])
def test_what_a_pipe_cuts_anywhere_is_one_text(kind: str) -> None:
    text = "\ufeffab c\r\nbb\rA" if kind == "characters" else "\ufeffthe\r\n\r\nCat zebré — sat\r\n"
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for file in (Dribble, io.BytesIO):
        ids, texts, _ = read(text, KINDS[kind], file)
        assert ids == PromptTokenizer(KINDS[kind]).ids(plain)
        assert texts == plain[: len(texts)]


@pytest.mark.parametrize("text", [b"the cat ", b"cat", b" "])
def test_no_block_is_large_however_long_the_text(text: bytes) -> None:
    tokens = TextTokens(PromptTokenizer(KINDS["words"]), "toy", "a.txt")
    blocks = list(itertools.islice(text_blocks(EndlessFile(text), "a.txt"), 12))
    assert max(map(len, blocks)) <= 2 * BLOCK
    assert max(sum(map(len, tokens.read(block).texts)) for block in blocks) <= 3 * BLOCK


def test_a_line_is_handed_on_while_the_next_is_still_being_written() -> None:
    lines = iter([b"the cat sat\n", b"the dog "])
    file = EndlessFile(b"?")
    file.read1 = lambda size=-1: next(lines)  # type: ignore[method-assign]
    assert next(text_blocks(file, "stdin")) == "the cat sat"


def test_unknown_words_are_counted_and_the_first_of_them_kept() -> None:
    _, _, tokens = read("the zebra sat. Zebra ibex, lynx, zebra, okapi", KINDS["words"])
    assert (tokens.unknown, tokens.examples) == (9, ["zebra", "Zebra", "ibex"])


@pytest.mark.parametrize("file", [io.BytesIO, Dribble])
def test_a_character_that_was_never_seen_is_told_by_line_and_column(file: type[io.BytesIO]) -> None:
    with pytest.raises(TuiGenError, match=r"toy has never seen '7' \(line 3, character 5 of a\.txt\)"):
        read("ab\n\nab c7 b", KINDS["characters"], file)
    with pytest.raises(TuiGenError, match=rf"line 1, character {5 * BLOCK + 1} "):
        read("abcab" * BLOCK + "7", KINDS["characters"], io.BytesIO)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"caf\xe9 au lait", "it goes wrong at byte 3"),
        (b"the cat \xe2\x82", "it goes wrong at byte 8"),
        (b"\xef\xbb\xbfab\xff", "it goes wrong at byte 5"),
        ("the".encode("utf-16-le"), "it has a NUL at byte 1"),
        (b"the cat\0", "it has a NUL at byte 7"),
    ],
)
@pytest.mark.parametrize("file", [io.BytesIO, Dribble])
def test_what_is_no_text_is_told_by_its_byte(content: bytes, reason: str, file: type[io.BytesIO]) -> None:
    with pytest.raises(TuiGenError, match=f"a.txt is not UTF-8 text: {reason}; convert it to UTF-8"):
        read(content, KINDS["words"], file)


@pytest.mark.parametrize("kind", ["recipes", "shakespeare"])
async def test_a_screen_goes_on_while_a_long_text_is_read_and_reads_short_ones_at_once(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "")
    tokenizer, text, known, turns = PromptTokenizer(KINDS[kind]), "the first course. " * 10_000, asyncio.Event(), 0
    expected = tokenizer.encode(text)
    tokenizer.hurry(0)
    with pytest.raises(WaitingError) as wait:
        tokenizer.encode(text)
    wait.value.when_known(known.set)
    while not known.is_set():
        turns += 1
        await asyncio.sleep(0)
        tokenizer.encode("the first course")
        tokenizer.last_word(text)
    assert turns > 10
    assert tokenizer.encode(text) == expected
