"""tokenizer.json: prompts and whole files to token ids, with the places of what the vocabulary does not have."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol, TypeVar

import tokenizers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from tui_gen.errors import TuiGenError, WaitingError, errors_of
from tui_gen.json_fields import parse_json
from tui_gen.terminal_text import listed

_SURROGATE = re.compile("[\ud800-\udfff]")
"""What bytes that are not text become on a command line."""
NOWHERE = 2**31
"""Stands for a token that the vocabulary does not have."""
BLOCK = 2**16
"""Bytes that are read at once, and characters without white space at which a block ends in the middle of a word."""
_WHITE = " \t\n"
MAX_TOKEN = 1000
"""Characters of a token."""
MAX_LINE = 2**20
"""Characters of a line, where each is a text of its own."""
_PARTS, _MAX_PART = ("normalizer", "pre_tokenizer", "post_processor", "decoder"), 2**20
"""What surrounds a vocabulary, and how many characters each may have in the file."""
_MAX_DECODERS, _MAX_GROWTH = 256, 32
"""How many a decoder may have, and how many times as long as tokens they may make a text."""
_EXAMPLES = 3
"""Unknown words that are kept to be shown."""
_TAIL = 4 * MAX_TOKEN
"""Characters at the end of a text that its last word is looked for in: no token is longer."""
_MOST_ANSWERS = 3
"""That a screen remembers, the newest: a prompt, with and without what it begins with, and its last word."""
_WAITING = "the tokenizer still reads what was typed"

T = TypeVar("T")


@contextlib.contextmanager
def errors_as(what: str) -> Iterator[None]:
    """Turns every fault of `tokenizers` into TuiGenError: it raises bare Exception, and panics with BaseException."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, TuiGenError):
        raise
    except BaseException as fault:
        raise TuiGenError(f"{what}: {fault}") from None


def without_surrogates(text: str) -> str:
    """As UTF-8 can write it."""
    return _SURROGATE.sub("\ufffd", text)


