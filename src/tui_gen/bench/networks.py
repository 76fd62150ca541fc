"""The networks that are timed: step functions as the exporter writes them, filled with random weights.

They are kept without their weights, so that they can come with the package; `bench/templates.py` writes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tui_gen.card import ImageSpec, ModelCard
from tui_gen.onnx_graph import tensor
from tui_gen.protobuf import field

FOLDER = Path(__file__).parent / "networks"
VOCABULARY, LEVELS, SIDE = 10_000, 4, 28
_GRAPH, _INITIALIZER = 7, 5
"""Field numbers of onnx.proto3: ModelProto.graph, GraphProto.initializer."""


def text_card(name: str) -> ModelCard:
    """Of a language model over 10,000 tokens, without an end."""
    return ModelCard(name, "text", name, VOCABULARY, bos=0)


def image_card(name: str) -> ModelCard:
    """Of a network over 28x28 pixels of 4 levels."""
    return ModelCard(name, "image", name, LEVELS, bos=LEVELS, image=ImageSpec(SIDE, SIDE, LEVELS))


@lru_cache(maxsize=2)
def graph(name: str) -> bytes:
    """An ONNX file with random weights, always the same ones: lstm, lstm2, their -int8 forms, pixelcnn(-whole)."""
    return filled(name, {})


def filled(name: str, given: Mapping[str, NDArray[Any]]) -> bytes:
    """The same, but for the weights that are given by name."""
    described = json.loads((FOLDER / "weights.json").read_text(encoding="utf-8"))[name]
    template = (FOLDER / f"{name}.onnx").read_bytes()
    rng = np.random.default_rng(0)
    weights = {**{key: _weights(facts, rng) for key, facts in described.items()}, **given}
    tensors = b"".join(field(_INITIALIZER, tensor(key, values)) for key, values in weights.items())
    return template + field(_GRAPH, tensors)  # protobuf joins messages that stand one after another


def weight_bytes(name: str) -> int:
    """Bytes of the weights that one token touches: all but those of the embedding, of which it reads one row."""
    described = json.loads((FOLDER / "weights.json").read_text(encoding="utf-8"))[name]
    sizes = {key: np.prod(facts["shape"]) * np.dtype(facts["type"]).itemsize for key, facts in described.items()}
    return int(sum(size for key, size in sizes.items() if not key.startswith("embedding")))


def _weights(facts: Mapping[str, Any], rng: np.random.Generator) -> NDArray[Any]:
    values = rng.standard_normal(facts["shape"], dtype=np.float32) * np.float32(facts["std"])
    return np.clip(np.rint(values), -127, 127).astype(np.int8) if facts["type"] == "int8" else values
