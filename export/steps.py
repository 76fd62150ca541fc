"""Trained networks as step functions: one token in, the logits of the next one out, everything else is state."""

from __future__ import annotations

import onnx

from export.pixelcnn import PixelCNN
from export.pixelcnn_step import pixelcnn_step
from export.recurrent import RecurrentNet
from export.recurrent_step import recurrent_step

Network = RecurrentNet | PixelCNN


def step_graph(net: Network) -> onnx.ModelProto:
    """The step function of a network, with its weights as they are now."""
    return pixelcnn_step(net) if isinstance(net, PixelCNN) else recurrent_step(net)
