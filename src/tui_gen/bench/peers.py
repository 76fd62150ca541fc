"""What a person would otherwise run: the same networks in PyTorch, where it is installed.

Only sizes count, so the weights are random. Sampling and the 20 likeliest tokens are part of each token, as they are
of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tui_gen.bench.networks import LEVELS, SIDE, VOCABULARY

TOP = 20
Work = Callable[[int], object]
"""Makes so many tokens."""


def set_threads(threads: int) -> None:
    """How many PyTorch uses from here on."""
    import torch

    torch.set_num_threads(threads)


def language_model(embedding: int, hidden: int, layers: int) -> Any:
    """(embedding, LSTM, output) as modules."""
    from torch import nn

    parts = (
        nn.Embedding(VOCABULARY, embedding),
        nn.LSTM(embedding, hidden, layers, batch_first=True),
        nn.Linear(hidden, VOCABULARY),
    )
    return tuple(part.requires_grad_(False) for part in parts)


def keeping_state(parts: Any, prompt: int, *, samples: int = 1) -> Work:
    """Eager PyTorch that keeps the LSTM's state, as a careful person writes it; where its weights are."""
    import torch

    embedding, rnn, output = parts

    def work(count: int) -> None:
        tokens, state = torch.zeros((samples, prompt), dtype=torch.long, device=output.weight.device), None
        for _ in range(count):
            made, state = rnn(embedding(tokens), state)
            probs = torch.softmax(output(made[:, -1]), dim=1)
            torch.topk(probs, TOP)
            tokens = torch.multinomial(probs, 1)
            tokens.tolist()

    return work


def whole_prefix(parts: Any, prompt: int) -> Work:
    """The loop of the book's chapter 5: the whole text so far again for every token, and NumPy draws."""
    import torch

    embedding, rnn, output = parts
    rng = np.random.default_rng(0)

    def work(count: int) -> None:
        tokens = [0] * prompt
        for _ in range(count):
            logits = output(rnn(embedding(torch.tensor([tokens])))[0])
            probs = torch.softmax(logits, dim=2)[0, -1].double().numpy()
            np.argpartition(probs, -TOP)
            tokens.append(int(rng.choice(len(probs), p=probs / probs.sum())))

    return work


def whole_image(batch: int, device: str = "cpu") -> Work:
    """Eager PyTorch that runs the plain PixelCNN (128 filters, 5 residual blocks) over the whole image per pixel."""
    import torch
    from torch import nn

    def block() -> nn.Module:
        return nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(128, 64, 1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 128, 1),
        )

    first, blocks = nn.Conv2d(1, 128, 7, padding=3), nn.ModuleList(block() for _ in range(5))
    head = nn.Sequential(nn.ReLU(), nn.Conv2d(128, 128, 1), nn.ReLU(), nn.Conv2d(128, LEVELS, 1))
    first, blocks, head = first.to(device), blocks.to(device), head.to(device)

    @torch.no_grad()
    def work(count: int) -> None:
        image = torch.zeros(batch, 1, SIDE, SIDE, device=device)
        for pixel in range(count):
            features = first(image)
            for inner in blocks:
                features = features + inner(features)
            row, column = divmod(pixel, SIDE)
            probs = torch.softmax(head(features)[:, :, row, column], dim=1)
            levels = torch.multinomial(probs, 1)[:, 0]
            image[:, 0, row, column] = levels / LEVELS
            levels.tolist()

    return work
