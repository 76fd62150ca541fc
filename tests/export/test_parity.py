"""An exported network says at every step what PyTorch says of the whole sequence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from export.training.networks import PixelCNN
from export.verify import step_logits
from tests.support.export_training import (
    PICTURES,
    RECURRENT,
    exported,
    network,
    pixelcnn,
    random_sequences,
    sequence_logits,
)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("name", [*RECURRENT, *PICTURES])
def test_step_by_step_equals_the_whole_sequence(name: str, batch: int) -> None:
    net = network(name)
    tokens = random_sequences(net, batch)
    whole = sequence_logits(net, tokens)
    stepped = step_logits(exported(net), tokens)
    np.testing.assert_allclose(stepped[:, -whole.shape[1] :], whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("prefix", [1, 2, 6])
@pytest.mark.parametrize("name", ["gated, conditions", "plain, grey, 5x5, conditions"])
def test_a_prompt_of_any_number_of_phrases_conditions_every_pixel(name: str, prefix: int) -> None:
    net = network(name)
    assert isinstance(net, PixelCNN)
    tokens = random_sequences(net, 3, prefix=prefix)
    pixels = np.pad(tokens[:, prefix:], ((0, 0), (0, 1))).reshape(3, net.config.height, net.config.width)
    counts = np.stack([np.bincount(row[1:prefix], minlength=net.config.vocab_size) for row in tokens])
    conditions = torch.from_numpy(counts[:, net.config.start + 1 :]).float()
    with torch.no_grad():
        image = net(net.encode(torch.from_numpy(pixels)), conditions).flatten(2).transpose(1, 2).numpy()
    stepped = step_logits(exported(net), tokens)[:, prefix - 1 :]
    np.testing.assert_allclose(stepped, image, atol=1e-5, rtol=0)


def test_each_phrase_of_the_prompt_matters() -> None:
    net = pixelcnn(conditions=2)
    start = net.config.start
    prompts = np.array([[start, start, start], [start, start, start + 1], [start, start + 1, start + 2]])
    none, one, two = step_logits(exported(net), prompts)[:, -1]
    assert min(np.abs(none - one).max(), np.abs(one - two).max(), np.abs(none - two).max()) > 1e-3


def test_the_order_of_phrases_and_more_start_tokens_do_not_matter() -> None:
    net = pixelcnn(conditions=2)
    start = net.config.start
    prompts = np.array([[start, start, start + 1, start + 2], [start, start + 2, start, start + 1]])
    first, second = step_logits(exported(net), prompts)[:, -1]
    np.testing.assert_allclose(first, second, atol=1e-6)
