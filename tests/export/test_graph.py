"""What an exported file looks like from outside: the contract, rows that never meet, graphs small enough to read."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto

from export.compiler.compile import compile_step
from export.training.native import image_network
from export.training.networks import MaskedConv2d, PictureNet, TrainedNet
from export.verify import step_logits
from tests.support.causal_networks import values_inside
from tests.support.export_training import (
    PICTURES,
    RECURRENT,
    exported,
    network,
    pixelcnn,
    random_sequences,
    recurrent,
    sequence_logits,
    step_graph,
)
from tui_gen.runtime.model import Model
from tui_gen.runtime.state import HostState

_MEMORY_OF_A_GRAPH = """
import re, pathlib, torch
from export.training.native import network_of
from export.training.networks import RecurrentConfig, RecurrentNet
memory = lambda of: int(re.search(of + r":\\s*(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) << 10
network = network_of(RecurrentNet(RecurrentConfig("lstm", 10_000, embedding=1000, hidden=1000, layers=1)).eval())
before = memory("VmRSS")
network.step_graph().SerializeToString()
print((memory("VmHWM") - before) / (4 * network.parameters_count))
"""
"""Prints how many times its weights a network's graph takes."""


def _ports(infos: list[onnx.ValueInfoProto]) -> list[tuple[str, int, list[int | str]]]:
    """Name, element type, and dimensions; a text is a symbolic one."""
    tensors = [(info.name, info.type.tensor_type) for info in infos]
    return [(name, kind.elem_type, [d.dim_param or d.dim_value for d in kind.shape.dim]) for name, kind in tensors]


@pytest.mark.parametrize("name", [*RECURRENT, *PICTURES])
def test_every_graph_keeps_the_contract(name: str) -> None:
    net = network(name)
    model = step_graph(net)
    onnx.checker.check_model(model, full_check=True)
    (token, *states), (logits, *after) = _ports(model.graph.input), _ports(model.graph.output)
    vocab = net.config.levels if name in PICTURES else net.config.vocab_size
    assert token == ("token", TensorProto.INT64, ["batch"])
    assert logits == ("logits", TensorProto.FLOAT, ["batch", vocab])
    assert after == [(state.replace("state.", "next."), kind, shape) for state, kind, shape in states]
    for state, _, (batch, *sizes) in states:
        assert state.startswith("state.")
        assert batch == "batch"
        assert all(isinstance(size, int) for size in sizes)


@pytest.mark.parametrize("name", [*RECURRENT, *PICTURES])
def test_nodes_go_by_layer_and_operation_each_by_its_own(name: str) -> None:
    nodes = step_graph(network(name)).graph.node
    names = [node.name for node in nodes]
    assert len(set(names)) == len(names)
    assert all(f".{node.op_type.lower()}" in f".{node.name}" for node in nodes)


@pytest.mark.parametrize("sizes", [{"stacks": 2, "width": 12}, {"stacks": 2, "width": 6, "blocks": 1}, {"blocks": 2}])
def test_what_layers_give_has_a_name_and_belongs_to_the_place_that_the_card_says(sizes: dict[str, int]) -> None:
    net = pixelcnn(**sizes)
    pictures = image_network(net)
    step = compile_step(pictures)
    leads = {layer.name: layer.lead for layer in step.layers}
    pixels = np.random.default_rng(0).integers(pictures.levels, size=pictures.area)
    tokens = np.concatenate([[pictures.start], np.full(step.warm_up, pictures.warm_up), pixels[:-1]])
    inside = values_inside(step.graph, tokens)
    outputs = dict[str, Any]()
    for path, block in net.blocks.named_children():
        block.register_forward_hook(lambda _m, _i, output, path=path: outputs.update({path: output}))
    pictures.whole_logits(torch.from_numpy(pixels)[None], pictures.no_condition(1))
    for path, output in outputs.items():
        both = zip(("vertical", "expand"), output, strict=True) if isinstance(output, tuple) else [("expand", output)]
        for layer, value in both:
            name = f"blocks.{path}.{layer}"
            if layer == "vertical" and path == str(len(net.blocks) - 1):
                continue  # nobody reads the last gate
            expected = value[0].flatten(1).T.numpy()[leads[name] :]
            values = inside[f"inside.{name}.features"][step.warm_up :, 0][: len(expected)]
            np.testing.assert_allclose(values, expected[: len(values)], atol=1e-5, rtol=0)


def test_a_recurrent_state_is_one_row_per_sample_with_its_layers() -> None:
    ports = [str(port) for port in exported(recurrent("lstm", 3)).inputs]
    assert ports[1:] == ["state.h: tensor(float)[batch, 3, 7]", "state.c: tensor(float)[batch, 3, 7]"]


def test_a_pixelcnn_keeps_only_the_columns_that_later_pixels_look_at() -> None:
    ports = [str(port) for port in exported(pixelcnn(conditions=2, blocks=1, width=10)).inputs]
    assert ports[1:] == [
        "state.position: tensor(int64)[batch, 1]",
        "state.condition: tensor(float)[batch, 8]",
        # three rows and three pixels back, the newest among them; a row and a pixel; then nothing
        "state.columns.image: tensor(float)[batch, 34, 5]",
        "state.columns.4: tensor(float)[batch, 12, 4]",
    ]


def test_blocks_that_look_alike_keep_their_columns_together_and_multiply_them_in_one_go() -> None:
    net = pixelcnn(conditions=2, blocks=3, width=10)
    model = exported(net)
    assert "state.columns.4: tensor(float)[batch, 34, 4]" in map(str, model.inputs)  # 3 times 11, and nothing
    graph = step_graph(net)
    assert [node.op_type for node in graph.graph.node].count("MatMul") == 1
    weights = {tensor.name: list(tensor.dims) for tensor in graph.graph.initializer}
    assert weights["blocks.earlier.weight"] == [3, 4 * 4, 8]  # blocks; four pixels of four channels; both gates


@pytest.mark.parametrize("name", ["stacked lstm", "gated, conditions"])
def test_weights_are_inside_the_file(name: str) -> None:
    model = step_graph(network(name))
    assert all(tensor.data_location == TensorProto.DEFAULT for tensor in model.graph.initializer)
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_weights_keep_names_that_a_reader_understands() -> None:
    names = {tensor.name for tensor in step_graph(pixelcnn(blocks=1, conditions=2)).graph.initializer}
    assert {"input.weight", "blocks.0.masked.weight", "encoding", "condition", "output.bias"} <= names


@pytest.mark.parametrize("gated", [True, False])
def test_graphs_are_small(gated: bool) -> None:
    wide = pixelcnn(blocks=6, conditions=10, gated=gated, channels=64, kernel=5)
    assert len(step_graph(wide).graph.node) < 130
    assert len(step_graph(recurrent("lstm", 2)).graph.node) < 15


def test_the_same_weights_give_the_same_file() -> None:
    net = network("gated, conditions")
    assert step_graph(net).SerializeToString() == step_graph(net).SerializeToString()


NETWORKS = [
    "stacked lstm",
    "gru",
    "gated, conditions",
    "plain, grey, 5x5, conditions",
    "narrower than the 7x7 kernel",
    "two stacks",
]


def _after(model: Model, tokens: NDArray[np.int64]) -> HostState:
    """The state after int64[n] tokens, as a batch of one."""
    state = model.start(1)
    for token in tokens:
        _, state = model.step(np.array([token]), state)
    return state


def _sequences(net: TrainedNet) -> list[NDArray[np.int64]]:
    """Sequences whose prefixes have different lengths, so that one draws while another still reads its prompt."""
    return [random_sequences(net, 1, prefix=prefix, seed=prefix)[0] for prefix in (1, 4, 2)]


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_at_different_positions_share_a_batch(name: str) -> None:
    net = network(name)
    model, sequences, read = exported(net), _sequences(net), (0, 5, 13)
    states = [_after(model, sequence[:n]) for sequence, n in zip(sequences, read, strict=True)]
    parts = zip(*(state.arrays() for state in states), strict=True)
    state = model.state([np.concatenate(part) for part in parts], len(states))
    alone = [step_logits(model, sequence[None])[0] for sequence in sequences]
    for step in range(10):
        column = np.array([sequence[n + step] for sequence, n in zip(sequences, read, strict=True)])
        logits, state = model.step(column, state)
        expected = np.stack([whole[n + step] for whole, n in zip(alone, read, strict=True)])
        np.testing.assert_allclose(logits, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("order", [[2], [0, 0, 1], [2, 0, 1, 2]], ids=["dropped", "forked", "reordered"])
def test_rows_can_be_regrouped_in_mid_run(name: str, order: list[int]) -> None:
    net = network(name)
    model, tokens = exported(net), random_sequences(net, 3)
    expected, state = step_logits(model, tokens), model.start(3)
    for at in range(9):
        _, state = model.step(tokens[:, at].copy(), state)
    state = state.rows(order)
    for at in range(9, 20):
        logits, state = model.step(tokens[order, at], state)
        np.testing.assert_allclose(logits, expected[order, at], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", PICTURES)
def test_a_pixel_has_a_say_in_later_pixels_alone(name: str) -> None:
    """Checked by changing every pixel, not by reading masks."""
    net = network(name)
    assert isinstance(net, PictureNet)
    area = net.config.height * net.config.width
    image = np.random.default_rng(0).integers(net.config.levels, size=area)
    images = (image + np.eye(area + 1, area, -1, dtype=np.int64)) % net.config.levels
    whole = image_network(net)
    logits = whole.whole_logits(torch.from_numpy(images), whole.no_condition(len(images))).numpy()
    change = np.abs(logits[1:] - logits[0]).max(axis=2)  # [pixel that was changed, pixel whose logits moved]
    assert np.tril(change).max() <= 1e-6
    assert np.triu(change, 1)[:-1].max(axis=1).min() > 1e-4


@pytest.mark.parametrize("name", ["plain", "gated, conditions"])
def test_weights_that_the_mask_forbids_do_not_matter(name: str) -> None:
    net = network(name)
    assert isinstance(net, PictureNet)
    tokens = random_sequences(net, 2, prefix=1)
    before = step_logits(exported(net), tokens)
    for layer in net.modules():
        if isinstance(layer, MaskedConv2d):
            layer.weight.data[:, :, layer.mask == 0] = 1e6
    np.testing.assert_array_equal(step_logits(exported(net), tokens), before)
    np.testing.assert_allclose(before, sequence_logits(net, tokens), atol=1e-5, rtol=0)


@pytest.mark.skipif(sys.platform != "linux", reason="a process does not know its peak there")
def test_a_graph_takes_little_more_memory_than_its_weights_in_it_and_in_the_file() -> None:
    words = [sys.executable, "-c", _MEMORY_OF_A_GRAPH]
    times = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert 1.9 < float(times) < 3.7
