"""The step function of the trainer's recurrent networks."""

from __future__ import annotations

import onnx

from export.recurrent import RecurrentNet
from export.text.own import text_network


def recurrent_step(net: RecurrentNet) -> onnx.ModelProto:
    """State: h, and for an LSTM c; each float32[batch, layers, hidden]."""
    return text_network(net).step_graph()
