"""The networks that are timed: ONNX graphs with random weights, and the same in PyTorch, where it is installed.

Only sizes count, so the weights are random. In PyTorch, sampling and the 20 likeliest tokens are part of each token,
as they are of ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_gen.card import ImageSpec, ModelCard
from tui_gen.runtime.onnx_graph import encode_field, tensor

TOP = 20
Work = Callable[[int], object]
"""Makes so many tokens."""
FOLDER = Path(__file__).parent / "networks"
VOCABULARY, LEVELS, SIDE = 10_000, 4, 28
_GRAPH, _INITIALIZER = 7, 5
"""Field numbers of onnx.proto3: ModelProto.graph, GraphProto.initializer."""


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


def text_card(name: str) -> ModelCard:
    """Of a language model over 10,000 tokens, without an end."""
    return ModelCard(name, "text", name, VOCABULARY, bos=0)


def image_card(name: str) -> ModelCard:
    """Of a network over 28x28 pixels of 4 levels."""
    return ModelCard(name, "image", name, LEVELS, bos=LEVELS, image=ImageSpec(SIDE, SIDE, LEVELS))


@lru_cache(maxsize=2)
def graph(name: str) -> bytes:
    """An ONNX file with random weights, always the same ones: lstm, lstm2, their -int8 forms, pixelcnn(-whole)."""
    return fill_graph(name, {})


def fill_graph(name: str, overrides: Mapping[str, NDArray[Any]]) -> bytes:
    """The same, but for the weights that are given by name."""
    template = (FOLDER / f"{name}.onnx").read_bytes()
    rng = np.random.default_rng(0)
    weights = {**{key: _weights(facts, rng) for key, facts in _specs(name).items()}, **overrides}
    tensors = b"".join(encode_field(_INITIALIZER, tensor(key, values)) for key, values in weights.items())
    return template + encode_field(_GRAPH, tensors)  # protobuf joins messages that stand one after another


def weight_bytes(name: str) -> int:
    """Bytes of the weights that one token touches: all but those of the embedding, of which it reads one row."""
    sizes = {key: np.prod(facts["shape"]) * np.dtype(facts["type"]).itemsize for key, facts in _specs(name).items()}
    return int(sum(size for key, size in sizes.items() if not key.startswith("embedding")))


def _specs(name: str) -> dict[str, dict[str, Any]]:
    """Shape, type and standard deviation of each weight."""
    specs: dict[str, dict[str, Any]] = json.loads((FOLDER / "weights.json").read_text(encoding="utf-8"))[name]
    return specs


def _weights(facts: Mapping[str, Any], rng: np.random.Generator) -> NDArray[Any]:
    values = rng.standard_normal(facts["shape"], dtype=np.float32) * np.float32(facts["std"])
    return np.clip(np.rint(values), -127, 127).astype(np.int8) if facts["type"] == "int8" else values
