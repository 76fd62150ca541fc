"""What is inside a model is what PyTorch's own cells compute on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.quantise import quantise
from export.text.layers import Linear, RecurrentLayer
from export.text.step import TextNetwork
from tests.support.text_networks import E, H, V
from tui_gen.card import ModelCard
from tui_gen.errors import TuiGenError
from tui_gen.generation.state_parts import StateParts
from tui_gen.inspection.inside import Inside, look, neighbours, trace
from tui_gen.library import open_model, shipped_folder
from tui_gen.runtime.model import Model

TOKENS = np.random.default_rng(0).integers(V, size=300)
WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
CELLS = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}


def network(kind: str, layers: int = 2, *, reset_first: bool = False) -> tuple[nn.Module, TextNetwork]:
    torch.manual_seed(layers)
    rnn, table, output = CELLS[kind](E, H, layers), torch.randn(V, E), nn.Linear(H, V)
    with torch.no_grad():
        for parameter in rnn.parameters():
            parameter.mul_(3)  # gates that open and shut
    parts = {name: value.detach() for name, value in rnn.named_parameters()}

    def layer(index: int) -> RecurrentLayer:
        weights = [parts[f"{name}_l{index}"] for name in WEIGHTS]
        return RecurrentLayer(f"rnn.{index}", kind, *weights, reset_first=reset_first)  # type: ignore[arg-type]

    last = Linear("output", output.weight.detach(), output.bias.detach())
    return rnn, TextNetwork(table, (*map(layer, range(layers)), last))


def model_of(graph: bytes, vocab: int = V) -> Model:
    return Model(graph, ModelCard("net", "text", "", vocab, 0), provider="cpu")


def cell(kind: str, of_x: Tensor, of_h: Tensor, h: Tensor, c: Tensor, new: Tensor | None) -> dict[str, Tensor]:
    """What is inside by the equations of PyTorch's documentation. new: of a GRU that resets the state itself."""
    if kind == "RNN":
        return {"hidden": torch.tanh(of_x + of_h)}
    if kind == "LSTM":
        i, f, g, o = (of_x + of_h).chunk(4)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        gates = {"input_gate": i, "forget_gate": f, "output_gate": o, "candidate": g}
        return {**gates, "cell": f * c + i * g, "hidden": o * (f * c + i * g).tanh()}
    (xr, xz, xn), (hr, hz, hn) = of_x.chunk(3), of_h.chunk(3)
    r, z = (xr + hr).sigmoid(), (xz + hz).sigmoid()
    n = (xn + (r * hn if new is None else new @ torch.cat([r * h, torch.ones(1)]))).tanh()
    return {"reset_gate": r, "update_gate": z, "candidate": n, "hidden": (1 - z) * n + z * h}


def expected_values(rnn: nn.Module, kind: str, table: Tensor, *, reset_first: bool = False) -> dict[str, Tensor]:
    """Token by token."""
    values: dict[str, list[Tensor]] = {}
    states = [{"hidden": torch.zeros(H), "cell": torch.zeros(H)} for _ in range(2)]
    for token in TOKENS:
        x = table[token]
        for index, state in enumerate(states):
            ih, hh, bi, bh = (getattr(rnn, f"{name}_l{index}") for name in WEIGHTS)
            new = torch.cat([hh, bh[:, None]], dim=1)[2 * H :] if reset_first else None
            state.update(cell(kind, ih @ x + bi, hh @ state["hidden"] + bh, state["hidden"], state["cell"], new))
            x = state["hidden"]
            for name in state if kind == "LSTM" else state.keys() - {"cell"}:
                values.setdefault(f"layer{index}.{name}", []).append(state[name])
    return {name: torch.stack(rows) for name, rows in values.items()}


@pytest.mark.parametrize(("kind", "reset_first"), [("RNN", False), ("LSTM", False), ("GRU", False), ("GRU", True)])
@torch.no_grad()
def test_gates_and_states_are_those_of_pytorchs_cells(kind: str, reset_first: bool) -> None:
    rnn, net = network(kind, reset_first=reset_first)
    assert net.table is not None
    result = trace(model_of(net.step_graph().SerializeToString()), TOKENS)
    expected = expected_values(rnn, kind, net.table, reset_first=reset_first)
    if not reset_first:
        hidden = rnn(net.table[torch.from_numpy(TOKENS)][:, None])[0][:, 0]
        assert torch.allclose(expected["layer1.hidden"], hidden, atol=1e-5)
    assert result.values.keys() == {"embedding", *expected}
    for name, value in expected.items():
        bound = 1e-5 * np.maximum(1, np.abs(value.numpy()))
        assert (np.abs(result.values[name] - value.numpy()) <= bound).all(), name
    assert np.array_equal(result.values["embedding"], net.table[torch.from_numpy(TOKENS)].numpy())


