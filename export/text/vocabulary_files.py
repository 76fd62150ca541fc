"""Vocabulary files: lines of tokens, JSON, pickles, and sets of characters that have a name."""

from __future__ import annotations

import ast
import io
import string
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tui_gen.errors import TuiGenError
from tui_gen.files import open_regular, read_beginning

from ..files import read_array_header
from .metadata import walk
from .special_tokens import Texts
from .vocabulary_columns import ESCAPES, HEADER, read_entries, read_lines
from .vocabulary_values import find_vocabularies, read_json, tokenizer_tokens

if TYPE_CHECKING:  # the help would wait for PyTorch
    from ..assumptions import Assumptions

CHARACTER_SETS: dict[str, tuple[str, ...]] = {
    "printable": tuple(string.printable),
    "ascii": tuple(map(chr, range(128))),
    "letters": tuple(string.ascii_letters),
    "lowercase": tuple(string.ascii_lowercase),
}
"""Sets of characters in the order of their ids, by the names that --vocab takes; `bytes` is another."""
BYTES = "bytes"
_LARGEST = 2**28
"""Bytes of an array that may hold a vocabulary."""
_OF_TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt")
"""What folders of tokenizers hold, the fullest first."""
_PICKLES = (".pkl", ".pickle", ".pt", ".pth")


@dataclass(frozen=True)
class VocabularyFile:
    """A vocabulary from outside the checkpoint."""

    origin: str
    """For people: where it is from, and what was in its columns."""
    tokens: Texts
    counts: tuple[float, ...] = ()
    """How often each token occurred, where the file says it."""
    tokenizer: str = ""
    """The text of a tokenizer.json with these tokens."""
    is_bytes: bool = False
    """Whether the tokens are bytes, in the characters that `byte_text` gives."""


def read_vocabulary_file(name: str, size: int, assumptions: Assumptions) -> VocabularyFile:
    """What --vocab names, of any size. Raises TuiGenError for a file in no known form.

    size: how many tokens are looked for, to choose by if a file can be read in several ways.
    """
    path = Path(name)
    if name in CHARACTER_SETS and not path.exists():
        return VocabularyFile(f"the {len(CHARACTER_SETS[name])} characters called {name}", [*CHARACTER_SETS[name]])
    beginning = _beginning(path)
    if beginning.startswith(b"\x93NUMPY") or (beginning.startswith(b"PK") and path.suffix == ".npz"):
        return _of_values(path, _arrays(path), size, assumptions)
    if beginning.startswith((b"\x80", b"PK")) or path.suffix in _PICKLES:
        from ..checkpoints.load import load_values  # the help would wait for PyTorch
        from ..checkpoints.values import facts_of

        return _of_values(path, facts_of(load_values(path)), size, assumptions)
    if path.suffix == ".model" and beginning.startswith(b"\n"):
        raise TuiGenError(f"--vocab {path} is a SentencePiece model; name the .vocab file that was written beside it")
    text = read_text_file(path)
    value = _literal(text) if beginning.lstrip()[:1] in (b"{", b"[", b"(") else None
    if tokens := tokenizer_tokens(value):
        return VocabularyFile(str(path), tokens, tokenizer=text)
    return _of_lines(path, text, size, assumptions) if value is None else _of_values(path, value, size, assumptions)


def _beginning(path: Path) -> bytes:
    try:
        return read_beginning(path, 64)
    except FileNotFoundError:
        names = ", ".join((*CHARACTER_SETS, BYTES))
        raise TuiGenError(f"--vocab {path}: there is no such file; a name instead of a file is {names}") from None
    except OSError as fault:
        if not path.is_dir():
            raise TuiGenError(f"--vocab {path} cannot be read: {fault.strerror}") from fault
        inside = [str(path / name) for name in _OF_TOKENIZERS if (path / name).is_file()]
        which = f", such as {inside[0]}" if inside else ""
        raise TuiGenError(f"--vocab {path} is a folder; name the file in it that lists the tokens{which}") from None


