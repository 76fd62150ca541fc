"""What an exported file looks like from outside: the contract, and graphs small enough to read."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto

from tests.support.export_training import PICTURES, RECURRENT, exported, network, pixelcnn, recurrent, step_graph


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


def test_a_recurrent_state_is_one_row_per_sample_with_its_layers() -> None:
    ports = [str(port) for port in exported(recurrent("lstm", 3)).inputs]
    assert ports[1:] == ["state.h: tensor(float)[batch, 3, 7]", "state.c: tensor(float)[batch, 3, 7]"]


def test_a_pixelcnn_keeps_only_the_columns_that_later_pixels_look_at() -> None:
    ports = [str(port) for port in exported(pixelcnn(conditions=2, blocks=1, width=10)).inputs]
    assert ports[1:] == [
        "state.position: tensor(int64)[batch]",
        "state.condition: tensor(float)[batch, 8]",
        # nothing; then three rows and three pixels back, but for the newest
        "state.columns.image: tensor(float)[batch, 33, 5]",
        "state.columns.blocks.0.reduce: tensor(float)[batch, 12, 4]",
    ]


def test_blocks_that_look_alike_keep_their_columns_together_and_multiply_them_in_one_go() -> None:
    net = pixelcnn(conditions=2, blocks=3, width=10)
    model = exported(net)
    assert "state.columns.blocks: tensor(float)[batch, 12, 12]" in map(str, model.inputs)
    graph = step_graph(net)
    assert [node.op_type for node in graph.graph.node].count("MatMul") == 1
    weights = {tensor.name: list(tensor.dims) for tensor in graph.graph.initializer}
    assert weights["columns.blocks.weight"] == [3, 4 * 4, 8]  # blocks; four pixels of four channels; both gates


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
