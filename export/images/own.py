"""The trainer's own networks as networks over whole images."""

from __future__ import annotations

from export.book import BookPixelCNN
from export.images.network import ImageNetwork
from export.pixelcnn import PixelCNN
from export.two_stack import TwoStackPixelCNN


def image_network(net: PixelCNN | TwoStackPixelCNN | BookPixelCNN) -> ImageNetwork:
    """A trained network with what it takes to play it. Its conditions are phrases that add up."""
    config = net.config
    return ImageNetwork(
        module=net,
        encoding=net.encoding[None],
        height=config.height,
        width=config.width,
        levels=config.levels,
        condition="multi_hot",
        conditions=config.conditions,
        label=config.label,
    )
