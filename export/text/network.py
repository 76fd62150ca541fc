"""Any recurrent language model as a chain of parts: PyTorch's full pass, and the step function that must equal it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.nn import functional

from export.text.parts import Layer, Part
from export.text.step import text_step
from export.text.untold import Residuals
from tui_gen.sampling import Tokens

TEXT_STEPS = 200
"""Tokens that prove a text model."""


@dataclass(frozen=True, eq=False)
class TextNetwork:
    """Implements `export.reading.Network`: a token becomes features, each part reads those of the one before it."""

    table: Tensor | None
    """float32[readable tokens, width]: the features of each token; None where a 1 among zeros stands for it."""
    parts: tuple[Part, ...]
    """The last one gives the logits."""
    residuals: Residuals = ()
    """Parts, by their numbers, whose input is added to their output."""
    learned_table: bool = True
    """False for features that were not trained, such as the token's number."""

    @property
    def vocab_size(self) -> int:
        """Tokens that it predicts; it may read a few more."""
        return self.parts[-1].outputs

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The parts that remember."""
        return tuple(part for part in self.parts if isinstance(part, Layer))

    @property
    def parameters_count(self) -> int:
        """Trained numbers; shared ones count once."""
        table = (self.table,) if self.learned_table else ()
        every = [*table, *(tensor for part in self.parts for tensor in part.tensors())]
        return sum({tensor.data_ptr(): tensor.numel() for tensor in every if tensor is not None}.values())

    def step_graph(self) -> onnx.ModelProto:
        """The step function, on ONNX's own recurrent operators where they serve."""
        return text_step(self.table, self.parts, self.residuals)

    def random_tokens(self, batch: int, rng: np.random.Generator) -> Tokens:
        """int64[batch, 200]."""
        return rng.integers(self.vocab_size, size=(batch, TEXT_STEPS))

    def greedy_length(self) -> int:
        """As long a text as the random ones."""
        return TEXT_STEPS

    @torch.no_grad()
    def sequence_logits(self, tokens: Tensor) -> Tensor:
        """Logits after every token of int64[batch, n], from the first state: float32[batch, n, vocab]."""
        value = self._features(tokens)
        read = []
        for at, part in enumerate(self.parts):
            read.append(value)
            value = part.full(value)
            value = sum((read[first] for first, last in self.residuals if last == at), value)
        return value

    def _features(self, tokens: Tensor) -> Tensor:
        if self.table is None:
            return functional.one_hot(tokens, self.parts[0].inputs).float()
        return self.table[tokens]