class Encoding(NamedTuple):
    """The tokens of a text."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    """Where each begins and ends in the text, in characters."""


class Encoder(Protocol):
    """Text to tokens. Raises TuiGenError that says, of tokenizer.json, how it fails."""

    quick: int
    """Characters of a text that surely takes no time."""

    def encode(self, text: str) -> Encoding:
        """The tokens of a text, without what a prompt begins with."""
        ...

    def last_word(self, text: str) -> str:
        """The word that a text breaks off in, as the vocabulary would have it; empty after a space."""
        ...


class LocalEncoder:
    """In this process."""

    quick = 2**12

    def __init__(self, tokenizer: Tokenizer, *, beside: bool = False) -> None:
        """beside: whether other threads go on meanwhile."""
        self._tokenizer, self._beside = tokenizer, beside

    def encode(self, text: str) -> Encoding:
        with errors_as("fails on this text"):
            encoding = self._encode(without_surrogates(text))
            return Encoding(encoding.ids, encoding.offsets)

    def _encode(self, text: str) -> tokenizers.Encoding:
        if not self._beside or len(text) < self.quick:
            return self._tokenizer.encode(text, add_special_tokens=False)
        [encoding] = self._tokenizer.encode_batch([text], add_special_tokens=False)  # which alone lets them
        return encoding

    def last_word(self, text: str) -> str:
        with errors_as("fails on this text"):
            normalizer, splitter = self._tokenizer.normalizer, self._tokenizer.pre_tokenizer
            text = without_surrogates(text)
            text = normalizer.normalize_str(text) if normalizer else text
            words = splitter.pre_tokenize_str(text) if splitter else []
        return words[-1][0] if words and words[-1][1][1] == len(text) else ""


class ScreenEncoder:
    """Lets a thread with an event loop, which draws a screen, wait for an answer a while at most."""

    quick = 0

    def __init__(self, encoder: Encoder, patience: float) -> None:
        """patience: seconds, after which WaitingError is raised."""
        self._encoder, self._patience = encoder, patience
        self._answers = dict[tuple[object, str], Future[Any]]()

    def encode(self, text: str) -> Encoding:
        return self._within_patience(self._encoder.encode, text)

    def last_word(self, text: str) -> str:
        return self._within_patience(self._encoder.last_word, text)

    def _within_patience(self, ask: Callable[[str], T], text: str) -> T:
        """The answer; one that takes longer is remembered until it is asked for again."""
        if len(text) < self._encoder.quick or not _draws_screen():
            return ask(text)
        answer: Future[T] | None = self._answers.get((ask, text))
        if answer:
            return _result(answer, 0)
        for pending in self._answers.values():
            if not pending.done():  # what is asked now would wait for that, and that was waited for already
                raise WaitingError(_WAITING, pending)
        answer = self._answers[ask, text] = Future()
        for oldest in list(self._answers)[:-_MOST_ANSWERS]:
            del self._answers[oldest]
        threading.Thread(target=_settle, args=(answer, ask, text), daemon=True).start()
        return _result(answer, self._patience)


def _draws_screen() -> bool:
    """Whether this thread runs an event loop."""
    import asyncio  # of a screen; commands start without it

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _settle(answer: Future[T], ask: Callable[[str], T], text: str) -> None:
    try:
        answer.set_result(ask(text))
    except BaseException as fault:
        answer.set_exception(fault)


def _result(answer: Future[T], patience: float) -> T:
    try:
        return answer.result(patience)
    except TimeoutError:
        raise WaitingError(_WAITING, answer) from None


class PromptTokenizer:
    """A `tokenizers` file that never fails on a word which it does not know, but says where it stands.

    encoder: where it encodes; default: in this process.
    """

    def __init__(self, source: str, encoder: Encoder | None = None) -> None:
        with errors_as("is damaged"):
            facts = parse_json(source)
            if max(len(json.dumps(facts.get(part))) for part in _PARTS) > _MAX_PART:
                raise TuiGenError(f"has a {listed(_PARTS)} of more than {_MAX_PART >> 10:,} KiB")
            self.tokenizer = Tokenizer.from_str(json.dumps(_with_unknown(facts)))
            self.tokenizer.no_truncation()  # a prompt is what was typed, all of it
            self.tokenizer.no_padding()
            _check_decoder(self.tokenizer)
        if max(map(len, self.vocabulary), default=0) > MAX_TOKEN:
            raise TuiGenError(f"has a token of more than {MAX_TOKEN} characters")
        self._stranger = encoder
        self.encoder = encoder or LocalEncoder(self.tokenizer)
        unknown = facts["model"].get("unk_token")
        self.unknown_id = None if unknown is None else self.tokenizer.token_to_id(unknown)

    def hurry(self, patience: float) -> None:
        """Lets a thread with an event loop wait so many seconds at most, then raises WaitingError for it."""
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one text has no parts, and processes may be forked
        self.encoder = ScreenEncoder(self._stranger or LocalEncoder(self.tokenizer, beside=True), patience)

    @property
    def vocabulary(self) -> dict[str, int]:
        """The id of every token, as it is written in the file."""
        vocab = self.tokenizer.get_vocab(with_added_tokens=True)
        return {token: number for token, number in vocab.items() if number != NOWHERE}

    def ids(self, text: str) -> list[int]:
        """Token ids; one that is `NOWHERE` or more stands for an unknown word."""
        return self.encode(text).ids

    def unknown(self, text: str) -> list[tuple[int, int]]:
        """Spans of text that no token of the vocabulary stands for."""
        encoding = self.encode(text)
        pairs = zip(encoding.ids, encoding.offsets, strict=True)
        return [span for token, span in pairs if token == self.unknown_id]

    def whole_words(self) -> list[tuple[str, int]]:
        """Words and their ids, in the order of the ids; none of a vocabulary of pieces of words."""
        if not isinstance(self.tokenizer.model, WordLevel):
            return []
        vocabulary = self.tokenizer.get_vocab(with_added_tokens=False)
        return sorted(
            ((word, token) for word, token in vocabulary.items() if token < NOWHERE), key=lambda pair: pair[1]
        )

    def last_word(self, text: str) -> str:
        """The word that a text breaks off in, as the vocabulary would have it; empty after a space."""
        with errors_of("tokenizer.json"):
            return self.encoder.last_word(text[-_TAIL:])

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids, special ones included."""
        with errors_as("tokenizer.json fails on what the model wrote"):
            return self.tokenizer.decode(list(tokens), skip_special_tokens=False)

    def encode(self, text: str) -> Encoding:
        """The tokens of a text; an id that is `NOWHERE` or more stands for an unknown word."""
        with errors_of("tokenizer.json"):
            return self.encoder.encode(text)


