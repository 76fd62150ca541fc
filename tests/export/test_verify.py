"""Exported networks give at every step what PyTorch gives; the proof of that can fail in each of its parts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from tokenizers import Tokenizer, decoders
from torch import Tensor, nn

from export.build_tokenizer import character_tokenizer
from export.images.streaming import StreamingNetwork
from export.training.native import network_of
from export.training.networks import PixelCNN, RecurrentConfig, RecurrentNet, TrainedNet
from export.verify import compare_greedy, compare_spread, step_logits, verify
from tests.support.causal_networks import (
    SLOW,
    Strided,
    image_network,
    open_step,
    slow,
    whole_step,
)
from tests.support.export_training import (
    PICTURES,
    RECURRENT,
    card_of,
    exported,
    network,
    pixelcnn,
    random_sequences,
    recurrent,
    sequence_logits,
    step_graph,
)
from tui_gen.errors import TuiGenError
from tui_gen.images.codec import ImageCodec
from tui_gen.library import codec_for
from tui_gen.runtime.model import Model
from tui_gen.text.codec import TextCodec

LETTERS = "abcdefghijklm"


def _codec(net: TrainedNet, tokenizer: Tokenizer | None = None) -> TextCodec | ImageCodec:
    if not isinstance(net, RecurrentNet):
        return codec_for(card_of(pixelcnn()), None)
    return codec_for(card_of(net), (tokenizer or character_tokenizer(LETTERS)).to_str())


def _with_changed(net: TrainedNet, name: str, change: Callable[[np.ndarray], None]) -> Model:
    """The exported network with one of its constants changed in place."""
    graph = step_graph(net)
    tensor = next(tensor for tensor in graph.graph.initializer if tensor.name == name)
    values = numpy_helper.to_array(tensor).copy()
    change(values)
    tensor.CopyFrom(numpy_helper.from_array(values, name))
    onnx.checker.check_model(graph)
    return Model(graph.SerializeToString(), card_of(net), provider="cpu")


def _add(at: tuple[int, ...], amount: float) -> Callable[[np.ndarray], None]:
    def change(values: np.ndarray) -> None:
        values[at] += amount

    return change


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("name", [*RECURRENT, *PICTURES])
def test_step_by_step_equals_the_whole_sequence(name: str, batch: int) -> None:
    net = network(name)
    tokens = random_sequences(net, batch)
    whole = sequence_logits(net, tokens)
    steps = step_logits(exported(net), tokens)
    np.testing.assert_allclose(steps[:, -whole.shape[1] :], whole, atol=1e-5, rtol=0)


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
    steps = step_logits(exported(net), tokens)[:, prefix - 1 :]
    np.testing.assert_allclose(steps, image, atol=1e-5, rtol=0)


def test_each_phrase_of_the_prompt_matters_but_not_their_order_nor_more_start_tokens() -> None:
    net = pixelcnn(conditions=2)
    prompts = net.config.start + np.array([[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 2], [0, 2, 0, 1]])
    none, one, two, other = step_logits(exported(net), prompts)[:, -1]
    assert min(np.abs(none - one).max(), np.abs(one - two).max(), np.abs(none - two).max()) > 1e-3
    np.testing.assert_allclose(two, other, atol=1e-6)


@pytest.mark.parametrize("name", [*RECURRENT, "gated, conditions", "plain, grey, 5x5, conditions"])
def test_a_right_export_passes_and_says_how_close_it_is(name: str) -> None:
    net = network(name)
    parity = verify(network_of(net), exported(net), _codec(net))
    assert parity.relative_logit_difference <= parity.max_abs_logit_difference < 1e-5
    length = net.config.height * net.config.width if isinstance(net, PixelCNN) else 200
    assert parity.greedy_tokens == length
    prompt = 2 if isinstance(net, PixelCNN) else 0  # three tokens more, the last pixel less
    assert parity.steps == 6 * (length + prompt) + 5 * length  # and what it wrote itself, but for the last


@pytest.mark.parametrize(
    ("name", "weight", "at"),
    [
        ("lstm", "rnn.0.R", (0, 3, 2)),
        ("stacked gru", "rnn.1.B", (0, 4)),
        ("rnn", "output.bias", (5,)),
        ("gated, conditions", "blocks.earlier.weight", (1, 0, 0)),
        ("gated, conditions", "blocks.1.masked.weight", (0, 0)),
        ("plain", "head.weight", (2, 3)),
        ("plain", "encoding", (1, 2)),
    ],
)
def test_one_changed_weight_is_found(name: str, weight: str, at: tuple[int, ...]) -> None:
    net = network(name)
    with pytest.raises(TuiGenError, match=r"differs from PyTorch by .* in its logits, first at step"):
        verify(network_of(net), _with_changed(net, weight, _add(at, 0.5)), _codec(net))


def test_the_error_names_the_first_step_that_differs() -> None:
    net = pixelcnn(width=5)
    second_row = 5  # the start token gives the first pixel; then a row of five
    with pytest.raises(TuiGenError, match=f"first at step {second_row};"):
        verify(network_of(net), _with_changed(net, "rows+columns", _add((second_row,), 0.5)), _codec(net))


def test_logits_that_are_not_numbers_are_found() -> None:
    net = recurrent()
    with pytest.raises(TuiGenError, match="differs from PyTorch by nan"):
        verify(network_of(net), _with_changed(net, "output.bias", _add((0,), float("nan"))), _codec(net))


def test_a_network_that_roundings_drive_apart_is_compared_as_far_as_they_leave_it_alone() -> None:
    torch.manual_seed(0)
    net = RecurrentNet(RecurrentConfig("rnn", len(LETTERS), embedding=5, hidden=64, layers=1)).eval()
    net.rnn.get_parameter("weight_hh_l0").data *= 4
    parity = verify(network_of(net), exported(net), _codec(net))
    assert parity.relative_logit_difference < 1e-4
    assert 16 * 16 < parity.steps < 11 * 200
    with pytest.raises(TuiGenError, match=r"differs from PyTorch by .* in its logits, first at step"):
        verify(network_of(net), _with_changed(net, "rnn.0.R", _add((0, 3, 2), 0.5)), _codec(net))


def test_greedy_tokens_are_compared_too() -> None:
    net = recurrent()
    tokens = np.zeros((1, 9), dtype=np.int64)
    for at in range(8):
        tokens[0, at + 1] = sequence_logits(net, tokens[:, : at + 1])[0, -1].argmax()
    compare_greedy(network_of(net), exported(net), tokens)
    tokens[0, 5] = (tokens[0, 5] + 1) % net.config.vocab_size
    with pytest.raises(TuiGenError, match="greedy token 5 differs from PyTorch's"):
        compare_greedy(network_of(net), exported(net), tokens)


def test_a_token_that_random_sequences_never_read_is_compared_where_the_model_writes_it() -> None:
    net = recurrent(vocab_size=3000)
    rng = np.random.default_rng(0)
    read = np.unique(np.concatenate([network_of(net).random_tokens(batch, rng).ravel() for batch in (1, 5)]))
    unseen = int(np.setdiff1d(np.arange(3000), read)[0])
    net.output.bias.data[unseen] += 9
    other = _with_changed(net, "embedding", _add((unseen,), 3.0))
    with pytest.raises(TuiGenError, match="differs from PyTorch"):
        verify(network_of(net), other, _codec(recurrent()))


def test_a_tokenizer_must_read_the_same_token_by_token() -> None:
    net = recurrent()
    torch.nn.init.zeros_(net.output.weight)
    net.output.bias.data[0] = 9  # says `a` for ever
    tokenizer = character_tokenizer(LETTERS)
    tokenizer.decoder = decoders.Sequence([decoders.Fuse(), decoders.Replace("aa", "b")])
    with pytest.raises(TuiGenError, match="decodes token by token to another text"):
        verify(network_of(net), exported(net), _codec(net, tokenizer))


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_step_is_proved_at_places_all_over_an_image(name: str) -> None:
    network, step = slow(name)
    model = open_step(network, step)
    assert float(compare_spread(StreamingNetwork(network), model).rpartition(" ")[2]) < 1e-5


class Fading(nn.Module):
    """Has a say in the lower rows alone."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.gain = inner, nn.Parameter(torch.ones(()))

    def forward(self, image: Tensor) -> Tensor:
        rows = torch.arange(image.shape[2])[:, None] >= image.shape[2] - 2
        logits: Tensor = self.inner(image) * torch.where(rows, self.gain, torch.ones(()))
        return logits


def test_a_slow_step_that_is_wrong_in_the_last_rows_is_found() -> None:
    torch.manual_seed(0)
    module = Fading(Strided())
    network = image_network(module, 8, 6)
    model = open_step(network, whole_step(network))
    module.gain.data += 1
    with pytest.raises(TuiGenError, match=r"differs from PyTorch by .* in the logits of token (3[6-9]|4\d);"):
        compare_spread(StreamingNetwork(network), model)
