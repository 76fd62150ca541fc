"""The trainer's networks as step functions."""

from __future__ import annotations

from export.book import BookConfig, BookPixelCNN
from export.images.own import image_network
from export.images.streaming import StreamingNetwork
from export.pixelcnn import PixelCNN, PixelCNNConfig
from export.reading import Network
from export.recurrent import RecurrentConfig, RecurrentNet
from export.text.own import text_network
from export.two_stack import TwoStackPixelCNN
from tui_gen.card import ModelCard

PictureNet = PixelCNN | TwoStackPixelCNN | BookPixelCNN
TrainedNet = RecurrentNet | PictureNet
NetworkConfig = RecurrentConfig | PixelCNNConfig | BookConfig


def network_of(net: TrainedNet) -> Network:
    """A trained network as the exporter sees any network, with its weights as they are now."""
    return text_network(net) if isinstance(net, RecurrentNet) else StreamingNetwork(image_network(net))


def completed(card: ModelCard, network: Network) -> ModelCard:
    """A card with what a player must know of the network's step function."""
    return network.completed(card) if isinstance(network, StreamingNetwork) else card
