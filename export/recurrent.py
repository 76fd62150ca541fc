"""Recurrent language models: embedding, a stack of RNN, LSTM or GRU layers, a linear layer to logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Cell = Literal["rnn", "lstm", "gru"]
CELLS: dict[str, type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}

Hidden = tuple[Tensor, ...]
"""(h,) or, for an LSTM, (h, c); each float32[layers, batch, hidden], as PyTorch has it."""


@dataclass(frozen=True)
class RecurrentConfig:
    """Sizes of a recurrent language model."""

    cell: Cell
    vocab_size: int
    embedding: int
    hidden: int
    layers: int = 1
    dropout: float = 0.0
    """Probability of zeroing an input of the upper layers and of the output layer; training only."""

    @property
    def label(self) -> str:
        """What the model card calls the architecture, such as `LSTM 2x512`."""
        depth = f"{self.layers}x" if self.layers > 1 else ""
        return f"{self.cell.upper()} {depth}{self.hidden}"


class RecurrentNet(nn.Module):
    """Predicts each next token from the tokens before it.

    Elman (1990) for `rnn`, with tanh; Hochreiter and Schmidhuber (1997) with forget gates for `lstm`; Cho et al.
    (2014) for `gru`, with the reset gate applied after the product, as in cuDNN.
    """

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding)
        between = config.dropout if config.layers > 1 else 0.0
        self.rnn = CELLS[config.cell](config.embedding, config.hidden, config.layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.hidden, config.vocab_size)

    def forward(self, tokens: Tensor, hidden: Hidden | None = None) -> tuple[Tensor, Hidden]:
        """Reads int64[batch, time]; returns logits float32[batch, time, vocab] and the hidden state after them."""
        before = None if hidden is None else hidden if self.config.cell == "lstm" else hidden[0]
        features, after = self.rnn(self.embedding(tokens), before)
        return self.output(self.dropout(features)), after if isinstance(after, tuple) else (after,)

    @torch.no_grad()
    def sequence_logits(self, tokens: Tensor) -> Tensor:
        """Logits after every token of int64[batch, time], from a zero state: float32[batch, time, vocab]."""
        return self(tokens)[0]
