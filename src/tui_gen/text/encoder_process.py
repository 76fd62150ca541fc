"""`EncoderProcess`: text to token ids in a process that can be ended, where a stranger's file says how.

Normalizers multiply what they are given, expressions take exponential time, and tokenizers panics. All of that depends
on the text, so no trial beforehand would show it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import weakref
from array import array
from collections.abc import Iterator
from io import RawIOBase
from math import ceil
from typing import IO, cast

from tui_gen.child import limit, start
from tui_gen.errors import TuiGenError, errors_of
from tui_gen.text.tokenizer import Encoder, Encoding, PromptTokenizer, without_surrogates

MEMORY = 3 * 2**29
"""Bytes of address space that the process may take."""
_SECONDS_TO_LOAD = 4
_SECONDS, _SECONDS_A_TEXT, _BYTES_A_SECOND = 2, 0.1, 2**18
"""Of a processor: what texts may save, and what each brings, with one more for each so many bytes of it."""
_MOST_TOKENS, _TOKENS_A_CHARACTER = 1000, 100
"""Of a text: so many, and as many more for each of its characters."""
_ENCODE, _LAST_WORD = b"e", b"w"
_ANSWER, _FAULT = b"a", b"f"
_HEAD = struct.Struct("<cI")
"""What stands before the bytes of a request or an answer: its sort, and how many there are."""
_CODE = "from tui_gen.text.encoder_process import serve; serve()"
_BLAME = "so it is not asked any more: it is damaged, or made to do so"


class EncoderProcess:
    """Encodes as the text of a tokenizer.json says. Once it took too long or too much memory, all else is refused.

    The process ends with this object, and with this program.
    """

    quick = 0

    def __init__(self, source: str) -> None:
        self._fault, self._lock, self._source = "", threading.Lock(), source.encode("utf-8", "replace")
        self._start()

    def _start(self) -> None:
        self._asker, self._knows_source = os.getpid(), False
        with errors_of("cannot be tried in a process of its own:"):
            self._process = start(_CODE, buffer=0)
        weakref.finalize(self, _end, self._process)

    def try_out(self, text: str) -> None:
        """Raises TuiGenError that says what is wrong with the file, or that it fails on this text."""
        self.encode(text)
        self.last_word(text)

    def encode(self, text: str) -> Encoding:
        numbers = array("q", self._ask(_ENCODE, text))
        count = len(numbers) // 3
        ids, starts, ends = (numbers[at * count : (at + 1) * count].tolist() for at in range(3))
        return Encoding(ids, list(zip(starts, ends, strict=True)))

    def last_word(self, text: str) -> str:
        return self._ask(_LAST_WORD, text).decode("utf-8", "replace")

    def _ask(self, sort: bytes, text: str) -> bytes:
        with self._lock:
            if self._fault:
                raise TuiGenError(self._fault)
            if self._asker != os.getpid():  # after a fork, where two would ask one process
                self._start()
            try:
                sort, answer = self._exchange(sort, without_surrogates(text).encode())
            except (OSError, EOFError):
                _end(self._process)
                self._fault = f"{_trouble(self._process.returncode)}, {_BLAME}"
                raise TuiGenError(self._fault) from None
            except BaseException:  # such as ctrl+c: the answer to this would be taken for that to the next
                _end(self._process)
                self._fault = "was interrupted; open the model again"
                raise
        if sort == _FAULT:
            raise TuiGenError(answer.decode("utf-8", "replace"))
        return answer

    def _exchange(self, sort: bytes, content: bytes) -> tuple[bytes, bytes]:
        requests, answers = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        with _watched(self._process, _SECONDS_TO_LOAD + _SECONDS + len(content) / _BYTES_A_SECOND):
            if not self._knows_source:
                _write(requests, _ENCODE, self._source)
                self._knows_source = True
            _write(requests, sort, content)
            return _read(answers)


def foreign_tokenizer(source: str) -> PromptTokenizer:
    """A tokenizer that encodes in a process of its own, which has read the text of its tokenizer.json before this one.

    Raises TuiGenError that says what is wrong with it.
    """
    encoder = EncoderProcess(source)
    encoder.try_out("")
    return PromptTokenizer(source, encoder)


def serve() -> None:
    """In the process: reads the file, then answers until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for who asks
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    requests = os.fdopen(sys.stdin.fileno(), "rb", 0, closefd=False)
    answers = os.fdopen(sys.stdout.fileno(), "wb", 0, closefd=False)
    limit(MEMORY, None)
    allowance = _Allowance()
    encoder, fault = _load(_read(requests)[1].decode())
    with contextlib.suppress(EOFError, OSError):
        while True:
            sort, content = _read(requests)
            allowance.add(len(content))
            try:
                if not encoder:
                    raise TuiGenError(fault)
                answer = _answer(encoder, sort, content.decode())
            except TuiGenError as refusal:
                _write(answers, _FAULT, str(refusal).encode("utf-8", "replace"))
            else:
                _write(answers, _ANSWER, answer)


