"""However a language model is stored, its step function is exact, and as small as it can be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from export.training.native import text_network
from export.verify import step_logits
from tests.support.export_training import RECURRENT, recurrent
from tests.support.recurrent_cells import CELLS
from tests.support.text_layouts import LAYOUTS, assert_exact_layout, build, build_layout, checkpoint_of, model_of
from tests.support.text_networks import H, Learned, V


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", [name for name in LAYOUTS if name not in CELLS])
def test_it_equals_the_modules_own_forward_pass(name: str) -> None:
    lengths = V + 3 * H  # a length and a direction count as one
    assert_exact_layout(name, more_parameters=-lengths if name == "weight norm" else 0)


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("time-major LSTM, whole", {"h": [2, 7], "c": [2, 7]}),
        ("joined GRU", {"h": [1, 7]}),
        ("LSTM cells", {"h": [2, 7], "c": [2, 7]}),
        ("projected LSTM", {"h": [2, 4], "c": [2, 7]}),
        ("a module per layer, tied", {"h.0": [7], "h.1": [7], "h.2": [5], "c.0": [7], "c.1": [7], "c.2": [5]}),
        ("two modules with norms and two linear layers", {"h.0": [7], "h.1": [6], "c": [1, 7]}),
    ],
)
def test_states_are_stacked_where_their_widths_allow(name: str, states: dict[str, list[int]]) -> None:
    ports = model_of(build_layout(name)[1]).inputs[1:]
    assert {port.name.removeprefix("state."): list(port.shape[1:]) for port in ports} == states


def test_a_learned_start_is_inside_the_graph_and_every_sample_has_it() -> None:
    torch.manual_seed(0)
    model = model_of(build(checkpoint_of(Learned())))
    assert not any(part.any() for part in model.start(3).arrays())
    tokens = np.random.default_rng(0).integers(V, size=(3, 6))
    together = step_logits(model, tokens)
    for row in range(3):
        np.testing.assert_allclose(together[row], step_logits(model, tokens[row : row + 1])[0], atol=1e-6)
    _, state = model.step(tokens[:, 0], model.start(3))
    _, alone = model.step(tokens[:1, 0], model.start(3).rows([0]))
    for one, other in zip(state.arrays(), alone.arrays(), strict=True):
        np.testing.assert_allclose(one[:1], other, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "operators"),
    [
        ("time-major LSTM, whole", {"Gather": 1, "LSTM": 2, "Gemm": 1}),
        ("time-major GRU, tied", {"Gather": 1, "GRU": 2, "Gemm": 1}),
        ("joined LSTM, four gates", {"Gather": 1, "LSTM": 1, "Gemm": 1}),
        ("bare GRU", {"Gather": 1, "GRU": 0}),
        ("one-hot LSTM", {"Gather": 1, "LSTM": 1, "Gemm": 1, "OneHot": 0}),
    ],
)
def test_the_graph_uses_onnx_operators_and_reads_a_token_by_one_gather(name: str, operators: dict[str, int]) -> None:
    kinds = [node.op_type for node in build_layout(name)[1].network.step_graph().graph.node]
    assert {kind: kinds.count(kind) for kind in operators} == operators


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("simple, tanh", {"embedding"}),
        ("one-hot RNN", {"rnn.0.hidden"}),
        ("one-hot GRU", {f"rnn.0.{part}" for part in ("reset_gate", "update_gate", "candidate", "hidden")}),
        (
            "projected LSTM",
            {"embedding"}
            | {
                f"rnn.{layer}.{part}"
                for layer in (0, 1)
                for part in ("input_gate", "forget_gate", "output_gate", "candidate", "cell", "hidden")
            },
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_what_is_inside_cells_that_are_written_out_has_a_name(name: str, inside: set[str]) -> None:
    graph = build_layout(name)[1].network.step_graph().graph
    values = {value for node in graph.node for value in node.output if value.startswith("inside.")}
    assert values == {f"inside.{part}" for part in inside} == {info.name for info in graph.value_info}


@pytest.mark.parametrize("name", RECURRENT)
def test_the_trainers_networks_are_chains_of_parts_that_share_their_weights(name: str) -> None:
    net = recurrent(*RECURRENT[name])
    network = text_network(net)
    tokens = torch.arange(12).view(2, 6)
    assert network.parameters_count == sum(parameter.numel() for parameter in net.parameters())
    net.output.bias.data += 1
    torch.testing.assert_close(network.sequence_logits(tokens), net(tokens)[0], atol=1e-6, rtol=0)
    assert network.random_tokens(5, np.random.default_rng(0)).shape == (5, 200)
