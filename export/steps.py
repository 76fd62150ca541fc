"""The trainer's networks as step functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import Tensor

from export.images.own import image_network
from export.images.streaming import StreamingNetwork
from export.pixelcnn import PixelCNN
from export.reading import Network
from export.recurrent import RecurrentNet
from export.recurrent_step import recurrent_step
from export.two_stack import TwoStackPixelCNN
from tui_gen.card import ModelCard
from tui_gen.sampling import Tokens

TEXT_STEPS = 200
"""Tokens that prove a text model."""

TrainedNet = RecurrentNet | PixelCNN | TwoStackPixelCNN


def network_of(net: TrainedNet) -> Network:
    """A trained network as the exporter sees any network, with its weights as they are now."""
    return TextNet(net) if isinstance(net, RecurrentNet) else StreamingNetwork(image_network(net))


def completed(card: ModelCard, network: Network) -> ModelCard:
    """A card with what a player must know of the network's step function."""
    return network.completed(card) if isinstance(network, StreamingNetwork) else card


@dataclass(frozen=True)
class TextNet:
    """Implements `export.reading.Network` for the trainer's recurrent networks."""

    net: RecurrentNet

    @property
    def parameters_count(self) -> int:
        """Trained numbers."""
        return sum(parameter.numel() for parameter in self.net.parameters())

    def step_graph(self) -> onnx.ModelProto:
        """The step function, on ONNX's own recurrent operators."""
        return recurrent_step(self.net)

    def random_tokens(self, batch: int, rng: np.random.Generator) -> Tokens:
        """int64[batch, 200]."""
        return rng.integers(self.net.config.vocab_size, size=(batch, TEXT_STEPS))

    def greedy_length(self) -> int:
        """As long a text as the random ones."""
        return TEXT_STEPS

    @torch.no_grad()
    def sequence_logits(self, tokens: Tensor) -> Tensor:
        """Logits after every token of int64[batch, n], from a zero state: float32[batch, n, vocab]."""
        return self.net.sequence_logits(tokens)
