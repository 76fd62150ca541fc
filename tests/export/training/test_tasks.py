"""What counts in a loss, and which data a batch holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from export.build_tokenizer import character_tokenizer
from export.training.data import Images, Texts, read_lines
from export.training.presets import PRESETS
from export.training.tasks import DocumentTask, ImageTask, StreamTask
from tests.support.export_training import pixelcnn, recurrent, sequence_logits, write_data
from tui_gen.sampling.params import FREE


def _texts(lengths: list[int], held_out: list[int], *, vocab: int = 13, eos: int | None = 0) -> Texts:
    rng = np.random.default_rng(0)
    parts = ([rng.integers(1, vocab, size=n) for n in part] for part in (lengths, held_out))
    train, held = ([np.concatenate([[0], row, [0]]) if eos == 0 else row for row in part] for part in parts)
    return Texts(character_tokenizer("abc"), 0, eos, train, held)


def _nats(net: torch.nn.Module, document: np.ndarray) -> float:
    """The sum over a document by itself."""
    tokens = torch.from_numpy(document)[None]
    logits = net(tokens[:, :-1])[0][0]
    return functional.cross_entropy(logits, tokens[0, 1:], reduction="sum").item()


def test_padding_does_not_count() -> None:
    texts, net = _texts([3, 11, 1, 6], []), recurrent()
    (batch,) = DocumentTask(texts, batch_size=4).train_batches(np.random.default_rng(0))
    loss, count = DocumentTask(texts, batch_size=4).loss(net, batch)
    assert count == 4 + 12 + 2 + 7
    assert loss.item() == pytest.approx(sum(_nats(net, row) for row in texts.train) / count, abs=1e-6)


def test_padding_has_no_gradient() -> None:
    texts, net = _texts([9, 2], []), recurrent()
    task = DocumentTask(texts, batch_size=2)
    ((inputs, targets),) = task.train_batches(np.random.default_rng(0))
    other = torch.where(targets == FREE, 5, inputs)
    gradients = []
    for version in (inputs, other):
        net.zero_grad()
        task.loss(net, (version, targets))[0].backward()
        gradients.append([parameter.grad.clone() for parameter in net.parameters()])
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(*gradients, strict=True))


def test_an_epoch_reads_every_document_once_and_orders_them_anew() -> None:
    task = DocumentTask(_texts(list(range(1, 24)), [4, 5]), batch_size=5)
    epochs = [list(task.train_batches(np.random.default_rng(seed))) for seed in (0, 1)]
    for batches in epochs:
        assert len(batches) == len(task) == 5
        assert sum(int((targets != FREE).sum()) for _, targets in batches) == sum(n + 1 for n in range(1, 24))
        assert sorted(row.tolist() for row in _documents(batches)) == sorted(row.tolist() for row in task.texts.train)
    first, second = ([inputs.tolist() for inputs, _ in batches] for batches in epochs)
    assert first != second


def _documents(batches: list[tuple[Tensor, ...]]) -> list[np.ndarray]:
    rows = [(a, b) for inputs, targets in batches for a, b in zip(inputs, targets, strict=True)]
    return [np.concatenate([a[:1].numpy(), b[b != FREE].numpy()]) for a, b in rows]


def test_training_and_held_out_documents_are_apart(tmp_path: Path) -> None:
    task = DocumentTask(read_lines(write_data("names", tmp_path)), batch_size=7)
    train = {row.tobytes() for row in _documents(list(task.train_batches(np.random.default_rng(0))))}
    held_out = {row.tobytes() for row in _documents(list(task.held_out_batches()))}
    assert len(train) + len(held_out) == 80
    assert not train & held_out


def test_a_stream_carries_its_hidden_state_from_window_to_window() -> None:
    texts, net = _texts([], [101], eos=None), recurrent("lstm", 2)
    task = StreamTask(texts, batch_size=2, window=10)
    windows = [task.loss(net, batch) for batch in task.held_out_batches()]
    assert [count for _, count in windows] == [20] * 5
    halves = [texts.held_out[0][:51], texts.held_out[0][50:]]
    assert sum(loss.item() * n for loss, n in windows) == pytest.approx(sum(_nats(net, half) for half in halves))


def test_a_stream_starts_each_pass_afresh_and_keeps_no_gradient() -> None:
    task, net = StreamTask(_texts([400], [101], eos=None), batch_size=2, window=10), recurrent("gru")
    first = [task.loss(net, batch)[0].item() for batch in task.held_out_batches()]
    for batch in task.train_batches(np.random.default_rng(0)):
        task.loss(net, batch)[0].backward()  # fails if it reached back into the window before
    assert [task.loss(net, batch)[0].item() for batch in task.held_out_batches()] == first


def test_a_pass_that_was_broken_off_does_not_reach_into_the_next() -> None:
    task, net = StreamTask(_texts([400], [101], eos=None), batch_size=2, window=10), recurrent()
    first = [task.loss(net, batch)[0].item() for batch in task.held_out_batches()]
    task.loss(net, next(task.train_batches(np.random.default_rng(0))))
    assert [task.loss(net, batch)[0].item() for batch in task.held_out_batches()] == first


def test_an_epoch_of_a_stream_has_at_least_the_batches_it_promises() -> None:
    for length in (*range(20, 70), 399, 400, 401, 420, 421):
        task = StreamTask(_texts([length], [101], eos=None), batch_size=2, window=10)
        counts = [len(list(task.train_batches(np.random.default_rng(seed)))) for seed in range(8)]
        assert len(task) <= min(counts)
        assert max(counts) <= len(task) + 1


def _images(count: int = 30, held_out: int = 7) -> Images:
    """Pictures that carry their own number in three pixels, with two conditions each."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(4, size=(count, 6, 5)).astype(np.uint8)
    pixels[:, 0, 0], pixels[:, 0, 1], pixels[:, 0, 2] = (
        np.arange(count) // 16,
        np.arange(count) // 4 % 4,
        np.arange(count) % 4,
    )
    conditions = np.ones((count, 2), dtype=np.uint8)
    return Images(4, ("a", "b"), None, pixels, conditions, held_out)


