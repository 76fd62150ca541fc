"""What plain values beside the weights say, however scripts spell and nest them."""

from __future__ import annotations

from typing import Any

import pytest

from export.checkpoints.checkpoint import Checkpoint, ModuleFacts
from export.checkpoints.settings import statements


@pytest.mark.parametrize(
    ("facts", "subject", "meanings"),
    [
        ({"args": {"tie_weights": True}}, "tied", ["yes"]),
        ({"hyper_parameters": {"model": {"shareEmbeddings": "false"}}}, "tied", ["no"]),
        ({"opt": {"--no-bias": True}}, "bias", ["no"]),
        ({"config": [{"use_residual": 1}]}, "residual", ["yes"]),
        ({"is_forward_lm": False}, "direction", ["backward"]),
        ({"config": {"direction": "RTL"}}, "direction", ["backward"]),
        ({"nlayers": 3}, "layers", ["3"]),
        ({"config": {"num_rnn_layers": 2, "dropout": 0.1}}, "layers", ["2"]),
        ({"use_layer_norm": True}, "normalisation", ["yes"]),
        ({"embed_scale": 2.5}, "embedding_scale", ["2.5"]),
        ({"args": {"rnn_type": "RNN_RELU"}}, "nonlinearity", ["relu"]),
        ({"config": '{"model": {"tied": true, "output_activation": "tanh"}}'}, "tied", ["yes"]),
        ({"config": '{"final_act": "tanh", "act_fn": "ReLU"}'}, "activation", ["relu"]),
        ({"optimizer": {"nesterov_bias": True, "bias": False}}, "bias", []),
        ({"residual": None, "skip_special_tokens": True, "weight_decay": 1.0}, "residual", []),
    ],
    ids=str,
)
def test_settings_are_understood_in_any_nesting_and_spelling(
    facts: dict[str, Any], subject: str, meanings: list[str]
) -> None:
    assert [said.meaning for said in statements(Checkpoint("a test's", {}, {}, facts), subject)] == meanings


def test_attributes_of_the_owners_modules_are_settings_and_those_of_pytorch_are_not() -> None:
    modules = {
        "": ModuleFacts("model.Net", {"residual": True}),
        "rnn": ModuleFacts("torch.nn.modules.rnn.LSTM", {"num_layers": 1}),
    }
    checkpoint = Checkpoint("a test's", {}, modules)
    assert [str(said) for said in statements(checkpoint, "residual")] == ["residual=True"]
    assert statements(checkpoint, "layers") == []