def test_the_layers_say_what_they_are() -> None:
    layers = [Inside(model_of(network(kind, 1)[1].step_graph().SerializeToString())).layers for kind in CELLS]
    assert [(layer.name, layer.kind, layer.resets_later, layer.activation) for [layer] in layers] == [
        ("layer0", "RNN", None, "tanh"),
        ("layer0", "LSTM", None, "tanh"),
        ("layer0", "GRU", True, "tanh"),
    ]
    assert layers[1][0].quantities == ("input_gate", "forget_gate", "output_gate", "candidate", "cell", "hidden")


@pytest.mark.parametrize("dtype", ["int8", "fp16"])
def test_weights_that_are_stored_smaller_are_looked_into_too(dtype: str) -> None:
    graph = (shipped_folder() / "names" / "model.onnx").read_bytes()
    small, operators = quantise(graph, dtype)  # type: ignore[arg-type]
    assert "DynamicQuantizeLSTM" not in operators
    model = model_of(small, 27)
    result = trace(model, TOKENS)
    state = model.start(1)
    for token in TOKENS:
        _, state = model.step(np.array([token]), state)
    assert np.allclose(result.values["layer0.hidden"][-1], state.arrays()[0].ravel(), rtol=0, atol=1e-5)


def test_a_model_that_computes_in_whole_numbers_shows_its_states_alone() -> None:
    graph = (shipped_folder() / "recipes-lstm" / "model.onnx").read_bytes()
    small, operators = quantise(graph, "int8")
    assert "DynamicQuantizeLSTM" in operators
    card = open_model(shipped_folder() / "recipes-lstm", provider="cpu").card
    model = Model(small, card, provider="cpu")
    inside = Inside(model)
    assert (inside.layers, inside.embedding) == ((), None)
    assert inside.values(np.array([1]), model.start(1).arrays()) == {}
    states = StateParts(model).rows(model.start(1).arrays())
    assert {name: part.shape for name, part in states.items()} == {"h.0": (1, 128), "c.0": (1, 128)}


def test_a_look_tells_the_tokens_their_probabilities_and_what_went_on() -> None:
    names = open_model("names", provider="cpu")
    result = look(names, "anna")
    assert names.codec.decode(result.tokens.tolist()) == "anna"
    assert np.isnan(result.logprobs[0])
    assert (result.logprobs[1:] < 0).all()
    assert {name: part.shape for name, part in result.arrays().items()} == {
        "tokens": (5,),
        "logprobs": (5,),
        "embedding": (5, 32),
        "layer0.hidden": (5, 128),
    }


def test_neighbours_in_the_embedding_point_in_a_like_direction() -> None:
    table = np.array([[1, 0], [2, 0.1], [0, 3], [-1, 0], [0, 0]], dtype=np.float32)
    assert [each.token for each in neighbours(table, 0)] == [1, 2, 4, 3]
    assert neighbours(table, 2, count=1)[0] == (1, pytest.approx(0.1 / np.hypot(2, 0.1)))
    assert [each.cosine for each in neighbours(table, 4)] == [0, 0, 0, 0]


@pytest.mark.parametrize("dtype", ["", "int8", "fp16"])
def test_the_embedding_is_the_table_whose_rows_tokens_select(dtype: str) -> None:
    graph = (shipped_folder() / "names" / "model.onnx").read_bytes()
    model = model_of(quantise(graph, dtype)[0] if dtype else graph, 27)  # type: ignore[arg-type]
    inside = Inside(model)
    assert inside.embedding is not None
    selected = trace(model, np.arange(27)).values["embedding"]
    assert np.allclose(inside.embedding[:27], selected, rtol=0, atol=1e-6)


def test_pictures_are_read_by_their_levels_and_texts_as_texts() -> None:
    with pytest.raises(TuiGenError, match="names reads text"):
        look(open_model("names", provider="cpu"), np.zeros((4, 6), dtype=np.int64))
    with pytest.raises(TuiGenError, match="fashion reads levels of pixels"):
        look(open_model("fashion", provider="cpu"), "a boot")


def test_of_a_guided_network_the_copy_that_has_the_prompt_is_looked_into() -> None:
    adventurers = open_model("adventurers", provider="cpu")
    levels = np.zeros((32, 32), dtype=np.int64)
    prompts = ("orc man, axe", "orc man, guidance 3", "orc man")
    traces = [look(adventurers, levels, prompt=prompt) for prompt in prompts]
    assert all(len(each.values["head.features"]) == len(each.tokens) for each in traces)
    *others, plain = (each.values["head.features"][-1024:] for each in traces)
    assert [np.allclose(plain, other, atol=1e-4) for other in others] == [False, True]
