"""Reading tokenizer.json: text to ids, with what the vocabulary does not have told instead of raised or dropped."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Sequence

from tokenizers import Encoding, Tokenizer

from tui_gen.errors import TuiGenError

_SURROGATE = re.compile("[\ud800-\udfff]")
"""What bytes that are not text become on a command line."""
NOWHERE = 2**31
"""Stands for a token that the vocabulary does not have."""


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
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
        with told("is damaged"):
            facts = json.loads(source)
            self.tokenizer = Tokenizer.from_str(json.dumps(_with_unknown(facts)))
            self.tokenizer.no_truncation()  # a prompt is what was typed, all of it
            self.tokenizer.no_padding()
        unknown = facts["model"].get("unk_token")
        self.unknown_id = None if unknown is None else self.tokenizer.token_to_id(unknown)

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
        with told("tokenizer.json fails on what the model wrote"):
            return self.tokenizer.decode(list(tokens), skip_special_tokens=False)

    def _encode(self, text: str) -> Encoding:
        with told("tokenizer.json fails on this prompt"):
            return self.tokenizer.encode(_SURROGATE.sub("\ufffd", text), add_special_tokens=False)


def _with_unknown(facts: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """Gives a vocabulary without an unknown token one that lies nowhere, so that encoding neither raises nor drops."""
    model = facts["model"]
    vocab = model.get("vocab")
    if isinstance(vocab, dict):
        model["unk_token"] = model.get("unk_token") or "<unknown>"
        vocab.setdefault(model["unk_token"], NOWHERE)
    return facts
