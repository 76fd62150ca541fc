"""tokenizer.json: prompts and whole files to token ids, with the places of what the vocabulary does not have."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tokenizers import Encoding, Tokenizer

from tui_gen.errors import TuiGenError

_SURROGATE = re.compile("[\ud800-\udfff]")
"""What bytes that are not text become on a command line."""
NOWHERE = 2**31
"""Stands for a token that the vocabulary does not have."""
BLOCK = 2**16
"""Bytes that are read at once, and characters without white space at which a block ends in the middle of a word."""
_WHITE = " \t\n"
_EXAMPLES = 3
"""Unknown words that are kept to be shown."""


@contextlib.contextmanager
def errors_as(what: str) -> Iterator[None]:
    """Turns every fault of `tokenizers` into TuiGenError: it raises bare Exception, and panics with BaseException."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, TuiGenError):
        raise
    except BaseException as fault:
        raise TuiGenError(f"{what}: {fault}") from None


class PromptTokenizer:
    """A `tokenizers` file that never fails on a word which it does not know, but says where it stands."""

    def __init__(self, source: str) -> None:
        with errors_as("is damaged"):
            facts = json.loads(source)
            self.tokenizer = Tokenizer.from_str(json.dumps(_with_unknown(facts)))
            self.tokenizer.no_truncation()  # a prompt is what was typed, all of it
            self.tokenizer.no_padding()
        unknown = facts["model"].get("unk_token")
        self.unknown_id = None if unknown is None else self.tokenizer.token_to_id(unknown)

    @property
    def vocabulary(self) -> dict[str, int]:
        """The id of every token, as it is written in the file."""
        vocab = self.tokenizer.get_vocab(with_added_tokens=True)
        return {token: number for token, number in vocab.items() if number != NOWHERE}

    def ids(self, text: str) -> list[int]:
        """Token ids; one that is `NOWHERE` or more stands for an unknown word."""
        return list(self._encode(text).ids)

    def unknown(self, text: str) -> list[tuple[int, int]]:
        """Spans of text that no token of the vocabulary stands for."""
        encoding = self._encode(text)
        pairs = zip(encoding.ids, encoding.offsets, strict=True)
        return [span for token, span in pairs if token == self.unknown_id]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids, special ones included."""
        with errors_as("tokenizer.json fails on what the model wrote"):
            return self.tokenizer.decode(list(tokens), skip_special_tokens=False)

    def _encode(self, text: str) -> Encoding:
        with errors_as("tokenizer.json fails on this prompt"):
            return self.tokenizer.encode(_SURROGATE.sub("\ufffd", text), add_special_tokens=False)


def _with_unknown(facts: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """Gives a vocabulary without an unknown token one that lies nowhere, so that encoding neither raises nor drops."""
    model = facts["model"]
    vocab = model.get("vocab")
    if isinstance(vocab, dict):
        model["unk_token"] = model.get("unk_token") or "<unknown>"
        vocab.setdefault(model["unk_token"], NOWHERE)
    return facts


def text_blocks(file: io.BufferedIOBase, name: str) -> Iterator[str]:
    """Blocks that joined are the text, with its line ends as newlines and without a byte order mark.

    A block ends before white space, where tokenizers of words and of pieces of words split anyway. One without any in
    64 Ki characters ends there: that changes nothing for characters, and makes two tokens of a word of this length.
    What comes from a pipe is handed on as it comes, but for the last word. Raises TuiGenError, which calls the file by
    the name, for bytes that are no UTF-8 text.
    """
    pending = ""
    for text in _decode(file, name):
        pending += text
        if end := _block_end(pending):
            yield pending[:end]
            pending = pending[end:]
    if pending:
        yield pending


def _block_end(text: str) -> int:
    """How many characters make a block; 0 if it may go on."""
    last = max(map(text.rfind, _WHITE))
    before = len(text[: last + 1].rstrip(_WHITE))
    return before or (len(text) if len(text) >= BLOCK else 0)


def _decode(file: io.BufferedIOBase, name: str) -> Iterator[str]:
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")(), translate=True)
    read, block = 0, b"?"
    while block:
        block = file.read1(BLOCK)
        _refuse_nul(block, read, name)
        read += len(block)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as fault:
            wrong = f"it goes wrong at byte {read - len(fault.object) + fault.start}"
            raise TuiGenError(f"{name} is not UTF-8 text: {wrong}; convert it to UTF-8") from fault
        yield text


def _refuse_nul(block: bytes, read: int, name: str) -> None:
    place = block.find(0)
    if place >= 0:
        raise TuiGenError(f"{name} is not UTF-8 text: it has a NUL at byte {read + place}; convert it to UTF-8")


class Piece(NamedTuple):
    """Tokens that follow each other."""

    ids: list[int]
    texts: list[str]
    """What each stands for, with the white space before it: joined, they are the text up to its last token."""


class TextTokens:
    """Tokenizes the blocks of one text, and counts."""

    def __init__(self, tokenizer: PromptTokenizer, model: str, name: str) -> None:
        """model, name: what errors call the model, and the text."""
        self._tokenizer, self._model, self._name = tokenizer, model, name
        self._gap, self._lines, self._column = "", 0, 0
        self.characters = 0
        """How many were read."""
        self.unknown = 0
        """Tokens that stand for words which the model does not know."""
        self.examples: list[str] = []
        """The first of those words."""

    def read(self, block: str) -> Piece:
        """The tokens of the next block. Raises TuiGenError, with its place, for what no token can stand for."""
        with errors_as("tokenizer.json fails on this text"):
            encoding = self._tokenizer.tokenizer.encode(block, add_special_tokens=False)
        self._note_unknown(encoding, block)
        piece = self._piece(encoding, block)
        self._count(block)
        return piece

    def _piece(self, encoding: Encoding, block: str) -> Piece:
        texts, past = [], 0
        for _, end in encoding.offsets:
            texts.append(block[past:end])  # of several tokens for one character, the first has it
            past = max(past, end)
        if texts:
            texts[0] = self._gap + texts[0]
        self._gap = block[past:] if texts else (self._gap + block)[-BLOCK:]  # a file may be all white space
        return Piece(encoding.ids, texts)

    def _note_unknown(self, encoding: Encoding, block: str) -> None:
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if token >= NOWHERE:
                raise TuiGenError(f"{self._model} has never seen {block[start:end]!r} {self._place(block, start)}")
            if token == self._tokenizer.unknown_id:
                self.unknown += 1
                if len(self.examples) < _EXAMPLES and block[start:end] not in self.examples:
                    self.examples.append(block[start:end])

    def _place(self, block: str, at: int) -> str:
        line, column = _line_and_column(block[:at], self._lines, self._column)
        return f"(line {line + 1}, character {column + 1} of {self._name}); leave it out of the text"

    def _count(self, block: str) -> None:
        self.characters += len(block)
        self._lines, self._column = _line_and_column(block, self._lines, self._column)


def _line_and_column(text: str, lines: int, column: int) -> tuple[int, int]:
    """Line and column, both from 0, after a text that begins at these."""
    last = text.rfind("\n")
    return lines + text.count("\n"), column + len(text) if last < 0 else len(text) - last - 1
