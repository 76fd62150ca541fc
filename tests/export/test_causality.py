"""No pixel has a say in itself or in those before it; checked by changing every pixel, not by reading masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from export.training.networks import MaskedConv2d, PictureNet
from export.verify import step_logits
from tests.support.export_training import PICTURES, card_of, exported, network, sequence_logits

NETWORKS = [name for name in PICTURES if "one pixel" not in name]


def _images_with_a_change(net: PictureNet) -> np.ndarray:
    """An image [area + 1, area], then the same with pixel p changed, for every p."""
    area = net.config.height * net.config.width
    image = np.random.default_rng(0).integers(net.config.levels, size=area)
    images = np.repeat(image[None], area + 1, axis=0)
    images[np.arange(1, area + 1), np.arange(area)] = (image + 1) % net.config.levels
    return images


def _assert_causal(logits: np.ndarray, *, pixels_read: int, tolerance: float) -> None:
    """Logits [1 + pixels, positions, levels]; row 0 is the image that nothing was changed in."""
    for pixel in range(pixels_read):
        change = np.abs(logits[1 + pixel] - logits[0]).max(axis=1)
        assert change[: pixel + 1].max() <= tolerance, f"pixel {pixel} moves logits at or before it"
        if pixel + 1 < len(change):
            assert change[pixel + 1 :].max() > 1e-4, f"pixel {pixel} moves nothing"


@pytest.mark.parametrize("name", NETWORKS)
def test_the_exported_graph_is_causal(name: str) -> None:
    net = network(name)
    assert isinstance(net, PictureNet)
    images = _images_with_a_change(net)
    prompt = np.tile([net.config.start, *card_of(net).image.warm_up], (len(images), 1))
    logits = step_logits(exported(net), np.concatenate([prompt, images[:, :-1]], axis=1))[:, prompt.shape[1] - 1 :]
    _assert_causal(logits, pixels_read=images.shape[1] - 1, tolerance=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_is_causal(name: str) -> None:
    net = network(name)
    assert isinstance(net, PictureNet)
    images = _images_with_a_change(net)
    pixels = torch.from_numpy(images).view(-1, net.config.height, net.config.width)
    with torch.no_grad():
        logits = (
            net(net.encode(pixels), torch.zeros(len(images), net.config.conditions)).flatten(2).transpose(1, 2).numpy()
        )
    _assert_causal(logits, pixels_read=images.shape[1], tolerance=1e-6)


@pytest.mark.parametrize("name", ["plain", "gated, conditions"])
def test_weights_that_the_mask_forbids_do_not_matter(name: str) -> None:
    net = network(name)
    assert isinstance(net, PictureNet)
    tokens = np.concatenate([np.full((2, 1), net.config.start), _images_with_a_change(net)[:2, :-1]], axis=1)
    before = step_logits(exported(net), tokens)
    for layer in net.modules():
        if isinstance(layer, MaskedConv2d):
            layer.weight.data[:, :, layer.mask == 0] = 1e6
    np.testing.assert_array_equal(step_logits(exported(net), tokens), before)
    np.testing.assert_allclose(before, sequence_logits(net, tokens), atol=1e-5, rtol=0)
