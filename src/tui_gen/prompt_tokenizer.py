"""Reading tokenizer.json: text to ids, with what the vocabulary does not have told instead of raised or dropped."""

from __future__ import annotations

import json
import re

from tokenizers import Encoding, Tokenizer

from tui_gen.errors import TuiGenError

_SURROGATE = re.compile("[\ud800-\udfff]")
"""What bytes that are not text become on a command line."""
NOWHERE = 2**31
"""Stands for a token that the vocabulary does not have."""


class PromptTokenizer:
    """A `tokenizers` file that never fails on a word which it does not know, but says where it stands."""

    def __init__(self, source: str) -> None:
        try:
            facts = json.loads(source)
            self.tokenizer = Tokenizer.from_str(json.dumps(_with_unknown(facts)))
            self.tokenizer.no_truncation()  # a prompt is what was typed, all of it
            self.tokenizer.no_padding()
        except BaseException as fault:
            raise _told("is damaged", fault) from fault
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

    def _encode(self, text: str) -> Encoding:
        try:
            return self.tokenizer.encode(_SURROGATE.sub("\ufffd", text), add_special_tokens=False)
        except BaseException as fault:
            raise _told("tokenizer.json fails on this prompt", fault) from fault


def _told(what: str, fault: BaseException) -> BaseException:
    """What to raise for a fault of tokenizers: it raises bare Exception, and its panics derive from BaseException."""
    return fault if isinstance(fault, (KeyboardInterrupt, SystemExit)) else TuiGenError(f"{what}: {fault}")


def _with_unknown(facts: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """Gives a vocabulary without an unknown token one that lies nowhere, so that encoding neither raises nor drops."""
    model = facts["model"]
    vocab = model.get("vocab")
    if isinstance(vocab, dict):
        model["unk_token"] = model.get("unk_token") or "<unknown>"
        vocab.setdefault(model["unk_token"], NOWHERE)
    return facts
