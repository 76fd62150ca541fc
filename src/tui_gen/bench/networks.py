"""The networks that are timed, and the products alone of their steps: ONNX graphs; only sizes count, so their weights
are random.
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
from tui_gen.runtime.onnx_graph import (
    Graph,
    OnnxNode,
    encode_field,
    name_of_tensor,
    port,
    tensor,
    values_of,
)

FOLDER = Path(__file__).parent / "networks"
VOCABULARY, LEVELS, SIDE = 10_000, 4, 28
_GRAPH, _INITIALIZER = 7, 5
"""Field numbers of onnx.proto3: ModelProto.graph, GraphProto.initializer."""
_FACTORS = {"MatMul": 2, "Gemm": 2, "LSTM": 3}
"""Operators that are products, and the number of their first inputs, of which all but the first are weights."""


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


def products(name: str) -> bytes:
    """An ONNX file that does the products with weights of one step and nothing else, each on an input of its own.

    Its inputs are float32 [..., 1, size] and its outputs [..., 1, columns], of the same names but for their ends.
    """
    step, alone = Graph.read(graph(name)), Graph.new("products")
    tensors = {name_of_tensor(part): part for part in step.tensors}
    for node in step.nodes:
        for weight in (each for each in node.inputs[1 : _FACTORS.get(node.op, 1)] if each in tensors):
            values = values_of(tensors[weight])
            columns = values[0].T if node.op == "LSTM" else values
            *batch, size, width = columns.shape
            alone.tensors.append(tensor(weight, columns))
            alone.nodes.append(OnnxNode("MatMul", [f"{weight}.rows", weight], [f"{weight}.product"], []))
            alone.inputs.append(port(f"{weight}.rows", "float32", [*batch, 1, size]))
            alone.outputs.append(port(f"{weight}.product", "float32", [*batch, 1, width]))
    return alone.to_bytes()


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