def _numbers(batches: list[tuple[Tensor, ...]]) -> list[int]:
    return [int(16 * p[0, 0] + 4 * p[0, 1] + p[0, 2]) for pixels, _ in batches for p in pixels]


def test_pictures_are_held_out_from_the_end() -> None:
    task = ImageTask(_images(), batch_size=5)
    train = _numbers(list(task.train_batches(np.random.default_rng(0))))
    assert len(train) == len(set(train)) == 5 * len(task) == 20
    assert set(train) <= set(range(23))
    assert _numbers(list(task.held_out_batches())) == list(range(23, 30))
    assert _numbers(list(ImageTask(_images(), batch_size=5, quick=3).held_out_batches()))[:3] == [23, 24, 25]


def test_some_conditions_are_dropped_in_training_and_none_when_scored() -> None:
    task = ImageTask(_images(700, 7), batch_size=10, drop_condition=0.2)
    conditions = torch.cat([part for _, part in task.train_batches(np.random.default_rng(0))])
    assert 0.7 < conditions.mean().item() < 0.9
    assert {tuple(row) for row in conditions.tolist()} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert all(conditions.all() for _, conditions in task.held_out_batches())


def test_a_share_of_the_pictures_has_short_or_no_prompts() -> None:
    wide = replace(_images(700, 7), conditions=np.ones((700, 8), dtype=np.uint8), phrases=tuple("abcdefgh"))
    task = ImageTask(wide, batch_size=10, drop_condition=0.0, short_prompts=0.5)
    conditions = torch.cat([part for _, part in task.train_batches(np.random.default_rng(0))]).sum(dim=1)
    assert (conditions == 8).float().mean().item() > 0.45
    assert set(conditions.int().tolist()) == set(range(9))


def test_a_pictures_loss_is_that_of_its_pixels() -> None:
    net, task = pixelcnn(conditions=2), ImageTask(_images(), batch_size=5)
    pixels, conditions = next(task.held_out_batches())
    loss, count = task.loss(net, (pixels, conditions))
    start = net.config.start
    tokens = torch.cat([torch.tensor([[start, start + 1, start + 2]] * 5), pixels.flatten(1)], dim=1)
    logits = torch.from_numpy(sequence_logits(net, tokens[:, :-1].numpy()))
    assert count == pixels.numel() == 150
    assert loss.item() == pytest.approx(
        functional.cross_entropy(logits.transpose(1, 2), tokens[:, 3:]).item(), abs=1e-6
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_held_out_batches_are_the_same_every_time(preset: str, tmp_path: Path) -> None:
    task = PRESETS[preset].prepare(write_data(preset, tmp_path), 2).task
    first, second = list(task.held_out_batches()), list(task.held_out_batches())
    assert all(torch.equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two, strict=True))
