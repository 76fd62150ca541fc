"""Writes the networks that `tui-gen bench` times, without their weights: `python bench/templates.py`.

Each is a step function as the exporter writes it. What is large in it is left out and described in weights.json; the
benchmark fills it with random numbers, which take as long to compute with.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from export.compiler.compile import compile_step
from export.images.whole_image import whole_image_step
from export.quantise import quantise
from export.text.layers import Linear, RecurrentLayer
from export.text.step import TextNetwork
from export.training.native import image_network
from export.training.networks import PixelCNN, PixelCNNConfig
from tui_gen.bench.cases import LARGE_SIZES, SIZES
from tui_gen.bench.networks import FOLDER, LEVELS, SIDE, VOCABULARY

LARGE = 512
"""Numbers from which on a tensor is left out."""
KINDS = {TensorProto.FLOAT: "float32", TensorProto.INT8: "int8"}


def main() -> None:
    """Writes all of them."""
    weights = {}
    FOLDER.mkdir(exist_ok=True)
    for name, model in networks().items():
        weights[name] = without_weights(model)
        (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString())
    (FOLDER / "weights.json").write_text(json.dumps(weights, indent=1) + "\n")


def networks() -> dict[str, onnx.ModelProto]:
    """By name, with random weights."""
    torch.manual_seed(0)
    models = {name: lstm(*sizes) for name, sizes in SIZES.items()}
    large = {name: lstm(*sizes) for name, sizes in LARGE_SIZES.items()}
    for name in tuple(models):
        small, _ = quantise(models[name].SerializeToString(), "int8")
        models[f"{name}-int8"] = onnx.load_from_string(small)
    config = PixelCNNConfig(SIDE, SIDE, LEVELS, channels=128, blocks=5, gated=False, one_hot=False, head=128)
    network = image_network(PixelCNN(config).eval())
    return {**models, **large, "pixelcnn": compile_step(network).graph, "pixelcnn-whole": whole_image_step(network)}


def lstm(embedding: int, hidden_size: int, layers: int) -> onnx.ModelProto:
    """An embedding, LSTM layers and a product over the vocabulary."""
    rnn = nn.LSTM(embedding, hidden_size, layers).requires_grad_(False)
    parts = [
        RecurrentLayer(
            f"lstm.{at}",
            "LSTM",
            *(getattr(rnn, f"{name}_l{at}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
        )
        for at in range(layers)
    ]
    output = nn.Linear(hidden_size, VOCABULARY).requires_grad_(False)
    table = nn.Embedding(VOCABULARY, embedding).weight.detach()
    return TextNetwork(table, (*parts, Linear("output", output.weight, output.bias))).step_graph()


def without_weights(model: onnx.ModelProto) -> dict[str, dict[str, object]]:
    """Takes the large weights out; returns each one's type, shape and standard deviation by its name."""
    weights: dict[str, dict[str, object]] = {}
    small = []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.data_type in KINDS and array.size >= LARGE:
            spread = round(float(array.astype("float32").std()), 4)
            weights[tensor.name] = {"type": KINDS[tensor.data_type], "shape": list(array.shape), "std": spread}
        else:
            small.append(tensor)
    del model.graph.initializer[:]
    model.graph.initializer.extend(small)
    return weights


if __name__ == "__main__":
    main()
