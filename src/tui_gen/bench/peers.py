"""What a person would otherwise run: PyTorch, where it is installed, eager and compiled; and a loop over onnxruntime.

In PyTorch, sampling and the 20 likeliest tokens are part of each token, as they are of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
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


def language_model(embedding: int, hidden_size: int, layers: int) -> Any:
    """(embedding, LSTM, output) as modules."""
    from torch import nn

    parts = (
        nn.Embedding(VOCABULARY, embedding),
        nn.LSTM(embedding, hidden_size, layers, batch_first=True),
        nn.Linear(hidden_size, VOCABULARY),
    )
    return tuple(part.requires_grad_(False) for part in parts)


def keeping_state(parts: Any, prompt: int, *, samples: int = 1) -> Work:
    """Eager PyTorch that keeps the LSTM's state, as a careful person writes it; where its weights are."""
    import torch

    embedding, rnn, output = parts

    def work(count: int) -> None:
        tokens, state = torch.zeros((samples, prompt), dtype=torch.long, device=output.weight.device), None
        for _ in range(count):
            features, state = rnn(embedding(tokens), state)
            probs = torch.softmax(output(features[:, -1]), dim=1)
            torch.topk(probs, TOP)
            tokens = torch.multinomial(probs, 1)
            tokens.tolist()

    return work


def compiled(parts: Any, prompt: int) -> Work:
    """The same loop with the step of one token in `torch.compile`: the LSTM as equations, for it compiles no module."""
    import torch
    from torch.nn import functional

    embedding, rnn, output = parts
    weights = rnn.all_weights

    @torch.compile(dynamic=False, fullgraph=True)
    def step(token: Any, hidden: Any, cell: Any) -> tuple[Any, ...]:
        features, states = embedding(token), []
        for layer, (inward, recurrent, *biases) in enumerate(weights):
            gates = functional.linear(features, inward, biases[0])
            gates = gates + functional.linear(hidden[layer], recurrent, biases[1])
            enter, forget, candidate, leave = gates.chunk(4, dim=1)
            carried = forget.sigmoid() * cell[layer] + enter.sigmoid() * candidate.tanh()
            features = leave.sigmoid() * carried.tanh()
            states.append((features, carried))
        hidden, cell = (torch.stack(each) for each in zip(*states, strict=True))
        probs = torch.softmax(output(features), dim=1)
        return torch.multinomial(probs, 1)[:, 0], torch.topk(probs, TOP), hidden, cell

    @torch.no_grad()
    def work(count: int) -> None:
        _, (hidden, cell) = rnn(embedding(torch.zeros((1, prompt - 1), dtype=torch.long)))
        token = torch.zeros(1, dtype=torch.long)
        for _ in range(count):
            token, _, hidden, cell = step(token, hidden, cell)
            token.tolist()

    return work


@cache
def compile_trouble() -> str:
    """Why `torch.compile` does not work here, such as for want of a C++ compiler; empty if it does. Takes seconds."""
    import torch

    try:
        torch.compile(lambda values: values.sin() + 1)(torch.zeros(8))
    except Exception as fault:  # of the compiler, of what it writes, or of PyTorch for this Python
        return f"torch.compile does not work here: {' '.join(str(fault).split())[:100]}"
    return ""


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


def whole_image(batch: int, device: str = "cpu", *, compile_it: bool = False) -> Work:
    """PyTorch that runs the plain PixelCNN (128 filters, 5 residual blocks) over the whole image per pixel."""
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

    def network(image: Any) -> Any:
        features = first(image)
        for inner in blocks:
            features = features + inner(features)
        return head(features)

    forward = torch.compile(network, dynamic=False) if compile_it else network

    @torch.no_grad()
    def work(count: int) -> None:
        image = torch.zeros(batch, 1, SIDE, SIDE, device=device)
        for pixel in range(count):
            row, column = divmod(pixel, SIDE)
            probs = torch.softmax(forward(image)[:, :, row, column], dim=1)
            levels = torch.multinomial(probs, 1)[:, 0]
            image[:, 0, row, column] = levels / LEVELS
            levels.tolist()

    return work


def session_loop(graph: bytes, bos: int, threads: int) -> Work:
    """The loop that one writes first over a step in ONNX: `session.run`, a softmax, a draw; all in NumPy."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    inputs, outputs = session.get_inputs(), [port.name for port in session.get_outputs()]
    dtypes = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
    rng = np.random.default_rng(0)

    def work(count: int) -> None:
        token = bos
        state = {port.name: np.zeros((1, *port.shape[1:]), dtypes[port.type]) for port in inputs[1:]}
        for _ in range(count):
            logits, *after = session.run(outputs, {"token": np.array([token]), **state})
            weights = np.exp(logits[0] - logits[0].max())
            cumulative = np.cumsum(weights / weights.sum())
            token = min(int(np.searchsorted(cumulative, rng.random())), len(cumulative) - 1)
            state = dict(zip(state, after, strict=True))

    return work
