"""What `--vocab` names: a file in one of many forms, or a set of characters that everybody knows."""

from __future__ import annotations

import json
import string
from dataclasses import dataclass
from pathlib import Path

from export.text.evidence import walk
from export.text.found import Tokens, find_tokens
from export.text.rules import read_text_file
from tui_gen.errors import TuiGenError

KNOWN: dict[str, tuple[str, ...]] = {
    "printable": tuple(string.printable),
    "ascii": tuple(map(chr, range(128))),
    "letters": tuple(string.ascii_letters),
    "lowercase": tuple(string.ascii_lowercase),
}
"""Sets of characters in the order of their ids, by the names that --vocab takes; `bytes` is another."""
BYTES = "bytes"
_PICKLES = (".pkl", ".pickle", ".pt", ".pth")
_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\r": "\r", "\\s": " ", "\\\\": "\\"}


@dataclass(frozen=True)
class Side:
    """A vocabulary from outside the checkpoint."""

    origin: str
    tokens: Tokens | None = None
    tokenizer: str = ""
    """The text of a tokenizer.json, in place of tokens."""


def read_side(named: str, size: int) -> Side:
    """What --vocab names, of any size. Raises TuiGenError for a file in no known form.

    size: how many tokens the weights know, to choose by if a file holds several vocabularies.
    """
    path = Path(named)
    if named in KNOWN and not path.exists():
        return Side(f"the {len(KNOWN[named])} characters called {named}", [*KNOWN[named]])
    beginning = _beginning(path)
    if beginning.startswith((b"\x80", b"PK")) or path.suffix in _PICKLES:
        return _of_values(path, _pickled(path), size)
    text = read_text_file(path)
    if beginning.lstrip()[:1] in (b"{", b"["):
        made = _of_json(path, text, size)
        if made:
            return made
    return Side(str(path), _lines(text, size))


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except FileNotFoundError:
        known = ", ".join((*KNOWN, BYTES))
        raise TuiGenError(f"--vocab {path}: there is no such file; a name instead of a file is {known}") from None
    except OSError as fault:
        raise TuiGenError(f"--vocab {path} cannot be read: {fault.strerror}") from fault


def _pickled(path: Path) -> object:
    """Plain values; nothing in the file is executed."""
    from export.loading.load import load_values

    return load_values(path)


def _of_json(path: Path, text: str, size: int) -> Side | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None  # a list of tokens may begin with a bracket
    if isinstance(value, dict) and isinstance(value.get("model"), dict) and "vocab" in value["model"]:
        return Side(str(path), tokenizer=text)
    return _of_values(path, value, size)


def _of_values(path: Path, value: object, size: int) -> Side:
    values = list(walk(value, ("vocab",)))
    best, others = find_tokens(values, size)
    found = best or max(others, key=lambda other: len(other.tokens), default=None)
    if found is None:
        raise TuiGenError(f"--vocab {path} holds no list of tokens, and no dict between tokens and ids")
    return Side(str(path), found.tokens)


def _lines(text: str, size: int) -> Tokens:
    """One token a line, perhaps with its id; newlines and the like as backslash and letter, or an empty line."""
    lines = text.split("\n")
    lines = lines if lines[-1] else lines[:-1]
    numbered = _numbered(lines)
    if numbered:
        return numbered
    tokens = [_ESCAPES.get(line, line) for line in lines]
    if len(tokens) == size + 1 and "\n" not in tokens:  # a newline on a line of its own reads as two empty lines
        tokens = [token for at, token in enumerate(tokens) if token or at == 0 or tokens[at - 1]]
    return ["\n" if not token and "\n" not in tokens else token for token in tokens]


def _numbered(lines: list[str]) -> Tokens | None:
    """Lines of a token and its id, or of an id and its token, with a tab or a space between; None for others."""
    for sign in ("\t", " "):
        pairs = [line.rpartition(sign)[::2] for line in lines]
        turned = [line.partition(sign)[::-2] for line in lines]
        for found in (pairs, turned):
            ids = {int(at): token for token, at in found if at.isdecimal() and at.isascii() and len(at) < 10}
            if len(ids) == len(lines) > 1 and ids.keys() == set(range(len(ids))):
                return [_ESCAPES.get(ids[at], ids[at]) for at in range(len(ids))]
    return None
