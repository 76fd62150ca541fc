"""Pieces of the training text as tokens, and how well a network predicts them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from export.text.network import TEXT_STEPS, TextNetwork
from export.text.rules import read_text_file
from tui_gen.prompt_tokenizer import PromptTokenizer
from tui_gen.sampling import Tokens

_ROWS = 5
_CHARACTERS = 20_000
"""Of a text, more than enough for all rows."""


def pieces_of(corpus: Sequence[Path], tokenizer: str, size: int) -> tuple[Tokens, ...]:
    """One int64[rows, n] from the beginning of the text, without what the vocabulary lacks; none if it is short."""
    if not corpus:
        return ()
    reader = PromptTokenizer(tokenizer)
    ids = reader.ids(read_text_file(corpus[0])[:_CHARACTERS])
    known = [token for token in ids if token < size and token != reader.unknown_id][: _ROWS * TEXT_STEPS]
    rows = len(known) // TEXT_STEPS
    return (np.array(known[: rows * TEXT_STEPS], dtype=np.int64).reshape(rows, TEXT_STEPS),) if rows else ()


def loss(network: TextNetwork, tokens: Tokens) -> float:
    """Nats per token of int64[rows, n]."""
    given = torch.from_numpy(tokens)
    logits = network.sequence_logits(given[:, :-1])
    return float(functional.cross_entropy(logits.flatten(0, 1), given[:, 1:].flatten()))