def _load(source: str) -> tuple[Encoder | None, str]:
    """An encoder, or what is wrong with the file. Who asks decodes by itself: what it may decode is tried here."""
    try:
        tokenizer = PromptTokenizer(source)
        tokenizer.decode(list(tokenizer.vocabulary.values()))
    except TuiGenError as fault:
        return None, str(fault)
    return tokenizer.encoder, ""


def _answer(encoder: Encoder, sort: bytes, text: str) -> bytes:
    if sort == _LAST_WORD:
        return encoder.last_word(text).encode("utf-8", "replace")
    encoding = encoder.encode(text)
    if len(encoding.ids) > _MOST_TOKENS + _TOKENS_A_CHARACTER * len(text):
        raise TuiGenError(f"makes {len(encoding.ids):,} tokens of {len(text):,} characters")
    starts, ends = zip(*encoding.offsets, strict=True) if encoding.offsets else ((), ())
    return array("q", [*encoding.ids, *starts, *ends]).tobytes()


def _write(stream: RawIOBase | IO[bytes], sort: bytes, content: bytes) -> None:
    rest = memoryview(_HEAD.pack(sort, len(content)) + content)
    while rest:
        rest = rest[stream.write(rest) or 0 :]


def _read(stream: RawIOBase | IO[bytes]) -> tuple[bytes, bytes]:
    """The sort and the bytes. Raises EOFError where there are no more."""
    sort, size = _HEAD.unpack(_read_bytes(stream, _HEAD.size))
    return sort, _read_bytes(stream, size)


def _read_bytes(stream: RawIOBase | IO[bytes], size: int) -> bytes:
    content = bytearray()
    while len(content) < size:
        block = stream.read(min(size - len(content), 2**20))
        if not block:
            raise EOFError
        content += block
    return bytes(content)


class _Allowance:
    """Time of a processor, to load first: what others do there, and a stop by ctrl+z, takes none of it.

    Many texts, such as those of a prompt that is being typed, may together not take much more than a single one.
    """

    def __init__(self) -> None:
        self._end = time.process_time()
        self._extend_to(self._end + _SECONDS_TO_LOAD)

    def add(self, size: int) -> None:
        """What a text of so many bytes brings."""
        now = time.process_time()
        self._extend_to(min(self._end + _SECONDS_A_TEXT, now + _SECONDS) + size / _BYTES_A_SECOND)

    def _extend_to(self, end: float) -> None:
        self._end = end
        if sys.platform != "win32":
            import resource

            resource.setrlimit(resource.RLIMIT_CPU, (ceil(end), resource.getrlimit(resource.RLIMIT_CPU)[1]))


@contextlib.contextmanager
def _watched(process: subprocess.Popen[bytes], seconds: float) -> Iterator[None]:
    """Kills it after a time, where it cannot limit itself."""
    timer = threading.Timer(seconds, process.kill)
    if sys.platform == "win32":
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _trouble(status: int) -> str:
    if sys.platform != "win32" and status == -signal.SIGXCPU:
        return "takes too long on a text"
    return "takes too much memory on a text, or crashes"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            cast(IO[bytes], stream).close()