def _with_unknown(facts: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """Gives a vocabulary without an unknown token one that lies nowhere, so that encoding neither raises nor drops."""
    model = facts["model"]
    vocab = model.get("vocab")
    if isinstance(vocab, dict):
        model["unk_token"] = model.get("unk_token") or "<unknown>"
        vocab.setdefault(model["unk_token"], NOWHERE)
    return facts


def _check_decoder(tokenizer: Tokenizer) -> None:
    """Raises TuiGenError for a decoder that could take long, or write far more than the tokens are: a run waits for it.

    Texts that it replaces are found in linear time; expressions may take exponential time.
    """
    decoders = _flat(parse_json(tokenizer.decoder.__getstate__())) if tokenizer.decoder else []
    growth = 1.0
    for decoder in decoders:
        if decoder["type"] == "Replace":
            pattern = decoder["pattern"].get("String")
            if not pattern:
                raise TuiGenError("has a decoder that replaces an expression, or nothing; it may replace texts alone")
            growth *= max(1.0, len(decoder["content"]) / len(pattern))
    if len(decoders) > _MAX_DECODERS or growth > _MAX_GROWTH:
        raise TuiGenError(
            f"has a decoder of too many parts, or one that makes a text more than {_MAX_GROWTH} times as long"
        )


def _flat(decoder: dict[str, Any]) -> list[dict[str, Any]]:
    if decoder["type"] == "Sequence":
        return [part for inner in decoder["decoders"] for part in _flat(inner)]
    return [decoder]


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


def text_lines(file: io.BufferedIOBase, name: str) -> Iterator[str]:
    """The lines of a text without their ends. Raises TuiGenError likewise, and for one that is very long."""
    line, number = "", 1
    for text in _decode(file, name):
        *whole, line = (line + text).split("\n")
        yield from whole
        number += len(whole)
        if len(line) > MAX_LINE:
            raise TuiGenError(f"{name}, line {number} has more than {MAX_LINE:,} characters")
    if line:
        yield line


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
    """Tokenizes the blocks of a text, and counts; then those of others."""

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
        encoding = self._tokenizer.encode(block)
        self._note_unknown(encoding, block)
        piece = self._piece(encoding, block)
        self.characters += len(block)
        self._go_past(block)
        return piece

    def ids(self, text: str, name: str, line: int = 1) -> list[int]:
        """The tokens of another text, which begins at this line of what errors call by the name. Raises likewise."""
        self._name, self._gap, self._lines, self._column = name, "", line - 1, 0
        ids, first = list[int](), 0
        while block := text[first : first + BLOCK]:  # the places of all tokens at once would take much memory
            block = block[: _block_end(block)] if len(block) == BLOCK else block
            ids += self.read(block).ids
            first += len(block)
        return ids

    def note(self, word: str) -> None:
        """Counts a word that the model does not know."""
        self.unknown += 1
        if len(self.examples) < _EXAMPLES and word not in self.examples:
            self.examples.append(word)

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
                self.note(block[start:end])

    def _place(self, block: str, at: int) -> str:
        line, column = _line_and_column(block[:at], self._lines, self._column)
        return f"(line {line + 1}, character {column + 1} of {self._name}); leave it out of the text"

    def _go_past(self, block: str) -> None:
        self._lines, self._column = _line_and_column(block, self._lines, self._column)


def _line_and_column(text: str, lines: int, column: int) -> tuple[int, int]:
    """Line and column, both from 0, after a text that begins at these."""
    last = text.rfind("\n")
    return lines + text.count("\n"), column + len(text) if last < 0 else len(text) - last - 1
