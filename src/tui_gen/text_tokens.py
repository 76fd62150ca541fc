"""Text to token ids, block by block, each with the text that it stands for."""

from __future__ import annotations

from typing import NamedTuple

from tokenizers import Encoding

from tui_gen.errors import TuiGenError
from tui_gen.prompt_tokenizer import NOWHERE, PromptTokenizer, told
from tui_gen.text_blocks import BLOCK

_EXAMPLES = 3
"""Unknown words that are kept to be shown."""


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
        with told("tokenizer.json fails on this text"):
            encoding = self._tokenizer.tokenizer.encode(block, add_special_tokens=False)
        self._note_unknown(encoding, block)
        piece = self._piece(encoding, block)
        self._count(block)
        return piece

    def _piece(self, encoding: Encoding, block: str) -> Piece:
        texts, done = [], 0
        for _, end in encoding.offsets:
            texts.append(block[done:end])  # of several tokens for one character, the first has it
            done = max(done, end)
        if texts:
            texts[0] = self._gap + texts[0]
        self._gap = block[done:] if texts else (self._gap + block)[-BLOCK:]  # a file may be all white space
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
        line, column = _moved(block[:at], self._lines, self._column)
        return f"(line {line + 1}, character {column + 1} of {self._name}); leave it out of the text"

    def _count(self, block: str) -> None:
        self.characters += len(block)
        self._lines, self._column = _moved(block, self._lines, self._column)


def _moved(text: str, lines: int, column: int) -> tuple[int, int]:
    """Line and column, both from 0, after a text that begins at these."""
    last = text.rfind("\n")
    return lines + text.count("\n"), column + len(text) if last < 0 else len(text) - last - 1