def _literal(text: str) -> object:
    """JSON, a line of JSON a token, or what Python's `str` makes of lists and dicts; None for any other text."""
    value = read_json(text)
    if value is None and text.count("\n{"):
        value = [read_json(line) for line in text.splitlines()]
    if value is None or (isinstance(value, list) and None in value):
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            value = None
    return value


def _arrays(path: Path) -> dict[str, object]:
    """What is in a NumPy file, or in an archive of such. Raises TuiGenError for a damaged one."""
    try:
        if not zipfile.is_zipfile(path):
            return {"vocab": _array(path.read_bytes())}
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.file_size < _LARGEST]
            return {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as fault:
        raise TuiGenError(f"--vocab {path} is a damaged NumPy file: {fault}") from fault
    except TuiGenError as fault:
        raise TuiGenError(f"--vocab {path} cannot be read: {fault}") from None


def _array(content: bytes) -> object:
    """Texts, or the plain values of an array of objects; None for numbers. Nothing in it is run."""
    from ..checkpoints.formats import read_pickle  # the help would wait for PyTorch
    from ..checkpoints.values import facts_of, plain

    file = io.BytesIO(content)
    _, dtype = read_array_header(file)
    if dtype.hasobject:
        return facts_of(plain(read_pickle(file), file_size=len(content)))
    if dtype.kind not in "US":
        return None
    texts = np.load(io.BytesIO(content), allow_pickle=False)
    codes = texts.astype(dtype.newbyteorder("=")).view(np.uint32) if dtype.kind == "U" else np.zeros(1, np.uint32)
    if codes.max(initial=0) > sys.maxunicode:
        raise ValueError("it has characters that are none")
    return texts.tolist()


def _of_values(path: Path, value: object, size: int, assumptions: Assumptions) -> VocabularyFile:
    fitting, others = find_vocabularies(walk(value, ("vocab",)), size)
    if best := next(iter(fitting), None) or max(others, key=lambda other: len(other.tokens), default=None):
        return VocabularyFile(str(path), best.tokens, tokenizer=best.tokenizer, is_bytes=best.is_bytes)
    if entries := read_entries(value, size, assumptions):
        return VocabularyFile(f"{path}{entries.description}", entries.tokens, entries.counts)
    raise TuiGenError(f"--vocab {path} holds no list of tokens, and no dict between tokens and ids")


def read_text_file(path: Path) -> str:
    """A UTF-8 text with plain newlines. Raises TuiGenError that names the file."""
    try:
        with open(open_regular(path), encoding="utf-8-sig") as file:
            return file.read()
    except UnicodeDecodeError as fault:
        raise TuiGenError(f"{path} is not UTF-8 text: {fault.reason} at byte {fault.start}") from fault
    except OSError as fault:
        raise TuiGenError(f"{path} cannot be read: {fault.strerror}") from fault


def _of_lines(path: Path, text: str, size: int, assumptions: Assumptions) -> VocabularyFile:
    """A token a line, perhaps with numbers beside it."""
    lines = text.split("\n")
    lines = lines if lines[-1] else lines[:-1]
    if columns := read_lines(lines, size, assumptions):
        return VocabularyFile(f"{path}{columns.description}", columns.tokens, columns.counts)
    tokens, left_out = _plain_lines(lines, size)
    return VocabularyFile(f"{path}{left_out}", tokens)


def _plain_lines(lines: list[str], size: int) -> tuple[Texts, str]:
    """A token a line; newlines and the like as backslash and letter, or an empty line. And what was left out."""
    tokens = [ESCAPES.get(line, line) for line in lines]
    left_out = ""
    if len(tokens) == size + 1 and (HEADER.fullmatch(lines[0]) or lines[0] == str(size)):
        tokens, left_out = tokens[1:], f" without its first line, {tokens[0]!r}"
    elif len(tokens) == size + 1 and tokens.count("") == 1 and not tokens[-1]:
        tokens, left_out = tokens[:-1], " without the empty line at its end"
    elif len(tokens) == size + 1 and "\n" not in tokens:  # a newline on a line of its own reads as two empty lines
        tokens = [token for at, token in enumerate(tokens) if token or at == 0 or tokens[at - 1]]
    return ["\n" if not token and "\n" not in tokens else token for token in tokens], left_out
